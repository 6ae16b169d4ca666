"""An offline run of Weights & Biases, read back from its file with wandb's own messages."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ladle.track.fakes_test import code

pytest.importorskip("wandb")

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def records(path: Path) -> Iterator[Any]:
    """The file is a LevelDB log after seven bytes: blocks of 32 KiB, records whole or in parts."""
    from wandb.proto.wandb_internal_pb2 import Record  # type: ignore[attr-defined]

    data, place, whole = path.read_bytes(), 7, b""
    while place + 7 <= len(data):
        if (left := 32768 - place % 32768) < 7:
            place += left
        _, length, kind = struct.unpack_from("<IHB", data, place)
        whole += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # all of it, or its last part
            yield Record.FromString(whole)
            whole = b""


def values(items: Any) -> dict[str, Any]:
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}


def test_an_offline_run_holds_config_history_and_summary(tmp_path: Path, fresh_python: Callable[..., str]) -> None:
    offline = {"WANDB_MODE": "offline"}
    identity = fresh_python(code(f"track.WandB(folder={str(tmp_path / 'new')!r})", tmp_path), **offline).strip()
    (path,) = (tmp_path / "new" / "wandb").glob(f"offline-run-*/run-{identity}.wandb")
    history: dict[int, dict[str, Any]] = {}
    summary: dict[str, Any] = {}
    config: dict[str, Any] = {}
    name, code_of_exit = "", -1
    for record in records(path):
        kind = record.WhichOneof("record_type")
        if kind == "history":
            history.setdefault(record.history.step.num, {}).update(values(record.history.item))
        elif kind == "summary":
            summary |= values(record.summary.update)
        elif kind == "run":
            name, config = record.run.display_name, config | values(record.run.config.update)
        elif kind == "exit":
            code_of_exit = record.exit.exit_code
    assert (name, code_of_exit) == ("run-1", 0)
    assert (config["optimizer.lr"], config["plan.rungs"]) == (0.1, "[8, 16]")
    assert [(step, history[step]["valid_loss"], history[step]["examples"]) for step in history] == [
        (0, 2.0, 0),
        (10, 1.0, 80),
        (20, 0.5, 240),
    ]
    assert history[20]["decision"] == "batch size 8 -> 16" and history[0]["message"] == "a word before"
    assert {history[20][f"{name}/_type"] for name in ("curves", "answers")} == {"image-file"}
    (kept,) = path.parent.glob("files/media/images/answers_*.png")
    assert kept.read_bytes() == (tmp_path / "answers.png").read_bytes()
    assert (summary["status"], summary["best/valid_loss"]) == ("stopped", 0.5)
