"""The recipes on texts, cut short: the figure moves as it should."""

from __future__ import annotations

import pytest
from on_data import on_data, recipe

from ladle.feed import Pad, PadNested


@on_data
@pytest.mark.slow
@pytest.mark.long
def test_shakespeare_is_learnt_beyond_pairs_of_characters(tmp_path, capsys):
    found = recipe("shakespeare").main(["--until", "2000 examples", "--out", str(tmp_path / "run")])
    assert found["valid"] < 2.45 < found["bigram"] < 2.55
    assert (tmp_path / "run" / "metrics.jsonl").is_file()
    assert "15,685 windows of 64 tokens" in capsys.readouterr().out


@on_data
@pytest.mark.slow
@pytest.mark.long
def test_sst2_is_learnt_and_buckets_leave_less_padding(tmp_path, monkeypatch):
    monkeypatch.setattr(recipe("sst2"), "PAD", Pad(rungs=(20, 28, 56)))  # Each rung is a program to compile.
    found = recipe("sst2").main(["--until", "1 epochs", "--out", str(tmp_path)])
    assert found["bucketed_padding"] < 0.4 < 0.5 < found["plain_padding"]
    assert all(found[f"{feed}_{part}"] > 0.65 for feed in ("plain", "bucketed") for part in ("dev", "test"))
    assert {path.name for path in tmp_path.iterdir()} == {"plain", "bucketed"}


@on_data
@pytest.mark.slow
@pytest.mark.long
def test_movie_reviews_are_learnt_from_the_compressed_tar(monkeypatch):
    monkeypatch.setattr(recipe("movie_reviews"), "PAD", PadNested(groups=(40, 144), rungs=(32,)))
    found = recipe("movie_reviews").main(["--until", "3 epochs"])
    assert found["accuracy"] > 0.7
    assert found["padding"] < 0.75 and 20_000 < found["tokens"] < 28_000


@on_data
@pytest.mark.slow
@pytest.mark.long
def test_what_recipes_are_held_against_is_fitted_on_the_same_parts():
    found = recipe("first_peers").main(["cora", "etth1", "sst2"])
    assert found["cora"]["words alone"] < 0.65 < 0.78 < found["cora"]["words within two citations"] < 0.85
    assert 0.29 < found["etth1"]["test MSE"] < 0.33 and 0.77 < found["sst2"]["dev"] < 0.82
