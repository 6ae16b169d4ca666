"""`ladle plan`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import ClassVar, Literal

from ladle.api.inference import inferred
from ladle.api.plan import BUDGET_SECONDS
from ladle.cli.arguments import Rate
from ladle.cli.common import Common, print_json
from ladle.cli.lists import counts
from ladle.core import record


@dataclass(frozen=True)
class PlanVerb(Common):
    """The batch size for this data, model and machine, with the evidence for every number. Trains nothing."""

    memory: str | None = None
    """Memory limit of the whole run over the one found on the machine, such as 2GB."""
    minimize: Literal["time", "examples", "energy", "cost"] = "time"
    """What to minimise on the way to a target; energy only where it is measured. cost: energy and time."""
    energy_share: float = 0.5
    """With --minimize cost: the part that is energy; the rest is time at the highest power measured."""
    country: str | None = None
    """ISO code of three letters, such as CHE: the carbon of its grid beside the joules."""
    lr: Rate = "auto"
    """auto (measured at the size), rule (the optimiser's usual one), or a rate at 64 that the rule starts from."""
    rule: (
        Literal[
            "none", "linear", "square root", "sde", "half-life", "legw", "adamw timescale", "completed", "mccandlish"
        ]
        | None
    ) = None
    """How rate, decay rates and weight decay follow the batch size; the optimiser's usual rule where left out."""
    check_lr: bool = False
    """Try rates where one was given too: it stays, and a note says how it fared."""
    until: str | None = None
    """How long the run is to be, such as '100 epochs': rates are tried on it, and what it will take is said."""
    budget: float = BUDGET_SECONDS
    """Seconds that measuring may take, compiling apart; with more, rates are tried further."""
    devices: str | None = None
    """Numbers of devices to plan for, such as 1,2,4,8,16: batch, time to a target and cost of each."""
    link: str | None = None
    """With --devices: bandwidth of a device and delay of a step, such as 25GB/s,5us; measured where left out."""
    size: int | None = None
    """With --devices: one batch size for all of them, over one planned for each."""
    seed: int = 0
    """Seed of the pilot."""

    RATES: ClassVar = ("auto", "rule")

    def run(self) -> int:
        from ladle import report
        from ladle.api.plan import plan
        from ladle.api.run_time import run_time

        options = self.options()
        folder = self.out or record.free_folder("plan", self.data)
        record.require_new(folder)
        task = options.task()
        made = plan(
            task,
            minimize=self.minimize,
            memory=self.memory,
            lr=self.lr if self.lr in ("auto", "rule") else float(options.lr),
            rule=self.rule,
            check_lr=self.check_lr,
            until=self.until,
            budget=self.budget,
            seed=self.seed,
            country=self.country,
            energy_share=self.energy_share,
            devices=None if self.devices is None else counts("devices", self.devices),
            link=self.link,
            size=self.size,
        )
        time = None if self.until is None else run_time(task, made.size, until=self.until, saved=True)
        record.make_folder(folder)
        record.write_json(folder / "plan.json", {**made.to_json(), "task": asdict(options.located())})
        pictures = [report.write_plan_figure(made, folder / "plan.png")]
        pictures += [report.write_devices_figure(made, folder / "devices.png")] if made.devices else []
        if self.json:
            value = record.plain(made.to_json())
            keys = ("size", "micro_size", "lr", "lr_rule", "hyper", "within_5_percent", "bound", "evidence", "notes")
            noise = {key: value["noise"][key] for key in ("value", "low", "high", "verdict")}
            told = {} if time is None else {"run_seconds": time.seconds}
            if made.devices:
                told["devices"] = value["curves"]["devices"]
            print_json({**{key: value[key] for key in keys}, "noise_scale": noise, **told, "folder": str(folder)})
        else:
            told = [] if time is None else [f"A run of {self.until} takes {time} (predicted)."]
            print("\n".join([*inferred(task.data), made.explain(), *told]))
            print("\n".join([f"folder  {folder}", *(f"picture {path}" for path in pictures)]))
        return 0
