"""Other libraries' tests of their loaders, run with `Loader` in place of a `DataLoader`. A plugin of pytest.

    PYTHONPATH=benchmarks/peers:data python -m pytest -p loader_shim data/test/stateful_dataloader/test_state_dict.py

`loader_suites.py` runs all of them and counts. The shim has a `DataLoader`'s defaults: in order, batches of one, its
own collate function. With `LADLE_SHIM_LOG=file` a JSON line is written when a test begins, and one that says what came
of it, and whether it made a loader at all; tests that have such a line already are not run again. A test is "refused"
where a `LadleError` stands in the chain of what it failed with.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import os
import signal
from typing import Any

SECONDS = int(os.environ.get("LADLE_SHIM_SECONDS", "120"))
SUITE = os.environ.get("LADLE_SHIM_SUITE", "")
MADE: dict[str, Any] = {"loaders": 0, "test": "", "process": os.getpid()}


def _count() -> None:
    """A loader more. A child process of the test writes that down, for its count is lost with it."""
    MADE["loaders"] += 1
    if os.getpid() != MADE["process"]:
        _write(MADE["test"], "made", "")


class Kind(type):
    """`isinstance(x, DataLoader)` holds for a `Loader` too."""

    def __instancecheck__(cls, it: Any) -> bool:
        import torch

        from ladle.feed.loader_base import LoaderBase

        return isinstance(it, LoaderBase | torch.utils.data.DataLoader)


class DataLoader(metaclass=Kind):
    """A `Loader` for the arguments of a `DataLoader`."""

    def __class_getitem__(cls, kind: Any) -> Any:
        return cls

    def __new__(cls, dataset: Any, batch_size: int | None = 1, shuffle: Any = None, *rest: Any, **names: Any) -> Any:
        import torch

        from ladle.feed import Loader

        _count()
        order = ("sampler", "batch_sampler", "num_workers", "collate_fn", "pin_memory", "drop_last")
        names |= dict(zip(order, rest, strict=False))
        batched = batch_size is not None or names.get("batch_sampler") is not None
        collate = torch.utils.data.default_collate if batched else torch.utils.data.default_convert
        names = {name: value for name, value in names.items() if name != "snapshot_every_n_steps"}
        sized = {} if batch_size == 1 and names.get("batch_sampler") is not None else {"batch_size": batch_size}
        names["collate_fn"] = names.get("collate_fn") or collate
        stream = isinstance(dataset, torch.utils.data.IterableDataset)
        if shuffle is not None or not (stream or names.get("sampler") or names.get("batch_sampler")):
            names["shuffle"] = shuffle or False
        to = "torch" if names.get("pin_memory") else "numpy"
        return Loader(dataset, to=to, **sized, **names)


def pytest_configure(config: Any) -> None:
    for name in ("torchdata.stateful_dataloader", "lightning.pytorch.demos.boring_classes"):
        try:
            module = importlib.import_module(name)
        except ImportError:
            continue
        for own in ("StatefulDataLoader", "DataLoader"):
            if hasattr(module, own):
                setattr(module, own, DataLoader)
    try:
        grain = importlib.import_module("grain._src.python.testing.experimental")
    except ImportError:
        return
    check = grain.assert_equal_output_after_checkpoint
    grain.assert_equal_output_after_checkpoint = lambda dataset: check(Dataset(dataset))  # type: ignore[attr-defined]


def pytest_itemcollected(item: Any) -> None:
    module = getattr(item, "module", None)
    if getattr(module, "DataLoader", DataLoader) is not DataLoader:
        module.DataLoader = DataLoader  # type: ignore[union-attr]


def pytest_collection_modifyitems(config: Any, items: list[Any]) -> None:
    """Leaves out what is done, and of Grain's tests those that check no state."""
    log, done = os.environ.get("LADLE_SHIM_LOG", ""), set[str]()
    if os.path.exists(log):
        with open(log) as file:
            done = {
                line["test"]
                for line in map(json.loads, file)
                if line["suite"] == SUITE and line["kind"] not in ("begun", "made")
            }
    kept = [item for item in items if item.nodeid not in done and _checks(item)]
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept


def _checks(item: Any) -> bool:
    if "/grain/" not in str(item.path):
        return True
    return "assert_equal_output_after_checkpoint" in inspect.getsource(item.function)


def pytest_runtest_setup(item: Any) -> None:
    MADE.update(loaders=0, test=item.nodeid)
    _write(item.nodeid, "begun", "")

    def late(*_: Any) -> None:
        raise TimeoutError(f"{SECONDS} seconds")

    signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)


def pytest_runtest_teardown(item: Any) -> None:
    signal.alarm(0)


def pytest_runtest_makereport(item: Any, call: Any) -> None:
    if call.when == "call" or call.excinfo is not None:
        _write(item.nodeid, *_verdict(None if call.excinfo is None else call.excinfo.value))


def _write(test: str, kind: str, said: str) -> None:
    log = os.environ.get("LADLE_SHIM_LOG")
    if log is not None:
        line = {"suite": SUITE, "test": test, "kind": kind, "said": said, "loaders": MADE["loaders"]}
        with open(log, "a") as file:
            file.write(json.dumps(line) + "\n")


def _verdict(error: BaseException | None) -> tuple[str, str]:
    from ladle.core.errors import LadleError

    chain = []
    while error is not None and error not in chain:
        chain.append(error)
        error = error.__cause__ or error.__context__
    if not chain:
        return "passed", ""
    if type(chain[0]).__name__ in ("Skipped", "SkipTest"):
        return "skipped", str(chain[0])
    own = [one for one in chain if isinstance(one, LadleError)]
    first = own[0] if own else chain[0]
    return "refused" if own else "failed", f"{type(first).__name__}: {first}"[:400]


class Through:
    """One of Grain's datasets as its checkpoint check sees it: an iterator with a state, which is a `Loader`'s."""

    def __init__(self, dataset: Any) -> None:
        from ladle.feed import Loader

        _count()
        numbered = hasattr(dataset, "__getitem__")
        self.loader = Loader(dataset, None, **({"shuffle": False} if numbered else {}))
        self.batches: Any = None

    def __iter__(self) -> Any:
        return self

    def __next__(self) -> Any:
        self.batches = iter(self.loader) if self.batches is None else self.batches
        return next(self.batches)

    def get_state(self) -> Any:
        return repr(self.loader.state_dict())

    def set_state(self, state: Any) -> None:
        self.loader.load_state_dict(ast.literal_eval(state))
        self.batches = None


class Dataset:
    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __iter__(self) -> Any:
        return Through(self.dataset)
