"""In what type a model computes, and what it computes twice: the words, and what is refused of them."""

from __future__ import annotations

from typing import Any

from ladle.core.errors import ArgumentError, must, nearest

PRECISIONS = ("f32", "bf16", "fp16")
REMATS = ("none", "dots", "full")

USUAL = {"precision": "f32", "remat": "none"}
"""What a task asks for that asks for nothing."""

SPOKEN = {
    "float32": "f32",
    "fp32": "f32",
    "32": "f32",
    "bfloat16": "bf16",
    "float16": "fp16",
    "f16": "fp16",
    "half": "fp16",
}
"""What others call them."""


def require_arithmetic(precision: Any, remat: Any) -> None:
    """Raises `ArgumentError` for a precision or a remat that has no name; a function is a policy of the backend's."""
    if precision not in PRECISIONS:
        remedy = SPOKEN.get(str(precision)) or nearest(str(precision), PRECISIONS)
        remedy = f"precision={remedy!r}" if remedy in PRECISIONS else remedy
        raise ArgumentError(
            must("precision", f"be one of {', '.join(PRECISIONS)}", precision, "no other is here", remedy)
        )
    if not callable(remat) and remat not in REMATS:
        why, be = "no other policy has a name here", f"be one of {', '.join(REMATS)}, or a policy of jax.checkpoint"
        raise ArgumentError(must("remat", be, remat, why, nearest(str(remat), REMATS)))


def unoffered(name: str, value: Any, backend: str) -> str:
    """What is said where a backend computes in one way alone."""
    why = f"the {backend} backend computes in the type of the model's weights and keeps what it computed"
    remedy = (
        "a loop of your own with ladle.torch.Update under torch.autocast" if backend == "torch" else "backend='jax'"
    )
    return must(name, f"be {USUAL[name]!r} here", value, why, remedy)
