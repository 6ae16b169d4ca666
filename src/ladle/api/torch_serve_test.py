"""Torch models behind a real port: their own answers bit for bit, by `ladle serve` and in this process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import ladle
from ladle.api.serve import service
from ladle.api.serve_test import BYTES, ask, npy
from ladle.api.torch_model_test import DATA, X, make
from ladle.cli.serve_test import served
from ladle.serve import door

ROWS = [1, 3, 8]
"""A rung that is full, one that is filled up, and the largest."""


def whole(rows: int) -> np.ndarray:
    """The rows that are computed for so many: their last is repeated up to the rung."""
    x = X[:rows]
    return np.concatenate([x, np.repeat(x[-1:], (1 << (rows - 1).bit_length()) - rows, 0)])


def require_its_own_answers(port: int, model: Any) -> None:
    for rows in ROWS:
        predicted, chances = model.predict(whole(rows))[:rows], model.predict_proba(whole(rows))[:rows]
        for body in ((npy(X[:rows]), BYTES), (X[:rows].astype(float).tolist(),)):
            status, told = ask(port, *body)
            assert status == 200 and told["predictions"] == predicted.tolist() and told["chances"] == chances.tolist()
        np.testing.assert_allclose(model.predict_proba(X[:rows]), chances, rtol=1e-6)  # Of another shape: rounding.
    assert ask(port, [[1.0, 2.0]])[0] == 422


def test_a_module_of_ones_own_is_served_in_this_process(tmp_path: Path) -> None:
    folder = ladle.fit(ladle.Task(make, None, DATA, optimizer="adam"), 16, until="1 epoch").save(tmp_path / "own")
    made = service(folder, p99_ms=60_000, batch=8, fast=True, model=make)
    with door.Opened(made.app()) as server:
        require_its_own_answers(server.port, ladle.load(folder, model=make))


def test_a_built_in_torch_model_is_served_by_the_command(tmp_path: Path) -> None:
    task = ladle.Task(ladle.torch.mlp(4, 8, 3), None, DATA, optimizer="adam")
    folder = ladle.fit(task, 16, until="1 epoch").save(tmp_path / "m")
    with served(folder) as (_, port):
        require_its_own_answers(port, ladle.load(folder))


def test_amounts_are_served_in_their_own_unit(tmp_path: Path) -> None:
    data = ladle.data.arrays(X, 1e5 + 1e4 * X[:, 0], kind="regression")
    folder = ladle.fit(ladle.Task(ladle.torch.mlp(4, 8, 1), None, data), 16, until="1 epoch").save(tmp_path / "m")
    made = service(folder, p99_ms=60_000, batch=8, fast=True)
    with door.Opened(made.app()) as server:
        status, told = ask(server.port, npy(X[:8]), BYTES)
    assert status == 200 and told["predictions"] == ladle.load(folder).predict(X[:8]).tolist()
    assert "chances" not in told and min(told["predictions"]) > 5e4
