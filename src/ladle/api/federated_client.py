"""`FederatedClient`: one client of a federation in a process of its own, which holds its rows and nobody else's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ladle.api.assembly import Assembly, assemble, resolve_size
from ladle.api.federated_terms import method_of, require_federable
from ladle.api.task import Task
from ladle.core.errors import ArgumentError, must
from ladle.core.spec import require_count
from ladle.federated import Method


class FederatedClient:
    """Trains a server's weights on its own rows, as `ladle.federate` has this client do it.

    - `task`: with the client's own rows as training data. `number`: the client's, which its random numbers come from.
    - `epochs`, `size`, `method`, `seed`: those of the federation. `size`: rows of a batch; with lr="auto" no more than
      the client has.

    Weights travel as lists of arrays in one order, as Flower has them; nothing else leaves the process but how many
    rows they were trained on.

    >>> client = FederatedClient(task, number=3, size=16)  # doctest: +SKIP
    >>> weights, examples = client.train(client.weights(), 0)  # doctest: +SKIP
    """

    def __init__(
        self,
        task: Task | Assembly,
        *,
        number: int,
        size: int | str = 32,
        epochs: int = 1,
        method: str | Method = "fedavg",
        seed: int = 0,
    ) -> None:
        assembly = task if isinstance(task, Assembly) else assemble(task)
        self.method, self.epochs = method_of(method, assembly), require_count("epochs", epochs)
        require_federable(assembly)
        if self.method.controls:
            why, remedy = "control variates travel beside the weights there, and only in a simulation here", "'fedavg'"
            raise ArgumentError(must("method", "be another for clients of their own", method, why, remedy))
        if callable(assembly.task.lr):
            why, remedy = "it goes by the examples of all clients, and one knows its own alone", "lr=0.1"
            raise ArgumentError(must("lr", "be a number for clients of their own", "a schedule", why, remedy))
        if isinstance(number, bool) or not hasattr(number, "__index__") or number < 0:
            why = "clients are told apart by it"
            raise ArgumentError(must("number", "be a whole number from 0", number, why, "number=0"))
        rows = resolve_size(size, assembly.rows) if size == "full" else require_count("size", size)
        self.assembly, self.number = assembly, int(number)
        lr = assembly.lr(rows)
        if (size == "full" or rows > assembly.rows) and lr != assembly.lr(1):  # It moves with the size.
            why = "a batch is at most what the largest client has, which one does not know, and the rate goes by it"
            be = f"be a number where size={size!r} takes all of a client's {assembly.rows} rows"
            raise ArgumentError(must("lr", be, assembly.task.lr, why, "lr=0.1"))
        self._state: Any = assembly.engine.step.init(seed, {} if lr is None else {"lr": lr})
        backend: Any = assembly.backend
        self._training = backend.alone(assembly.objective, assembly.optimizer, size=rows)

    def weights(self) -> list[np.ndarray]:
        """Those that a federation of this seed begins with."""
        return self._training.flat(self._state.params)

    def train(self, weights: Sequence[np.ndarray], number: int) -> tuple[list[np.ndarray], int]:
        """The weights after the client's part of round `number`, from 0, and the rows that they were trained on."""
        data = self.assembly.placed
        assert data is not None
        how = {"client": self.number, "number": number, "mu": self.method.mu, "epochs": self.epochs}
        params, examples = self._training(self._tree(weights), self._state, data[0], **how)
        return self._training.flat(params), examples

    def _tree(self, weights: Sequence[np.ndarray]) -> Any:
        return self._training.tree(weights, self._state.params)

    def evaluate(self, weights: Sequence[np.ndarray], rows: Any) -> dict[str, float]:
        """Mean loss and metrics of these weights on `rows`: `{"loss": ..., "accuracy": ...}`."""
        state = self._state._replace(params=self._tree(weights))
        return self.assembly.engine.evaluate(state, rows, prefix="")
