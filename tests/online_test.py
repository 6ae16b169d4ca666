"""An online run that is killed ten times with SIGKILL learns every event once: counted by id, in the weights."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from ladle.core.record import read_lines

KILLS, SIZE = 10, 16


def begun(folder: Path, count: int) -> subprocess.Popen[bytes]:
    path = os.pathsep.join([str(Path(__file__).parents[1] / "src"), os.environ.get("PYTHONPATH", "")])
    program = str(Path(__file__).with_name("online_consumer.py"))
    return subprocess.Popen(
        [sys.executable, program, str(folder), str(count)], env={**os.environ, "PYTHONPATH": path}, stderr=None
    )


def seen(folder: Path) -> list[int]:
    """Positions that sittings came to, one after the other."""
    path = folder / "progress"
    return [int(line) for line in path.read_text().split("\n")[:-1]] if path.exists() else []


@pytest.mark.slow
@pytest.mark.long
def test_ten_kills_and_every_event_once(tmp_path: Path):
    count, chance = 40_000, random.Random(0)
    (tmp_path / "events").mkdir()
    for part in range(10):
        ids = range(part * count // 10, (part + 1) * count // 10)
        lines = "".join(json.dumps({"id": id}) + "\n" for id in ids)
        (tmp_path / "events" / f"{part}.jsonl").write_text(lines)
    kills, lost = 0, 0
    while kills < KILLS:
        before = len(seen(tmp_path))
        wanted = before + chance.randint(20, 150)
        process = begun(tmp_path, count)
        end = time.monotonic() + 120
        while len(seen(tmp_path)) < wanted:
            assert time.monotonic() < end and process.poll() is None, "the run stands still, or ended before its kill"
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        kills += 1
        sitting = seen(tmp_path)[before:]
        lost += kills > 1 and sitting[0] <= max(seen(tmp_path)[:before])
    assert begun(tmp_path, count).wait() == 0
    assert lost >= KILLS // 2, "kills have to fall between checkpoints"
    np.testing.assert_array_equal(np.load(tmp_path / "weights.npy"), np.ones(count, np.float32))
    positions = [line["examples"] for line in read_lines(tmp_path / "run" / "metrics.jsonl")]
    assert positions == list(range(0, count + 1, SIZE)), "the record has each update once"
