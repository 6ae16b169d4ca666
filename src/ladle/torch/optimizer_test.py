"""Optimisers: their constants by ladle's names, groups with values of their own, Adam's averages where betas move."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from ladle.core.errors import ArgumentError
from ladle.torch.averages import keep
from ladle.torch.optimizer import BY_NAME, constants_of, optimizer_of, set_constants, set_rate, shares_of

WEIGHT, BIAS = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(1))


def grouped(**how: Any) -> torch.optim.AdamW:
    return torch.optim.AdamW(
        [{"params": [WEIGHT]}, {"params": [BIAS], "lr": 2e-3, "weight_decay": 0.0}], lr=1e-3, **how
    )


@pytest.mark.parametrize("name", BY_NAME)
def test_a_named_one_has_the_constants_that_it_says(name: str):
    known = BY_NAME[name]
    found = constants_of(known.make([WEIGHT]))
    assert all(found[constant] == value for constant, value in known.hyper.items()) and found["lr"] == known.lr


def test_hyper_goes_over_the_constants():
    assert optimizer_of("adam", {"b2": 0.9}).hyper == {"b1": 0.9, "b2": 0.9, "eps": 1e-8}
    made = optimizer_of(lambda p: torch.optim.RMSprop(p, lr=0.3), {"alpha": 0.5})
    assert (made.name, made.lr, made.hyper["alpha"]) == ("rmsprop", 0.3, 0.5)


def test_groups_keep_what_is_their_own():
    optimizer = grouped(weight_decay=0.1)
    old = constants_of(optimizer)
    set_constants(optimizer, old, {**old, "weight_decay": 0.3, "b2": 0.9})
    set_rate(optimizer, shares_of(grouped()), 0.5)
    one, two = optimizer.param_groups
    assert (one["weight_decay"], two["weight_decay"]) == (0.3, 0.0)
    assert one["betas"] == two["betas"] == (0.9, 0.9)
    assert (one["lr"], two["lr"]) == (0.5, 1.0)


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.AdamW])
@pytest.mark.parametrize("fused", [False, True])
def test_a_step_is_as_long_after_betas_moved(kind: Any, fused: bool):
    """With a gradient that stays, Adam's step has length lr whatever its betas: also right after they moved."""
    leaf = nn.Parameter(torch.zeros(3))
    optimizer = kind([leaf], lr=0.1, eps=0.0, weight_decay=0.0, fused=fused)
    steps = []
    for number in range(12):
        if number == 10:
            old = constants_of(optimizer)
            new = {**old, "b1": 0.5, "b2": 0.9}
            keep(optimizer, old, new)
            set_constants(optimizer, old, new)
        before = leaf.detach().clone()
        leaf.grad = torch.tensor([1.0, 2.0, -3.0])
        optimizer.step()
        steps.append((leaf.detach() - before).abs())
    torch.testing.assert_close(torch.stack(steps), torch.full((12, 3), 0.1), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("rule", "hyper", "why"),
    [
        ("rmsprop", {}, "torch.optim has no equal rule"),
        ("adam", {"beta": 1.0}, "be a constant of adam"),
        (torch.optim.SGD([WEIGHT], lr=0.1), {}, "parameters of one module"),
        (lambda p: torch.optim.LBFGS(p), {}, "without a closure"),
        (3, {}, "a name or a function"),
    ],
)
def test_refusals(rule: Any, hyper: dict[str, float], why: str):
    with pytest.raises(ArgumentError, match=why):
        optimizer_of(rule, hyper)
