"""ladle: plan, feed, train and show mini-batches.

    data = ladle.data.load("digits")
    task = ladle.Task(ladle.models.mlp(64, 128, 10), ladle.losses.cross_entropy, data)
    plan = ladle.plan(task)
    run = ladle.fit(task, plan, until="30 epochs", out="runs/a")

Importing ladle loads the hall alone (`ladle.core`: standard library and NumPy); rooms that need JAX or anything heavy
are loaded when first used.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

from ladle.api.backend import NEEDS
from ladle.api.task import Task
from ladle.core import errors, moments, noise, scaling
from ladle.core.batch import Batch
from ladle.core.carry import Carry
from ladle.core.cursor import Cursor, Shard
from ladle.core.decision import Decision, Progress
from ladle.core.duration import Until
from ladle.core.errors import (
    ArgumentError,
    CheckpointError,
    DataError,
    DivergedWarning,
    EndOfStream,
    ExampleError,
    LadleError,
    RunError,
)
from ladle.core.moments import Gauge, Moments
from ladle.core.noise import NoiseScale
from ladle.core.observation import Observation
from ladle.core.plan import Evidence, Plan
from ladle.core.spec import BatchSpec
from ladle.core.speed import Speed
from ladle.core.traits import Traits

if TYPE_CHECKING:
    from ladle import data, federated, feed, models, policy, torch, track
    from ladle.api.compare import Comparison, compare
    from ladle.api.federate import federate
    from ladle.api.federated_client import FederatedClient
    from ladle.api.federation import Federation
    from ladle.api.feed_check import FeedCheck, feed_check
    from ladle.api.fit import fit
    from ladle.api.load import load
    from ladle.api.model import Model
    from ladle.api.online import Online, online
    from ladle.api.plan import plan
    from ladle.api.recur import recur
    from ladle.api.run import Run
    from ladle.api.run_time import RunTime, run_time
    from ladle.api.search import Search, search
    from ladle.api.windows import windows
    from ladle.jax.optimizer import layerwise_named as layerwise
    from ladle.models import from_equinox, losses, metrics
    from ladle.models.nnx import from_nnx
    from ladle.planner.target import Cost

__version__ = "0.1.0"

__all__ = [
    "ArgumentError", "Batch", "BatchSpec", "Carry", "CheckpointError", "Comparison", "Cost", "Cursor", "DataError",
    "Decision", "DivergedWarning", "EndOfStream", "Evidence", "ExampleError", "FederatedClient", "Federation",
    "FeedCheck", "Gauge", "LadleError", "Model", "Moments", "NoiseScale", "Observation", "Online", "Plan", "Progress",
    "Run", "RunError", "RunTime", "Search", "Shard", "Speed", "Task", "Traits", "Until", "compare", "data", "errors",
    "federate", "federated", "feed", "feed_check", "fit", "from_equinox", "from_nnx", "layerwise", "load", "losses",
    "metrics", "models", "moments", "noise", "online", "plan", "policy", "recur", "run_time", "scaling", "search",
    "torch", "track", "windows",
]  # fmt: skip

_LATER = {
    "fit": ("ladle.api.fit", "fit"),
    "load": ("ladle.api.load", "load"),
    "Model": ("ladle.api.model", "Model"),
    "Run": ("ladle.api.run", "Run"),
    "online": ("ladle.api.online", "online"),
    "Online": ("ladle.api.online", "Online"),
    "plan": ("ladle.api.plan", "plan"),
    "RunTime": ("ladle.api.run_time", "RunTime"),
    "run_time": ("ladle.api.run_time", "run_time"),
    "compare": ("ladle.api.compare", "compare"),
    "Cost": ("ladle.planner.target", "Cost"),
    "Comparison": ("ladle.api.compare", "Comparison"),
    "federate": ("ladle.api.federate", "federate"),
    "FederatedClient": ("ladle.api.federated_client", "FederatedClient"),
    "Federation": ("ladle.api.federation", "Federation"),
    "federated": ("ladle.federated", None),
    "windows": ("ladle.api.windows", "windows"),
    "feed_check": ("ladle.api.feed_check", "feed_check"),
    "recur": ("ladle.api.recur", "recur"),
    "search": ("ladle.api.search", "search"),
    "Search": ("ladle.api.search_result", "Search"),
    "FeedCheck": ("ladle.api.feed_check", "FeedCheck"),
    "from_equinox": ("ladle.models", "from_equinox"),
    "from_nnx": ("ladle.models.nnx", "from_nnx"),
    "data": ("ladle.data", None),
    "feed": ("ladle.feed", None),
    "layerwise": ("ladle.jax.optimizer", "layerwise_named"),
    "losses": ("ladle.models.losses", None),
    "metrics": ("ladle.models.metrics", None),
    "models": ("ladle.models", None),
    "policy": ("ladle.policy", None),
    "torch": ("ladle.torch", None),
    "track": ("ladle.track", None),
}

# `from ladle.noise import estimate`: the public name is a module too, as `os.path` is.
for _name, _module in (("errors", errors), ("moments", moments), ("noise", noise), ("scaling", scaling)):
    sys.modules[f"{__name__}.{_name}"] = _module

# Python binds a folder's name on its parent when it first loads it: here, so that later the name is the function's.
importlib.import_module("ladle.search")
importlib.import_module("ladle.online")
del search, online


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'ladle' has no attribute {name!r}")
    module, attribute = _LATER[name]
    try:
        loaded = importlib.import_module(module)
        value = loaded if attribute is None else getattr(loaded, attribute)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in NEEDS["jax"] or not module.startswith(("ladle.jax", "ladle.models")):
            raise
        why, remedy = f"{missing} is not installed", "pip install 'ladle[jax]'; for PyTorch see ladle.torch"
        raise ArgumentError(errors.must(f"ladle.{name}", "have JAX", None, why, remedy)) from None
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
