"""`ladle rehearse` from the command line: what it prints, writes, and says of what cannot be."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from ladle.api.rehearse import Setting, rehearse_texts, set_up
from ladle.cli.main import run
from ladle.core.plan import Evidence, Plan
from ladle.core.record import read_json, write_json
from ladle.policy.forms import EXAMPLES
from ladle.quadratic.noisy_quadratic import NoisyQuadratic
from ladle.quadratic.referee import Ranking

SMALL = ["--dimension", "30", "--noise-scale", "50", "--window", "500"]
FIXED = [*SMALL, "--lr", "0.3"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def plan_file(folder: Path, *, line: bool = True, verdict: str = "resolved") -> Path:
    numbers = [
        Evidence("fixed_seconds", 0.004, "s/update", "measured", "line"),
        Evidence("per_example_seconds", 2e-5, "s/example", "measured", "line"),
    ]
    from ladle.core.noise import NoiseScale

    noise = NoiseScale(60.0, 50.0, 70.0, verdict)  # type: ignore[arg-type]
    plan = Plan(32, 32, 0.1, "optimum", (20, 50), noise, evidence=tuple(numbers) if line else ())
    path = folder / "planned" / "plan.json"
    path.parent.mkdir()
    write_json(path, {**plan.to_json(), "task": {"data": "digits"}})
    return path


def test_a_policy_beside_the_constants(capsys: pytest.CaptureFixture[str]):
    assert run(["rehearse", "0:16 3000:64", *SMALL, "--against", "constant", "--size", "32", "--out", "r"]) == 0
    out = capsys.readouterr().out
    assert "gradient noise scale at the start: 50 examples (given)" in out
    assert "an update takes 0.001 s + 5e-06 s x size (assumed)" in out
    lines = out.splitlines()
    assert {"0:16 3000:64", "constant", "constant 1", "constant 16,384"} <= {line.partition("  ")[0] for line in lines}
    assert sum("(best)" in line for line in lines) == 1
    assert "0:16 3000:64: 1 changes of size" in lines
    assert any("batch size 16 -> 64, learning rate x1 -> x4 at 3," in line for line in lines)
    assert Path("r/rehearsal.png").read_bytes().startswith(b"\x89PNG")
    made = read_json(Path("r/rehearsal.json"))
    assert made["by"] == "seconds" and made["setting"]["size"] == 32


def test_json_is_one_object(capsys: pytest.CaptureFixture[str]):
    assert run(["rehearse", "grow 16 x2 at 1000 2000 max 64", *FIXED, "--until", "300 steps", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    first = made["rows"][0]
    assert (first["name"], first["steps"], first["status"]) == ("grow 16 x2 at 1000 2000 max 64", 300, "ended")
    assert first["examples"] == sum(window["steps"] * window["size"] for window in first["windows"])
    assert made["by"] == "loss"
    assert made["against_best"][first["name"]]["loss"] == pytest.approx(
        first["loss"] / min(r["loss"] for r in made["rows"][1:])
    )
    assert Path(made["folder"]) == Path("runs/rehearse-grow-1")


def test_the_loss_is_that_of_the_recursion():
    scene = set_up(Setting(size=16, until="250 steps", noise_scale=50, dimension=30, momentum=0.5))
    quadratic = NoisyQuadratic.power_law(30, noise_scale=50, loss=1)
    expected = quadratic.after(quadratic.begin(), size=16, rate=0.1, steps=250, momentum=0.5)
    (row,) = rehearse_texts(["constant"], scene, lr=0.1).made.policies
    assert row.loss == pytest.approx(quadratic.loss(expected), rel=1e-9)
    assert row.seconds == pytest.approx(250 * (1e-3 + 16 * 5e-6))


@pytest.mark.parametrize("text", EXAMPLES)
def test_every_kind_of_policy_can_be_rehearsed(text: str):
    scene = set_up(Setting(until="20000 examples", noise_scale=50, dimension=10, epoch=1000, window=500))
    policies = rehearse_texts([text], scene, lr=0.02).made.policies
    run = policies[0].run
    assert run and run.status == "ended" and run.examples >= 20_000
    assert 0 < run.loss < 1


SECONDS = {
    "0:64 10ep:128": 1.26,
    "constant": 1.56,
    "geometric 32..1024 x2 every 2 epochs": 1.66,
    "grow 64 x5 at 10ep 20ep max 2048": 0.98,
    "warmup 8->64 over 1ep": 1.66,
    "seesaw 64 x2 at 10ep 20ep max 2048": 0.99,
    "late 64->1024 at 80ep": 1.56,
    "measured 64..1024 0:100 1e6:400": 1.56,
    "noise 32..1024": 1.07,
    "norm test 0.5 32..1024": 1.66,
    "inner product 0.9 32..1024": 1.77,
    "cabs 16..2048": 1.17,
    "adascale 32->256": 0.88,
    "goodput 32..1024": 1.07,
    "divebatch 0.5 32..1024": 1.18,
    "adadagrad 0.25 32..1024": 0.78,
    "plateau 64 x2 patience 3 max 1024": 1.56,
    "utilisation 32..1024": 1.71,
    "noise 32..1024, retreat 0.9": 1.07,
}
"""Seconds to the target over those of the best constant size, as measured. A constant 32 has 2.6, 1024 has 1.7.

The run is over before late, measured and plateau change anything: they are the constant 64. The size of CABS follows
its rate, so it has the rate that is tuned, not the one of its example.
"""


@pytest.fixture(scope="module")
def refereed() -> Ranking:
    """Every kind of policy to a loss of 0.05, where 256 is the best constant size. Exact, so the same everywhere."""
    numbers = {"noise_scale": 20, "dimension": 100, "epoch": 500, "window": 500}
    scene = set_up(Setting(until="loss <= 0.05, 1e5 steps", rule="square root", **numbers))
    return rehearse_texts([text.partition(" lr ")[0] for text in EXAMPLES], scene).made


@pytest.mark.parametrize("text", [text.partition(" lr ")[0] for text in EXAMPLES])
def test_the_referee_of_all_policies(text: str, refereed: Ranking):
    assert refereed.best.name == "constant 256"
    assert refereed.ratio(text, "seconds") < 1.25 * SECONDS[text]


def test_plateau_gets_below_the_floor_of_its_first_size():
    """A constant 64 at this rate never does. 15 times the best constant: exact losses get better to the last bit."""
    numbers = {"noise_scale": 20, "dimension": 10, "epoch": 500, "window": 500}
    scene = set_up(Setting(size=64, until="loss <= 0.02, 1e4 steps", rule="square root", **numbers))
    made = rehearse_texts(["plateau 64 x2 patience 3 max 1024", "constant"], scene, lr=0.3).made
    assert made.ratio("constant", "seconds") == math.inf
    assert made.ratio("plateau 64 x2 patience 3 max 1024", "seconds") < 20


def test_a_policy_that_rests_on_the_rate_is_made_for_each():
    """CABS: size = rate * tr Sigma / loss."""
    scene = set_up(Setting(until="20000 examples", noise_scale=50, dimension=10, window=500))
    made = rehearse_texts(["cabs 1..4096"], scene).made.policies[0]
    assert made.run and made.run.windows[-1].size > 1
    slow = rehearse_texts(["cabs 1..4096"], scene, lr=made.lr / 100).made.policies[0].run
    assert slow and slow.windows[-1].size < made.run.windows[-1].size


def test_a_plan_gives_line_noise_and_size(folder: Path):
    path = plan_file(folder)
    for given in (path, path.parent):
        scene = set_up(Setting(plan=given))
        assert f"gradient noise scale at the start: 60 examples (measured: {given})" in scene.facts
        assert f"an update takes 0.004 s + 2e-05 s x size (measured: {given})" in scene.facts
        assert scene.size == 32
    assert set_up(Setting(plan=path, fixed_seconds=1.0)).line.seconds(1) == pytest.approx(1.00002)


def test_a_rate_too_high_is_said_to_diverge():
    outcome = rehearse_texts(["constant"], set_up(Setting(size=8, noise_scale=50, dimension=30)), lr=5.0)
    (said,) = outcome.failed
    assert said.startswith("constant: diverged: expected loss without bound after")
    assert said.endswith("at rate 5, size 8; rates of 2 and more have no bound there; try a smaller lr")
    assert "diverges" in str(outcome)


def test_an_unresolved_noise_scale_of_a_plan_is_not_used(folder: Path):
    scene = set_up(Setting(plan=plan_file(folder, verdict="lower bound only")))
    assert "800 examples (assumed)" in scene.facts[1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["grow 64 by 2"], "schedule must say how the batch size goes; got 'grow 64 by 2'"),
        (["constant", "--lr", "0"], "lr must be a positive number"),
        (["constant", "--noise-scale", "-3"], "noise-scale must be positive; got -3.0"),
        (["constant", "--dimension", "0"], "the spectrum must have a dimension"),
        (["constant", "--momentum", "1"], "momentum must lie in [0, 1)"),
        (["constant", "--until", "loss <= 1e-12, 100 steps"], "target must be within reach; got 'loss <= 1e-12'"),
        (["constant", "--until", "valid_accuracy >= 0.9"], "until must hold bounds, and a target on loss or none"),
        (["constant", "--until", "soon"], "until must be a bound, a target or a patience; got 'soon'"),
        (["constant", "--fixed-seconds", "-1"], "fixed-seconds must be at least 0"),
        (["constant", "--fixed-seconds", "0", "--per-example-seconds", "0"], "the hardware line must be above 0"),
        (
            ["constant", "--plan", "nowhere"],
            "plan must be a plan.json or its folder; got 'nowhere'; because nowhere is missing",
        ),
        (["constant", "--plan", "."], "plan must be a plan.json or its folder; got '.'; because plan.json is missing"),
        (["constant", "--micro-steps", "8", "--seed", "-1"], "seed must be a whole number from 0 to 2**64 - 1; got -1"),
        (["constant", "--until", "loss <= 1.5"], "target must be below the first loss of 1; got 'loss <= 1.5'"),
        (["constant", "--micro-steps", "1"], "micro-steps must be 0 (exact) or at least 2"),
        (["constant", "--window", "0"], "window must be at least 1"),
        (["constant", "--size", "-8"], "size must be at least 1"),
        (["constant", "--siez", "8"], "option must be one of ladle rehearse"),
    ],
)
def test_what_cannot_be_is_one_line_and_exit_2(words: list[str], said: str, capsys: pytest.CaptureFixture[str]):
    assert run(["rehearse", *words]) == 2
    error = capsys.readouterr().err
    assert error.startswith("ladle: " + said) and error.count("\n") == 1


def test_a_policy_that_does_not_get_there_is_a_run_that_failed(capsys: pytest.CaptureFixture[str]):
    slow = ["rehearse", "constant", *SMALL, "--size", "1", "--lr", "1e-6", "--until", "loss <= 0.2, 4000 steps"]
    assert run(slow) == 1
    said = capsys.readouterr()
    assert said.err.startswith("ladle: constant: target not reached: loss <= 0.2; the loss is 0.9")
    assert said.err.endswith("after 4,000 steps; try more steps\n") and "not within 4,000 updates" in said.out


def test_a_target_alone_is_given_a_number_of_updates_that_is_told():
    scene = set_up(Setting(until="loss <= 0.3"))
    assert scene.until.updates == 1_000_000
    assert "soonest at: loss <= 0.3, within 1,000,000 updates; rates: the best of each where not given" in scene.facts
    assert not any("within" in fact for fact in set_up(Setting(until="loss <= 0.3, 500 steps")).facts)


def test_a_plan_without_a_line_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert run(["rehearse", "constant", "--plan", str(plan_file(folder, line=False))]) == 2
    assert "plan must hold a measured hardware line" in capsys.readouterr().err
    Path("other.json").write_text('{"size": 3}')
    assert run(["rehearse", "constant", "--plan", "other.json"]) == 2
    assert "plan must be a plan.json or its folder" in capsys.readouterr().err


def test_a_folder_with_results_is_not_written_over(capsys: pytest.CaptureFixture[str]):
    Path("r").mkdir()
    Path("r/x").write_text("mine")
    assert run(["rehearse", "constant", *FIXED, "--until", "10 steps", "--out", "r"]) == 2
    assert "out must be a new folder" in capsys.readouterr().err
