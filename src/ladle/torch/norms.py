"""The norms of the built-in torch models: torch's own layers, by the names that the models of JAX have for them."""

from __future__ import annotations

from typing import Any

from torch import nn

from ladle.core.norms import GROUPS, KINDS, checked_norm


def norm_layer(norm: str, groups: int | None, width: int, *, images: bool = False) -> nn.Module:
    """The layer over `[n, width]`, or over `images`, `[n, width, h, w]`; with a scale and a shift for each feature.

    Layer norm of an image is over its channels and places, which is group norm of one group. `rms` has no shift.
    """
    if norm == "batch":
        return nn.BatchNorm2d(width) if images else nn.BatchNorm1d(width)
    if norm == "rms":
        return nn.RMSNorm(width, eps=1e-5)
    return nn.GroupNorm(1 if norm == "layer" else groups or GROUPS, width)


def require_norm(norm: Any, groups: Any, widths: tuple[int, ...], *, images: bool = False) -> None:
    """Refuse a norm that cannot be over layers of `widths` features. Raises `ArgumentError`."""
    # torch's RMS norm has a scale for every place of an image; an image has places enough for any other.
    checked_norm(norm, groups, widths, **({"places": 2, "known": KINDS[:3]} if images else {}))


def norm_name(norm: str | None, groups: int | None) -> str:
    """What a model's name says of its norm, as for JAX."""
    return "" if norm is None else f" {norm} norm" + (f" {groups or GROUPS}" if norm == "group" else "")
