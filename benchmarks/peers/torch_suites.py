"""Asks of `ladle.torch` what three other libraries' tests ask of their own parts, with their data and their cases.

    python benchmarks/peers/torch_suites.py FOLDER

`FOLDER` holds checkouts `fairscale`, `accelerate` and `pytorch-lightning`; nothing of them is kept here.

- fairscale's golden data of AdaScale: the gains and gradients of its cases, by the moments of `Update`, once with two
  micro-batches and once with two processes under `DistributedDataParallel`. AdaScale's own clamps and smoothing are
  put on them here; ladle has neither.
- Accelerate's `test_sync`, by intention, with its data set and its model: nothing moves before the last part, the
  gradient is then that of the whole batch, a scheduler keeps its factor, ranks agree.
- Lightning's tests of its batch size finder, by intention: each function of the file is answered by a check of
  `ladle.torch.plan`, or the reason is told why nothing is asked. A function that is not known here is said.
"""

from __future__ import annotations

import ast
import importlib.util
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from finder_cases import CASES
from torch import distributed, nn
from torch.multiprocessing.spawn import spawn
from torch.nn import functional

from ladle.core.moments import Gauge, Moments
from ladle.torch import Update

GOLDEN = "fairscale/fairscale/fair_dev/testing/golden_testing_data.py"
REGRESSION = "accelerate/src/accelerate/test_utils/training.py"
FINDER = "pytorch-lightning/tests/tests_pytorch/tuner/test_scale_batch_size.py"
SMOOTHING = 1 - 2 / 1000
"""AdaScale's for two pieces."""


def module_at(path: Path) -> Any:
    """A file of a checkout as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def gain(windows: list[Moments]) -> float:
    """AdaScale's for two pieces of one row: its averages over updates of the clamped pair, divided (B.3 there)."""
    weights = SMOOTHING ** np.arange(len(windows) - 1.0, -1.0, -1.0)
    variance = np.average([max(one.trace, 1e-6) for one in windows], weights=weights)
    square = np.average([max(one.square, 0.0) for one in windows], weights=weights)
    return float((variance + square) / (variance / 2 + square))


def summed(model: nn.Module, rows: torch.Tensor) -> torch.Tensor:
    return model(rows).sum(1)


def golden(case: dict[str, Any], rank: int | None) -> bool:
    """Whether `Update` has the gain and the gradients of a case. `rank`: of two processes; else two micro-batches."""
    net: nn.Module = nn.Linear(2, 2)
    model = net if rank is None else nn.parallel.DistributedDataParallel(net)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    update = Update(model, optimizer, micro_size=1, gauge=Gauge(every=1))
    windows = []
    for pair in case.get("inputs", [case.get("input")]):
        update(torch.tensor(pair if rank is None else [pair[rank]], dtype=torch.float32), summed)
        windows.append(update.observation().moments())
    wanted = [case["expected_grad"], case["expected_bias_grad"]]
    grads = [leaf.grad.numpy() for leaf in net.parameters() if leaf.grad is not None]
    close = all(np.allclose(one, other) for one, other in zip(grads, wanted, strict=True))
    return close and bool(np.isclose(gain(windows), case["expected_gain"]))


def squared(model: nn.Module, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    return functional.mse_loss(model(batch["x"]), batch["y"], reduction="none")


def synced(of: Any, rows: int, micro: int, scheduled: bool, rank: int | None) -> bool:
    """Whether three updates in parts are those of the whole batch: nothing before the last part, all of it after."""
    data = of.RegressionDataset(length=3 * rows, seed=0)
    batches = [
        {name: torch.tensor(getattr(data, name)[at : at + rows]).double() for name in ("x", "y")}
        for at in range(0, 3 * rows, rows)
    ]
    plain, net = of.RegressionModel().double(), of.RegressionModel().double()
    model = net if rank is None else nn.parallel.DistributedDataParallel(net)
    optimizers = [torch.optim.AdamW(one.parameters(), lr=1e-3) for one in (plain, model)]
    factor: Callable[[int], float] = lambda number: (number + 1) ** 0.65  # noqa: E731
    schedules = [torch.optim.lr_scheduler.LambdaLR(one, factor) for one in optimizers] if scheduled else []
    update = Update(model, optimizers[1], micro_size=micro)
    for batch in batches:
        optimizers[0].zero_grad()
        squared(plain, batch).mean().backward()
        before = [leaf.detach().clone() for leaf in net.parameters()]
        own = {name: leaf if rank is None else leaf[rank::2] for name, leaf in batch.items()}
        for part in update.parts(own):
            part.backward(squared(model, part.data))
            if not all(torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True)):
                return False
        optimizers[0].step()
        update.step()
        for one in schedules:
            one.step()
        for a, b in zip(plain.parameters(), net.parameters(), strict=True):
            if not (torch.allclose(a, b, rtol=1e-12, atol=1e-14) and torch.allclose(a.grad, b.grad, rtol=1e-10)):
                return False
        if optimizers[0].param_groups[0]["lr"] != optimizers[1].param_groups[0]["lr"]:
            return False
    return True


def asked(folder: Path, rank: int | None) -> Iterator[tuple[str, bool]]:
    """Every case of fairscale and of Accelerate, and whether it holds."""
    how = "two micro-batches" if rank is None else "two processes"
    for number, case in enumerate(module_at(folder / GOLDEN).adascale_test_data):
        yield f"fairscale, golden data, {how}: {number}", golden(case, rank)
    of = module_at(folder / REGRESSION)
    how = "one process" if rank is None else "two processes"
    for rows in (16, 20, 33):
        for micro in (16, 8, 5, 4):
            for scheduled in (False, True):
                with redirect_stdout(StringIO()):  # Their model prints its types.
                    held = synced(of, rows, micro, scheduled, rank)
                yield f"Accelerate, test_sync, {how}: {rows} rows by {micro}, schedule {scheduled}", held


def of_rank(rank: int, folder: Path, place: str) -> None:
    """The cases on one of two processes; rank 0 writes what came of both."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{place}/meet", rank=rank, world_size=2)
    found = [(name, held) for name, held in asked(folder, rank)]
    every: list[Any] = [None, None]
    distributed.all_gather_object(every, found)
    if rank == 0:
        both = [(name, held and other[1]) for (name, held), other in zip(*every, strict=True)]
        torch.save(both, f"{place}/found")
    distributed.destroy_process_group()


def finder(folder: Path) -> Iterator[tuple[str, str, str]]:
    """Each test function of Lightning's finder: its name, the verdict, and why."""
    tree = ast.parse((folder / FINDER).read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            case = CASES.get(node.name)
            if case is None:
                yield node.name, "not known", ""
            elif isinstance(case, str):
                yield node.name, "not asked", case
            else:
                yield node.name, *answered(case)


def answered(case: Callable[[], None]) -> tuple[str, str]:
    try:
        case()
    except AssertionError as error:
        return "failed", str(error)
    return "passed", (case.__doc__ or "").strip()


def main(arguments: list[str]) -> int:
    folder = Path(arguments[0]).resolve()
    torch.set_num_threads(1)
    found = list(asked(folder, None))
    with tempfile.TemporaryDirectory() as place:
        spawn(of_rank, (folder, place), nprocs=2)
        found += torch.load(f"{place}/found")
    suites: dict[str, list[bool]] = {}
    for name, held in found:
        suites.setdefault(name.partition(":")[0], []).append(held)
        if not held:
            print(f"failed: {name}")
    for name, verdicts in suites.items():
        print(f"{name}: {sum(verdicts)} of {len(verdicts)}", flush=True)
    verdicts = []
    for name, verdict, why in finder(folder):
        verdicts.append((name, verdict))
        print(f"Lightning, {name}: {verdict}. {why}".rstrip(), flush=True)
    failed = [name for name, verdict in verdicts if verdict in ("failed", "not known")]
    passed = sum(verdict == "passed" for _, verdict in verdicts)
    rest = len(verdicts) - passed - len(failed)
    print(f"Lightning's finder, functions: {passed} passed, {rest} not asked, {len(failed)} failed")
    return int(bool(failed) or not all(held for _, held in found))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
