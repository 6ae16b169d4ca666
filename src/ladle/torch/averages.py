"""Adam's running averages where its betas change in the middle of a run."""

from __future__ import annotations

from collections.abc import Mapping

import torch

AVERAGES = {"exp_avg": "b1", "exp_avg_sq": "b2", "max_exp_avg_sq": "b2"}
"""The averages of Adam and the constants that they decay by."""


def keep(optimizer: torch.optim.Optimizer, old: Mapping[str, float], new: Mapping[str, float]) -> None:
    """Rescale averages in place, so that divided by 1 - b^t with the new betas they are what they were with the old.

        exp_avg <- exp_avg (1 - b1_new^t) / (1 - b1_old^t),   t the updates so far;   exp_avg_sq with b2 likewise

    Adam corrects its averages as if b had been the same from the start: without this, the first steps after a change
    of b2 from 0.999 to 0.9 would be 2.5 times too long. Optimisers of other classes are left alone.

    >>> w = torch.nn.Parameter(torch.ones(1))
    >>> adam = torch.optim.Adam([w])
    >>> adam.state[w] = {"step": torch.tensor(10.0), "exp_avg": torch.ones(1), "exp_avg_sq": torch.ones(1)}
    >>> keep(adam, {"b1": 0.9, "b2": 0.99}, {"b1": 0.9, "b2": 0.9})
    >>> round(adam.state[w]["exp_avg_sq"].item(), 2)
    6.81
    """
    if not isinstance(optimizer, torch.optim.Adam | torch.optim.AdamW) or all(
        old.get(b) == new.get(b) for b in ("b1", "b2")
    ):
        return
    for held in optimizer.state.values():
        updates = float(held.get("step", 0))
        for name, beta in AVERAGES.items():
            if updates > 0 and name in held and old[beta] != new[beta]:
                held[name].mul_((1 - new[beta] ** updates) / (1 - old[beta] ** updates))
