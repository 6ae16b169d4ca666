"""What the planner is judged on: models, data and optimisers small enough that their whole sweep takes minutes."""

from __future__ import annotations

import csv
import os
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import ladle
from ladle.data.dataset import Data, digest


@dataclass(frozen=True)
class Case:
    """One (model, data, optimiser) and the grid it is swept on.

    - `targets`: validation losses, easy to hard. `sizes`: ascending. `start`: a rate that trains at the first of them.
    - `most`: updates of the very first cell at most. `seeds`: of start and order, the same for every cell.
    """

    make: Callable[[], ladle.Task]
    targets: tuple[float, float, float]
    sizes: tuple[int, ...]
    start: float
    most: int
    seeds: int = 6


def folder() -> Path:
    return Path(os.environ["LADLE_DATA"])


def powers(first: int, last: int) -> tuple[int, ...]:
    """`first`, twice that, ... up to `last`."""
    return tuple(first << k for k in range((last // first).bit_length()))


def digits(optimizer: str) -> ladle.Task:
    return ladle.Task(ladle.models.mlp(64, 64, 10), "cross_entropy", ladle.data.load("digits"), optimizer=optimizer)


def housing() -> ladle.Task:
    """Median house values, standardised as the numbers they are told from."""
    path = folder() / "california_housing" / "housing.csv"
    data = ladle.data.load(path, target="median_house_value")
    return ladle.Task(ladle.models.mlp(*data.input_shape, 64, 64, 1), "mse", data, optimizer="adamw")


def wine() -> ladle.Task:
    """Quality of red and white wines, an amount told from eleven numbers and the colour."""
    parts = [np.loadtxt(folder() / "wine_quality" / f"winequality-{of}.csv", delimiter=",") for of in ("red", "white")]
    both = np.concatenate([np.insert(part, 0, colour, axis=1) for colour, part in enumerate(parts)])
    x = (both[:, :-1] - both[:, :-1].mean(0)) / both[:, :-1].std(0)
    data = ladle.data.arrays(x, both[:, -1], kind="regression", name="wine quality")
    return ladle.Task(ladle.models.mlp(12, 64, 1), "mse", data)


def electricity() -> ladle.Task:
    """Whether the price of electricity goes up, half hours in any order."""
    table = np.loadtxt(folder() / "electricity" / "elec.csv", delimiter=",", skiprows=1)
    x = (table[:, :-1] - table[:, :-1].mean(0)) / table[:, :-1].std(0)
    data = ladle.data.arrays(x, table[:, -1].astype(int), valid=0.05, name="electricity")
    return ladle.Task(ladle.models.mlp(x.shape[1], 64, 64, 2), "cross_entropy", data, optimizer="nesterov")


def fashion(rows: int, model: Any, optimizer: str, shrink: int = 1) -> ladle.Task:
    """The first `rows` images, a tenth of them to validate; squares of `shrink` pixels become one, their mean."""
    whole = ladle.data.load("fashion-mnist", valid=0).train
    x = whole["x"][:rows].reshape(rows, 28 // shrink, shrink, 28 // shrink, shrink).mean((2, 4))
    data = ladle.data.arrays(x, whole["y"][:rows], valid=0.1, name="fashion-mnist")
    return ladle.Task(model, "cross_entropy", data, optimizer=optimizer)


def news(words: int = 512) -> ladle.Task:
    """Four kinds of news, told from how often the commonest words are in a text."""
    with (folder() / "ag_news_test" / "test.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    counts = [Counter(re.findall("[a-z]+", f"{row[1]} {row[2]}".lower())) for row in rows]
    total = Counter[str]()
    for count in counts:
        total.update(count)
    kept = [word for word, _ in sorted(total.items(), key=lambda item: (-item[1], item[0]))[:words]]
    x = np.log1p(np.array([[count[word] for word in kept] for count in counts], np.float32))
    data = ladle.data.arrays(x, np.array([int(row[0]) - 1 for row in rows]), name="news")
    return ladle.Task(ladle.models.mlp(words, 32, 4), "cross_entropy", data)


def shakespeare(length: int = 32, width: int = 32) -> ladle.Task:
    """The next letter, by a transformer of two blocks; an example is a line of `length` letters."""
    from truth.transformer import letters, transformer

    text = np.fromfile(folder() / "tiny_shakespeare" / "input.txt", np.uint8)
    known, ids = np.unique(text, return_inverse=True)
    count = (len(ids) - 1) // length
    x = ids[: count * length].reshape(count, length).astype(np.int32)
    y = ids[1 : count * length + 1].reshape(count, length).astype(np.int32)
    cut = count * 9 // 10
    train, valid = {"x": x[:cut], "y": y[:cut]}, {"x": x[cut : cut + 64], "y": y[cut : cut + 64]}
    names = tuple(map(str, known))
    data = Data(
        "tiny shakespeare", train, valid, "classification", names, (length,), len(names), (),
        digest({"train": train, "valid": valid}),
    )  # fmt: skip
    return ladle.Task(transformer(length, width, len(names)), letters, data, optimizer="adamw", metrics={})


CASES: Mapping[str, Case] = {
    "digits, mlp, adam": Case(lambda: digits("adam"), (0.4, 0.22, 0.15), powers(1, 1024), 0.001, 12_000),
    "digits, mlp, momentum": Case(lambda: digits("momentum"), (0.4, 0.22, 0.15), powers(1, 1024), 0.002, 12_000),
    "housing, mlp, adamw": Case(housing, (0.35, 0.28, 0.24), powers(4, 4096), 0.002, 16_000),
    "wine, mlp, adam": Case(wine, (0.8, 0.72, 0.67), powers(4, 2048), 0.002, 16_000),
    "electricity, mlp, nesterov": Case(electricity, (0.525, 0.505, 0.492), powers(8, 2048), 0.01, 6000, 4),
    "fashion, mlp, momentum": Case(
        lambda: fashion(10_000, ladle.models.mlp(784, 64, 10), "momentum"),
        (0.8, 0.6, 0.5), powers(4, 1024), 0.003, 8000, 4,
    ),
    "fashion, convnet, adam": Case(
        lambda: fashion(5_000, ladle.models.convnet((14, 14, 1), 10, width=4), "adam", shrink=2),
        (1.0, 0.75, 0.62), powers(4, 512), 0.01, 3000, 4,
    ),
    "news, mlp, adam": Case(news, (0.8, 0.62, 0.54), powers(2, 1024), 0.002, 5000),
    "shakespeare, transformer, adamw": Case(shakespeare, (2.9, 2.65, 2.5), powers(1, 64), 0.0056, 2000, 2),
}  # fmt: skip
