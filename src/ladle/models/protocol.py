"""`Model`: what the engine trains. A value with two pure functions; parameters and state live outside it."""

from __future__ import annotations

from typing import Any, Protocol

import jax


class Model(Protocol):
    """Batched outputs as a pure function of parameters.

    - `name`: one short line, "mlp 64-128-10".
    - `additive`: the training loss of one example does not depend on the others. False with batch statistics: the
      micro-batch is then part of what is trained and must not be chosen by memory alone.

    A model with batch norm may also say `norm_rows`: how many rows that takes together, 0 for a whole micro-batch.
    """

    @property
    def name(self) -> str: ...

    @property
    def additive(self) -> bool: ...

    def init(self, key: jax.Array) -> tuple[Any, Any]:
        """`(params, model_state)`: a tree of float arrays, and a tree of any arrays (often `()`). Pure in `key`."""
        ...

    def apply(
        self,
        params: Any,
        model_state: Any,
        x: Any,
        *,
        keys: jax.Array | None,
        weight: jax.Array,
        train: bool,
    ) -> tuple[jax.Array, Any]:
        """`(outputs [examples, outputs], model_state)`.

        - `x`: `[examples, ...]`, or a dict of such.
        - `keys`: one typed random key per example, `key[examples]`; may be None when `train` is False.
        - `weight`: `f32[examples]`; 0 marks padding.
        - `train`: False turns dropout off and freezes batch statistics.

        A model whose dropout may change during a run also takes `dropout: f32[] | None`, the share to use instead of
        its own.
        """
        ...
