"""`Plan`: the batch size to use, with the evidence for it. Frozen, printable, JSON in and out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from ladle.core.noise import NoiseScale
from ladle.core.scaling.coupling import Rule
from ladle.core.scaling.devices import Entry
from ladle.core.shown import shown
from ladle.core.spec import BatchSpec

Source = Literal["predicted", "measured", "given", "assumed", "modelled"]


@dataclass(frozen=True)
class Evidence:
    """One number behind a plan: what it is, its unit, whether it was predicted or measured, and how."""

    name: str
    value: float
    unit: str
    source: Source
    method: str
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Plan:
    """A batch size with its reasons.

    - `size`, `micro_size`: the choice. Both were run in the confirming child process, or are smaller than what was.
    - `lr`: learning rate at `size`; `lr_rule`, `reference_size`, `reference_lr`: where it comes from.
    - `hyper`: optimiser constants that the rule moves with the size (`b1`, `b2`, ...); empty for none.
    - `within_5_percent`: sizes whose time (examples, energy) to target is at most 5 % above the optimum, with the
      probability that is the evidence `within_confidence`: 90 %, or less for the chosen size alone.
    - `bound`: which limit was active: "optimum", "memory", "data", "smallest", "unresolved noise", "unresolved
      speed", "given".
    - `minimize`: "time", "examples", "energy", or "cost" (energy and time).
    - `noise`: gradient noise scale with interval and verdict.
    - `evidence`: every number used.
    - `curves`: points for the picture (see `ladle.report.plan_picture.plan_figure`): `memory` [(micro_size, bytes)],
      `throughput` [(size, seconds, low, high)], `target` [(size, relative time)], `rates` [(rate, updates over the
      best rate's, seeds)], `devices` [what `Entry` holds, as JSON].
    """

    size: int
    micro_size: int
    lr: float | None
    bound: str
    within_5_percent: tuple[int, int]
    noise: NoiseScale
    minimize: Literal["time", "examples", "energy", "cost"] = "time"
    lr_rule: Rule = "none"
    reference_size: int = 1
    reference_lr: float | None = None
    hyper: Mapping[str, float] = field(default_factory=dict)
    evidence: tuple[Evidence, ...] = ()
    curves: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def first(self) -> BatchSpec:
        """The spec to begin with."""
        return BatchSpec(size=self.size, micro_size=self.micro_size)

    def number(self, name: str) -> Evidence | None:
        """The evidence of that name, or None."""
        return next((e for e in self.evidence if e.name == name), None)

    @property
    def devices(self) -> tuple[Entry, ...]:
        """What each number of devices that was asked about would do; empty where none was."""
        return tuple(Entry(**one) for one in self.curves.get("devices", ()))

    def explain(self) -> str:
        """The plan in plain words, every number with its source."""
        from ladle.core.explain import explain
        from ladle.core.explain_devices import devices_lines

        return "\n".join([explain(self), *devices_lines(self)])

    def as_training_arguments(self, devices: int = 1) -> dict[str, Any]:
        """The plan as keywords of `transformers.TrainingArguments`, for so many devices.

        per_device_train_batch_size * gradient_accumulation_steps * devices = size, exactly.

        Raises `ArgumentError` where the size is no multiple of the devices, or a constant has no such keyword.
        """
        from ladle.core.keywords import training_arguments

        return training_arguments(self, devices)

    def as_lightning(self, devices: int = 1) -> dict[str, dict[str, Any]]:
        """The plan as keywords of a `DataLoader`, a Lightning `Trainer` and a torch optimiser, for so many devices.

            made = plan.as_lightning()
            loader = DataLoader(rows, shuffle=True, **made["loader"])
            trainer = lightning.Trainer(max_epochs=10, **made["trainer"])
            optimizer = torch.optim.AdamW(parameters, **made["optimizer"])

        Raises `ArgumentError` as `as_training_arguments` does.
        """
        from ladle.core.keywords import lightning

        return lightning(self, devices)

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "hyper": dict(self.hyper), "curves": dict(self.curves)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Plan:
        fields = dict(value)
        fields["within_5_percent"] = tuple(fields["within_5_percent"])
        fields["noise"] = NoiseScale(**fields["noise"])
        fields.pop("ladder", None)  # Plans of before held it.
        fields["evidence"] = tuple(Evidence(**e) for e in fields["evidence"])
        fields["notes"] = tuple(fields["notes"])
        return cls(**fields)

    def _repr_html_(self) -> str:
        return shown(self, self.explain())
