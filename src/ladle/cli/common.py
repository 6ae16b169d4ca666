"""What the verbs share: the options that say what is trained, and how answers are printed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ladle.api.options import TaskOptions
from ladle.core import record
from ladle.core.errors import ArgumentError, must


@dataclass
class Common:
    """Options that say what is trained; shared by the verbs."""

    target: str | None = None
    """Target column of a table (or key of an .npz file)."""
    kind: Literal["classification", "regression"] | None = None
    """What the target is, where the guess is wrong."""
    drop: tuple[str, ...] = ()
    """Columns of a table to leave out."""
    valid: float = 0.2
    """Share of the rows kept for validation."""
    model: Literal["linear", "mlp", "convnet"] = "mlp"
    """Built-in model."""
    optimizer: str = "adam"
    """sgd, momentum, nesterov, adagrad, rmsprop, adam, adamw, lion, lamb, lars, lamb_paper, lars_paper or muon."""
    order: Literal["permuted", "sequential", "stratified"] | None = None
    """How rows are drawn: permuted (the default), sequential, or stratified (classes in proportion in each batch)."""
    stream: bool = False
    """Read the rows of a table as they are needed, not all at once: numbers only, as they are."""
    out: Path | None = None
    """Folder to write; runs/... where left out."""
    json: bool = False
    """One JSON object on standard output and nothing else."""

    def options(self, data: str, lr: float | None = None) -> TaskOptions:
        return TaskOptions(
            data,
            self.target,
            self.kind,
            tuple(self.drop),
            self.valid,
            self.model,
            self.optimizer,
            lr,
            self.order,
            self.stream,
        )


def print_json(value: Any) -> None:
    print(json.dumps(record.plain(value), allow_nan=False))


def rate_from(text: str, *, words: tuple[str, ...]) -> float | str | None:
    """A learning rate: None for "auto", the word itself for another one, else a positive number."""
    if text in words:
        return None if text == "auto" else text
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0 < rate < float("inf"):
        raise ArgumentError(
            must(
                "lr", f"be a positive number or {' or '.join(words)}", text, "a rate says how far to step", "--lr auto"
            )
        )
    return rate
