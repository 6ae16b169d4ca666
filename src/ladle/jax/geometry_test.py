"""The geometry that moments are taken in: Adam's and RMSProp's, from the averages that they keep."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ladle.core.moments import Gauge, Moments
from ladle.core.spec import BatchSpec
from ladle.jax import fakes_test as fakes
from ladle.jax.fakes_test import feed_of, gradients_of, reference, run, sgd
from ladle.jax.geometry import preconditioner
from ladle.jax.optimizer import optimizer_named
from ladle.jax.rebase import Rebase
from ladle.jax.step import CompiledStep


def test_adams_geometry_scales_by_its_second_moment():
    step = CompiledStep(fakes.OBJECTIVE, optimizer_named("adam"), gauge=Gauge(every=1, geometry="preconditioned"))
    feed, spec = feed_of("resident"), BatchSpec(8, 8)
    draw, cursor = feed.draw(feed.start(), spec)
    state, first = step(step.init(0, {"lr": 0.0}), draw, spec, 1.0)
    assert first.moments().trace == pytest.approx(run(sgd(gauge=Gauge(every=1)), feed, spec)[1].moments().trace, 1e-4)
    scale = 1 / (np.sqrt(reference(draw.ids()[0])[0] ** 2) + 1e-8)  # v, bias-corrected, after one update
    draw, _ = feed.draw(cursor, spec)
    _, second = step(state, draw, spec, 1.0)
    pieces = gradients_of(draw.ids()[0]).reshape(4, 2, -1).mean(1) * scale
    assert second.moments().trace == pytest.approx(Moments.from_gradients(pieces, 2).trace, rel=1e-3)


def test_a_coordinate_that_never_had_a_gradient_is_left_out():
    """Its first one would be scaled by 1 / eps, and be all that is seen."""
    state = optax.scale_by_adam().init(jnp.zeros(3))._replace(count=jnp.int32(5), nu=jnp.array([4.0, 0.0, 1e-6]))
    found = preconditioner((state,), {"b2": jnp.float32(0), "eps": jnp.float32(1e-8)})
    np.testing.assert_allclose(found, [0.5, 0.0, 1e3], rtol=1e-4)
    begun = optax.scale_by_adam().init(jnp.zeros(3))
    np.testing.assert_array_equal(preconditioner((begun,), {"eps": jnp.float32(1e-8)}), 1.0)


def test_rmsprops_geometry_needs_no_count():
    """Its state counts no updates; what a tuple calls `count` is none."""
    step = CompiledStep(fakes.OBJECTIVE, optimizer_named("rmsprop"), gauge=Gauge(every=1, geometry="preconditioned"))
    feed, spec = feed_of("resident"), BatchSpec(8, 8)
    draw, cursor = feed.draw(feed.start(), spec)
    state, first = step(step.init(0, {"lr": 0.0}), draw, spec, 1.0)
    assert first.moments().trace == pytest.approx(run(sgd(gauge=Gauge(every=1)), feed, spec)[1].moments().trace, 1e-4)
    scale = 1 / (np.sqrt(0.1 * reference(draw.ids()[0])[0] ** 2) + 1e-8)
    draw, _ = feed.draw(cursor, spec)
    pieces = gradients_of(draw.ids()[0]).reshape(4, 2, -1).mean(1) * scale
    second = step(Rebase(step)(state, draw, spec, 8), draw, spec, 1.0)[1]
    assert second.moments().trace == pytest.approx(Moments.from_gradients(pieces, 2).trace, rel=1e-3)
