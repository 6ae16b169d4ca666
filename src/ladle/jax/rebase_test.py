"""Adam's second moment at another batch size, against its formula."""

from __future__ import annotations

import numpy as np
import pytest

from ladle.core.errors import ArgumentError
from ladle.core.spec import BatchSpec
from ladle.jax import fakes_test as fakes
from ladle.jax.fakes_test import LANES, feed_of, flat, gradients_of, sgd
from ladle.jax.optimizer import optimizer_named
from ladle.jax.rebase import Rebase
from ladle.jax.step import CompiledStep

lanes = pytest.mark.parametrize("lane", LANES)


@lanes
def test_a_rebased_second_moment_is_what_the_new_size_would_have_made(lane):
    """v after one update is 0.001 g_B^2; moved to twice the batch it is that plus 0.001 Sigma (1/2B - 1/B)."""
    step = CompiledStep(fakes.OBJECTIVE, optimizer_named("adam"))
    feed, spec = feed_of(lane), BatchSpec(16, 16)
    draw, cursor = feed.draw(feed.start(), spec)
    state, _ = step(step.init(0, {"lr": 0.0}), draw, spec, 1.0)
    before = flat(state.opt_state[0].nu)
    draw, _ = feed.draw(cursor, spec)
    after = flat(Rebase(step)(state, draw, spec, 8).opt_state[0].nu)
    variance = gradients_of(draw.ids()[0]).var(0, ddof=1)
    np.testing.assert_allclose(after, np.maximum(before + 1e-3 * variance * (1 / 16 - 1 / 8), 0), rtol=1e-3, atol=1e-9)
    with pytest.raises(ArgumentError, match="rebase must be False"):
        Rebase(sgd())
