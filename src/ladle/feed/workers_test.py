"""Reading processes in scripts as people write them: without a guard, with a class of their own, in a JAX program."""

from __future__ import annotations

import multiprocessing
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ladle.feed.loader import Loader

PLAIN = "import numpy as np\nsource = {'x': np.arange(1000.0)}\n"
OWN = """
class Squares:
    def __len__(self): return 1000
    def __getitem__(self, i): return {"x": i * i}
source = Squares()
"""
LOOP = """
from ladle.feed import Loader
print(sum(len(batch["x"]) for batch in Loader(source, 100, workers=2, processes=True)))
"""


def run(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    (folder / "script.py").write_text(text)
    return subprocess.run([sys.executable, folder / "script.py"], capture_output=True, text=True, timeout=100)


def alone(module: str, function: str) -> None:
    """A check that forks, in a program of its own: beside JAX's threads it could not."""
    text = f"from {module} import {function}\n{function}()"
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("source", [PLAIN, OWN], ids=["arrays", "a class of the script"])
def test_a_script_without_a_guard_runs_once_and_ends(source: str, tmp_path: Path):
    done = run(tmp_path, f"print('begun')\n{source}{LOOP}")
    assert (done.returncode, done.stdout) == (0, "begun\n1000\n"), done.stderr


def test_where_a_fork_would_not_be_safe_the_guard_is_named(tmp_path: Path):
    done = run(tmp_path, f"import jax\njax.devices()\n{OWN}{LOOP}")
    assert done.returncode == 1 and 'try the program under `if __name__ == "__main__":`' in done.stderr


TORCH = """
import torch
torch.rand(512, 512) @ torch.rand(512, 512)
"""


def test_torch_has_run_and_no_guard_is_needed(tmp_path: Path):
    done = run(tmp_path, f"print('begun')\n{TORCH}{OWN}{LOOP}")
    assert (done.returncode, done.stdout) == (0, "begun\n1000\n"), done.stderr


CAUSES = {
    "a lambda beside JAX": (
        "import jax\njax.devices()\nsource = [{'x': 1}]\nLoader(source, 1, collate_fn=lambda x: x, workers=1, "
        "processes=True).__iter__().__next__()",
        "data must travel to a reading process; got",
    ),
    "a killed process": (
        "class D:\n    def __len__(self): return 9\n    def __getitem__(self, i): os.kill(os.getpid(), 11)\n"
        "list(Loader(D(), 3, workers=1, processes=True))",
        "a reading process died (killed by SIGSEGV) while examples",
    ),
    "a process that exits": (
        "class D:\n    def __len__(self): return 9\n    def __getitem__(self, i): os._exit(7)\n"
        "list(Loader(D(), 3, workers=1, processes=True))",
        "a reading process died (it exited with code 7)",
    ),
    "what cannot be sent back": (
        "list(Loader([1, 2], 1, collate_fn=lambda x: (i for i in x), workers=1, processes=True))",
        "a batch that was read cannot be sent between processes (TypeError: cannot pickle 'generator' object)",
    ),
    "a failing start": (
        "def begin(number): raise OSError('no disk')\n"
        "list(Loader([1, 2], 1, workers=1, processes=True, worker_init_fn=begin))",
        "OSError: no disk",
    ),
}


@pytest.mark.parametrize(("text", "says"), CAUSES.values(), ids=CAUSES)
def test_the_cause_is_named(text: str, says: str, tmp_path: Path):
    done = run(tmp_path, f"import os\nfrom ladle.feed import Loader\n{text}")
    assert done.returncode == 1 and says in done.stderr.strip().splitlines()[-1], done.stderr


def test_an_open_file_is_read_by_each_process_for_itself(tmp_path: Path):
    text = """
import os, tempfile, numpy as np
from ladle.feed import Loader
file = tempfile.NamedTemporaryFile()
file.write(np.repeat(np.arange(4000), 8).astype(np.int64).tobytes()); file.flush()
class Records:
    def __init__(self): self.file = open(file.name, "rb")
    def __len__(self): return 4000
    def __getitem__(self, i):
        self.file.seek(i * 64)
        return {"i": i, "x": np.frombuffer(self.file.read(64), np.int64).copy()}
loader = Loader(Records(), 16, workers=2, processes=True)
print(sum(int((b["x"] != b["i"][:, None]).any(1).sum()) for _ in range(2) for b in loader))
"""
    done = run(tmp_path, text)
    assert (done.returncode, done.stdout) == (0, "0\n"), done.stderr


KEPT: list[object] = []


def check_ends_beside_a_handler() -> None:
    child = multiprocessing.get_context("fork").Process(target=_read_one_and_end)
    child.start()
    child.join(60)
    ended = child.exitcode
    child.kill()
    assert ended == 0


def _read_one_and_end() -> None:
    signal.signal(signal.SIGTERM, lambda *_: None)
    batches = iter(loader := Loader(list(range(9)), 3, num_workers=1))
    KEPT.extend([loader, batches, next(batches)])


@pytest.mark.slow
def test_readers_end_with_a_child_of_a_program_that_handles_signals():
    alone("ladle.feed.workers_test", "check_ends_beside_a_handler")
