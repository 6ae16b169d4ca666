from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ladle.core.errors import ArgumentError
from ladle.models import default_for, mlp, tabular
from ladle.models.table import embedding_width

ROWS = {"numbers": np.ones((4, 2), np.float32), "codes": np.array([[0, 1], [1, 0], [2, 4], [2, 4]], np.int32)}


def outputs_of(model, params, x):
    return model.apply(params, (), x, keys=None, weight=jnp.ones(4), train=False)[0]


def test_forward_is_the_formula() -> None:
    model = tabular(2, (3, 5), outputs=2, hidden=())
    params, _ = model.init(jax.random.key(0))
    first, second = map(np.asarray, params["embeddings"])
    codes = ROWS["codes"]
    h = np.concatenate([ROWS["numbers"], first[codes[:, 0]], second[codes[:, 1]]], 1)
    layer = jax.tree.map(np.asarray, params["mlp"][0])
    np.testing.assert_allclose(outputs_of(model, params, ROWS), h @ layer["weight"] + layer["bias"], rtol=1e-5)


def test_only_levels_that_occur_have_a_gradient() -> None:
    model = tabular(2, (3, 5), outputs=1)
    params, _ = model.init(jax.random.key(0))
    gradient = jax.jit(jax.grad(lambda p: outputs_of(model, p, ROWS).sum()))(params)
    moved = [np.any(np.asarray(table) != 0, axis=1).tolist() for table in gradient["embeddings"]]
    assert moved == [[True, True, True], [True, True, False, False, True]]


@pytest.mark.parametrize("code", [-1, 3])
def test_a_code_outside_its_levels_is_never_another_level(code: int) -> None:
    model = tabular(2, (3, 5), outputs=1)
    params, _ = model.init(jax.random.key(0))
    codes = ROWS["codes"].copy()
    codes[1, 0] = code
    assert np.isnan(outputs_of(model, params, {**ROWS, "codes": codes})[:, 0]).tolist() == [False, True, False, False]


def test_without_categories_it_is_the_perceptron() -> None:
    model, plain = tabular(2, (), outputs=1, hidden=(4,)), mlp(2, 4, 1)
    params, _ = model.init(jax.random.key(0))
    expected = outputs_of(plain, params["mlp"], ROWS["numbers"])
    np.testing.assert_array_equal(outputs_of(model, params, ROWS["numbers"]), expected)
    np.testing.assert_array_equal(outputs_of(model, params, {"numbers": ROWS["numbers"]}), expected)


def test_width_rule() -> None:
    widths = [embedding_width(levels) for levels in range(1, 2000)]
    assert widths[0] == 2 and max(widths) == 64
    assert widths == sorted(widths)


def test_default_model_of_a_table_embeds() -> None:
    model = default_for("mlp", input_shape=(2,), outputs=1, cardinalities=(3, 5))
    assert model.name == f"mlp 2 embedded columns: {2 + embedding_width(3) + embedding_width(5)}-64-64-1"
    assert default_for("linear", input_shape=(2,), outputs=1, cardinalities=(3,)).name.startswith("linear 1 embedded")


@pytest.mark.parametrize(
    ("x", "says"),
    [
        (ROWS["numbers"], "x must be {'numbers'"),
        ({"numbers": ROWS["numbers"]}, "'codes' is missing"),
        ({"codes": ROWS["codes"]}, "'numbers' is missing"),
        ({**ROWS, "numbers": np.ones((4, 3))}, "x must have 2 values a row"),
        ({**ROWS, "codes": np.zeros((4, 1), np.int32)}, "x must have 2 values a row"),
    ],
)
def test_other_inputs_are_refused(x, says: str) -> None:
    model = tabular(2, (3, 5), outputs=1)
    with pytest.raises(ArgumentError, match=says):
        outputs_of(model, model.init(jax.random.key(0))[0], x)


def test_a_table_needs_a_column() -> None:
    with pytest.raises(ArgumentError, match="numbers must be whole numbers"):
        tabular(0, (), outputs=1)
    with pytest.raises(ArgumentError, match="numbers must be whole numbers"):
        tabular(-1, (3,), outputs=1)
