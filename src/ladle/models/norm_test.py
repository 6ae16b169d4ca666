from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ladle.core.errors import ArgumentError
from ladle.core.running import RUNNING, is_running
from ladle.models import convnet, mlp
from ladle.models.kept import described, rebuilt
from ladle.models.norm import MOMENTUM, batch_norm, batch_norm_init, counted, group_norm, rms_norm

X = np.random.default_rng(0).normal(2, 3, size=(8, 3, 2, 4)).astype(np.float32)


def test_training_uses_the_batch() -> None:
    y, _ = batch_norm(jnp.asarray(X), batch_norm_init(4), jnp.ones(8), train=True)
    mean, variance = X.mean((0, 1, 2)), X.var((0, 1, 2))
    np.testing.assert_allclose(y, (X - mean) / np.sqrt(variance + 1e-5), rtol=1e-4, atol=1e-5)


def test_padding_has_no_say_even_where_it_is_nan() -> None:
    weight = jnp.asarray([1, 1, 0, 1, 0, 2, 1, 0], jnp.float32)
    real = np.asarray(weight) > 0
    junk = X.copy()
    junk[~real] = np.nan
    y, running = batch_norm(jnp.asarray(junk), batch_norm_init(4), weight, train=True)
    expected, alone = batch_norm(jnp.asarray(X[real]), batch_norm_init(4), jnp.ones(real.sum()), train=True)
    np.testing.assert_allclose(y[real], expected, rtol=1e-4, atol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), running, alone)


def test_running_averages() -> None:
    """The plain mean of the first ten batches, then exponential."""
    running, means = batch_norm_init(4), []
    for batch in range(12):
        x = X + batch
        means.append(x.mean((0, 1, 2)))
        _, running = batch_norm(jnp.asarray(x), running, jnp.ones(8), train=True)
        if batch == 9:
            np.testing.assert_allclose(running["mean"], np.mean(means, 0), rtol=1e-5)
    expected = MOMENTUM**2 * np.mean(means[:10], 0) + (1 - MOMENTUM) * (MOMENTUM * means[10] + means[11])
    np.testing.assert_allclose(running["mean"], expected, rtol=1e-5)
    np.testing.assert_allclose(running["variance"], X.var((0, 1, 2)), rtol=1e-4)
    assert running["updates"] == 12


def running_after(counts: list[int], values: np.ndarray) -> Any:
    """The running averages after batches of so many of the rows `values`, padded to the largest: one program."""
    most, running, begun = max(counts), batch_norm_init(values.shape[1]), 0
    step = jax.jit(lambda x, running, weight: batch_norm(x, running, weight, train=True)[1])
    for count in counts:
        lane = np.arange(most)
        running = step(values[begun + lane % count], running, np.float32(lane < count))
        begun += count
    return running


def test_a_batch_counts_by_its_rows() -> None:
    """Means over rows for ten batches, then rows weighted by 0.9 to the age of their batch, in NumPy beside it."""
    values = np.random.default_rng(1).normal(1, 2, (400, 3)).astype(np.float32)
    counts = [64, 64, 1, 64, 17, 1, 2, 64, 3, 1, 64, 1, 40]
    running, rows, mean, begun = running_after(counts, values), 0.0, np.zeros(3), 0
    for batch, count in enumerate(counts):
        rows = (rows if batch < 10 else MOMENTUM * rows) + count
        mean += count / rows * (values[begun : begun + count].mean(0, dtype=np.float64) - mean)
        begun += count
    np.testing.assert_allclose(running["mean"], mean, rtol=1e-4)
    np.testing.assert_allclose(running["rows"], rows, rtol=1e-6)
    np.testing.assert_allclose(running_after(counts[:10], values)["mean"], values[:281].mean(0), rtol=1e-4)


def test_a_last_row_of_a_pass_leaves_the_variance_alone() -> None:
    """Batches of 64 and of 1, whose own variance is zero: two of each pass, which counted alike would halve it."""
    values = np.random.default_rng(2).normal(0, 1, (30 * 65, 8)).astype(np.float32)
    running = running_after([64, 1] * 30, values)
    assert np.mean(running["variance"]) == pytest.approx(1, rel=0.05)


@pytest.mark.parametrize("rows", [1, 7, 64, 1000, 4099])
def test_equal_batches_have_the_shares_of_plain_and_exponential_means_to_the_bit(rows: int) -> None:
    """max(1 / (updates + 1), 1 - momentum)."""
    counts = jnp.full(40, rows)
    begin = jnp.int32(0), jnp.float32(0)
    (_, held), shares = jax.jit(lambda counts: jax.lax.scan(counted, begin, counts))(counts)
    updates = np.arange(40, dtype=np.float32)
    np.testing.assert_array_equal(shares, np.maximum(1 / (updates + 1), np.float32(1 - MOMENTUM)))
    assert held == 10 * rows


def test_evaluation_uses_the_running_averages() -> None:
    _, running = batch_norm(jnp.asarray(X), batch_norm_init(4), jnp.ones(8), train=True)
    y, after = batch_norm(jnp.asarray(X[:1]), running, jnp.ones(1), train=False)
    np.testing.assert_allclose(y, (X[:1] - X.mean((0, 1, 2))) / np.sqrt(X.var((0, 1, 2)) + 1e-5), rtol=1e-4, atol=1e-5)
    assert after is running


def test_a_batch_of_padding_alone_changes_nothing() -> None:
    before = batch_norm_init(4)
    y, after = batch_norm(jnp.asarray(X), before, jnp.zeros(8), train=True)
    assert np.isfinite(y).all()
    jax.tree.map(np.testing.assert_array_equal, before, after)


# --- ghosts: runs of rows, each normalised on its own

WEIGHTS = {
    "all real": np.ones(8, np.float32),
    "padded": np.array([1, 1, 1, 2, 0.5, 1, 1, 0], np.float32),
    "holes": np.array([0, 1, 1, 0, 0, 0, 1, 0], np.float32),  # the second run of three is empty
}
USED = {"mean": jnp.full(4, 0.5), "variance": jnp.full(4, 2.0), "updates": jnp.int32(7), "rows": jnp.float32(56)}


def slow(x: jax.Array, running: Any, weight: jax.Array, size: int) -> tuple[jax.Array, Any]:
    """One batch norm after the other."""
    outputs = []
    for start in range(0, len(x), size):
        part, count = x[start : start + size], weight[start : start + size]
        y, running = batch_norm(part, running, count, train=True)
        outputs.append(y)
    return jnp.concatenate(outputs), running


@partial(jax.jit, static_argnames=("norm", "size"))
def trained(x: jax.Array, weight: jax.Array, norm: Any, size: int) -> Any:
    """The gradient of a sum over real rows, the outputs and the running averages."""
    real = (weight > 0)[:, None, None, None]

    def total(x: jax.Array) -> Any:
        y, running = norm(x, USED, weight, size)
        return jnp.sum(jnp.where(real, jnp.sin(y), 0)), (y, running)

    return jax.grad(total, has_aux=True)(x)


def ghosts(x: jax.Array, running: Any, weight: jax.Array, size: int) -> Any:
    return batch_norm(x, running, weight, train=True, ghost_size=size)


@pytest.mark.parametrize("kind", WEIGHTS)
def test_ghosts_are_a_loop_over_runs_of_rows(kind: str) -> None:
    """Outputs, running averages and gradients; the last run holds two rows of three."""
    weight, size = WEIGHTS[kind], 3
    real = weight > 0
    x = np.where(real[:, None, None, None], X, np.float32("nan"))  # padding has no say
    one, (y, running) = trained(x, weight, ghosts, size)
    other, (expected, after) = trained(x, weight, slow, size)
    np.testing.assert_allclose(y[real], expected[real], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(one[real], other[real], rtol=1e-4, atol=1e-5)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5), running, after)


def test_after_ten_a_run_of_n_ghosts_leaves_momentum_to_the_n() -> None:
    before = {**USED, "updates": jnp.int32(10), "rows": jnp.float32(20)}
    _, running = jax.jit(partial(ghosts, size=2))(X, before, np.ones(8, np.float32))
    means = [X[start : start + 2].mean((0, 1, 2)) for start in range(0, 8, 2)]
    expected = MOMENTUM**4 * 0.5 + (1 - MOMENTUM) * sum(MOMENTUM ** (3 - i) * mean for i, mean in enumerate(means))
    np.testing.assert_allclose(running["mean"], expected, rtol=1e-5)
    assert running["updates"] == 14


def test_one_ghost_is_batch_norm_to_the_bit() -> None:
    found, expected = (batch_norm(jnp.asarray(X), USED, jnp.ones(8), train=True, ghost_size=size) for size in (8, None))
    jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_a_last_ghost_of_one_row_is_finite() -> None:
    """It has no variance: its values are the mean, and come out as zero."""
    y, running = jax.jit(partial(ghosts, size=2))(X[:5, 0, 0], batch_norm_init(4), np.ones(5, np.float32))
    assert not np.any(y[4]) and np.isfinite(y).all() and running["updates"] == 3


def test_ghosts_of_padding_alone_change_nothing() -> None:
    _, (y, after) = trained(X, np.zeros(8, np.float32), ghosts, 3)
    assert np.isfinite(y).all()
    jax.tree.map(np.testing.assert_array_equal, after, USED)


@pytest.mark.parametrize("make", [partial(mlp, 16, 8, 3), partial(convnet, (4, 4), 3, width=2)])
def test_evaluation_does_not_depend_on_the_ghosts(make: Any) -> None:
    """Training does. (In Keras `virtual_batch_size` cuts batches in inference too.)"""
    x, weight = X.reshape(8, 24)[:, :16].reshape(8, 4, 4), np.ones(8, np.float32)
    whole, cut = (make(batch_norm=True, ghost_size=size) for size in (None, 3))
    params, state = jax.jit(whole.init)(jax.random.key(0))

    def both(train: bool) -> Any:
        return [model.apply(params, state, x, keys=None, weight=weight, train=train)[0] for model in (whole, cut)]

    evaluated, trained = (jax.jit(partial(both, train))() for train in (False, True))
    np.testing.assert_array_equal(*evaluated)
    assert np.abs(trained[0] - trained[1]).max() > 1e-3
    assert not cut.additive and cut.name.endswith("ghost norm 3")


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: mlp(4, 8, 2, ghost_size=4), "ghost_size must come with batch_norm=True; got 4"),
        (lambda: mlp(4, 8, 2, batch_norm=True, ghost_size=1), "one row has no variance"),
        (lambda: convnet((8, 8), 3, batch_norm=True, ghost_size=2.5), "ghost_size must be a whole number"),  # type: ignore[arg-type]
        (lambda: mlp(4, 2, batch_norm=True), "batch_norm must be False for two widths"),
        (lambda: mlp(4, 2, norm="layer"), "norm must be None for two widths"),
        (lambda: mlp(4, 8, 2, norm="bach"), "try 'batch'"),  # type: ignore[arg-type]
        (lambda: mlp(4, 8, 2, norm="rms", batch_norm=True), "norm must be 'batch' beside batch_norm=True"),
        (lambda: mlp(4, 8, 2, norm="layer", ghost_size=4), "ghost_size must come with batch_norm=True"),
        (lambda: mlp(4, 8, 2, norm="layer", groups=4), "groups must come with norm='group'"),
        (lambda: mlp(4, 12, 2, norm="group"), "groups must divide 12; got 8.*try groups=6"),
        (lambda: mlp(4, 8, 2, norm="group", groups=0), "groups must be a whole number of at least 1"),
        (lambda: mlp(4, 8, 2, norm="group"), "a single value has no variance"),
        (lambda: convnet((8, 8), 3, width=6, norm="group"), "groups must divide 6; got 8.*try groups=6"),
    ],
)
def test_norms_that_cannot_be_are_refused(make: Any, says: str) -> None:
    with pytest.raises(ArgumentError, match=says):
        make()


# --- norms of single examples


@pytest.mark.parametrize("shape", [(5, 12), (3, 4, 2, 12)])
@pytest.mark.parametrize("groups", [1, 3, 4])
def test_group_norm_is_a_loop_over_examples_and_groups(shape: tuple[int, ...], groups: int) -> None:
    """In float64, with a mean 1000 times the spread; one group is layer norm."""
    x = np.random.default_rng(0).normal(1000, 1, shape)
    expected, width = np.zeros(shape), 12 // groups
    for example in range(len(x)):
        for start in range(0, 12, width):
            part = x[example, ..., start : start + width]
            expected[example, ..., start : start + width] = (part - part.mean()) / np.sqrt(part.var() + 1e-5)
    found = jax.jit(partial(group_norm, groups=groups))(x.astype(np.float32))
    np.testing.assert_allclose(found, expected, atol=5e-4)


def test_norms_are_those_of_torch() -> None:
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(0).normal(2, 3, (4, 3, 5, 6)).astype(np.float32)  # examples, places, features
    own = torch.from_numpy(np.moveaxis(x, -1, 1).copy())  # features first
    for groups in (1, 3):
        expected = torch.nn.GroupNorm(groups, 6)(own).detach().numpy()
        np.testing.assert_allclose(
            np.moveaxis(np.asarray(group_norm(jnp.asarray(x), groups)), -1, 1), expected, atol=1e-5
        )
    expected = torch.nn.LayerNorm(6)(torch.from_numpy(x[:, 0, 0])).detach().numpy()
    np.testing.assert_allclose(group_norm(jnp.asarray(x[:, 0, 0])), expected, atol=1e-5)
    expected = torch.nn.RMSNorm([3, 5, 6], eps=1e-5)(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(rms_norm(jnp.asarray(x)), expected, atol=1e-5)


def test_values_of_half_precision_are_normalised_in_float32() -> None:
    x = (X + 100).astype(jnp.bfloat16)
    wide = x.astype(jnp.float32)
    for norm in (group_norm, rms_norm, lambda x: batch_norm(x, batch_norm_init(4), jnp.ones(8), train=True)[0]):
        found = norm(x)
        assert found.dtype == jnp.bfloat16
        np.testing.assert_array_equal(found, norm(wide).astype(jnp.bfloat16))


@pytest.mark.parametrize("norm", ["layer", "group", "rms"])
@pytest.mark.parametrize("make", [partial(mlp, 16, 8, 8, 3), partial(convnet, (4, 4), 3, width=2)])
def test_norms_of_single_examples_leave_the_loss_a_sum(make: Any, norm: str) -> None:
    """An example's outputs are the same beside others as alone, in training as in evaluation; there is no state."""
    model = make(norm=norm, **({"groups": 2} if norm == "group" else {}))
    params, state = jax.jit(model.init)(jax.random.key(0))
    assert model.additive and state == () and model.norm_rows is None and f" {norm} norm" in model.name
    x = X.reshape(8, 24)[:, :16].reshape(8, 4, 4)

    @partial(jax.jit, static_argnames="train")
    def outputs(x: Any, train: bool) -> jax.Array:
        return model.apply(params, state, x, keys=None, weight=jnp.ones(len(x)), train=train)[0]

    together = outputs(x, train=True)
    np.testing.assert_allclose(outputs(x[2:3], train=True), together[2:3], rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(outputs(x, train=False), together)


@pytest.mark.parametrize(
    "how", [{"norm": "batch", "ghost_size": 4}, {"norm": "group", "groups": 2}, {"norm": "rms"}, {}]
)
def test_models_are_rebuilt_with_their_norm(how: Any) -> None:
    for model in (mlp(4, 8, 3, **how), convnet((8, 8), 3, width=4, **how)):
        assert rebuilt(described(model)) == model


def test_what_was_saved_before_norm_had_a_name_is_rebuilt() -> None:
    old = {"kind": "mlp", "name": "", "widths": [4, 8, 3], "activation": "relu", "dropout": 0.0}
    assert rebuilt({**old, "batch_norm": True, "ghost_size": 4}) == mlp(4, 8, 3, norm="batch", ghost_size=4)
    assert rebuilt({**old, "batch_norm": False, "ghost_size": None}) == mlp(4, 8, 3)


# --- tallies


def test_running_averages_are_known_by_their_names() -> None:
    assert set(batch_norm_init(3)) == RUNNING and is_running(batch_norm_init(3))


@pytest.mark.parametrize("size", [None, 3])
def test_a_tally_is_the_mean_and_variance_of_all_rows_however_they_are_cut(size: int | None) -> None:
    """Of values whose mean is 300 times their spread, in batches of 1 to 8 rows with padding that is NaN."""
    values = np.random.default_rng(0).normal(300, 1, (61, 5)).astype(np.float32)
    tally: Any = {"mean": np.zeros(5, np.float32), "variance": np.zeros(5, np.float32), "rows": np.float32(0)}
    step = jax.jit(lambda x, tally, weight: batch_norm(x, tally, weight, train=True, ghost_size=size)[1])
    begun = 0
    for count in (8, 1, 8, 8, 0, 3, 8, 8, 7, 8, 2):
        rows = np.full((8, 5), np.nan, np.float32)
        rows[:count], begun = values[begun : begun + count], begun + count
        tally = step(rows, tally, np.float32(np.arange(8) < count))
    assert begun == tally["rows"] == 61
    np.testing.assert_allclose(tally["mean"], values.mean(0, dtype=np.float64), rtol=1e-6)
    np.testing.assert_allclose(tally["variance"], values.var(0, dtype=np.float64), rtol=1e-4)
