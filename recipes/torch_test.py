"""The recipe in PyTorch, cut short: the planned size reaches the script's own loss."""

from __future__ import annotations

import importlib
import math

import pytest

pytest.importorskip("torch")


@pytest.mark.slow
@pytest.mark.long
def test_the_seeds_script_reaches_its_loss_at_the_planned_size():
    found = importlib.import_module("seed_torch").main(["--seeds", "1"])
    assert math.isfinite(found["seconds"]) and found["size"] >= 1
