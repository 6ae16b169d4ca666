"""`Update`: one optimiser update by the exact mean gradient of a batch, however it is cut. For a loop of your own.

G = sum_i w_i grad l_i        backward of sums, part by part
g = G / sum_i w_i             one division, in `step`: never a mean of means
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import nn

from ladle.core.errors import ArgumentError, must
from ladle.core.moments import Gauge
from ladle.core.observation import METRIC, Observation
from ladle.torch.begun import TINY, Begun, Read
from ladle.torch.company import require_independent
from ladle.torch.losses import weighted
from ladle.torch.noise_sums import NONE, gradients_of
from ladle.torch.optimizer import trained
from ladle.torch.randomness import generators, mixed
from ladle.torch.ranks import Ranks
from ladle.torch.refuse import require_gaugeable, require_numbers, require_usable
from ladle.torch.tree import cut, has_rows, mapped, rows_of


class Done(NamedTuple):
    """What an update came to: `loss`, the weighted mean, and `grad_norm` of the mean gradient, before any clipping.

    `applied`: False where a gradient or loss was not finite; nothing was moved then, and `why` says which.
    """

    loss: float
    grad_norm: float
    weight: float
    applied: bool = True
    why: str = ""


@dataclass
class Part:
    """Some rows of a batch, as many as one forward pass takes. `data`: of the batch's own kind.

    `real` of its `rows` are rows of the batch; those behind are copies of them, which count nothing.
    """

    update: Update
    data: Any
    weight: torch.Tensor | None
    rows: int
    real: int

    def backward(self, losses: Any, **metrics: torch.Tensor) -> None:
        """Add this part to the update: backward of `sum(weight * losses)`.

        - `losses`: `f32[rows]`, one a row; or `(losses, weights)` of one shape, rows first, such as those of tokens.
        - `metrics`: `f32[rows]` each, to be averaged in `Update.observation`.

        Raises `ArgumentError` for a loss that was reduced already.
        """
        found = weighted(losses, self.rows, self.real, self.weight)
        sums = {name: found.of(value, self.real) for name, value in metrics.items()}
        self.update._begun("backward").add(found, sums, self.update.scaler)


class Update:
    """Makes optimiser updates: cuts a batch, adds up its parts, divides once, clips, refuses what is not finite.

        for part in update.parts(batch):
            part.backward(loss(model, part.data))
        update.step()

    The module and the optimiser stay yours: nothing wraps them, and hooks are on parameters only while the noise of
    an update is measured.

    **Arguments**

    - `model`, `optimizer`: any `nn.Module`, also under `DistributedDataParallel` or `fully_shard`, and any optimiser
      without closure.
    - `micro_size`: rows of a part on this process; every part has exactly so many, the last one filled up with copies
      of weight zero, so that a compiled module has one shape. None: a batch is one part as it is.
    - `gauge`: how gradient moments are taken; None takes none. An update of one part is cut for them when its turn is.
    - `scaler`: a `torch.amp.GradScaler` for float16. Moments, norms and clipping are of unscaled gradients.
    - `clip`: largest norm of the mean gradient, as `torch.nn.utils.clip_grad_norm_` has it.
    - `rng`: "position" sets torch's generators from (seed, position) before each part, so that dropout is the same in
      a resumed run; they are left where the last part left them. "user" does not touch them.
    - `seed`: of "position". Where left out, what `torch.manual_seed` was given last; over ranks, to the first of them.
    - `metrics`: names of those that parts will give, so that an observation has them from the first on.
    - `ranks`: processes that share a batch. Where left out: those of a module under `DistributedDataParallel` or
      `fully_shard`, all of which then make every update.
    - `warn`: whether an update that is refused is said with a `RuntimeWarning`. A scaler's are usual, and are not.

    Raises `ArgumentError` for what cannot be done right: closures, `DataParallel`, batch norm with a gauge, ... A loss
    by which rows depend on each other is refused by `update(batch, loss)` before it measures the first noise.

    >>> model = nn.Linear(3, 1)
    >>> update = Update(model, torch.optim.SGD(model.parameters(), lr=0.1), micro_size=4)
    >>> batch = torch.randn(10, 3), torch.randn(10)
    >>> done = update(batch, lambda model, batch: (model(batch[0])[:, 0] - batch[1]) ** 2)
    >>> done.applied, done.weight, update.position
    (True, 10.0, 10)
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        *,
        micro_size: int | None = None,
        gauge: Gauge | None = None,
        scaler: Any = None,
        clip: float | None = None,
        seed: int | None = None,
        rng: Literal["position", "user"] = "position",
        warn: bool = True,
        metrics: Sequence[str] = (),
        ranks: Ranks | None = None,
    ) -> None:
        require_usable(model, optimizer)
        require_numbers(micro_size, clip, rng)
        if gauge is not None:
            require_gaugeable(model, gauge)
        self.model, self.optimizer, self.micro_size = model, optimizer, micro_size
        self.gauge, self.scaler, self.clip = gauge, scaler, clip
        self.seed, self.rng, self.warn = seed, rng, warn and scaler is None
        self.position = self.updates = self.refused = 0
        self._ranks = Ranks.of(model, self._leaves()) if ranks is None else ranks
        self._rows = self._unmeasured = 0
        self._tried = False
        self._shares: dict[tuple[float, torch.dtype, torch.device], torch.Tensor] = {}
        named = (METRIC + name for name in metrics)
        self._sums = dict.fromkeys(("loss", "weight", "updates", "refused", "grad_sq", *named, *NONE), 0.0)
        self._open: Begun | None = None

    def __call__(self, batch: Any, loss: Callable[[nn.Module, Any], Any], weight: Any = None) -> Done:
        """The whole update: `loss(model, rows)` of every part, and the step."""
        for part in self.parts(batch, weight):
            if self._open is not None and self._open.measured and not self._tried:
                self._try(part, loss)
            part.backward(loss(self.model, part.data))
        return self.step()

    def _try(self, part: Part, loss: Callable[[nn.Module, Any], Any]) -> None:
        """Once, before the first noise is measured: refuse a loss that is no sum over rows."""
        self._tried = True
        if self._ranks.count == 1 and part.rows > 1:  # Ranks would have to go through it together.
            require_independent(self.model, part.data, loss)

    def parts(self, batch: Any, weight: torch.Tensor | None = None) -> Iterator[Part]:
        """The rows of `batch`, this process's share of one update, in parts. Call `backward` on each.

        - `batch`: a tensor, or a dict, tuple or list of them, rows first. Under several processes it may be ragged, or
          empty on some of them.
        - `weight`: `f32[rows]`; None for all one.
        """
        rows = rows_of(batch)
        batch = self._stood_in(batch) if rows == 0 else batch
        measured = self._due(rows)
        size = self._piece(rows, measured)
        self.begin(measured, alone=rows == size, rows=rows if weight is None else None)
        self._rows = rows
        count = self._ranks.parts(-(-max(rows, 1) // size), self._device)
        if rows == size and count == 1:
            yield self.part(batch, weight, size, rows, self.position)
            return
        for at in range(count):
            start = min(at * size, rows)
            real = min(size, rows - start)
            filled = size if self.micro_size else max(real, 1)
            first = start if real else 0  # One that has no rows of its own repeats the first, for nothing.
            data = cut(batch, first, first + max(real, 1), filled)
            of_rows = None if weight is None else weight[start : start + real]
            with self._ranks.part(self.model, last=at == count - 1):
                yield self.part(data, of_rows, filled, real, self.position + start)

    def begin(self, measured: bool = False, alone: bool = False, rows: int | None = None) -> None:
        """A new update, of which nothing is there yet; one that was left in the middle is forgotten.

        `parts` does it by itself. Where rows come one micro-batch at a time: `begin`, `part` for each, `step`.

        - `measured`: take its moments. `alone`: it will have one part. `rows`: how many it will have, of weight one.
        """
        leaves = self._leaves()
        for leaf in leaves:
            leaf.grad = None
        drawing = generators(leaves[0].device) if self.rng == "position" else []
        one = self._ranks.count == 1
        # A power of two divides without rounding, so it may be done in each part's backward pass, where it is free.
        early = rows and one and not measured and self.scaler is None and rows & (rows - 1) == 0
        whole = float(rows) if rows and early else None
        if self.seed is None and self.rng == "position":
            self.seed = self._first_seed()
        self._open = Begun(measured, alone and one, leaves, drawing, self._ranks, whole, shares=self._shares)

    def part(self, data: Any, weight: torch.Tensor | None, rows: int, real: int, position: int) -> Part:
        """The next part, with the generators set for what it draws. `position`: of its first row in the whole run."""
        update = self._begun("part")
        for generator in update.generators:
            generator.manual_seed(mixed(self.seed or 0, position, self._ranks.index))
        update.parts += 1
        update.examples += real
        return Part(self, data, weight, rows, real)

    def step(self) -> Done:
        """Divide once, clip, step the optimiser; or refuse a gradient or loss that is not finite, and move nothing."""
        update = self._begun("step")
        update.require_whole()
        self._open = None
        self._ranks.reduce(update.leaves)
        if self.scaler is not None:
            self.scaler.unscale_(self.optimizer)
        gradients = gradients_of(update.leaves)
        read = update.read(gradients, self.scaler)
        share = self._ranks.divided * update.by / max(read.weight, TINY)
        done = _judged(read, read.norm * share)
        if done.applied:
            clipped = 1.0 if self.clip is None else min(1.0, self.clip / (done.grad_norm + 1e-6))
            if share * clipped != 1.0:
                torch._foreach_mul_(gradients, share * clipped)  # pyright: ignore[reportPrivateImportUsage]
            self.optimizer.step() if self.scaler is None else self.scaler.step(self.optimizer)
        if self.scaler is not None:
            self.scaler.update()
        self._record(read, done, update.measured)
        return done

    def observation(self) -> Observation:
        """Sums and moments of the updates since this was last asked, to be merged and read; see `ladle.Observation`."""
        found = Observation(tuple(self._sums), np.array(list(self._sums.values())))
        self._sums = dict.fromkeys(self._sums, 0.0)
        return found

    def state_dict(self) -> dict[str, Any]:
        """All that an `Update` is between two updates, as plain numbers. The scaler's is in it."""
        if self._open is not None:
            why = "gradients of its parts are no state"
            raise ArgumentError(must("state_dict", "be asked for between updates", "within one", why, "after step()"))
        own = {name: getattr(self, name) for name in _COUNTS}
        return {**own, "sums": dict(self._sums), "scaler": self.scaler and self.scaler.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where another left off: the same random numbers, the same updates measured."""
        for name in _COUNTS:
            setattr(self, name, None if state[name] is None else int(state[name]))
        self._sums, self._open = dict(state["sums"]), None
        if self.scaler is not None and state["scaler"] is not None:
            self.scaler.load_state_dict(state["scaler"])

    def _first_seed(self) -> int:
        """The seed of the first rank: a checkpoint is its own, and all go on from it."""
        seed = torch.initial_seed()
        if self._ranks.count == 1:
            return seed
        halves = divmod(seed, 1 << 32) if self._ranks.index == 0 else (0, 0)
        high, low = self._ranks.summed(halves, self._device)
        return int(high) << 32 | int(low)

    def _leaves(self) -> list[nn.Parameter]:
        return trained(self.optimizer)

    @property
    def _device(self) -> torch.device:
        return self._leaves()[0].device

    def _due(self, rows: int) -> bool:
        """Whether the noise of the next update is measured. That of a ragged last batch is not: its error is larger."""
        if self.gauge is None:
            return False
        every = 1 if self.gauge.per_example else self.gauge.every
        if self.updates and self._unmeasured < every - 1:
            return False
        return rows >= self._rows or self._ranks.count > 1  # Ranks have to agree, and know their own rows alone.

    def _piece(self, rows: int, measured: bool) -> int:
        """Rows of a part: those of a micro-batch, or fewer where one alone is measured."""
        size = self.micro_size or max(rows, 1)
        if self.gauge is None or not measured or rows == 0:
            return size
        if self.gauge.per_example:
            return 1
        cuts = self._ranks.kind in ("alone", "sharded")  # Else the ranks' own are pieces.
        return self.gauge.piece(rows) if rows <= size and cuts else size

    def _stood_in(self, batch: Any) -> Any:
        """A row for a rank that has none of its own: every rank takes part in the reduction of gradients."""
        if self._ranks.count == 1:
            raise ArgumentError(must("batch", "have a row", 0, "a mean of nothing is no number", "a batch with rows"))
        return mapped(lambda leaf: leaf.new_zeros((1, *leaf.shape[1:])) if has_rows(leaf) else leaf, batch)

    def _begun(self, what: str) -> Begun:
        if self._open is None:
            why = "gradients are added up between the two"
            remedy = "for part in update.parts(batch): part.backward(...), then update.step()"
            raise ArgumentError(
                must(what, "come after the beginning of an update and before its end", "none", why, remedy)
            )
        return self._open

    def _record(self, read: Read, done: Done, measured: bool) -> None:
        """Counts and sums with this update in them."""
        sums, grad_sq = self._sums, done.grad_norm**2
        sums["loss"] += read.loss
        sums["weight"] += read.weight
        sums["updates" if done.applied else "refused"] += 1.0
        sums["grad_sq"] += grad_sq
        for name, value in read.metrics.items():
            sums[METRIC + name] = sums.get(METRIC + name, 0.0) + value
        if measured and done.applied:
            for name, value in read.pieces.sums(read.weight, grad_sq, read.examples).items():
                sums[name] += value
        self._unmeasured = 0 if measured else self._unmeasured + 1
        self.position += round(read.examples)
        self.updates, self.refused = self.updates + done.applied, self.refused + (not done.applied)
        if self.warn and not done.applied:
            said = f"update {self.updates + self.refused} was refused: {done.why}"
            warnings.warn(said, RuntimeWarning, stacklevel=3)


def _judged(read: Read, norm: float) -> Done:
    """What an update came to; `norm`: of its mean gradient."""
    loss = read.loss / max(read.weight, TINY)
    if math.isfinite(norm) and math.isfinite(loss):
        return Done(loss, norm, read.weight)
    why = f"the norm of its gradient was {norm}" if math.isfinite(loss) else f"its loss was {loss}"
    return Done(loss, norm, read.weight, False, why)


_COUNTS = ("position", "updates", "refused", "seed", "_rows", "_unmeasured")
