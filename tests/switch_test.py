"""A run whose batch size changes, stopped anywhere and resumed from disk, is the run that was never stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import ladle
from ladle.api.assembly import Assembly, assemble
from ladle.core.decision import Progress
from ladle.core.record import METRICS_FILE, read_lines
from ladle.core.scaling.coupling import Coupling
from ladle.core.scaling.levels import Level
from ladle.policy import NoiseFollow, Range, Steps

MOVING = Coupling("half-life", 8, {"b2": 0.999}, levels=(Level("gradient_noise", 1e-4, power=-1.0),), optimizer="adam")
"""What moves at a switch: learning rate, second decay rate, and the noise added to the gradient."""

POLICIES: dict[str, Any] = {
    "steps": Steps(((0, 8), (60, 16), (130, 12)), micro_size=16, coupling=MOVING),
    "noise": NoiseFollow(Range(4, 32, micro_size=16, half_life=4), coupling="square root"),
}
"""Over passes of 40 examples: the switches of "steps" lie inside one, and the sizes divide none of them."""
LAST = 240
NAMES = ("examples", "updates", "size", "micro_size", "lr_factor", "lr", "hyper", "train_loss", "grad_norm", "reason")


@pytest.fixture(scope="module")
def plane() -> Assembly:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((50, 2)).astype(np.float32)
    data = ladle.data.arrays(x, 2 * x[:, 0] - x[:, 1] + 3.0 + 3 * rng.standard_normal(50), name="plane")
    task = ladle.Task(ladle.models.linear(2, 1), "mse", data, optimizer="adam", lr=0.05)
    return assemble(task, gauge=ladle.Gauge(every=1))


def lines(folder: Path) -> list[list[Any]]:
    """Windows as the record has them. (A sitting that ends also evaluates, which the others did not.)"""
    return [[line.get(name) for name in NAMES] for line in read_lines(folder / METRICS_FILE) if "size" in line]


@pytest.mark.parametrize("kind", POLICIES)
def test_stopped_inside_a_window_and_at_a_switch(tmp_path: Path, plane: Assembly, kind: str) -> None:
    """The rest holds a switch and the ends of five passes."""
    policy = POLICIES[kind]
    whole = ladle.fit(plane, policy=policy, until=f"{LAST} examples", out=tmp_path / "whole")
    sizes = [line[NAMES.index("size")] for line in lines(tmp_path / "whole")]
    changes = [size for n, size in enumerate(sizes) if n == 0 or size != sizes[n - 1]]
    assert changes == [8, 16, 12] if kind == "steps" else len(changes) > 1
    for stop in (50, 60) if kind == "steps" else (40, 80):
        folder = tmp_path / str(stop)
        ladle.fit(plane, policy=policy, until=f"{stop} examples", out=folder)
        broken = ladle.fit(plane, policy=policy, until=f"{LAST} examples", out=folder, resume=True)
        for mine, theirs in zip(jax.tree.leaves(broken.params), jax.tree.leaves(whole.params), strict=True):
            np.testing.assert_array_equal(mine, theirs, err_msg=str(stop))
        # A stop inside a window cuts it: the same updates, in one line more.
        assert (lines(folder) == lines(tmp_path / "whole")) == (stop != 50), stop


@pytest.mark.parametrize("kind", POLICIES)
def test_every_decision_is_replayed_from_the_record_alone(tmp_path: Path, plane: Assembly, kind: str) -> None:
    """Sizes, rates, constants and reasons again, from metrics.jsonl and the policy."""
    policy = POLICIES[kind]
    ladle.fit(plane, policy=policy, until=f"{LAST} examples", out=tmp_path / "run")
    memory, progress = policy.init(None), Progress()
    for line in read_lines(tmp_path / "run" / METRICS_FILE):
        if "size" in line:
            memory, decision = policy.decide(memory, progress)
            told = (decision.spec.size, decision.lr_factor, decision.reason, dict(decision.hyper))
            assert told == (line["size"], line["lr_factor"], line.get("reason", ""), line.get("hyper", {}))
        progress = Progress.from_line(line, progress)
