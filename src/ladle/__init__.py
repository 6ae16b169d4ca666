"""ladle: plan, feed, train and show mini-batches.

    data = ladle.data.load("digits")
    task = ladle.Task(ladle.models.mlp(64, 128, 10), ladle.losses.cross_entropy, data)
    plan = ladle.plan(task)
    run = ladle.fit(task, plan, until="30 epochs", out="runs/a")

Importing ladle loads the hall only (`ladle.spec`, `ladle.plan`, ...: standard library and NumPy); rooms that need JAX
or anything heavy are loaded when first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ladle.batch import Batch
from ladle.carry import Carry
from ladle.cursor import Cursor, Shard
from ladle.decision import Decision, Progress
from ladle.duration import Until
from ladle.errors import (
    ArgumentError,
    CheckpointError,
    DataError,
    Diverged,
    EndOfStream,
    ExampleError,
    LadleError,
    RunError,
)
from ladle.moments import Gauge, Moments
from ladle.noise import NoiseScale
from ladle.observation import Observation
from ladle.plan import Evidence, Plan
from ladle.spec import BatchSpec
from ladle.task import Task

if TYPE_CHECKING:
    from ladle import data, feed, models, policy
    from ladle.bridge.nnx import from_nnx
    from ladle.comparing import Comparison, compare
    from ladle.feeding import FeedCheck, feed_check
    from ladle.models import from_equinox, losses, metrics
    from ladle.planning import plan
    from ladle.recurring import recur
    from ladle.run import Run
    from ladle.searching import Search, search
    from ladle.training import fit

__version__ = "0.1.0"

__all__ = [
    "ArgumentError", "Batch", "BatchSpec", "Carry", "CheckpointError", "Comparison", "Cursor", "DataError", "Decision",
    "Diverged", "EndOfStream", "Evidence", "ExampleError", "FeedCheck", "Gauge", "LadleError", "Moments", "NoiseScale",
    "Observation", "Plan", "Progress", "Run", "RunError", "Search", "Shard", "Task", "Until", "compare", "data", "feed",
    "feed_check", "fit", "from_equinox", "from_nnx", "losses", "metrics", "models", "plan", "policy", "recur",
    "search",
]  # fmt: skip

_LATER = {
    "fit": ("ladle.training", "fit"),
    "Run": ("ladle.run", "Run"),
    "plan": ("ladle.planning", "plan"),
    "compare": ("ladle.comparing", "compare"),
    "Comparison": ("ladle.comparing", "Comparison"),
    "feed_check": ("ladle.feeding", "feed_check"),
    "recur": ("ladle.recurring", "recur"),
    "search": ("ladle.searching", "search"),
    "Search": ("ladle.searching", "Search"),
    "FeedCheck": ("ladle.feeding", "FeedCheck"),
    "from_equinox": ("ladle.models", "from_equinox"),
    "from_nnx": ("ladle.bridge.nnx", "from_nnx"),
    "data": ("ladle.data", None),
    "feed": ("ladle.feed", None),
    "losses": ("ladle.models.losses", None),
    "metrics": ("ladle.models.metrics", None),
    "models": ("ladle.models", None),
    "policy": ("ladle.policy", None),
}

# The hall's module of that name is loaded; the name on the package is the function.
del plan


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'ladle' has no attribute {name!r}")
    module, attribute = _LATER[name]
    loaded = importlib.import_module(module)
    value = loaded if attribute is None else getattr(loaded, attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
