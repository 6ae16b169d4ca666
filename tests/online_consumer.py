"""A run of `ladle.online` that is killed: events of a folder, whose weights count how often each was learnt.

Run by `online_test.py`: `python online_consumer.py FOLDER EVENTS`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import ladle
from ladle.feed import DirectoryStream, Numbers, StreamFeed
from ladle.feed.arrays import Arrays

SIZE = 16


def task(events: Path, count: int) -> ladle.Task:
    """Each update adds one to the weight of each of its events, where its batch is full."""
    first = ladle.data.streamed(Arrays({"id": np.zeros(1, np.int32)}), valid=0)
    return ladle.Task.functions(
        lambda key: jnp.zeros(count),
        lambda params, batch, key: -params[batch["id"]],
        first,
        optimizer="sgd",
        lr=float(SIZE),
        feed=lambda seed: StreamFeed(DirectoryStream(events, "*.jsonl"), Numbers({"id": np.int32(0)}), wait_seconds=0),
    )


class Progress:
    """Writes down how far the run is: what the test looks at to choose its moment."""

    def __init__(self, path: Path) -> None:
        self.file = path.open("a", buffering=1)

    def append(self, line: Mapping[str, Any]) -> None:
        self.file.write(f"{line['examples']}\n")

    def message(self, text: str) -> None: ...

    def close(self) -> None:
        self.file.close()


def main(folder: Path, count: int) -> None:
    how: dict[str, Any] = {"size": SIZE, "out": folder / "run", "resume": True, "checkpoint_every_seconds": 0.05}
    done = ladle.online(task(folder / "events", count), **how, show=Progress(folder / "progress"))
    np.save(folder / "weights.npy", np.asarray(jax.device_get(done.run.params)))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
