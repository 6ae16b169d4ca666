"""Losses that are, and are not, sums over examples."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ladle.core.errors import ArgumentError
from ladle.jax.fakes_test import OBJECTIVE, X, Y
from ladle.jax.independence import require_independent
from ladle.jax.objective import Objective, of_functions, of_model
from ladle.models import mlp
from ladle.models.losses import cross_entropy

DATA = {"x": X, "y": Y}


def zeros(key: Any) -> Any:
    return jnp.zeros((5, 3))


def contrastive(params: Any, batch: Any) -> Any:
    """Each row against all others of its batch."""
    out = batch["x"] @ params
    return -jnp.diagonal(jax.nn.log_softmax(out @ out.T, axis=1))


def centred(params: Any, batch: Any) -> Any:
    out = batch["x"] @ params
    return jnp.sum((out - out.mean(0, keepdims=True)) ** 2, 1)


def random(params: Any, batch: Any, key: Any) -> Any:
    """A mask of its own for every row: random, but of that row alone."""
    return jnp.sum((batch["x"] * jax.random.bernoulli(key, 0.5, batch["x"].shape).astype(jnp.float32)) @ params, 1)


@pytest.mark.parametrize("loss", [contrastive, centred])
def test_a_loss_of_the_company_is_refused_though_it_is_called_a_sum(loss: Any) -> None:
    with pytest.raises(ArgumentError, match="be a sum over examples.*additive=False"):
        require_independent(of_functions(zeros, loss), DATA)


@pytest.mark.parametrize(
    "objective",
    [OBJECTIVE, of_functions(zeros, random), of_model(mlp(5, 8, 3, dropout=0.5), cross_entropy, {})],
    ids=["linear", "random", "dropout"],
)
def test_one_of_each_row_alone_is_not(objective: Objective) -> None:
    require_independent(objective, DATA)


def test_few_rows_are_believed() -> None:
    require_independent(of_functions(zeros, contrastive), {"x": X[:6], "y": np.array(Y[:6])})
