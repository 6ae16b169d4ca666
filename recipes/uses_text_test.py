"""The recipes on films, molecules, dust, French, buildings and news, cut short: the figure moves as it should."""

from __future__ import annotations

import forecast
import jax
import jax.numpy as jnp
import molecules
import numpy as np
import pytest
import recommend
import topics
import translate
import two_targets
from on_data import on_data


def test_a_row_that_only_fills_up_is_nobodys_negative():
    towers, key = recommend.Towers(np.eye(6, 3, dtype=np.float32), np.zeros(6, np.float32)), jax.random.key(1)
    params, loss = towers.init(jax.random.key(0)), jax.jit(towers.loss)
    x, films = jnp.array([[1, 2], [3, 0], [4, 5], [6, 1]]), (jnp.array([2, 3, 5, 0]), jnp.array([2, 3, 5, 1]))
    for counts, same in ((0.0, True), (1.0, False)):
        weight = jnp.array([1.0, 1.0, 1.0, counts])
        one, other = (loss(params, {"x": x, "y": y}, key, weight)[:3].tolist() for y in films)
        assert (one == other) is same


def test_edges_reach_their_own_molecule_and_padding_none():
    """A molecule's output is the same alone and beside a larger one, to rounding."""
    nodes = molecules.Sequences.of([np.eye(3, 20, dtype=np.float32), np.eye(9, 20, dtype=np.float32)], y=np.zeros(2))
    pairs = [np.array([[0, 1], [1, 0]]), np.array([[8, 0], [0, 8], [4, 5]])]
    edges = molecules.Sequences({"tokens": np.concatenate(pairs), "bond": np.array([1, 1, 2, 2, 3])}, [0, 2, 5])
    graphs, params = molecules.Graphs(nodes, edges), molecules.init(jax.random.key(0))
    found = []
    for ids in (np.array([0]), np.array([1, 0])):
        rows = molecules.PadGraphs()(graphs, ids, ids, molecules.PadGraphs().extent(graphs, ids, ids), real=len(ids))
        found.append(float(jax.jit(molecules.predict)(params, rows.data)[-1]))
    assert found[0] == pytest.approx(found[1], rel=1e-5) and found[0] != 0


@on_data
@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize(
    ("recipe", "until", "better"),
    [
        (recommend, "1 epochs", lambda found: found["recall"] > found["recent"]),
        (molecules, "2 epochs", lambda found: found["rmse"] < 1.8),
        (forecast, "1 epochs", lambda found: found["mae"] < 49.5),
        (translate, "1 epochs", lambda found: found["bleu"] > 2),
        (two_targets, "200 epochs", lambda found: max(found["rmse"]) < 2.5),
        (topics, "2 epochs", lambda found: found["accuracy"] > 0.84),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_short_run_is_on_its_way(recipe, until, better, capsys):
    assert better(recipe.main(["--until", until]))
    assert capsys.readouterr().out
