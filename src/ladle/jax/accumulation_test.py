"""What accumulation is known to get wrong: tokens counted by micro-batch, poisoned sums, batch statistics."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ladle.core.cursor import Cursor
from ladle.core.spec import BatchSpec
from ladle.feed.arrays import Arrays
from ladle.feed.host import HostFeed
from ladle.feed.order import Sequential
from ladle.feed.pad import Pad
from ladle.feed.source.sequences import Sequences
from ladle.jax import fakes_test as fakes
from ladle.jax.fakes_test import LANES, feed_of, flat, gradient, relative, run, same, sgd
from ladle.jax.objective import of_functions, of_model
from ladle.models import mlp
from ladle.models.losses import cross_entropy

VOCABULARY = 4
DOCUMENTS = [[0], [0], [0], [1] * 8, [1, 2] * 4, [2, 3] * 3, [0, 1], [3, 3, 1]]
TOKENS = sum(map(len, DOCUMENTS))


def token_loss(params: Any, batch: Any) -> Any:
    """Each row's mean over its tokens of -log p(token), p the softmax of one score for each."""
    losses = -jax.nn.log_softmax(params["scores"])[batch["tokens"]]
    mask = batch["mask"].astype(jnp.float32)
    return jnp.sum(losses * mask, 1) / jnp.sum(mask, 1)


def token_gradient(documents: list[list[int]]) -> np.ndarray:
    """Of the mean over all tokens at scores of zero: 1/4 minus the share of each token."""
    tokens = np.concatenate([np.array(document) for document in documents])
    return 1 / VOCABULARY - np.bincount(tokens, minlength=VOCABULARY) / len(tokens)


@pytest.mark.parametrize("micro_size", [8, 3, 1])
def test_tokens_count_the_same_however_the_batch_is_cut(micro_size: int) -> None:
    """x1/n1 + x2/n2 is not (x1 + x2)/(n1 + n2): the mean of the micro-batches' means is off by its own size here."""
    feed = HostFeed(Sequences.of(DOCUMENTS), Sequential(8), collate=Pad(rungs=(8,), weigh="tokens"))
    step = sgd(of_functions(lambda key: {"scores": jnp.zeros(VOCABULARY)}, token_loss))
    state, observation, _ = run(step, feed, BatchSpec(8, micro_size))
    assert observation.sums()["weight"] == TOKENS
    assert relative(gradient(state), token_gradient(DOCUMENTS)) < 1e-5
    if micro_size == 3:
        means = [token_gradient(DOCUMENTS[first : first + 3]) for first in (0, 3, 6)]
        assert relative(np.mean(means, 0), token_gradient(DOCUMENTS)) > 1


@pytest.mark.parametrize("lane", LANES)
def test_a_poisoned_micro_batch_is_gone_with_its_update(lane: str) -> None:
    """Three updates of 12 in cuts of 4. One row of the second is infinite: the third is as if there had been none."""
    poisoned = Arrays({"x": fakes.X.copy(), "y": fakes.Y})
    poisoned.tree["x"][17] = np.inf
    step, spec = sgd(), BatchSpec(12, 4)
    dirty, clean = feed_of(lane, source=poisoned), feed_of(lane)
    states = []
    for starts in ((0, 12, 24), (0, 24)):
        state = step.init(0, {"lr": 0.5})
        for start in starts:
            feed = dirty if len(starts) == 3 else clean
            draw, _ = feed.draw(Cursor(start), spec)
            state, observation = step(state, draw, spec, 1.0)
            assert observation.sums()["refused"] == (start == 12)
        states.append(state)
        assert np.isfinite(observation.read()["train_loss"])
    assert same(*states)


def test_ghosts_make_accumulation_the_large_batch() -> None:
    """Batch norm over fixed runs of rows is the same in any cut that holds whole runs."""
    model = mlp(fakes.FEATURES, 4, fakes.CLASSES, batch_norm=True, ghost_size=4)
    step = sgd(of_model(model, cross_entropy, {}))
    whole, cut = (run(step, feed_of("resident"), BatchSpec(24, micro_size))[0] for micro_size in (24, 8))
    assert relative(flat(cut.params), flat(whole.params)) < 1e-5
    assert relative(flat(cut.model_state), flat(whole.model_state)) < 1e-5
    assert [int(norm["updates"]) for norm in cut.model_state] == [6]
