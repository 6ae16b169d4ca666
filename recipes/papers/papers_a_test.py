"""The papers Bottou 2010, Keskar 2017, Goyal 2017 and Smith 2017: the rules of their verdicts, and each cut short."""

from __future__ import annotations

import math
import os

import bottou2010
import goyal2017
import jax.numpy as jnp
import keskar2017
import numpy as np
import pytest
import smith2017

DATA = os.environ.get("LADLE_DATA")
PAPERS = [bottou2010, keskar2017, goyal2017, smith2017]


@pytest.mark.skipif(not DATA, reason="LADLE_DATA does not name the folder of the data sets")
@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("paper", PAPERS, ids=lambda paper: paper.__name__)
def test_a_paper_runs_draws_and_judges(paper, tmp_path, capsys):
    found = paper.main(["--quick", "--out", str(tmp_path)])
    said = capsys.readouterr().out
    assert (tmp_path / f"{paper.__name__}.png").stat().st_size < 150_000
    assert f"verdict: {found['verdict']}" in said
    assert all(claim in said for claim in found["checks"])


@pytest.mark.parametrize("given", ["", "nowhere"], ids=["none", "missing"])
@pytest.mark.parametrize("paper", PAPERS, ids=lambda paper: paper.__name__)
def test_a_folder_without_the_data_is_one_line(paper, given, capsys):
    with pytest.raises(SystemExit) as ended:
        paper.main(["--data", given])
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert said.count("\n") == 1 and "try --data FOLDER, or LADLE_DATA=FOLDER" in said


def test_a_target_is_reached_at_the_first_place_below_it_or_never():
    curve = {"test_error": np.array([0.5, 0.1, 0.2]), "passes": np.array([1.0, 2.0, 3.0])}
    assert bottou2010.arrival(curve, 0.2, "passes") == 2.0
    assert bottou2010.arrival(curve, 0.05, "passes") == math.inf


def test_the_box_of_a_linear_model_is_climbed_to_its_corner(monkeypatch):
    slopes, params = jnp.array([2.0, -3.0]), jnp.array([1.0, 0.0])
    monkeypatch.setattr(keskar2017, "loss", lambda x, rows: 5 + slopes @ x)
    half = 1e-3 * (np.abs(params) + 1)
    expected = 100 * float(np.abs(slopes) @ half) / (1 + 7)
    assert keskar2017.box_sharpness(params, None, 1e-3) == pytest.approx(expected, rel=1e-3)


def test_goyal_is_reproduced_where_warmup_helps_up_to_a_size():
    same = {(4, False): True, (4, True): True, (16, False): False, (16, True): True, (64, False): False}
    assert all(goyal2017.judge({**same, (64, True): False}).values())
    assert list(goyal2017.judge({**same, (64, True): True}).values()) == [True, True, False]
    assert not any(list(goyal2017.judge({key: False for key in same}).values())[:2])


@pytest.mark.parametrize(
    "paper",
    [goyal2017.coincide, lambda found, base: smith2017.compared(found, base, 3)["same"]],
    ids=["goyal", "smith"],
)
def test_curves_that_differ_in_either_direction_are_not_the_same(paper):
    def curve(factor: float, more: float) -> dict[str, np.ndarray]:
        loss = factor * np.linspace(1, 0.5, 5) * np.ones((2, 1))
        return {"updates": np.ones((2, 5)), "loss": loss, "error": np.full((2, 5), 0.1 + more)}

    def same(found: dict[str, np.ndarray]) -> bool:
        answer = paper(found, curve(1.0, 0.0))
        return answer[0] if isinstance(answer, tuple) else answer

    assert same(curve(1.05, 0.004)) and same(curve(0.95, -0.004))
    assert not same(curve(1.2, 0.0)) and not same(curve(0.8, 0.0))
    assert not same(curve(1.0, 0.01)) and not same(curve(1.0, -0.01))
    assert not same(curve(math.nan, math.nan))
