"""The target of a job that comes again, where none was given: that of its earlier runs, or one that takes training."""

from __future__ import annotations

from collections.abc import Sequence

from ladle.api.assembly import Assembly
from ladle.core.duration import Until

USUAL = {"classification": "valid_accuracy >= 0.95", "regression": "valid_loss <= 0.1"}
"""Amounts are standardised: guessing their mean has a loss of 1."""

BOUND = "100 epochs"


def usual_target(assembly: Assembly, earlier: Sequence[str], seed: int) -> Until:
    """A target and a bound for a job of `assembly`, which no word was said about.

    - `earlier`: the targets of the folder's jobs; the first is kept to.

    Of few rows an untrained model may be at the usual target by chance. Half of its loss is the target then.
    """
    if earlier:
        return Until.parse(f"{earlier[0]}, {BOUND}")
    usual = Until.parse(f"{USUAL[assembly.task.data.kind]}, {BOUND}")
    if assembly.valid is None or usual.target is None:
        return usual
    reading = assembly.engine.evaluate(assembly.engine.step.init(seed), assembly.valid)
    if not usual.target.met(reading.get(usual.target.metric, float("nan"))):
        return usual
    return Until.parse(f"valid_loss <= {reading['valid_loss'] / 2:.3g}, {BOUND}")
