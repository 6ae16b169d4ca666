"""Rematerialisation: what a forward pass computes and the backward pass would read is computed a second time instead.

    none    everything that the gradient reads is kept
    dots    products of activations with weights are kept; what lies between them is computed again
    full    only what enters a block is kept

Where a model marks its blocks (`ladle.models.block`), each is one; else the whole model is, which keeps less only under
"dots". Chen et al. 2016, arXiv 1604.06174. The arithmetic is the same either way; so are the gradients, to rounding.

On CPU, XLA (jax 0.10.2) takes the barrier away that sets what is computed again apart from what was computed first, and
then merges the two: nothing is saved. `compiler_options` keeps that barrier.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax

Apply = Callable[..., Any]


POLICIES: Mapping[str, Any] = {"dots": jax.checkpoint_policies.dots_with_no_batch_dims_saveable, "full": None}
"""Policies of `jax.checkpoint` by name; None keeps nothing. `ladle.core.arithmetic` refuses other names."""


def policy_of(remat: Any) -> Callable[..., Any] | None:
    """The policy of `jax.checkpoint` that `remat` means."""
    return remat if callable(remat) else POLICIES[remat]


def rematerialised(apply: Apply, remat: Any, recomputing: Any) -> Apply:
    """A model's `apply` that keeps what `remat` says of its blocks in training.

    - `recomputing`: `ladle.models.blocks.recomputing`, or None where there are no blocks to mark.
    """
    return partial(_applied, apply, partial(jax.checkpoint, policy=policy_of(remat)), recomputing)


def _applied(
    apply: Apply,
    wrap: Callable[[Apply], Apply],
    recomputing: Any,
    params: Any,
    model_state: Any,
    x: Any,
    *,
    keys: Any,
    weight: Any,
    train: bool,
    **levels: Any,
) -> tuple[Any, Any]:
    def whole(params: Any, model_state: Any, x: Any, keys: Any, weight: Any, levels: Mapping[str, Any]) -> Any:
        return apply(params, model_state, x, keys=keys, weight=weight, train=train, **levels)

    operands = params, model_state, x, keys, weight, levels
    if not train:
        return whole(*operands)
    if recomputing is not None:
        with recomputing(wrap) as asked:
            found = whole(*operands)
        if asked.met:
            return found
    return wrap(whole)(*operands)  # What was traced before is of no use to the compiler, which leaves it out.


def compiler_options(recomputes: bool) -> dict[str, str]:
    """What XLA must be told for programs that compute again."""
    if not recomputes or jax.default_backend() != "cpu":
        return {}
    return {"xla_disable_hlo_passes": "cse_barrier_expander"}
