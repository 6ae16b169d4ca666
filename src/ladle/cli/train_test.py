"""`ladle train` with a schedule: what a later sitting goes on with, and what is refused before any work."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest

from ladle.cli.main import run
from ladle.core.record import METRICS_FILE, RUN_FILE, read_json, read_lines

LINEAR = "train digits --model linear --optimizer sgd --quiet"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def trained(command: str) -> list[dict[str, Any]]:
    """The windows that are in the record of the folder "run" now."""
    assert run(shlex.split(command)) == 0
    return [line for line in read_lines(Path("run") / METRICS_FILE) if "size" in line]


def test_a_policy_goes_on_from_the_size_and_the_rate_that_a_run_of_one_size_left() -> None:
    trained(f"{LINEAR} --size 256 --lr 0.4 --until '1 epochs' --out run")
    line = trained("train --resume run --schedule 'noise 16..512' --until '2 epochs' --quiet")[-1]
    assert (line["size"], line["lr"]) == (256, pytest.approx(0.4))
    assert "reason" not in line
    assert read_json(Path("run") / RUN_FILE)["optimizer"]["lr"] == pytest.approx(0.025), "the rate at 16"


def test_another_schedule_takes_the_rate_by_the_rule_to_its_first_size_and_back() -> None:
    before = trained(f"{LINEAR} --schedule '0:32 1ep:64' --lr 0.05 --until '2 epochs' --out run")
    assert [(line["size"], line["lr"]) for line in before] == [(32, pytest.approx(0.05)), (64, pytest.approx(0.1))]
    line = trained("train --resume run --schedule 0:128 --until '3 epochs' --quiet")[-1]
    assert (line["size"], line["lr"]) == (128, pytest.approx(0.2))
    assert line["reason"].startswith("batch size 64 -> 128, learning rate x0.5 -> x1 at ")
    line = trained("train --resume run --size 32 --until '4 epochs' --quiet")[-1]
    assert (line["size"], line["lr"]) == (32, pytest.approx(0.05))


def test_constants_follow_the_rule_into_the_next_schedule() -> None:
    command = "train digits --model linear --schedule 0:32 --rule half-life --until '1 epochs' --out run --quiet"
    (line,) = trained(command)
    assert line["hyper"]["b2"] == pytest.approx(0.999)
    line = trained("train --resume run --schedule '0:64 3ep:128' --until '2 epochs' --quiet")[-1]
    assert line["hyper"]["b2"] == pytest.approx(0.999**2)
    assert line["lr"] == pytest.approx(1e-3), "that of 64; the first sitting had it by sqrt(1/2)"


def test_what_a_rule_warns_of_is_kept() -> None:
    trained("train digits --model linear --schedule '0:8 3ep:512' --rule linear --until '1 epochs' --out run --quiet")
    said = read_json(Path("run") / RUN_FILE)["warnings"]
    assert "made for SGD; steps of adam do not grow" in said[0] and "carried over a factor of 64" in said[-1]


def test_a_limit_above_the_pass_is_the_pass_and_the_rate_that_of_a_real_batch() -> None:
    """A decay by 25 that the size takes up to 1438 / 64 of, and the rate the rest."""
    line = trained(f"{LINEAR} --schedule 'grow 64 x25 at 1ep max 2048' --lr 0.1 --until '2 epochs' --out run")[-1]
    assert (line["size"], line["lr"]) == (1438, pytest.approx(0.1 * 1438 / 1600))
    assert read_json(Path("run") / RUN_FILE)["warnings"] == ["Sizes end at the 1,438 examples of a pass."]


def test_a_schedule_of_one_size_has_a_size_given() -> None:
    line = trained(f"{LINEAR} --size 48 --schedule 'constant, retreat 0.9' --until '1 epochs' --out run")[-1]
    assert line["size"] == 48
    assert trained("train --resume run --schedule constant --until '2 epochs' --quiet")[-1]["size"] == 48


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--schedule '0:64 1ep:4096'", "policy must go no further than the 1,438 training examples; got 4096"),
        ("--schedule 'warmup 8->2048 over 1ep'", "no further than the 1,438 training examples; got 2048"),
        ("--schedule 'utilisation 1500..2048'", "policy must go no further than the 1,438 training examples; got 1500"),
        ("--schedule 'utilisation 32..1024' --rule sde --optimizer adam", "kappa * (1 - b1) must be below 1"),
        ("--schedule '0:64' --size 256", "size must be left out with a schedule; got 256"),
        ("--rule linear --size 64", "rule must come with a schedule; got 'linear'"),
        ("--schedule 'plateau 8 x2 patience 1 max 64 on valid_acc'", "metric must be measured; got 'valid_acc'"),
        ("--schedule 'plateau 8 x2 patience 1 max 64' --valid 0", "because no rows are kept for validation"),
        ("--schedule 'cabs 8..64 lr 10' --lr 0.1", "lr of the policy must be the run's, 0.1; got 10.0"),
        *(
            (f"--schedule '{text}' --rule linear", "rule must be left out with it, or none; got 'linear'")
            for text in (
                "seesaw 64 x2 at 1ep max 128",
                "grow 64 x2 at 1ep max 128",
                "late 64->128 at 1ep",
                "plateau 64 x2 patience 3 max 128",
                "cabs 16..128",
                "adascale 32->64",
                "adadagrad 32..64",
                "plateau 64 x2 patience 3 max 128, retreat",
            )
        ),
        ("--size 64 --schedule constant --rule linear", "rule must be left out with it, or none"),
    ],
)
def test_a_schedule_that_cannot_be_followed_is_refused_before_work(
    words: str, said: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = f"train digits --model linear --out run {words}"
    assert run(shlex.split(command if "--optimizer" in command else f"{command} --optimizer sgd")) == 2
    assert said in capsys.readouterr().err
    assert not list(folder.iterdir())


def test_with_resume_what_a_run_began_with_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    trained(f"{LINEAR} --size 64 --until '1 epochs' --out run")
    for words, said in (
        ("--lr 0.1", "--lr must be left out with --resume"),
        ("--lr-schedule cosine", "--lr-schedule must be left out with --resume"),
        ("--optimizer sgd", "--optimizer must be left out with --resume"),
        ("--rule linear", "rule must come with --size or --schedule"),
    ):
        assert run(shlex.split(f"train --resume run {words}")) == 2
        assert said in capsys.readouterr().err
