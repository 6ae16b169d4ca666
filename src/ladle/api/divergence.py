"""When a run has diverged: judged on training losses alone, against those of the untrained model on the same rows.

A validation loss is no measure for a training loss: with a heavy tail or few rows the two differ by any factor. And one
window's loss is none for a run: one bad row in it, or the first steps of a high rate, and it stands out once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

EXPLODED = 10.0
"""Training losses so many times the untrained model's are those of a run that explodes."""

OVERFLOWED = ": the model itself overflows in fp16"
"""What a run in float16 adds: a smaller loss scale had not helped, or cannot."""

WINDOWS = 3
"""Windows in a row that must say so, the last of them no lower than the first."""


def remedy(why: str) -> str:
    """What to try where a run diverged for that reason.

    >>> remedy("the loss rose"), remedy("the loss was not finite" + OVERFLOWED)
    ('a smaller lr', "precision='bf16'")
    """
    return "precision='bf16'" if why.endswith(OVERFLOWED) else "a smaller lr"


def diverged(lines: Sequence[Mapping[str, Any]], untrained: Callable[[], float | None]) -> str | None:
    """Why the run of these record lines is over, or None where it is sound.

    - `lines`: the newest lines, oldest first; four of them say all.
    - `untrained`: the untrained model's loss on the training rows, asked for only where the run looks bad; None where
      it is not known.

    A loss or gradient that is no number ends the run at once. A high loss ends it after three windows that do not fall.

    >>> lines = [{"examples": 64 * k, "train_loss": loss} for k, loss in enumerate([1.0, 40.0, 50.0, 60.0])]
    >>> diverged(lines, lambda: 1.0)
    "the training loss rose to 60, over 10 times the untrained model's 1 on the same rows"
    >>> diverged(lines, lambda: 20.0), diverged(lines[:3], lambda: 1.0)
    (None, None)
    """
    newest, losses = lines[-1], [line["train_loss"] for line in lines if line.get("train_loss") is not None]
    if newest.get("refused", 0.0) > 0 or not all(map(math.isfinite, losses[-1:])):
        said = f"the loss or gradient was not finite after {newest['examples']:,} examples"
        return said + (OVERFLOWED if "loss_scale" in newest else "")
    if _lost(lines):
        return f"the validation loss was not finite after {newest['examples']:,} examples" + OVERFLOWED
    late = losses[-WINDOWS:]
    # Losses may be negative, and an untrained one near zero: what is small is compared by its distance.
    if len(late) < WINDOWS or late[-1] < late[0] or min(late) <= EXPLODED * 1e-3:
        return None
    reference = untrained()
    if reference is None or min(late) <= EXPLODED * max(abs(reference), 1e-3):
        return None
    return (
        f"the training loss rose to {late[-1]:.4g}, over {EXPLODED:g} times the untrained model's {reference:.4g} "
        "on the same rows"
    )


def _lost(lines: Sequence[Mapping[str, Any]]) -> bool:
    """Whether most updates of the newest window overflowed in float16, and the validation rows with them.

    Their forward pass knows no loss scale, so halving it further will not bring them back.
    """
    newest, before = lines[-1], lines[-2].get("updates", 0) if len(lines) > 1 else 0
    if "valid_loss" not in newest or not newest.get("skipped"):
        return False
    loss = newest["valid_loss"]
    return newest["skipped"] > (newest["updates"] - before) / 2 and (loss is None or not math.isfinite(loss))
