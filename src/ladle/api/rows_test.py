"""What a trained model is asked about is read as its data was: the same answer in every wrapping, or a refusal."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import ladle
from ladle.core.errors import DataError

X = np.random.default_rng(0).normal(size=(40, 3))
Y = (X[:, 0] > 0).astype(int)


def trained(data: Any, inputs: int, outputs: int = 2) -> Any:
    return ladle.fit(ladle.Task(ladle.models.mlp(inputs, 4, outputs), None, data), size=16, until="1 epochs")


@pytest.fixture(scope="module")
def run() -> Any:
    return trained(ladle.data.arrays(X, Y), 3)


def test_every_wrapping_has_the_same_answer(run: Any) -> None:
    pd = pytest.importorskip("pandas")
    answer = run.outputs(X.astype(np.float32))
    loss = run.evaluate({"x": X.astype(np.float32), "y": Y.astype(np.int32)})
    for x in (X, X.tolist(), list(X), jnp.asarray(X, jnp.float32), X.astype(">f8"), pd.DataFrame(X), np.ma.array(X)):
        np.testing.assert_array_equal(run.outputs(x), answer)
        for y in (Y, Y.tolist(), jnp.asarray(Y, jnp.int32), Y.astype(">i2"), pd.Series(Y, index=Y)):
            assert run.evaluate({"x": x, "y": y}) == loss


@pytest.mark.slow
def test_tensors_have_the_same_answer(run: Any) -> None:
    torch = pytest.importorskip("torch")
    x = torch.tensor(X, dtype=torch.float32, requires_grad=True)
    np.testing.assert_array_equal(run.outputs(x), run.outputs(X))
    np.testing.assert_array_equal(run.outputs(x.bfloat16()), run.outputs(x.bfloat16().float()))
    assert run.evaluate({"x": x, "y": torch.tensor(Y)}) == run.evaluate({"x": X, "y": Y})


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ({"x": X, "y": Y[:30]}, "rows must have as many rows in every array; got 'x 40, y 30'"),
        ({"x": X[:10], "y": Y}, "got 'x 10, y 40'"),
        ({"x": np.ma.array(X, mask=X > 1), "y": Y}, "rows 'x' must have a value in every cell"),
        ({"x": X, "y": np.array(["no", "yes"])[Y]}, "rows 'y' must be numbers; .*in this order: 0, 1"),
        ({"x": X.astype(str), "y": Y}, "rows 'x' must hold numbers"),
        ((X, Y), "rows must be a mapping"),
        ({"x": X, "y": Y + 2**40}, "rows 'y' must fit 32 bits"),
        ({"x": 1.0, "y": Y}, "rows 'x' must count rows"),
    ],
    ids="short long masked words text pair large number".split(),
)
def test_rows_that_are_no_rows(run: Any, rows: Any, said: str) -> None:
    with pytest.raises(DataError, match=said):
        run.evaluate(rows)


@pytest.mark.parametrize("x", [np.ma.array(X, mask=X > 1), X.astype(str), [[1.0, 2.0], [1.0]], None, 1.0])
def test_inputs_that_are_none(run: Any, x: Any) -> None:
    with pytest.raises(DataError):
        run.outputs(x)


def test_bytes_are_divided_where_those_of_the_data_were() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (40, 3)).astype(np.uint8)
    pixels[0] = 255
    run = trained(ladle.data.arrays(pixels, Y), 3)
    np.testing.assert_array_equal(run.outputs(pixels), run.outputs(pixels.astype(np.float32) / np.float32(255)))
    dark = pixels // 4
    np.testing.assert_array_equal(run.outputs(dark), run.outputs(dark.astype(np.float32) / np.float32(255)))
    raw = trained(ladle.data.arrays(dark, Y), 3)
    np.testing.assert_array_equal(raw.outputs(dark), raw.outputs(dark.astype(np.float32)))


def test_one_number_a_row_is_a_row() -> None:
    run = trained(ladle.data.arrays(X[:, 0], Y), 1)
    np.testing.assert_array_equal(run.outputs(X[:, 0]), run.outputs(X[:, :1]))


def test_a_frame_of_raw_cells_is_refused(tmp_path: Any) -> None:
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    frame.assign(y=Y).to_csv(tmp_path / "t.csv", index=False)
    data = ladle.data.load(tmp_path / "t.csv")
    run = trained(data, 3)
    assert run.outputs(data.valid["x"]).shape == (8, 2)
    for ask in (lambda: run.outputs(frame), lambda: run.evaluate({"x": frame, "y": Y})):
        with pytest.raises(DataError, match=r"be encoded as data.valid\['x'\] is; got 'DataFrame'"):
            ask()
