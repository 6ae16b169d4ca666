"""The room's front door."""

from __future__ import annotations

import pytest

from ladle import models
from ladle.core.errors import ArgumentError


def test_names_stay_functions_after_their_files_were_loaded() -> None:
    import ladle.models.functions
    import ladle.models.images
    import ladle.models.module
    import ladle.models.perceptron
    import ladle.models.table  # noqa: F401

    assert all(callable(getattr(models, name)) for name in models.__all__)
    assert dir(models) == sorted(models.__all__)


def test_no_jax_before_a_model_is_asked_for(fresh_python) -> None:
    code = "import sys, ladle.models; print('jax' in sys.modules); ladle.models.mlp; print('jax' in sys.modules)"
    assert fresh_python(code).split() == ["False", "True"]


@pytest.mark.parametrize(
    ("name", "shape", "expected"),
    [
        ("linear", (8, 8), "linear 64-10"),
        ("mlp", (8, 8), "mlp 64-128-10"),
        ("mlp", (13,), "mlp 13-64-64-10"),
        ("convnet", (8, 8), "convnet 8x8x1 16-32-10"),
        ("convnet", (32, 32, 3), "convnet 32x32x3 16-32-64-10"),
    ],
)
def test_models_of_the_command_line(name: str, shape: tuple[int, ...], expected: str) -> None:
    assert models.default_for(name, input_shape=shape, outputs=10).name == expected


def test_an_unknown_model_is_refused_with_the_nearest() -> None:
    with pytest.raises(ArgumentError, match="try 'convnet'"):
        models.default_for("convent", input_shape=(8, 8), outputs=10)
    with pytest.raises(AttributeError, match="resnet"):
        _ = models.resnet
