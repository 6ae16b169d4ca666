"""`Factor`: multiplies an optimiser's rates for the time of its step, so that no schedule ever sees it."""

from __future__ import annotations

from typing import Any

import torch


class Factor:
    """Makes every step of `optimizer` at `value` times the rates that its groups have.

    A rate written into a group does not stay: `LambdaLR` and `OneCycleLR` compute theirs anew and undo it. So the
    factor is there only within `step`: a hook before it multiplies, a hook behind it puts back the very objects that
    were there. `close` takes the hooks off.

    >>> weight = torch.nn.Parameter(torch.ones(1))
    >>> sgd = torch.optim.SGD([weight], lr=0.5)
    >>> factor = Factor(sgd, 0.5)
    >>> weight.sum().backward()
    >>> sgd.step()
    >>> weight.item(), sgd.param_groups[0]["lr"]
    (0.75, 0.5)
    """

    def __init__(self, optimizer: torch.optim.Optimizer, value: float = 1.0) -> None:
        self.value = value
        self._kept: list[tuple[dict[str, Any], Any]] = []
        self._hooks = [
            optimizer.register_step_pre_hook(self._before),
            optimizer.register_step_post_hook(self._after),
        ]

    def close(self) -> None:
        """Take the hooks off: steps are at the groups' own rates again."""
        self._restore()
        for hook in self._hooks:
            hook.remove()

    def _before(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        self._restore()  # A step that raised has not come to the hook behind it.
        if self.value == 1.0:
            return
        for group in optimizer.param_groups:
            if "lr" in group:
                self._kept.append((group, group["lr"]))
                group["lr"] = group["lr"] * self.value

    def _after(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        self._restore()

    def _restore(self) -> None:
        for group, rate in self._kept:
            group["lr"] = rate
        self._kept.clear()
