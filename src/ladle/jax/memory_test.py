from __future__ import annotations

from pathlib import Path

import pytest

from ladle.core.host import group_left_bytes
from ladle.jax.memory import device_free_bytes


def test_something_is_free():
    assert device_free_bytes() > 2**20


def test_a_control_group_leaves_what_it_has_not_used_and_idle_files(tmp_path: Path):
    for name, text in (("max", "1000\n"), ("current", "700\n"), ("stat", "anon 300\ninactive_file 250\n")):
        (tmp_path / f"memory.{name}").write_text(text)
    assert group_left_bytes(tmp_path, "memory.max", "memory.current", "inactive_file") == 550
    (tmp_path / "memory.max").write_text("max\n")
    with pytest.raises(ValueError):
        group_left_bytes(tmp_path, "memory.max", "memory.current", "inactive_file")
