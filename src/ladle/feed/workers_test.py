"""Reading processes in scripts as people write them: without a guard, with a class of their own, in a JAX program."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

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


@pytest.mark.parametrize("source", [PLAIN, OWN], ids=["arrays", "a class of the script"])
def test_a_script_without_a_guard_runs_once_and_ends(source: str, tmp_path: Path):
    done = run(tmp_path, f"print('begun')\n{source}{LOOP}")
    assert (done.returncode, done.stdout) == (0, "begun\n1000\n"), done.stderr


def test_where_a_fork_would_not_be_safe_the_guard_is_named(tmp_path: Path):
    done = run(tmp_path, f"import jax\njax.devices()\n{OWN}{LOOP}")
    assert done.returncode == 1 and 'try the program under `if __name__ == "__main__":`' in done.stderr
