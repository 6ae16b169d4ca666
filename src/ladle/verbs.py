"""The verbs of the command line: what each takes, does and prints."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from ladle import record
from ladle.arguments import Data, Folders, OptionalData, Page
from ladle.errors import ArgumentError, must
from ladle.options import TaskOptions


@dataclass
class _Common:
    """Options that say what is trained; shared by the verbs."""

    target: str | None = None
    """Target column of a table (or key of an .npz file)."""
    kind: Literal["classification", "regression"] | None = None
    """What the target is, where the guess is wrong."""
    drop: tuple[str, ...] = ()
    """Columns of a table to leave out."""
    valid: float = 0.2
    """Share of the rows kept for validation."""
    model: Literal["linear", "mlp", "convnet"] = "mlp"
    """Built-in model."""
    optimizer: str = "adam"
    """sgd, momentum, nesterov, adagrad, rmsprop, adam, adamw, lion, lamb, lars or muon."""
    order: Literal["permuted", "sequential", "stratified"] | None = None
    """How rows are drawn: permuted (the default), sequential, or stratified (classes in proportion in each batch)."""
    stream: bool = False
    """Read the rows of a table as they are needed, not all at once: numbers only, as they are."""
    out: Path | None = None
    """Folder to write; runs/... where left out."""
    json: bool = False
    """One JSON object on standard output and nothing else."""

    def options(self, data: str, lr: float | None = None) -> TaskOptions:
        return TaskOptions(
            data,
            self.target,
            self.kind,
            tuple(self.drop),
            self.valid,
            self.model,
            self.optimizer,
            lr,
            self.order,
            self.stream,
        )


@dataclass
class Compare(_Common):
    """Batch sizes side by side: same data, model, seeds, initial parameters and budget. Table, picture, report."""

    data: Data = field(kw_only=True)
    """Name (see `ladle data`), table, .npz/.npy/idx file, or file.py:task."""
    sizes: str = "full,64,1,planned"
    """Batch sizes, joined by commas: numbers, full, planned."""
    epochs: float | None = None
    """Budget of each run in epochs (default 30)."""
    budget: str | None = None
    """Budget of each run in another unit: 60s, "2e6 examples", "5000 steps"."""
    seeds: int = 3
    """Runs per size; the spread is drawn as a band."""
    lr: str = "auto"
    """auto (the optimiser's rule from one reference), sweep (the best of a short sweep per size), or a rate at 64."""
    memory: str | None = None
    """Memory limit for the planned size, such as 2GB."""

    def run(self) -> int:
        from ladle.comparing import compare

        sizes = [size for size in self.sizes.replace(" ", "").split(",") if size]
        if self.epochs is not None and self.budget is not None:
            raise ArgumentError(
                must("budget", "be given alone", self.budget, "--epochs is a budget too", "one of the two")
            )
        until = self.budget if self.budget else f"{30 if self.epochs is None else self.epochs:g} epochs"
        rate = _rate(self.lr, words=("auto", "sweep"))
        options = self.options(self.data)
        folder = self.out or record.free_folder("compare", self.data)
        done = compare(
            options.task(),
            sizes=sizes,
            seeds=self.seeds,
            until=until,
            lr=rate if isinstance(rate, float) else ("sweep" if rate == "sweep" else "rule"),
            out=folder,
            memory=self.memory,
            show=not self.json,
            facts={"task": asdict(options)},
        )
        if self.json:
            print_json({"folder": str(folder), "runs": done.facts["runs"]})
        else:
            print(done)
            for finding in done.facts.get("findings", []):
                print(f"{finding['verdict']:>12}  {finding['title']}: {finding['sentence']}")
            print(f"folder  {folder}\npicture {folder / 'curves.png'}\nreport  {folder / 'report.html'}")
        return 0


@dataclass
class PlanVerb(_Common):
    """The batch size for this data, model and machine, with the evidence for every number. Trains nothing."""

    data: Data = field(kw_only=True)
    """Name (see `ladle data`), table, .npz/.npy/idx file, or file.py:task."""
    memory: str | None = None
    """Memory limit over the one found on the machine, such as 2GB."""
    minimize: Literal["time", "examples"] = "time"
    """What to minimise on the way to a target."""
    lr: str = "auto"
    """auto, or the rate at batches of 64 that the rule starts from."""
    rule: Literal["none", "linear", "square root", "sde", "half-life"] | None = None
    """How the rate (and decay rates) follow the batch size; the optimiser's usual rule where left out."""
    seed: int = 0
    """Seed of the pilot."""

    def run(self) -> int:
        from ladle import report
        from ladle.planning import plan

        rate = _rate(self.lr, words=("auto",))
        options = self.options(self.data)
        folder = self.out or record.free_folder("plan", self.data)
        record.require_new(folder)
        task = options.task()
        made = plan(
            task,
            minimize=self.minimize,
            memory=self.memory,
            lr=rate if isinstance(rate, float) else None,
            rule=self.rule,
            seed=self.seed,
        )
        record.make_folder(folder)
        record.write_json(folder / "plan.json", {**made.to_json(), "task": asdict(options)})
        report.write_plan_figure(made, folder / "plan.png")
        if self.json:
            value = record.plain(made.to_json())
            keys = ("size", "micro_size", "lr", "within_5_percent", "bound", "evidence")
            noise = {key: value["noise"][key] for key in ("value", "low", "high", "verdict")}
            print_json({**{key: value[key] for key in keys}, "noise_scale": noise, "folder": str(folder)})
        else:
            print("\n".join([f"data: {note}" for note in task.data.notes] + [made.explain()]))
            print(f"folder  {folder}\npicture {folder / 'plan.png'}")
        return 0


@dataclass
class Train(_Common):
    """Train at a planned or given batch size; checkpoints, evaluation, record. Resumes exactly."""

    data: OptionalData = None
    """Name (see `ladle data`), table, .npz/.npy/idx file, or file.py:task. Left out with --resume."""
    size: str | None = None
    """Examples per update: auto (planned; the default), full, or a number."""
    micro_size: int | None = None
    """Examples per forward pass; chosen where left out."""
    until: str | None = None
    """When to end: "30 epochs", "2e6 examples", "5000 steps", "10 min", "valid_accuracy >= 0.97", "patience 5"."""
    schedule: str | None = None
    """Batch size over time: "0:64 10ep:128", "grow 64 x5 at 10ep 20ep max 2048", "warmup 8->64 over 1ep", ..."""
    lr: str = "auto"
    """auto, or the rate at the first batch size."""
    lr_schedule: str = "constant"
    """Rate over time: constant, cosine, linear, "x0.1 at 10 epochs, 20 epochs"; each with ", warmup 1 epoch"."""
    memory: str | None = None
    """Memory limit for the plan, such as 2GB."""
    seed: int = 0
    """Seed of initial parameters, data order and dropout."""
    resume: Path | None = None
    """Go on with the run in this folder; --size and --until may differ from before."""
    checkpoint_every: float = 30.0
    """Seconds between two checkpoints."""
    quiet: bool = False
    """No progress."""

    def run(self) -> int:
        from ladle import resuming

        how: dict[str, Any] = {"show": not (self.json or self.quiet), "every_seconds": self.checkpoint_every}
        if self.resume is None:
            folder = self.out or record.free_folder("train", str(self.data))
            return self._end(resuming.begin(self._request(), folder, **how))
        if self.data is not None:
            why, remedy = "the run's own data is used", f"ladle train --resume {self.resume}"
            raise ArgumentError(must("DATA", "be left out with --resume", self.data, why, remedy))
        request = resuming.Request.of_folder(self.resume)
        request = request.changed(self.size, self.micro_size, self.schedule, self.until)
        return self._end(resuming.resume(request, self.resume, **how))

    def _request(self) -> Any:
        from ladle.resuming import Request

        if self.data is None:
            raise ArgumentError(must("DATA", "be given", None, "there is nothing to train on", "ladle train digits"))
        rate = _rate(self.lr, words=("auto",))
        return Request(
            self.options(self.data, rate if isinstance(rate, float) else None),
            self.size or "auto",
            self.micro_size,
            self.until or "30 epochs",
            self.schedule,
            self.lr_schedule,
            self.memory,
            self.seed,
        )

    def _end(self, run: Any) -> int:
        """Say how the run ended, and with which exit code."""
        for name, reason in run.refused:
            print(f"ladle: checkpoint {name} refused: {reason}; an older one was used", file=sys.stderr)
        if self.json:
            counts = {key: run.final.get(key, 0) for key in ("examples", "updates", "seconds")}
            final = {key: value for key, value in run.final.items() if key not in counts}
            facts = {"folder": str(run.folder), "status": run.status, "size": run.final.get("size")}
            print_json({**facts, **counts, "final": final})
        else:
            print(f"{summary(run)}\nfolder {run.folder}")
        if run.status == "interrupted":
            print(f"interrupted; go on with: ladle train --resume {run.folder}", file=sys.stderr)
            return 143 if run.why.startswith("SIGTERM") else 130
        if run.status == "diverged":
            kept = f"; last good checkpoint: {run.checkpoint}" if run.checkpoint else ""
            print(f"ladle: {run.why}{kept}; try a smaller --lr", file=sys.stderr)
            return 1
        return 0


@dataclass
class Report:
    """One self-contained HTML page from run folders or compare folders."""

    folders: Folders
    """Folders that `ladle train` or `ladle compare` wrote."""
    output: Page = None
    """The page; report.html in the first folder where left out."""
    json: bool = False
    """One JSON object on standard output and nothing else."""

    def run(self) -> int:
        from ladle import report

        if not self.folders:
            raise ArgumentError(
                must("DIR", "be given", "nothing", "a report is of a run", "ladle report runs/train-digits-1")
            )
        page = report.write_report(list(self.folders), self.output)
        if self.json:
            print_json({"report": str(page)})
        else:
            print(f"report {page}")
        return 0


@dataclass
class FeedCheckVerb:
    """Is the data sound, and are batches read fast enough? Reads and measures; trains nothing."""

    data: Data = field(kw_only=True)
    """Name, file, folder, pattern with *, URL, or file.py:task."""
    size: int = 256
    """Examples per batch."""
    order: Literal["auto", "permuted", "blocks", "sequential"] = "auto"
    """auto: a global shuffle; files in blocks: a shuffle of blocks, and of rows within a few of them."""
    seconds: float = 1.0
    """How long each thing is measured."""
    whole: bool = False
    """Look through every example for NaN and the like, not 100,000 at random."""
    target: str | None = None
    """Target column of a table."""
    json: bool = False
    """One JSON object on standard output and nothing else."""

    def run(self) -> int:
        from ladle.feeding import feed_check

        if not 0 < self.seconds < 600:
            why = "measuring takes some time, and not forever"
            raise ArgumentError(must("seconds", "be above 0 and below 600", self.seconds, why, "--seconds 1"))
        options = TaskOptions(self.data, target=self.target)
        how = {"order": self.order, "seconds": self.seconds, "whole": self.whole, "options": options}
        check = feed_check(self.data, self.size, **how)
        if self.json:
            print_json(check.to_json())
        else:
            print(check)
        return 1 if check.problems else 0


@dataclass
class DataVerb:
    """The data sets known by name, and where each comes from."""

    json: bool = False
    """One JSON object on standard output and nothing else."""

    def run(self) -> int:
        from ladle.data import known

        sets = [one._asdict() for one in known()]
        if self.json:
            print_json({"data": sets})
            return 0
        for one in sets:
            print(f"{one['name']:15} {one['rows']:>7,} rows  {one['description']}  [{one['where']}]")
        print("also: any .csv .tsv .parquet .npz .npy or idx file, or file.py:task")
        return 0


VERBS = {
    "compare": Compare,
    "plan": PlanVerb,
    "train": Train,
    "report": Report,
    "data": DataVerb,
    "feed-check": FeedCheckVerb,
}


def summary(run: Any) -> str:
    """How a run ended, in two lines."""
    shown = {
        name: f"{value:.6g}"
        for name, value in run.final.items()
        if name.startswith(("train_", "valid_")) and isinstance(value, float)
    }
    final = run.final
    counts = f"{final['examples']:,} examples, {final['updates']:,} updates, {final['seconds']:.1f} s of training"
    return f"{run.status}: {run.why}; {counts}\n" + "  ".join(f"{name} {value}" for name, value in shown.items())


def print_json(value: Any) -> None:
    print(json.dumps(record.plain(value), allow_nan=False))


def _rate(text: str, *, words: tuple[str, ...]) -> float | str | None:
    """A learning rate: None for "auto", the word itself for another one, else a positive number."""
    if text in words:
        return None if text == "auto" else text
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0 < rate < float("inf"):
        raise ArgumentError(
            must(
                "lr", f"be a positive number or {' or '.join(words)}", text, "a rate says how far to step", "--lr auto"
            )
        )
    return rate
