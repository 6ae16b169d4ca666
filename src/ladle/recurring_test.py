from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ladle
from ladle.assembly import Assembly, assemble
from ladle.cli import run
from ladle.consumption import Consumption
from ladle.errors import ArgumentError
from ladle.record import read_json, write_json
from ladle.recurring import TRIAL_FILE, recur, remembered, sizes_from

UNTIL = "valid_loss <= 0.01, 20 epochs"


@dataclass
class FakeMeter:
    """Says every job took `joules`."""

    joules: float | None = 40.0
    measures: bool = True
    least_seconds: float = 0.0

    def start(self) -> None: ...

    def stop(self) -> Consumption:
        return Consumption(2.0, 1.0, self.joules, None if self.joules is None else "measured", "a fake")


@pytest.fixture(scope="module")
def plane() -> Assembly:
    """A linear regression that is exact: y = 2 x0 - x1 + 3, standardised."""
    x = np.random.default_rng(0).standard_normal((50, 2)).astype(np.float32)
    data = ladle.data.arrays(x, 2 * x[:, 0] - x[:, 1] + 3.0, name="plane")
    return assemble(ladle.Task(ladle.models.linear(2, 1), "mse", data, optimizer="sgd", lr=1.0))


def job(plane: Assembly, out: Path, **changes: Any):
    return recur(plane, out, **{"until": UNTIL, "sizes": (4, 8), "default": 8, "cost": "joules", **changes})


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
    second = job(plane, tmp_path, meter=FakeMeter(40.0))
    assert second.job.limit == pytest.approx(2 * seconds)
    limit = read_json(tmp_path / "002" / "run.json")["until"]
    assert str(second.job.limit)[:6] in str(limit)


def test_a_job_that_was_killed_is_not_remembered(plane: Assembly, tmp_path: Path):
    (tmp_path / "001").mkdir()
    done = job(plane, tmp_path, meter=FakeMeter())
    assert done.run.folder == tmp_path / "002" and done.jobs == (done.job,)


def test_seconds_and_cpu_seconds_are_of_training(plane: Assembly, tmp_path: Path):
    done = job(plane, tmp_path, cost="cpu_seconds")
    assert done.job.costs["cpu_seconds"] > 0 and done.job.costs["seconds"] == done.run.final["seconds"]
    assert done.job.costs["joules"] is None or done.used.source == "measured"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"until": "20 epochs"}, "until must hold a target"),
        ({"until": "valid_loss <= 0.01"}, "until must hold a bound"),
        ({"until": "valid_acuracy >= 0.9, 1 epochs"}, "until must name a measured metric; got 'valid_acuracy'"),
        ({"sizes": "8,x"}, "sizes must name batch sizes"),
        ({"sizes": "9..15"}, "sizes must name batch sizes"),
        ({"sizes": "0"}, "sizes must name batch sizes"),
        ({"sizes": "8..4096"}, "size must be"),
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
