from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ladle
from ladle.api.assembly import assemble, resolve_size
from ladle.core.errors import ArgumentError
from ladle.core.moments import Gauge

X = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
DATA = ladle.data.arrays(X, np.arange(40) % 4)


@pytest.mark.parametrize("loss", [None, "cross_entropy", ladle.losses.cross_entropy])
def test_a_class_without_an_output_is_refused_before_anything_runs(loss):
    with pytest.raises(ArgumentError, match=r"model must have 4 outputs or more; got 3; because arrays has that many"):
        assemble(ladle.Task(ladle.models.mlp(3, 3), loss, DATA))


def test_outputs_to_spare_and_other_losses_are_let_be():
    assemble(ladle.Task(ladle.models.mlp(3, 5), ladle.losses.cross_entropy, DATA))
    two = ladle.data.arrays(X, np.arange(40) % 2)
    assemble(ladle.Task(ladle.models.mlp(3, 1), ladle.losses.binary_cross_entropy, two))


def test_whole_numbers_that_a_function_predicts_are_answers_and_no_scores_of_classes():
    def words(params: Any, x: Any) -> Any:
        return jnp.argmax(x[:, None] * params[None], axis=2)  # `i32[rows, 2]`, where the data have four classes.

    def loss(params: Any, batch: Any) -> Any:
        return (batch["x"] * params[:1]).sum(1)

    assemble(ladle.Task.functions(lambda key: jnp.ones((2, 3)), loss, DATA, predict=words))


def test_the_average_of_the_weights_follows_the_size_from_64_and_nothing_else_does():
    task = ladle.Task(ladle.models.mlp(3, 4), None, DATA, optimizer="adamw")
    assert assemble(task).moved(128) == {}
    assert assemble(task.with_(ema=0.9)).moved(128) == {"ema": pytest.approx(0.81)}


def test_a_size_is_refused_under_the_name_it_was_given():
    with pytest.raises(ArgumentError, match=r"sizes must be at least 1; .* try sizes=.64."):
        resolve_size(0, 100, "sizes")


def test_the_noise_of_a_loss_of_the_whole_batch_is_refused_and_training_on_it_is_not():
    def contrastive(params: Any, batch: Any) -> Any:
        out = batch["x"] @ params
        return -jnp.diagonal(jax.nn.log_softmax(out @ out.T, axis=1))

    task = ladle.Task.functions(lambda key: jnp.ones((3, 2)), contrastive, DATA)
    plain = assemble(task)
    for measuring in (lambda: assemble(task, gauge=Gauge()), lambda: plain.gauged(Gauge()), lambda: ladle.plan(plain)):
        with pytest.raises(ArgumentError, match=r"loss must be a sum over examples .* try additive=False"):
            measuring()
