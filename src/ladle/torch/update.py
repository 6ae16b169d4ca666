"""`Update`: one optimiser update by the exact mean gradient of a batch, however it is cut. For a loop of your own.

    G = sum_i w_i grad l_i        backward of sums, part by part
    g = G / sum_i w_i             one division, in `step`: never a mean of means
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import nn

from ladle.core.errors import ArgumentError, must
from ladle.core.moments import Gauge
from ladle.core.observation import METRIC, Observation
from ladle.torch.losses import Sum, weighted
from ladle.torch.noise_sums import NONE, Pieces, local, watching
from ladle.torch.randomness import generators, mixed
from ladle.torch.ranks import shared, summed, unsynchronised
from ladle.torch.refuse import require_gaugeable, require_numbers, require_usable
from ladle.torch.tree import cut, has_rows, mapped, rows_of

TINY = 1e-30
"""Least sum of weights: a batch that weighs nothing has no gradient, not one of 0/0."""


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
        self.update._add(found, {name: found.of(value, self.real) for name, value in metrics.items()})


@dataclass
class _Open:
    """An update that has begun: what its parts came to so far. Tensors are read once, at its end."""

    measured: bool
    examples: int
    parts: int = 0
    sums: list[Sum] = field(default_factory=list)
    squares: list[torch.Tensor] = field(default_factory=list)
    metrics: dict[str, list[torch.Tensor]] = field(default_factory=dict)


class Update:
    """Makes optimiser updates: cuts a batch, adds up its parts, divides once, clips, refuses what is not finite.

        for part in update.parts(batch):
            part.backward(loss(model, part.data))
        update.step()

    The module and the optimiser stay yours: nothing wraps them, and hooks are on parameters only while the noise of
    an update is measured.

    **Arguments**

    - `model`, `optimizer`: any `nn.Module`, also under `DistributedDataParallel`, and any optimiser without closure.
    - `micro_size`: rows of a part on this process; every part has exactly so many, the last one filled up with copies
      of weight zero, so that a compiled module has one shape. None: a batch is one part as it is.
    - `gauge`: how gradient moments are taken; None takes none. An update of one part is cut for them when its turn is.
    - `scaler`: a `torch.amp.GradScaler` for float16. Moments, norms and clipping are of unscaled gradients.
    - `clip`: largest norm of the mean gradient, as `torch.nn.utils.clip_grad_norm_` has it.
    - `rng`: "position" sets torch's generators from (seed, position) before each part, so that dropout is the same in
      a resumed run; they are left where the last part left them. "user" does not touch them.
    - `warn`: whether an update that is refused is said with a `RuntimeWarning`. A scaler's are usual, and are not.

    Raises `ArgumentError` for what cannot be done right: closures, `DataParallel`, batch norm with a gauge, ...

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
        seed: int = 0,
        rng: Literal["position", "user"] = "position",
        warn: bool = True,
    ) -> None:
        require_usable(model, optimizer)
        require_numbers(micro_size, clip, rng)
        if gauge is not None:
            require_gaugeable(model, gauge)
        self.model, self.optimizer, self.micro_size = model, optimizer, micro_size
        self.gauge, self.scaler, self.clip = gauge, scaler, clip
        self.seed, self.rng, self.warn = seed, rng, warn and scaler is None
        self.position = self.updates = self.refused = 0
        self._rows = self._unmeasured = 0
        self._sums: dict[str, float] = {}
        self._open: _Open | None = None
        self._spare: Any = None

    def __call__(self, batch: Any, loss: Callable[[nn.Module, Any], Any], weight: Any = None) -> Done:
        """The whole update: `loss(model, rows)` of every part, and the step."""
        for part in self.parts(batch, weight):
            part.backward(loss(self.model, part.data))
        return self.step()

    def parts(self, batch: Any, weight: torch.Tensor | None = None) -> Iterator[Part]:
        """The rows of `batch`, this process's share of one update, in parts. Call `backward` on each.

        - `batch`: a tensor, or a dict, tuple or list of them, rows first. Under several processes it may be ragged, or
          empty on some of them.
        - `weight`: `f32[rows]`; None for all one.
        """
        rows = rows_of(batch)
        batch = self._stood_in(batch) if rows == 0 else batch
        measured = self._due(rows)
        self.begin(measured)
        size = self._piece(min(rows, self.micro_size or rows), rows, measured)
        for start in range(0, max(rows, 1), size):
            stop = min(start + size, rows)
            filled = size if self.micro_size else stop - start
            data = cut(batch, start, stop, filled) if stop else cut(batch, 0, 1, filled or 1)
            of_rows = None if weight is None else weight[start:stop]
            with unsynchronised(self.model, last=stop >= rows):
                yield self.part(data, of_rows, filled or 1, stop - start, self.position + start)
        self._rows = rows

    def begin(self, measured: bool = False) -> None:
        """A new update, of which nothing is there yet; one that was left in the middle is forgotten.

        `parts` does it by itself. Where rows come one micro-batch at a time: `begin`, `part` for each, `step`.
        """
        for leaf in self._parameters():
            leaf.grad = None
        self._open = _Open(measured, 0)

    def part(self, data: Any, weight: torch.Tensor | None, rows: int, real: int, position: int) -> Part:
        """The next part, with the generators set for what it draws. `position`: of its first row in the whole run."""
        assert self._open is not None
        if self.rng == "position":
            rank = torch.distributed.get_rank() if shared(self.model) else 0
            word = mixed(self.seed, position, rank)
            for generator in generators(self._parameters()[0].device):
                generator.manual_seed(word)
        self._open.parts += 1
        self._open.examples += real
        return Part(self, data, weight, rows, real)

    def step(self) -> Done:
        """Divide once, clip, step the optimiser; or refuse a gradient or loss that is not finite, and move nothing."""
        done, self._open = self._opened(), None
        parameters = self._parameters()
        if self.scaler is not None:
            self.scaler.unscale_(self.optimizer)
        gradients = [local(leaf.grad) for leaf in parameters if leaf.grad is not None]
        several = shared(self.model)
        numbers, pieces, norm = self._read(done, gradients)
        ranks = 1
        if several:
            ranks = torch.distributed.get_world_size()
            values = summed([*numbers.values(), *vars(pieces).values()], parameters[0].device)
            numbers = dict(zip(numbers, values, strict=False))
            pieces = Pieces(*values[len(numbers) :])
        share = ranks / max(numbers["weight"], TINY)
        norm *= share
        fine = math.isfinite(norm) and math.isfinite(numbers["loss"])
        if fine:
            _multiply(gradients, share * min(1.0, self.clip / (norm + 1e-6) if self.clip else 1.0))
            self.optimizer.step() if self.scaler is None else self.scaler.step(self.optimizer)
        if self.scaler is not None:
            self.scaler.update()
        return self._recorded(done, numbers, pieces, norm, fine)

    def observation(self) -> Observation:
        """Sums and moments of the updates since this was last asked, to be merged and read; see `ladle.Observation`."""
        names, values = tuple(self._sums), np.array(list(self._sums.values()))
        self._sums = {}
        return Observation(names, values)

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
            setattr(self, name, int(state[name]))
        self._sums, self._open = dict(state["sums"]), None
        if self.scaler is not None and state["scaler"] is not None:
            self.scaler.load_state_dict(state["scaler"])

    def _parameters(self) -> list[nn.Parameter]:
        return [leaf for group in self.optimizer.param_groups for leaf in group["params"] if leaf.requires_grad]

    def _due(self, rows: int) -> bool:
        """Whether the noise of the next update is measured. That of a ragged last batch is not: its error is larger."""
        if self.gauge is None:
            return False
        return self._unmeasured % self.gauge.every == 0 and (rows >= self._rows or shared(self.model))

    def _piece(self, size: int, rows: int, measured: bool) -> int:
        """Rows of a part: those of a micro-batch, or fewer where one alone is measured."""
        if self.gauge is None or not measured or size == 0:
            return self.micro_size or max(size, 1)
        if self.gauge.per_example:
            return 1
        alone = size == rows and not shared(self.model)
        return -(-size // min(self.gauge.parts, size)) if alone else self.micro_size or size

    def _stood_in(self, batch: Any) -> Any:
        """A row for a rank that has none of its own: every rank takes part in the reduction of gradients."""
        if not shared(self.model):
            raise ArgumentError(must("batch", "have a row", 0, "a mean of nothing is no number", "a batch with rows"))
        return mapped(lambda leaf: leaf.new_zeros((1, *leaf.shape[1:])) if has_rows(leaf) else leaf, batch)

    def _add(self, found: Sum, metrics: dict[str, torch.Tensor]) -> None:
        if self._open is None:
            why = "its update has ended"
            raise ArgumentError(must("backward", "be called before step", "after it", why, "one step after all parts"))
        total = found.loss if self.scaler is None else self.scaler.scale(found.loss)
        if self._open.measured:
            with watching(self._parameters()) as seen:
                total.backward()
            self._open.squares.append(seen.square())
        else:
            total.backward()
        self._open.sums.append(found._replace(loss=found.loss.detach()))
        for name, value in metrics.items():
            self._open.metrics.setdefault(name, []).append(value)

    def _opened(self) -> _Open:
        found = self._open
        if found is None or not found.parts or len(found.sums) != found.parts:
            got = "no part" if found is None else f"{len(found.sums)} of {found.parts} parts"
            why = "the gradient is the sum of all parts"
            raise ArgumentError(must("step", "follow a backward for each part", got, why, "part.backward(losses)"))
        return found

    def _read(self, done: _Open, gradients: list[torch.Tensor]) -> tuple[dict[str, float], Pieces, float]:
        """Sums of the update, its pieces and the norm of its summed gradient: the one read of the device."""
        norm = _norm(gradients)
        several = [one.loss for one in done.sums], *done.metrics.values()
        told = [one[0] if len(one) == 1 else torch.stack(one).sum() for one in several]
        weights = [number for one in done.sums for number in (one.weight, one.weight_sq)]
        numbers = iter(_numbers([norm, *told, *weights, *done.squares]))
        length, *sums = (next(numbers) for _ in range(1 + len(told)))
        pairs = [(next(numbers), next(numbers)) for _ in done.sums]
        scale = self.scaler.get_scale() if self.scaler is not None and done.squares else 1.0
        pieces = Pieces()
        for square, (weight, weight_sq) in zip(numbers, pairs, strict=False):
            pieces.add(square / scale**2, weight, weight_sq)
        named = dict(zip((METRIC + name for name in done.metrics), sums[1:], strict=True))
        weight = sum(weight for weight, _ in pairs)
        return {"loss": sums[0], "weight": weight, "examples": float(done.examples), **named}, pieces, length

    def _recorded(self, done: _Open, numbers: dict[str, float], pieces: Pieces, norm: float, fine: bool) -> Done:
        """Counts and sums with this update in them."""
        weight, examples = numbers["weight"], numbers.pop("examples")
        noise = pieces.sums(weight, norm**2, examples) if fine and done.measured else NONE
        self._unmeasured += 1
        self.position, self.updates, self.refused = (
            self.position + round(examples),
            self.updates + fine,
            self.refused + (not fine),
        )
        names = {"updates": float(fine), "refused": float(not fine), "grad_sq": norm**2}
        new = {"loss": numbers.pop("loss"), "weight": numbers.pop("weight"), **names, **numbers, **noise}
        loss = new["loss"] / max(weight, TINY)
        self._sums = {name: self._sums.get(name, 0.0) + value for name, value in new.items()}
        if fine:
            return Done(loss, norm, weight)
        why = f"its loss was {loss}" if not math.isfinite(loss) else f"the norm of its gradient was {norm}"
        if self.warn:
            warnings.warn(f"update {self.updates + self.refused} was refused: {why}", RuntimeWarning, stacklevel=3)
        return Done(loss, norm, weight, False, why)


_COUNTS = ("position", "updates", "refused", "seed", "_rows", "_unmeasured")


def _norm(gradients: list[torch.Tensor]) -> torch.Tensor:
    """|G| over all of them, in float32 at least."""
    if not gradients:
        why = "none of the optimiser's parameters took part in the loss"
        raise ArgumentError(must("loss", "depend on the parameters", "no gradient", why, "a loss of the model's outputs"))
    narrow = any(one.dtype in (torch.float16, torch.bfloat16) for one in gradients)
    norms = torch._foreach_norm(gradients, 2, torch.float32) if narrow else torch._foreach_norm(gradients)
    device = norms[0].device
    return torch.linalg.vector_norm(torch.stack([norm.to(device) for norm in norms]))


def _multiply(gradients: list[torch.Tensor], factor: float) -> None:
    if factor != 1.0:
        torch._foreach_mul_(gradients, factor)


def _numbers(values: list[Any]) -> list[float]:
    """All of them as numbers of the host: tensors are read together."""
    tensors = [value for value in values if isinstance(value, torch.Tensor)]
    if len(tensors) < 3 and tensors[0].device.type == "cpu":
        return [float(value) for value in values]
    device = tensors[0].device
    found = iter(torch.stack([value.detach().to(device, torch.float64) for value in tensors]).tolist())
    return [next(found) if isinstance(value, torch.Tensor) else value for value in values]
