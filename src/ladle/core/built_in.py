"""`built_in_shape`: what a built-in model's name means for the shape of the data, in every backend."""

from __future__ import annotations

from collections.abc import Sequence

from ladle.core.errors import ArgumentError, must, nearest

KINDS = ("linear", "mlp", "convnet")


def built_in_shape(name: str, input_shape: Sequence[int]) -> tuple[int, ...] | None:
    """The hidden widths of the model of that name, what `--model` means; None where it is a convnet.

    - "linear": no hidden layer. "mlp": one of 128 units, or two of 64 where a row is a list of columns.
    - "convnet": images only, `input_shape` `(h, w)` or `(h, w, c)`.

    Raises `ArgumentError` for an unknown name, and for a convnet over table rows.

    >>> built_in_shape("mlp", (28, 28)), built_in_shape("mlp", (13,)), built_in_shape("linear", (13,))
    ((128,), (64, 64), ())
    """
    if name not in KINDS:
        raise ArgumentError(must("model", "be a known name", name, "there is no such model", nearest(str(name), KINDS)))
    is_table = len(input_shape) < 2
    if name == "convnet":
        if is_table:
            because = "a table row has no neighbouring pixels"
            raise ArgumentError(must("model", "be linear or mlp for table rows", name, because, "model='mlp'"))
        return None
    return () if name == "linear" else (64, 64) if is_table else (128,)
