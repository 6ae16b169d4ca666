"""What `Follow` cannot do right is refused before the first window, or before a constant is moved by a guess."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from ladle.core.errors import ArgumentError, must, nearest
from ladle.core.scaling.rules import MOVES
from ladle.core.spec import require_count
from ladle.core.traits import traits_of
from ladle.torch.averages import AVERAGES
from ladle.torch.refuse import coupling

BETAS = frozenset(AVERAGES.values())


def require_followable(policy: Any, loader: Any, update: Any) -> None:
    """Refuse a policy that would wait for what nobody measures, and a loader whose size stays."""
    traits = traits_of(policy)
    name = type(policy).__name__
    noise = {"noise", "projection"} & set(traits.needs)
    if noise and (layer := coupling(update.model)) is not None:
        why = f"with the batch statistics of {layer!r} a row has no gradient of its own, and so no covariance"
        raise ArgumentError(must("policy", "be one that needs no noise scale with this model", name, why, "Steps"))
    if noise and update.gauge is None:
        why = "it decides by the gradient noise, and nobody measures that"
        raise ArgumentError(must("update", f"have a gauge for {name}", None, why, "Update(..., gauge=ladle.Gauge())"))
    if "projection" in noise and not update.gauge.projection:
        why = "it needs the noise along the gradient, which the torch backend does not measure"
        raise ArgumentError(must("policy", "go by what is measured", name, why, "NoiseFollow"))
    if isinstance(traits.coupling, str) and BETAS & set(MOVES.get(traits.coupling, ())):
        require_adam(update.optimizer, traits.coupling)
    try:
        loader.batch_size = loader.batch_size
    except (AttributeError, TypeError, ValueError):
        why = "its size cannot be set once it is made"
        remedy = "ladle.feed.Loader(dataset, batch_size, to='torch'), which takes the same arguments"
        kind = type(loader).__name__
        raise ArgumentError(must("loader", "have a batch_size that moves", kind, why, remedy)) from None


def require_constants(optimizer: torch.optim.Optimizer, known: Mapping[str, float], hyper: Mapping[str, float]) -> None:
    """Refuse constants that the optimiser has not, and betas of which it is not known what they average."""
    for name, value in hyper.items():
        if name not in known or name == "lr":
            why, remedy = "the optimiser has no such constant", nearest(name, [one for one in known if one != "lr"])
            raise ArgumentError(must("policy", "move constants of the optimiser", name, why, remedy))
        if name in BETAS and value != known[name]:
            require_adam(optimizer, f"{name}={value:g}")


def require_adam(optimizer: torch.optim.Optimizer, got: str) -> None:
    """Refuse to move betas of any but Adam and AdamW."""
    if not isinstance(optimizer, torch.optim.Adam | torch.optim.AdamW):
        kind = type(optimizer).__name__
        why = f"how the averages of {kind} depend on its betas is not known here, and a guess would make a wrong step"
        raise ArgumentError(must("policy", "leave betas alone", got, why, "coupling='square root', or AdamW"))


def rows_of_pass(loader: Any, rows: int | None) -> int:
    """Examples in a pass of the loader, or as given."""
    if rows is not None:
        return require_count("rows", rows)
    order = getattr(getattr(loader, "order", None), "epoch_size", None)
    try:
        return order if isinstance(order, int) else require_count("rows", len(loader.dataset))
    except (AttributeError, TypeError):
        why, remedy = "windows and epochs are counted in examples", "Follow(..., rows=1_000_000)"
        kind = type(loader).__name__
        raise ArgumentError(must("loader", "have rows that can be counted", kind, why, remedy)) from None
