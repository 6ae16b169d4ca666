"""The papers Masters 2018, Shallue 2019, McCandlish 2018, You 2017: the rules of their verdicts, each cut short."""

from __future__ import annotations

import os
from types import SimpleNamespace

import masters2018
import mccandlish2018
import numpy as np
import pytest
import shallue2019
import you2017

from ladle.core.hyperbola import fit_hyperbola
from ladle.critical.definition import definitions

DATA = os.environ.get("LADLE_DATA")
PAPERS = [masters2018, shallue2019, mccandlish2018, you2017]

on_data = pytest.mark.skipif(not DATA, reason="LADLE_DATA does not name the folder of the data sets")


@on_data
@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("paper", PAPERS, ids=lambda paper: paper.__name__)
def test_a_paper_runs_draws_and_judges(paper, tmp_path, capsys):
    found = paper.main(["--quick", "--out", str(tmp_path)])
    said = capsys.readouterr().out
    assert (tmp_path / f"{paper.__name__}.png").stat().st_size < 150_000
    assert f"verdict: {found['verdict']}" in said
    assert all(claim in said for claim in found["checks"])


@on_data
@pytest.mark.slow
@pytest.mark.long
def test_the_noise_scale_of_mnist_is_that_of_the_paper():
    """About 900 there; 400 to 2,000 is the tolerance for another network and one seed."""
    noise = mccandlish2018.noise_along(mccandlish2018.normalised(mccandlish2018.mnist(DATA)), 1)
    assert 400 <= mccandlish2018.mean(noise["value"]) <= 2000
    assert np.isfinite(noise["high"]).sum() >= 10


@pytest.mark.parametrize("given", ["", "nowhere"], ids=["none", "missing"])
@pytest.mark.parametrize("paper", [masters2018, mccandlish2018, you2017], ids=lambda paper: paper.__name__)
def test_a_folder_without_the_data_is_one_line(paper, given, capsys):
    with pytest.raises(SystemExit) as ended:
        paper.main(["--data", given])
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert said.count("\n") == 1 and "try --data FOLDER, or LADLE_DATA=FOLDER" in said


def masters_map(widths: list[int], best: list[float]) -> np.ndarray:
    """Accuracies f64[6 rates, sizes, 3 seeds]: the first `widths` rates of a size give `best`, the others a tenth."""
    found = np.full((6, len(widths), 3), 0.1)
    for column, (width, accuracy) in enumerate(zip(widths, best, strict=True)):
        found[:width, column] = accuracy
    return found + np.array([-1e-3, 0.0, 1e-3])


@pytest.mark.parametrize(
    ("widths", "best", "expected"),
    [
        ([5, 4, 2, 1], [0.84, 0.84, 0.83, 0.70], [True] * 4),
        ([2, 2, 4, 4], [0.84, 0.84, 0.84, 0.85], [False] * 4),
        ([2, 2, 2, 2], [0.85, 0.84, 0.84, 0.84], [True, True, False, True]),
    ],
    ids=["as in the paper", "the other way", "no narrower"],
)
def test_masters_is_judged_by_accuracy_and_width(widths, best, expected):
    assert list(masters2018.judge(masters_map(widths, best), (2, 32, 64, 1024)).values()) == expected


def critical(steps: list[float | None], weight: float = 1.0) -> SimpleNamespace:
    sizes = [2.0**k for k in range(len(steps))]
    rows = tuple({"size": size, "steps": step} for size, step in zip(sizes, steps, strict=True))
    known = [(size, step) for size, step in zip(sizes, steps, strict=True) if step is not None]
    found = {one.name.split()[0]: one for one in definitions(fit_hyperbola(*zip(*known, strict=True)))}

    class Answer(SimpleNamespace):
        __getitem__ = staticmethod(found.__getitem__)

    return Answer(table=rows, facts={"weight": weight})


def hyperbola(critical_size: float, count: int = 11) -> list[float]:
    return [100 * (1 + critical_size / 2**k) * 1.001 ** (-1) ** k for k in range(count)]


def test_shallue_wants_all_three_regimes():
    assert all(shallue2019.judge(critical(hyperbola(35))).values())
    straight = list(shallue2019.judge(critical([1000.0 / 2**k for k in range(11)])).values())
    assert straight == [True, False, False, True]
    assert not list(shallue2019.judge(critical([*hyperbola(35), None])).values())[3]
    assert shallue2019.gains(np.array([1, 2, 4]), np.array([100.0, 50.0, 25.0])) == pytest.approx([1.0])


def test_mccandlish_wants_growth_and_a_larger_size_for_the_harder_target():
    grows, flat = np.geomspace(10, 3000, 12), np.full(12, 900.0)
    found = {0.9: critical(hyperbola(80)), 0.8: critical(hyperbola(20))}
    scales = {0.9: SimpleNamespace(value=70.0), 0.8: SimpleNamespace(value=30.0)}
    assert all(mccandlish2018.judge({"value": np.array([grows, grows])}, found, scales).values())
    swapped = {0.8: found[0.9], 0.9: critical(hyperbola(20), weight=0.5)}
    held = mccandlish2018.judge({"value": np.array([grows, flat])}, swapped, scales)
    assert list(held.values()) == [True, False, False, False, False]
    assert mccandlish2018.mean(np.array([1.0, np.inf, np.nan, 3.0])) == 2.0


def lars(momentum: float, rule: float, paper: float, optax: float) -> dict[str, dict[str, np.ndarray]]:
    """Accuracies at the large batch; all have 0.85 at the small one."""
    large = {"momentum": momentum, "lars_paper": paper, "lars": optax}
    seeds = np.array([-1e-3, 0.0, 1e-3])
    return {
        name: {"small": 0.85 + seeds, "large": value + seeds, "linear rule": rule + seeds}
        for name, value in large.items()
    }


def test_you_is_judged_by_what_is_lost_and_kept():
    assert all(you2017.judge(lars(0.80, 0.30, 0.845, 0.846)).values())
    assert list(you2017.judge(lars(0.845, 0.845, 0.80, 0.85)).values()) == [False, False, True, False]
