"""Processes of one run, for tests: begun without a launcher, which would end them in its own way."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.servers import free_port

SOURCE = Path(__file__).parents[1] / "src"


def begun(task: str, ranks: int, code: str, folder: Path, **variables: str) -> list[subprocess.Popen[str]]:
    """Each runs `code`, which may import the module `task`, with `folder` as its argument."""
    (folder / "task.py").write_text(task)
    environment = {**os.environ, "PYTHONPATH": f"{SOURCE}{os.pathsep}{folder}", **variables}
    environment |= {"WORLD_SIZE": str(ranks), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    return [
        subprocess.Popen(
            [sys.executable, "-c", code, str(folder)],
            env={**environment, "RANK": str(rank), "LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": str(ranks)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(ranks)
    ]


def ended(children: list[subprocess.Popen[str]], timeout: float) -> list[tuple[int, str]]:
    """Exit code and words of each."""
    found = []
    try:
        for child in children:
            out, err = child.communicate(timeout=timeout)
            found.append((child.returncode, out + err))
    finally:
        for child in children:
            child.kill()
            child.wait()
    return found


def names(task: str) -> dict[str, Any]:
    """What the module `task` holds, in this process."""
    found: dict[str, Any] = {}
    exec(task, found)
    return found


def close(found: list[Mapping[str, Any]], wanted: list[Mapping[str, Any]]) -> None:
    """Lines of two records are of the same places, with the same losses."""
    assert [line["examples"] for line in found] == [line["examples"] for line in wanted]
    for one, other in zip(found, wanted, strict=True):
        for name in ("train_loss", "valid_loss", "train_accuracy", "valid_accuracy"):
            assert one.get(name) == pytest.approx(other.get(name), abs=1e-5), name
