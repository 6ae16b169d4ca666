from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

import ladle
from ladle.api.assembly import Assembly, assemble
from ladle.api.recur import TRIAL_FILE, recur, remembered, sizes_from
from ladle.cli.main import run
from ladle.core.consumption import Consumption
from ladle.core.errors import ArgumentError
from ladle.core.record import read_json, write_json
from ladle.monitor.console import Quiet

UNTIL = "valid_loss <= 0.01, 20 epochs"


@dataclass
class FakeMeter:
    """Says every job took `joules`."""

    joules: float | None = 40.0
    source: Literal["measured", "modelled"] = "measured"
    measures: bool = True
    least_seconds: float = 0.0

    def start(self) -> None: ...

    def stop(self) -> Consumption:
        return Consumption(2.0, 1.0, self.joules, None if self.joules is None else self.source, "a fake")


def task(*, seed: int = 0, name: str = "plane", model: Any = None, **changes: Any) -> ladle.Task:
    """A linear regression that is exact: y = 2 x0 - x1 + 3, standardised."""
    x = np.random.default_rng(seed).standard_normal((50, 2)).astype(np.float32)
    data = ladle.data.arrays(x, 2 * x[:, 0] - x[:, 1] + 3.0, name=name)
    return ladle.Task(model or ladle.models.linear(2, 1), "mse", data, **{"optimizer": "sgd", "lr": 1.0, **changes})


@pytest.fixture(scope="module")
def plane() -> Assembly:
    return assemble(task())


def job(plane: Assembly, out: Path, **changes: Any):
    """`beta`: no limit that a job of milliseconds could pass on a busy machine."""
    how = {"until": UNTIL, "sizes": (4, 8), "default": 8, "cost": "joules", "beta": 1e6}
    return recur(plane, out, **{**how, **changes})


def test_the_folder_is_the_memory(plane: Assembly, tmp_path: Path):
    first = job(plane, tmp_path / "a", meter=FakeMeter())
    assert first.job.size == 8 and first.job.reached and first.run.folder == tmp_path / "a" / "001"
    second = job(plane, tmp_path / "a", meter=FakeMeter(30.0))
    assert second.job.size == 4 and second.job.reason == "round 1 of 2, walking down from 8"
    assert remembered(tmp_path / "a") == second.jobs == (*first.jobs, second.job)
    assert read_json(tmp_path / "a" / "002" / TRIAL_FILE)["energy"]["source"] == "measured"
    assert read_json(tmp_path / "a" / "002" / "run.json")["seed"] == 1, "every job has a seed of its own"
    assert str(second).splitlines()[1:] == [
        "    size  jobs  reached  median cost to the target, lowest to highest",
        "       4     1        1  30 J",
        "       8     1        1  40 J",
    ]


def test_a_target_that_is_not_reached_is_one_clear_line_and_a_miss(plane: Assembly, tmp_path: Path):
    done = job(plane, tmp_path, until="valid_loss <= 1e-12, 1 epochs", meter=FakeMeter())
    assert done.job.reached is False
    said = (
        "size 8: not converged: valid_loss <= 1e-12 not reached; the run ended: 1 epochs; cost 40 J, recorded as a miss"
    )
    assert done.outcome() == said
    assert remembered(tmp_path) == (done.job,)


def test_a_job_is_stopped_at_twice_the_cheapest_cost(plane: Assembly, tmp_path: Path):
    """The joules of earlier jobs say what a second costs; so much time is worth the limit."""
    first = job(plane, tmp_path, meter=FakeMeter(40.0))
    seconds = first.job.costs["seconds"]
    assert seconds is not None
    second = job(plane, tmp_path, meter=FakeMeter(40.0), beta=2.0)
    assert second.job.limit == pytest.approx(2 * seconds)
    limit = read_json(tmp_path / "002" / "run.json")["until"]
    assert str(second.job.limit)[:6] in str(limit)


def test_a_job_that_was_killed_is_not_remembered(plane: Assembly, tmp_path: Path):
    (tmp_path / "001").mkdir()
    done = job(plane, tmp_path, meter=FakeMeter())
    assert done.run.folder == tmp_path / "002" and done.jobs == (done.job,)


@dataclass
class Impatient(Quiet):
    """Somebody who presses Ctrl-C when the first window is shown."""

    def append(self, line: Mapping[str, Any]) -> None:
        if line["examples"]:
            signal.raise_signal(signal.SIGINT)


def test_an_interrupted_job_is_not_remembered(plane: Assembly, tmp_path: Path):
    with pytest.raises(KeyboardInterrupt):
        job(plane, tmp_path, meter=FakeMeter(), show=Impatient())
    assert read_json(tmp_path / "001" / "run.json")["status"] == "interrupted"
    assert remembered(tmp_path) == () and not (tmp_path / "001" / TRIAL_FILE).exists()


def test_seconds_and_cpu_seconds_are_of_training(plane: Assembly, tmp_path: Path):
    done = job(plane, tmp_path, cost="cpu_seconds", meter=FakeMeter(source="modelled", measures=False))
    assert done.job.costs["cpu_seconds"] > 0 and done.job.costs["seconds"] == done.run.final["seconds"]
    assert done.used.joules == 40.0 and done.job.costs["joules"] is None, "a model is no cost"


def test_what_is_compiled_is_compiled_before_energy_is_counted(tmp_path: Path, compilations: Counter[str]):
    @dataclass
    class Counting(FakeMeter):
        before: int = -1

        def start(self) -> None:
            self.before = compilations["_trace_window"]

    meter = Counting()
    job(assemble(task(lr=0.5)), tmp_path, meter=meter)
    assert meter.before == compilations["_trace_window"] > 0


def test_a_target_that_the_untrained_model_meets_is_refused(plane: Assembly, tmp_path: Path):
    with pytest.raises(ArgumentError, match="until must hold a target that takes an update; got 'valid_loss <= 100'"):
        job(plane, tmp_path, until="valid_loss <= 100, 20 epochs", meter=FakeMeter())
    assert remembered(tmp_path) == ()


def test_jobs_of_another_task_are_another_folder(plane: Assembly, tmp_path: Path):
    told = job(plane, tmp_path, meter=FakeMeter()).job.task
    assert told == {"data": "plane", "model": plane.objective.name, "optimizer": "sgd", "lr": 1.0}
    for other, said in (
        (task(optimizer="adam"), r"optimizer must be that of the folder's jobs; got 'adam'; because .*001 was .*'sgd'"),
        (task(lr=0.5), "lr must be that of the folder's jobs; got 0.5"),
        (task(name="line"), "data must be that of the folder's jobs; got 'line'"),
        (task(model=ladle.models.mlp(2, 4, 1)), "model must be that of the folder's jobs"),
    ):
        with pytest.raises(ArgumentError, match=said):
            job(assemble(other), tmp_path, meter=FakeMeter())
    assert job(assemble(task(seed=1)), tmp_path, meter=FakeMeter()).job.size == 4, "new rows are the next job"
    old = read_json(tmp_path / "001" / TRIAL_FILE)
    write_json(tmp_path / "001" / TRIAL_FILE, {name: value for name, value in old.items() if name != "task"})
    assert len(remembered(tmp_path, task=told)) == 2, "a trial that does not say is taken for one of this task"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"until": "20 epochs"}, "until must hold a target"),
        ({"until": "valid_loss <= 0.01"}, "until must hold a bound"),
        ({"until": "valid_acuracy >= 0.9, 1 epochs"}, "until must have a target that is measured; got 'valid_acuracy'"),
        ({"sizes": "8,x"}, "sizes must name batch sizes"),
        ({"sizes": "9..15"}, "sizes must name batch sizes"),
        ({"sizes": "0"}, "sizes must name batch sizes"),
        ({"sizes": "8..4096"}, "sizes must be at most the 40 training examples; got 64; .* try sizes='1..40'"),
        ({"sizes": ()}, "sizes must be different and ascending"),
        ({"sizes": (0, 4)}, "sizes must be at least 1"),
        ({"seed": -1}, "seed must be a whole number from 0"),
        ({"default": 5}, "default must be one of the sizes"),
        ({"cost": "money"}, "cost must be one of seconds, cpu_seconds, joules"),
        ({"meter": FakeMeter(measures=False)}, "cost must be one that is measured here"),
    ],
)
def test_what_cannot_be_right_is_refused_before_a_folder_is_made(
    plane: Assembly, tmp_path: Path, wrong: Any, said: str
):
    with pytest.raises(ArgumentError, match=said):
        job(plane, tmp_path / "a", **{"meter": FakeMeter(), **wrong})
    assert not (tmp_path / "a").exists()


def test_jobs_with_another_target_are_another_folder(plane: Assembly, tmp_path: Path):
    (tmp_path / "001").mkdir()
    trial = {"size": 8, "reached": True, "costs": {"seconds": 1.0}, "target": "x <= 1", "why": "", "reason": ""}
    write_json(tmp_path / "001" / TRIAL_FILE, trial)
    with pytest.raises(ArgumentError, match="until must hold the target of the folder's jobs"):
        job(plane, tmp_path, meter=FakeMeter())
    for wrong in ("[]", "{}", '{"size": 8, "reached": true, "costs": 3}'):
        (tmp_path / "001" / TRIAL_FILE).write_text(wrong)
        with pytest.raises(ArgumentError, match=r"out must hold jobs of `ladle recur`; got .*001.trial.json"):
            job(plane, tmp_path, meter=FakeMeter())
    (tmp_path / "001" / TRIAL_FILE).write_text("{")
    with pytest.raises(ArgumentError, match="hold a readable run"):
        job(plane, tmp_path, meter=FakeMeter())


def test_sizes_are_ranges_or_lists():
    assert sizes_from("16..512") == (16, 32, 64, 128, 256, 512)
    assert sizes_from("64,16,16") == (16, 64)


def test_the_command_runs_one_job(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "memory"
    given = ["recur", "digits", "--sizes", "64", "--until", "valid_accuracy >= 0.5, 5 epochs", "--out", str(out)]
    assert run(given) == 0
    said = capsys.readouterr().out
    assert "size 64: round 1 of 2, walking down from 64" in said and "target reached" in said
    assert (out / "001" / TRIAL_FILE).exists()
    assert run([*given[:4], "--until", "3 epochs", "--out", str(out)]) == 2
    assert "until must hold a target" in capsys.readouterr().err
    missed = [*given[:4], "--until", "valid_accuracy >= 1, 1 epochs", "--out", str(tmp_path / "other")]
    assert run(missed) == 1
    assert "not converged: valid_accuracy >= 1 not reached" in capsys.readouterr().out
