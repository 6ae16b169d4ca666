"""`Rounds`: rounds of federated training as one compiled program. Any cohort of any clients runs it.

A round takes its clients `width` at a time, side by side under `jax.vmap`, and adds their answers up. How many clients
come, how many rows each has, which ones, for how long, at which rates: all are data, so none of them compiles anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ladle.core.moments import PREFIX, pair, pair_sums
from ladle.jax.clients import NOBODY, Numbers, Share, Start, Training, client_key, require_stateless, train
from ladle.jax.mesh import Layout
from ladle.jax.programs import Form, Program
from ladle.jax.vector import TINY, squared_norm, times


class Server(NamedTuple):
    """What a round changes, and `key`, which it does not: all that a checkpoint holds.

    - `first`, `second`: the server's moments of updates, of its momentum or of Adam. `control`, `controls`: SCAFFOLD's,
      of the server and of each client, `[clients, ...]`. `()` where the method keeps none.
    """

    params: Any
    model_state: Any
    key: Any
    first: Any = ()
    second: Any = ()
    control: Any = ()
    controls: Any = ()


class Table(NamedTuple):
    """Who has which rows: `data`, all rows; `rows`, `i32[clients, capacity]` numbers of them; `counts`, `u32[clients]`.

    `share`: of each client in all rows, `f32[clients]`.
    """

    data: Any
    rows: Any
    counts: Any
    share: Any


class Cohort(NamedTuple):
    """Who takes part in round `number`. Arrays of one length, a multiple of the width.

    - `clients`: `u32`, filled up with the number of clients, which none has. `there`: 1 for those whose answer comes.
    - `limit`: updates after which each stops, `u32`. `chunks`: how many widths are in use, i32[].
    - `steps`: batches of a pass of the largest of them, u32[].
    """

    number: Any
    clients: Any
    there: Any
    limit: Any
    chunks: Any
    steps: Any


class Serving(NamedTuple):
    """The server's constants, f32[] each: rate, momentum or `b1`, `b2`, `tau`; bound and noise of privacy.

    `expected`: what a sum of clipped updates is divided by, where there is privacy.
    """

    lr: Any
    b1: Any
    b2: Any
    tau: Any
    clip: Any
    noise: Any
    expected: Any


class Sums(NamedTuple):
    """Of the answers of a round. `move`: weighted updates; `control`: what SCAFFOLD's server adds."""

    move: Any
    control: Any
    weight: Any
    weight_sq: Any
    norm_sq: Any
    examples: Any
    loss: Any
    returned: Any


PRIVATE = ("finite",)
MEASURED = (
    *("clients", "examples", "train_loss", "update_norm"),
    *(name for name in pair_sums(0.0, 0.0, 0.0) if not name.startswith(PREFIX + "projection")),
)
"""What is measured of a round: with privacy whether its updates were numbers, and without all of this."""


@dataclass(frozen=True)
class Meaning:
    """What a round means. `server`: "average", "momentum" or "adam". `private`: each update is clipped, noise added."""

    training: Training
    server: str = "average"
    private: bool = False


class Rounds:
    """Runs rounds; see `Server`, `Table` and `Cohort`. `width`: clients that train side by side."""

    def __init__(self, meaning: Meaning, width: int, layout: Layout | None = None) -> None:
        training = meaning.training
        applied = replace(training, objective=training.objective.applied(), optimizer=training.optimizer.rule)
        form = Form(("width",), donate=True, layout=layout)
        self.meaning, self.width = meaning, width
        self._program = Program(_round, replace(meaning, training=applied), form)

    def begin(self, state: Any, clients: int, tau: float = 0.0) -> Server:
        """The server before the first round, with the weights of `state` (`ladle.jax.state.State`)."""
        require_stateless(state.model_state)
        # Copies: a round consumes the server, and the state is its maker's.
        held = state.params, state.model_state, state.key
        server = Server(*jax.tree.map(lambda leaf: jnp.array(leaf, copy=True), held))
        params, zeros = server.params, jax.tree.map(jnp.zeros_like, server.params)
        if self.meaning.server != "average":
            server = server._replace(first=zeros)
        if self.meaning.server == "adam":
            server = server._replace(second=jax.tree.map(lambda leaf: jnp.full_like(leaf, tau * tau), params))
        if self.meaning.training.controls:
            each = jax.tree.map(lambda leaf: jnp.zeros((clients, *leaf.shape), leaf.dtype), params)
            server = server._replace(control=jax.tree.map(jnp.zeros_like, params), controls=each)
        return server

    def table(self, data: Any, rows: np.ndarray, counts: np.ndarray, share: np.ndarray) -> Table:
        """The table of the clients on the device. `data`: there already."""
        return Table(data, jnp.asarray(rows), jnp.asarray(counts, jnp.uint32), jnp.asarray(share, jnp.float32))

    def cohort(
        self, number: int, clients: np.ndarray, there: np.ndarray, limit: np.ndarray, *, known: int, steps: int
    ) -> Cohort:
        """The clients of a round out of `known`; there is room for all of them, in whole widths: any number fits."""
        length = -(-known // self.width) * self.width
        filled = np.full(length, known, np.uint32), np.zeros(length, np.float32), np.zeros(length, np.uint32)
        for whole, part in zip(filled, (clients, there, limit), strict=True):
            whole[: len(part)] = part
        chunks = np.int32(-(-len(clients) // self.width))
        return Cohort(np.uint32(number), *filled, chunks, np.uint32(steps))

    def __call__(
        self, server: Server, table: Table, cohort: Cohort, told: Mapping[str, Any], serving: Mapping[str, float]
    ) -> tuple[Server, dict[str, float]]:
        """The server after a round, and what was measured in it. Consumes `server`.

        - `told`: what clients are told, `hyper`, `mu` and `epochs`; see `Numbers`. `serving`: see `Serving`.
        """
        numbers = Numbers(f32(told["hyper"]), np.float32(told["mu"]), np.uint32(told["epochs"]))
        after, measured = self._program(server, table, cohort, numbers, Serving(**f32(serving)), width=self.width)
        names = PRIVATE if self.meaning.private else MEASURED
        return after, dict(zip(names, np.asarray(measured).tolist(), strict=True))


def f32(values: Mapping[str, Any]) -> dict[str, np.float32]:
    """Numbers of the host as data of a program."""
    return {name: np.float32(value) for name, value in values.items()}


def _round(
    meaning: Meaning,
    server: Server,
    table: Table,
    cohort: Cohort,
    numbers: Numbers,
    serving: Serving,
    *,
    width: int,
) -> tuple[Server, Any]:
    zero, zeros = jnp.float32(0), jax.tree.map(jnp.zeros_like, server.params)
    begun = Sums(zeros, zeros if meaning.training.controls else (), *[zero] * 6)

    def one_chunk(chunk: Any, carry: tuple[Sums, Any]) -> tuple[Sums, Any]:
        sums, controls = carry
        part = jax.tree.map(
            lambda leaf: lax.dynamic_slice_in_dim(leaf, chunk * width, width),
            (cohort.clients, cohort.there, cohort.limit),
        )
        added, clients, own = _chunk(meaning, server, table, cohort, numbers, serving, controls, *part)
        controls = jax.tree.map(lambda all_, new: all_.at[clients].set(new, mode="drop"), controls, own)
        return jax.tree.map(jnp.add, sums, added), controls

    sums, controls = lax.fori_loop(jnp.int32(0), cohort.chunks, one_chunk, (begun, server.controls))
    return _applied(meaning, server, cohort, serving, sums)._replace(controls=controls), _measured(meaning, sums)


def _chunk(
    meaning: Meaning,
    server: Server,
    table: Table,
    cohort: Cohort,
    numbers: Numbers,
    serving: Serving,
    controls: Any,
    clients: Any,
    there: Any,
    limit: Any,
) -> tuple[Sums, Any, Any]:
    """Answers of some clients side by side, added up; which clients' control variates change, and to what."""
    last = table.counts.shape[0] - 1
    known = jnp.minimum(clients, jnp.uint32(last)).astype(jnp.int32)
    keys = jax.vmap(lambda client: client_key(server.key, cohort.number, client))(clients)
    shares = Share(table.rows[known], table.counts[known], limit, keys)
    own = jax.tree.map(lambda leaf: leaf[known], controls)

    def one(share: Share, own: Any) -> Any:
        start = Start(server.params, server.model_state, server.control, own)
        return train(meaning.training, numbers, start, share, table.data, cohort.steps)

    trained = jax.vmap(one)(shares, own)
    moves = jax.tree.map(lambda last, first: last - first[None], trained.params, server.params)
    there = there * (trained.examples > 0).astype(jnp.float32)
    # One whose answer never comes adds nothing, be it a number or not.
    norm_sq = jnp.where(there > 0, jax.vmap(squared_norm)(moves), 0)
    loss = jnp.where(there > 0, trained.loss, 0)
    weight = there if meaning.private else there * trained.examples
    factor = weight
    if meaning.private:
        factor = weight * jnp.minimum(1, serving.clip / jnp.maximum(jnp.sqrt(norm_sq), TINY))
    changed = jax.tree.map(lambda new, old: new - old, trained.own, own)
    part = there * table.share[known]
    sums = Sums(
        _weighted(moves, factor),
        _weighted(changed, part),
        weight.sum(),
        (weight * weight).sum(),
        (weight * norm_sq).sum(),
        (there * trained.examples).sum(),
        loss.sum(),
        there.sum(),
    )
    return sums, jnp.where(there > 0, known, last + 1), trained.own


def _weighted(tree: Any, weight: Any) -> Any:
    """Sum over the first axis, each row by its weight; one without weight adds nothing, be it a number or not."""

    def leaf(values: Any) -> Any:
        by = weight.reshape(-1, *[1] * (values.ndim - 1)).astype(values.dtype)
        return jnp.sum(jnp.where(by > 0, values * by, jnp.zeros((), values.dtype)), axis=0)

    return jax.tree.map(leaf, tree)


def _applied(meaning: Meaning, server: Server, cohort: Cohort, serving: Serving, sums: Sums) -> Server:
    """The server with the mean update of the round; as it was where nobody answered."""
    divisor = serving.expected if meaning.private else jnp.maximum(sums.weight, TINY)
    mean = times(sums.move, 1 / divisor)
    if meaning.private:
        key = client_key(server.key, cohort.number, jnp.uint32(NOBODY))
        mean = _noisy(mean, key, serving.noise * serving.clip / divisor)
    answered = sums.weight > 0 if not meaning.private else jnp.bool_(True)
    moved = _served(meaning.server, server, mean, serving)
    kept = jax.tree.map(lambda new, old: jnp.where(answered, new, old), moved, server._replace(controls=()))
    if meaning.training.controls:
        kept = kept._replace(control=jax.tree.map(jnp.add, server.control, sums.control))
    return kept


def _served(kind: str, server: Server, mean: Any, serving: Serving) -> Server:
    """One step of the server's optimiser on `mean`, the mean update, which takes the place of minus the gradient."""
    server = server._replace(controls=())
    if kind == "average":
        return server._replace(params=_plus(server.params, mean, serving.lr))
    if kind == "momentum":
        first = jax.tree.map(lambda m, d: serving.b1 * m + d, server.first, mean)
        return server._replace(params=_plus(server.params, first, serving.lr), first=first)
    first = jax.tree.map(lambda m, d: serving.b1 * m + (1 - serving.b1) * d, server.first, mean)
    second = jax.tree.map(lambda v, d: serving.b2 * v + (1 - serving.b2) * d * d, server.second, mean)
    move = jax.tree.map(lambda m, v: m / (jnp.sqrt(v) + serving.tau), first, second)
    return server._replace(params=_plus(server.params, move, serving.lr), first=first, second=second)


def _plus(params: Any, move: Any, rate: Any) -> Any:
    return jax.tree.map(lambda leaf, step: leaf + (rate * step).astype(leaf.dtype), params, move)


def _noisy(tree: Any, key: Any, sd: Any) -> Any:
    """`tree` plus independent normal noise of standard deviation `sd` in every coordinate."""
    leaves, form = jax.tree.flatten(tree)
    keys = jax.random.split(key, len(leaves))
    drawn = [
        leaf + sd.astype(leaf.dtype) * jax.random.normal(one, leaf.shape, leaf.dtype)
        for leaf, one in zip(leaves, keys, strict=True)
    ]
    return form.unflatten(drawn)


def _measured(meaning: Meaning, sums: Sums) -> jax.Array:
    """Numbers of a round for its record, as one vector that the host reads at once: see `MEASURED`.

    Under privacy they would tell of the clients what the noise hides.
    """
    if meaning.private:
        # Of the updates, not of their sum: clipping leaves one that is no number out of it.
        return jnp.isfinite(sums.norm_sq).astype(jnp.float32)[None]
    total = jnp.maximum(sums.weight, TINY)
    mean_sq = squared_norm(times(sums.move, 1 / total))  # The square of a weight of nobody would be no number.
    many, whole = sums.returned, sums.weight_sq / total  # In units of weight.
    unit = many / total  # Weights with mean one: clients are what is counted.
    whole = whole * unit
    trace, square = pair(unit * sums.norm_sq, mean_sq, many, many, whole)
    moments = pair_sums(trace * whole, square, many)
    known = (many >= 2) & (many - whole > 1e-3)
    told = sums.returned, sums.examples, sums.loss / jnp.maximum(sums.examples, 1), jnp.sqrt(mean_sq)
    noise = [jnp.where(known, value, jnp.float32(0)) for name, value in moments.items() if name in MEASURED]
    return jnp.stack([*told, *noise])
