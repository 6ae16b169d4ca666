"""The norms of the built-in torch models: torch's own layers, by the names that the models of JAX have for them."""

from __future__ import annotations

from typing import Any

from torch import nn

from ladle.core.errors import ArgumentError, must

NORMS = ("batch", "layer", "group", "rms")

GROUPS = 8
"""Groups of a group norm where nothing is said, as for JAX."""


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
    known = NORMS[:3] if images else NORMS  # torch's RMS norm has a scale for every place of an image.
    if norm is not None and (norm not in known or not widths):
        why, be = "it is made for hidden layers of this kind of model", f"be one of {', '.join(known)}, or None"
        raise ArgumentError(must("norm", be if widths else "be None without one", norm, why, "norm=None"))
    if groups is not None and norm != "group":
        why = "it is how many groups of features group norm takes apart"
        raise ArgumentError(must("groups", "come with norm='group'", groups, why, "norm='group'"))
    count = GROUPS if groups is None else groups
    if norm == "group" and (type(count) is not int or count < 1 or any(width % count for width in widths)):
        why, be = "groups are of one size", f"be a whole number that divides {', '.join(map(str, widths))}"
        raise ArgumentError(must("groups", be, count, why, "groups=1"))
    if norm in ("layer", "group") and not images and min(widths) // (count if norm == "group" else 1) < 2:
        why = "a single value has no variance, and would become zero"
        raise ArgumentError(must("norm", "have two values or more to normalise", norm, why, "norm='rms'"))


def norm_name(norm: str | None, groups: int | None) -> str:
    """What a model's name says of its norm, as for JAX."""
    return "" if norm is None else f" {norm} norm" + (f" {groups or GROUPS}" if norm == "group" else "")
