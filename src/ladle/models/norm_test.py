from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from ladle.models.norm import MOMENTUM, batch_norm, batch_norm_init

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
