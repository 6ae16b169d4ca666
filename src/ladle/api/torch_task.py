"""`task`: a `ladle.Task` of a torch module, as `ladle.torch.task`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ladle.api.backend import backend_named
from ladle.api.task import Task


def task(
    model: Any,
    loss: Any,
    data: Any,
    *,
    optimizer: Any = "adam",
    lr: float | Callable[[Any], Any] | str = "auto",
    **rest: Any,
) -> Task:
    """A task of a torch module, for `ladle.fit`, `plan`, `compare`, `critical` and `search`.

    - `model`: a function (or class) that makes an `nn.Module`, seeded by the run; or a module, of which every run
      trains a copy. It takes `data`'s x as a tensor, or a dict of them.
    - `loss`: a name of `ladle.losses`, or None for the usual one; a loss of `torch.nn`, whose mean is left out; a
      function `(outputs, y) -> f32[rows]`, or `(model, batch) -> f32[rows]` with a first argument called model.
    - `optimizer`: a name, or a function `parameters -> torch.optim.Optimizer`, whose rate is the run's unless `lr` is
      given.
    - `rest`: as in `ladle.Task`: `hyper`, `order`, `feed`, `lane`, `augment`, `metrics`.

    >>> import ladle
    >>> from torch import nn, optim
    >>> model = lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    >>> made = task(model, nn.CrossEntropyLoss(), "digits", optimizer=lambda p: optim.AdamW(p, lr=3e-3))
    >>> run = ladle.fit(made, size=64, until="1 epochs")
    >>> run.status, run.metrics[-1]["updates"]
    ('finished', 23)
    """
    rule = optimizer if isinstance(optimizer, str) else backend_named("torch").optimizer(optimizer)
    return Task(model, loss, data, optimizer=rule, lr=lr, backend="torch", **rest)  # type: ignore[arg-type]
