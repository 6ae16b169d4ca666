"""`Grown`: the columns of a run, longer with every window. Appending costs what is new, not what is there."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ladle.board.lines import Block, Columns, Told


class Grown:
    """Columns `f64[count]` that grow at the end and can be cut.

    >>> rows = Grown()
    >>> rows.append(Block(2, {"examples": np.array([1.0, 2.0])}))
    >>> rows.append(Block(1, {"examples": np.array([3.0]), "lr": np.array([0.1])}))
    >>> rows["examples"].tolist(), rows["lr"].tolist(), "size" in rows
    ([1.0, 2.0, 3.0], [nan, nan, 0.1], False)
    """

    def __init__(self) -> None:
        self.count = 0
        self.told: list[Told] = []
        self._arrays: Columns = {}

    def append(self, block: Block) -> None:
        """Add the rows of `block`."""
        end = self.count + block.count
        for name in block.columns.keys() - self._arrays.keys():
            self._arrays[name] = np.full(max(end, 64), np.nan)
        for name, array in self._arrays.items():
            if len(array) < end:
                longer = np.full(max(end, 2 * len(array)), np.nan)
                longer[: self.count] = array[: self.count]
                self._arrays[name] = array = longer
            array[self.count : end] = block.columns.get(name, np.nan)
        self.told += [Told(one.row + self.count, one.reason, one.inputs) for one in block.told]
        self.count = end

    def cut(self, count: int) -> None:
        """Forget every row from `count` on."""
        self.count = min(count, self.count)
        self.told = [one for one in self.told if one.row < count]

    def __getitem__(self, name: str) -> np.ndarray:
        """The column, all nan where no row has it. Not to be written."""
        array = self._arrays.get(name)
        return np.full(self.count, np.nan) if array is None else array[: self.count]

    def __contains__(self, name: str) -> bool:
        return name in self._arrays

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)
