from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from ladle.torch.built_in import convnet, mlp, rebuilt

X = np.random.default_rng(0).normal(2, 3, (6, 4)).astype(np.float32)


def normalised(h: np.ndarray, norm: str) -> np.ndarray:
    """Over rows, over units, over two groups of units, or by the root mean square alone."""
    if norm == "rms":
        return h / np.sqrt(np.square(h).mean(1, keepdims=True) + 1e-5)
    cut, axis = (h[:, None], 0) if norm == "batch" else (h.reshape(len(h), 2 if norm == "group" else 1, -1), 2)
    return ((cut - cut.mean(axis, keepdims=True)) / np.sqrt(cut.var(axis, keepdims=True) + 1e-5)).reshape(h.shape)


@pytest.mark.parametrize("norm", ["batch", "layer", "group", "rms"])
def test_a_norm_stands_between_a_product_and_its_activation(norm: Any) -> None:
    made = mlp(4, 8, 3, norm=norm, groups=2 if norm == "group" else None)
    module = made()
    first, _, last = (dict(module.named_modules())[name] for name in ("1", "2", "4"))
    assert first.bias is None
    hidden = np.maximum(normalised(X @ first.weight.detach().numpy().T, norm), 0)
    expected = hidden @ last.weight.detach().numpy().T + last.bias.detach().numpy()
    np.testing.assert_allclose(module.train()(torch.from_numpy(X)).detach(), expected, rtol=1e-4, atol=1e-4)
    assert rebuilt(made.described()) == made and f" {norm} norm" in made.name


def test_the_layer_norm_of_an_image_is_over_places_and_channels() -> None:
    module = convnet((4, 4), 3, width=2, norm="layer")()
    norm: Any = dict(module.named_modules())["2"]
    h = norm(torch.from_numpy(np.random.default_rng(0).normal(5, 2, (3, 2, 4, 4)).astype(np.float32)))
    np.testing.assert_allclose(h.detach().mean((1, 2, 3)), np.zeros(3), atol=1e-5)
    np.testing.assert_allclose(h.detach().square().mean((1, 2, 3)), np.ones(3), rtol=1e-4)


def test_what_was_saved_before_norms_is_rebuilt() -> None:
    assert rebuilt({"kind": "mlp", "name": "", "widths": [4, 8, 3], "activation": "relu", "dropout": 0.0}) == mlp(
        4, 8, 3
    )
