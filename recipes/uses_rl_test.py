"""The agents, the circuit and the spiking network, cut short: they learn, and what cannot be is one line."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from on_data import on_data, recipe


@pytest.fixture
def gymnasium():
    return pytest.importorskip("gymnasium")


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize(("name", "until"), [("cartpole_ppo", "160 epochs"), ("cartpole_dqn", "8000 steps")])
def test_agents_last_longer_than_chance(name, until, gymnasium, tmp_path):
    found = recipe(name).main(["--until", until, "--out", str(tmp_path / "run")])
    assert found["return"] > 60  # At random it is about 22.
    lines = found["run"].metrics
    assert lines[-1]["steps"] == found["steps"] and lines[-1]["mean_return"] > lines[1]["mean_return"]
    assert (tmp_path / "run" / "metrics.jsonl").is_file()


@pytest.mark.parametrize("name", ["cartpole_ppo", "cartpole_dqn"])
@pytest.mark.parametrize("env", ["Nowhere-v9", "CartPole-v77", "Pendulum-v1", "module_that_is_not:X-v0"])
def test_an_environment_that_is_not_is_one_line(name, env, gymnasium, capsys):
    with pytest.raises(SystemExit) as ended:
        recipe(name).main(["--env", env])
    error = capsys.readouterr().err
    assert ended.value.code == 2 and error.count("\n") == 1
    assert error.startswith(f"{name}.py: env must be an environment of gymnasium") and repr(env) in error


def test_advantages_against_their_definition(gymnasium):
    """sum of (discount trace)^k surprise_(t+k), up to the end of the episode, to mean 0 and spread 1."""
    ppo = recipe("cartpole_ppo")
    rng, steps = np.random.default_rng(0), 20
    shape = steps, ppo.ACTORS
    rows = {name: rng.standard_normal(shape) for name in ("x", "action", "chance", "value", "reward")}
    rows["ended"] = (rng.random(shape) < 0.1).astype(float)
    rows["cut"] = (rng.random(shape) < 0.1).astype(float)
    after = rng.standard_normal(shape)
    found = ppo.advantages(rows, after)
    raw = np.zeros(shape)
    for t, n in np.ndindex(*shape):
        share = 1.0
        for k in range(t, steps):
            goes_on = 1 - rows["ended"][k, n]
            raw[t, n] += share * (rows["reward"][k, n] + ppo.DISCOUNT * goes_on * after[k, n] - rows["value"][k, n])
            if rows["ended"][k, n] or rows["cut"][k, n]:
                break
            share *= ppo.DISCOUNT * ppo.TRACE
    np.testing.assert_allclose(found["aim"], raw + rows["value"])
    np.testing.assert_allclose(found["advantage"], (raw - raw.mean()) / raw.std(), atol=1e-6)


def test_actors_begin_again_where_an_episode_ends(gymnasium):
    cartpole = recipe("cartpole")
    actors, falls = cartpole.Actors("CartPole-v1", 3, seed=0), 0
    for _ in range(60):
        seen = actors.seen
        rows = actors.step(np.zeros(3, int))
        np.testing.assert_array_equal(rows["x"], seen)
        over = rows["ended"] > 0
        falls += over.sum()
        assert (np.abs(actors.seen[over]) <= 0.05).all()  # Where CartPole begins.
        np.testing.assert_array_equal(actors.seen[~over], rows["after"][~over])
    assert falls == len(actors.returns) > 10 and 8 < np.mean(actors.returns) < 12


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--wires", "40"], "wires must be at most"),
        (["--wires", "4000"], "wires must be at most"),
        (["--wires", "1"], "wires must be at least 3; got 1"),
        (["--layers", "0"], "layers must be at least 1; got 0"),
    ],
)
def test_a_circuit_that_cannot_be_is_one_line(given, said, capsys):
    with pytest.raises(SystemExit) as ended:
        recipe("quantum").main(given)
    error = capsys.readouterr().err
    assert ended.value.code == 2 and error.count("\n") == 1 and error.startswith(f"quantum.py: {said}")


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.filterwarnings("ignore")  # PennyLane uses what JAX and NumPy advise against.
def test_the_circuit_is_ahead_of_a_linear_model():
    pytest.importorskip("pennylane")
    found = recipe("quantum").main(["--until", "8 epochs"])
    assert found["accuracy"] > found["linear"] + 0.03


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.filterwarnings("ignore")  # PennyLane uses what JAX and NumPy advise against.
def test_the_circuit_is_that_of_matrices():
    """Against products of matrices of 2**wires rows, in NumPy."""
    pytest.importorskip("pennylane")
    wires, layers, rng = 3, 2, np.random.default_rng(0)
    by, start = rng.standard_normal((2, layers, 2, wires)).astype(np.float32)
    x = rng.standard_normal(wires).astype(np.float32)
    found = recipe("quantum").circuit_of(wires)({"by": by, "from": start}, x)
    state = np.eye(8)[0].astype(complex)
    for turns in by * x + start:
        for wire in range(wires):
            half, phase = turns[0, wire] / 2, np.exp(0.5j * turns[1, wire])
            turn = np.array([[np.cos(half), -np.sin(half)], [np.sin(half), np.cos(half)]])
            gate = np.diag([1 / phase, phase]) @ turn
            state = np.kron(np.kron(np.eye(2**wire), gate), np.eye(2 ** (wires - wire - 1))) @ state
        bits = (np.arange(8)[:, None] >> np.arange(wires)[::-1]) & 1
        for wire in range(wires):
            state = state * (1 - 2 * bits[:, wire] * bits[:, (wire + 1) % wires])
    np.testing.assert_allclose(found, (np.abs(state) ** 2) @ (1 - 2 * bits), atol=1e-5)


def test_units_fire_by_their_threshold_and_let_a_gradient_through():
    fires = recipe("spiking").fires
    above = np.array([-2.0, -0.1, 0.0, 0.1, 2.0], np.float32)
    assert fires(above).tolist() == [0, 0, 0, 1, 1]
    slopes = jax.vmap(jax.grad(fires))(above)
    np.testing.assert_allclose(slopes, 1 / (1 + 10 * np.abs(above)) ** 2, rtol=1e-6)


def test_a_unit_leaks_adds_and_falls_back():
    """One unit by hand, moment by moment, against the scan."""
    spiking = recipe("spiking")
    rng = np.random.default_rng(0)
    params = {name: np.array(leaf) for name, leaf in spiking.init(jax.random.key(0)).items()}
    x = (rng.random((2, spiking.TIMES, params["in"].shape[0])) < 0.4).astype(np.float32)
    keep, potential, fired, total = 1 / (1 + np.exp(-params["keep"])), 0.0, np.zeros((2, len(params["keep"]))), 0.0
    for moment in range(spiking.TIMES):
        current = x[:, moment] @ params["in"] + fired @ params["back"]
        potential = keep * potential + (1 - keep) * current - fired
        fired = (potential > 1).astype(float)
        total = total + fired
    logits, share = spiking.outputs(params, x)
    np.testing.assert_allclose(share, (total / spiking.TIMES).mean(), atol=2e-3)
    np.testing.assert_allclose(logits, 10 * total / spiking.TIMES @ params["out"] + params["bias"], atol=0.05)


@on_data
@pytest.mark.slow
@pytest.mark.long
def test_spikes_are_told_apart():
    found = recipe("spiking").main(["--until", "4 epochs"])
    assert found["accuracy"] > 0.8 and 0 < found["fired"] < 0.5
