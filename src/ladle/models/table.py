"""The perceptron for table rows: numbers as they are, each category column through an embedding of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from ladle.core.errors import ArgumentError, must
from ladle.models.layers import checked_counts, flat, normals
from ladle.models.perceptron import Mlp, mlp

MOST_WIDTH = 64


def embedding_width(levels: int) -> int:
    """Numbers that stand for one category of `levels` levels: `min(64, round(1.6 levels^0.56))`.

    The exponent is the rule of thumb of the fastai library (`emb_sz_rule`; capped at 600 there).

    >>> [embedding_width(levels) for levels in (2, 10, 100, 100_000)]
    [2, 6, 21, 64]
    """
    return min(MOST_WIDTH, round(1.6 * levels**0.56))


@dataclass(frozen=True)
class Tabular:
    """Embeddings, then dense layers; see `tabular`.

        h_0 = [numbers, E_1[codes_1], ..., E_c[codes_c]];  outputs = mlp(h_0)

    `params`: `{"embeddings": (f32[levels, width], ...), "mlp": ...}`.
    """

    cardinalities: tuple[int, ...]
    mlp: Mlp

    @property
    def name(self) -> str:
        kind, widths = self.mlp.name.split()
        columns = f"{len(self.cardinalities)} embedded columns: " if self.cardinalities else ""
        return f"{kind} {columns}{widths}"

    @property
    def additive(self) -> bool:
        return True

    @property
    def numbers(self) -> int:
        """Number columns."""
        return self.mlp.widths[0] - sum(embedding_width(levels) for levels in self.cardinalities)

    def init(self, key: jax.Array) -> tuple[Any, Any]:
        """Embeddings N(0, 1), the scale of standardised numbers; dense layers as in `mlp`."""
        table_key, mlp_key = jax.random.split(key)
        shapes = [(levels, embedding_width(levels)) for levels in self.cardinalities]
        tables = normals(table_key, shapes) if shapes else []
        return {"embeddings": tuple(tables), "mlp": self.mlp.init(mlp_key)[0]}, ()

    def apply(
        self, params: Any, model_state: Any, x: Any, *, keys: jax.Array | None, weight: jax.Array, train: bool
    ) -> tuple[jax.Array, Any]:
        """`{"numbers": f32[n, k], "codes": i32[n, c]} -> [n, outputs]`; without categories also `f32[n, k]`.

        A code outside its column's levels gives NaN, which stops a run: it never reads another level's numbers.
        """
        numbers, codes = self._columns(x)
        embedded = [
            table.at[codes[:, column]].get(mode="fill", fill_value=jnp.nan, wrap_negative_indices=False)
            for column, table in enumerate(params["embeddings"])
        ]
        h = jnp.concatenate([numbers.astype(params["mlp"][0]["weight"].dtype), *embedded], axis=1)
        return self.mlp.apply(params["mlp"], model_state, h, keys=keys, weight=weight, train=train)

    def _columns(self, x: Any) -> tuple[jax.Array, jax.Array]:
        if not isinstance(x, Mapping):
            if self.cardinalities:
                raise ArgumentError(
                    must(
                        "x",
                        "be {'numbers': ..., 'codes': ...}",
                        f"one array of shape {jnp.shape(x)}",
                        f"{len(self.cardinalities)} category columns are embedded",
                        "the arrays that ladle.data.load makes",
                    )
                )
            x = {"numbers": x}
        missing = [name for name in ("numbers", "codes") if name not in x and (name == "numbers" or self.cardinalities)]
        if missing:
            raise ArgumentError(
                must("x", "hold 'numbers' and 'codes'", sorted(x), f"{missing[0]!r} is missing", "both")
            )
        numbers = flat(x["numbers"], self.numbers)
        codes = flat(x["codes"], len(self.cardinalities)) if "codes" in x else jnp.zeros((len(numbers), 0), jnp.int32)
        return numbers, codes


def tabular(
    numbers: int,
    cardinalities: Sequence[int],
    *,
    outputs: int,
    hidden: Sequence[int] = (64, 64),
    activation: str = "relu",
    dropout: float = 0.0,
) -> Tabular:
    """A perceptron over number columns and embedded category columns.

    **Arguments**

    - `numbers`: number columns; may be 0 when there are categories.
    - `cardinalities`: levels of each category column; its embedding has `embedding_width(levels)` numbers.
    - `outputs`, `hidden`, `activation`, `dropout`: as in `mlp`. `hidden=()` is linear in numbers and embeddings.

    **Raises** `ArgumentError`.

    >>> import jax, numpy as np
    >>> model = tabular(3, (4, 10), outputs=1)
    >>> params, state = model.init(jax.random.key(0))
    >>> rows = {"numbers": np.ones((5, 3), np.float32), "codes": np.zeros((5, 2), np.int32)}
    >>> outputs, _ = model.apply(params, state, rows, keys=None, weight=np.ones(5), train=False)
    >>> model.name, outputs.shape
    ('mlp 2 embedded columns: 12-64-64-1', (5, 1))
    """
    levels = checked_counts("cardinalities", tuple(cardinalities))
    if not levels or numbers:
        checked_counts("numbers", (numbers,))
    inputs = numbers + sum(embedding_width(count) for count in levels)
    return Tabular(levels, mlp(inputs, *hidden, outputs, activation=activation, dropout=dropout))
