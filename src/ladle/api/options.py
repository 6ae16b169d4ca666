"""`TaskOptions`: the options that say what is trained, and the `Task` that they make."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

from ladle.api.backend import backend_named
from ladle.api.streamed import on_disk
from ladle.api.task import Task
from ladle.api.task_file import is_task_file, task_from

OF_TABLES = ("drop", "na", "decimal", "categories", "as_", "delimiter", "quote", "encoding", "header")
"""How a table is read; see `ladle.data.load`."""
IN_FILE = ("target", "kind", *OF_TABLES, "valid", "model", "optimizer", "stream")
"""What the task of a file says itself."""
LISTS = ("drop", "na", "categories", "as_", "frozen", "no_decay")


@dataclass(frozen=True)
class TaskOptions:
    """What names a task on the command line: the verbs inherit it, and `--help` shows its sentences.

    Kept in `run.json`, so that a run can be resumed from its folder alone. A new option is a field here and a field of
    `Task` of the same name: it goes there by itself.
    """

    data: str
    """Name (see `ladle data`), table, .npz/.npy/idx file, or file.py:task."""
    target: str | None = None
    """Target column of a table (or key of an .npz file)."""
    kind: Literal["classification", "regression"] | None = None
    """What the target is, where the guess is wrong."""
    drop: tuple[str, ...] = ()
    """Columns of a table to leave out."""
    valid: float = 0.2
    """Share of the rows kept for validation."""
    model: Literal["linear", "mlp", "convnet"] = "mlp"
    """Built-in model."""
    optimizer: str = "adam"
    """sgd, momentum, nesterov, adagrad, rmsprop, adam, adamw, lion, lamb, lars, lamb_paper, lars_paper or muon."""
    lr: float | str = "auto"
    """auto, or the learning rate."""
    clip: float | None = None
    """Largest norm of an update's gradient; longer ones are shortened to it."""
    clip_value: float | None = None
    """Largest absolute value of a coordinate of an update's gradient."""
    ema: float | None = None
    """Share that an update keeps of a moving average of the weights (0.999), which is judged beside them."""
    frozen: tuple[str, ...] = ()
    """Weights that stay as they begin, by patterns of their paths: "layers.0.*"."""
    no_decay: tuple[str, ...] = ()
    """Weights that weight decay leaves alone, by patterns of their paths: "*bias"."""
    precision: Literal["f32", "bf16", "fp16"] = "f32"
    """Type that the model computes in; parameters, sums and losses are float32 all the same."""
    remat: Literal["none", "dots", "full"] = "none"
    """What the backward pass computes again instead of keeping it."""
    shard_state: bool = False
    """Each device keeps a part of parameters and optimiser's state, not all of it."""
    offload: bool = False
    """The host's memory keeps the optimiser's state between updates."""
    order: Literal["permuted", "sequential", "stratified"] | None = None
    """How rows are drawn: permuted (the default), sequential, or stratified (classes in proportion in each batch)."""
    stream: bool = False
    """Read the rows of a table as they are needed, not all at once; a table of text is written once as Parquet."""
    na: tuple[str, ...] = ()
    """Words of a table that also mean missing; column=word for one column."""
    decimal: Literal[".", ","] | None = None
    """Decimal mark of a text table, where its cells do not show it."""
    categories: tuple[str, ...] = ()
    """Columns that are categories, whatever their cells look like."""
    as_: tuple[str, ...] = ()
    """What columns are: column=number, category, text, date or id (left out)."""
    delimiter: str | None = None
    """Mark between the cells of a text table, where it is not found: ";" or tab."""
    quote: str | None = None
    """Mark of quotation of a text table; none where quotes are letters."""
    encoding: str | None = None
    """Encoding of a text table, such as latin-1, where its bytes do not show it."""
    header: bool | None = None
    """Whether the first row of a text table names its columns (True or False), where it does not show."""

    def task(self) -> Task:
        """Load the data and put the task together. Raises `ArgumentError` (or `DataError`)."""
        if is_task_file(self.data):
            asked = {name: value for name, value in self._of_task().items() if name not in IN_FILE}
            return task_from(self.data).with_(**asked)
        from ladle.data import load

        backend = backend_named()
        backend.optimizer(self.optimizer)  # An unknown name is refused before data is read.
        read = {name: getattr(self, name) for name in ("target", "kind", "valid", *OF_TABLES)}
        data = on_disk(self.data, **read) if self.stream else load(self.data, **read)
        shapes = {"input_shape": data.input_shape, "outputs": data.outputs, "cardinalities": data.cardinalities}
        return Task(backend.model(self.model, **shapes), None, data, **self._of_task())

    def _of_task(self) -> dict[str, Any]:
        """The options that are fields of `Task` too and were asked for: what is usual is usual there as well."""
        shared = {one.name for one in fields(Task)} - {"data", "model"}
        given = {one.name: getattr(self, one.name) for one in fields(TaskOptions) if one.name in shared}
        return {name: value for name, value in given.items() if value != getattr(TaskOptions, name)}

    def path(self) -> Path | None:
        """The file or folder that the data is read from; None for a known name, a URL or a pattern."""
        from ladle.data.names import known_name

        file = self.data.partition(":")[0] if is_task_file(self.data) else self.data
        return None if "://" in file or "*" in file or known_name(file) is not None else Path(file)

    def located(self) -> TaskOptions:
        """The same with the whole path of its data, which is found from any folder. Names and URLs stay as they are."""
        from ladle.data.names import known_name

        if "://" in self.data or known_name(self.data) is not None:
            return self
        return replace(self, data=os.path.abspath(self.data))

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> TaskOptions:
        """As `run.json` has it; an older one may lack some, or have the usual rate as null."""
        known = of_fields(cls, value)
        lists = {name: tuple(known.get(name, ())) for name in LISTS}
        return cls(**{**known, **lists, "lr": "auto" if known.get("lr") is None else known["lr"]})


def of_fields(kind: type, value: Mapping[str, Any]) -> dict[str, Any]:
    """The part of `value`, read from a record of any version, that `kind` has fields for."""
    names = {one.name for one in fields(kind)}
    return {name: item for name, item in value.items() if name in names}
