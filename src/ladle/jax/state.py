"""`State`: what an update changes. A plain tree of arrays."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ladle.jax import ema
from ladle.jax.objective import Objective
from ladle.jax.optimizer import Optimizer
from ladle.jax.precision import first_scaling


class State(NamedTuple):
    """Parameters and everything that moves with them.

    - `params`: what is optimised. `model_state`: what the model carries beside it (batch statistics).
    - `opt_state`: the optimiser's. `hyper`: its constants and `lr`, as `f32[]`, so that none is compiled in.
    - `scaling`: the loss scale where the model computes in float16 (`ladle.jax.precision`), else `()`.
    - `key`: `u32[2]`, the base of all random numbers; never changes, since every use derives from (key, position).
    - `average`: of the parameters, an `ema.Average`; `()` where none is kept.
    """

    params: Any
    model_state: Any
    opt_state: Any
    hyper: dict[str, jax.Array]
    key: jax.Array
    average: Any = ()
    scaling: Any = ()


def init_state(objective: Objective, optimizer: Optimizer, hyper: dict[str, jax.Array], seed: jax.Array) -> State:
    """A fresh state. Pure in `seed` (`u32[2]`, see `ladle.core.seed.seed_words`), so it is compiled as one program."""
    key = jax.random.fold_in(jax.random.key(seed[0]), seed[1])
    init_key, run_key = jax.random.split(key)
    params, model_state = objective.init(init_key)
    # A copy: two leaves of the user's tree may be one array, which could not be donated twice.
    params = jax.tree.map(lambda leaf: jnp.array(leaf, copy=True), params)
    opt_state = first_averages(optimizer, params, hyper)
    scaling, average = first_scaling() if objective.arithmetic.scaled else (), ema.begun(params, hyper)
    return State(params, model_state, opt_state, hyper, jax.random.key_data(run_key), average, scaling)


def first_averages(optimizer: Optimizer, params: Any, hyper: dict[str, jax.Array]) -> Any:
    """What the optimiser carries before its first update of `params`."""
    with jax.numpy_dtype_promotion("standard"):  # as in an update
        return optimizer.make(hyper).init(params)
