"""Noise added to the gradient on purpose."""

from __future__ import annotations

import numpy as np
import pytest

from ladle.core.spec import BatchSpec
from ladle.jax.fakes_test import N, feed_of, gradient, run, sgd


def test_gradient_noise_has_the_variance_asked_for_and_is_a_function_of_position():
    spec, feed = BatchSpec(N, N), feed_of("resident")
    clean = gradient(run(sgd(), feed, spec)[0])
    step = sgd()
    drawn = [gradient(run(step, feed, spec, seed=seed, gradient_noise=0.25)[0]) - clean for seed in range(40)]
    assert np.concatenate(drawn).std() == pytest.approx(0.5, rel=0.1)
    again = gradient(run(step, feed, spec, seed=3, gradient_noise=0.25)[0])
    np.testing.assert_array_equal(again - clean, drawn[3])
    later = gradient(run(step, feed, spec, seed=3, start=N, gradient_noise=0.25)[0])
    assert np.abs(later - again).max() > 0.1
