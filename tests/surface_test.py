"""What `import ladle` gives, and what it costs. A change here is a change of the public interface."""

from __future__ import annotations

import json
from collections.abc import Callable

import ladle

PUBLIC = [
    "ArgumentError",
    "Batch",
    "BatchSpec",
    "Carry",
    "CheckpointError",
    "Comparison",
    "Cost",
    "Cursor",
    "DataError",
    "Decision",
    "DivergedWarning",
    "EndOfStream",
    "Evidence",
    "ExampleError",
    "FederatedClient",
    "Federation",
    "FeedCheck",
    "Gauge",
    "LadleError",
    "Model",
    "Moments",
    "NoiseScale",
    "Observation",
    "Online",
    "Plan",
    "Progress",
    "Run",
    "RunError",
    "RunTime",
    "Search",
    "Shard",
    "Speed",
    "Task",
    "Traits",
    "Until",
    "compare",
    "data",
    "errors",
    "federate",
    "federated",
    "feed",
    "feed_check",
    "fit",
    "from_equinox",
    "from_nnx",
    "layerwise",
    "load",
    "losses",
    "metrics",
    "models",
    "moments",
    "noise",
    "online",
    "plan",
    "policy",
    "recur",
    "run_time",
    "scaling",
    "search",
    "torch",
    "track",
    "windows",
]

HEAVY = (
    "bokeh equinox flax jax lightning matplotlib optax orbax pandas pooch pyarrow rich safetensors scipy sklearn torch "
    "transformers tyro uvicorn".split()  # a word each
)
"""Libraries that nobody pays for before they are used."""


def test_public_names_are_exactly_these():
    assert sorted(ladle.__all__) == sorted(PUBLIC)


def test_every_public_name_exists_and_is_listed_by_dir():
    assert [name for name in ladle.__all__ if not hasattr(ladle, name)] == []
    assert set(ladle.__all__) <= set(dir(ladle))


def test_an_unknown_name_is_an_attribute_error():
    assert not hasattr(ladle, "no_such_name")


def test_import_loads_nothing_heavy(fresh_python: Callable[..., str]):
    loaded = json.loads(fresh_python("import json, sys, ladle; print(json.dumps(sorted(sys.modules)))"))
    assert "ladle" in loaded
    assert sorted(set(loaded) & set(HEAVY)) == []


def test_verbs_stay_functions_whatever_was_imported_first(fresh_python: Callable[..., str]):
    # A folder of the same name would take the place of the function on its first import.
    code = """
import importlib, json, pathlib, ladle
for path in pathlib.Path(ladle.__file__).parent.glob("*/__init__.py"):
    importlib.import_module(f"ladle.{path.parent.name}")
import ladle.search.space
print(json.dumps([name for name in ("plan", "fit", "compare", "search") if not callable(getattr(ladle, name))]))
"""
    assert json.loads(fresh_python(code)) == []


def test_public_names_of_the_hall_are_modules_to_import_from() -> None:
    from ladle.moments import Moments  # type: ignore[import-not-found]
    from ladle.noise import estimate  # type: ignore[import-not-found]
    from ladle.scaling import Coupling  # type: ignore[import-not-found]

    assert (Moments, estimate, Coupling) == (ladle.moments.Moments, ladle.noise.estimate, ladle.scaling.Coupling)
