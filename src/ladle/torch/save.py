"""`TorchSaver`: a state to a folder and back, bit for bit: safetensors and JSON. Nothing is pickled.

state/
  tensors.safetensors    every weight, and every tensor of the optimiser's state
  state.json             what of it is no tensor, the constants, the seed
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ladle.core.errors import CheckpointError, must
from ladle.torch.state import WEIGHT, Kept, State, arrays_of, type_of

TENSORS, REST = "tensors.safetensors", "state.json"
AVERAGE = "optimizer."


class TorchSaver:
    """Implements `ladle.core.backend.Saver` for `State`.

    An optimiser makes its averages in its first step, so they are not part of what `describe` tells: they go in and
    out by the number of their parameter.
    """

    def describe(self, tree: State | Kept) -> list[list[str]]:
        """Path and type of every weight; the optimiser's class and the names of its constants."""
        weights = [[WEIGHT + name, f"{type_of(leaf)}{list(leaf.shape)}"] for name, leaf in tree.weights.items()]
        constants = [[f"hyper.{name}", "number"] for name in sorted(tree.hyper)]
        return [*weights, ["optimizer", tree.rule], *constants]

    def save(self, folder: Path, tree: State | Kept) -> Callable[[], None]:
        """Write `tree` into the new folder `folder`. All is copied, and written, before this returns."""
        from safetensors.torch import save_file

        kept = tree.kept()
        tensors, rest = {WEIGHT + name: leaf for name, leaf in kept.weights.items()}, {}
        for number, held in kept.averages.items():
            for name, value in held.items():
                if isinstance(value, torch.Tensor):
                    tensors[f"{AVERAGE}{number}.{name}"] = value
                else:
                    rest.setdefault(str(number), {})[name] = _plain(name, value)
        facts = {"averages": rest, "hyper": kept.hyper, "seed": kept.seed, "optimizer": kept.rule}
        folder.mkdir()
        save_file({name: leaf.contiguous() for name, leaf in tensors.items()}, folder / TENSORS)
        (folder / REST).write_text(json.dumps(facts), encoding="utf-8")
        return _written

    def load(self, folder: Path, like: State) -> State:
        """The state in `folder`, put into `like`. Raises `CheckpointError` for weights of another shape."""
        return like.put(_read(folder))

    def arrays(self, folder: Path, described: list[list[str]]) -> list[np.ndarray]:
        """All that `described` tells of, as arrays of the host; what is no array is an empty one."""
        found = {WEIGHT + name: leaf for name, leaf in arrays_of(_read(folder).weights).items()}
        return [found.get(path, np.zeros(0)) for path, _ in described]


def _written() -> None:
    """Nothing to wait for."""


def _plain(name: str, value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    why = "a checkpoint holds tensors and plain numbers, nothing that runs"
    raise CheckpointError(must(f"optimizer state {name}", "be a tensor or a number", type(value).__name__, why, "Adam"))


def _read(folder: Path) -> Kept:
    from safetensors.torch import load_file

    facts: Mapping[str, Any] = json.loads((folder / REST).read_text(encoding="utf-8"))
    averages: dict[Any, dict[str, Any]] = {int(number): dict(held) for number, held in facts["averages"].items()}
    weights = {}
    for path, leaf in load_file(folder / TENSORS).items():
        if path.startswith(WEIGHT):
            weights[path.removeprefix(WEIGHT)] = leaf
        else:
            number, _, name = path.removeprefix(AVERAGE).partition(".")
            averages.setdefault(int(number), {})[name] = leaf
    return Kept(weights, averages, dict(facts["hyper"]), int(facts["seed"]), str(facts["optimizer"]))
