from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import jax
import pytest

from ladle.core.errors import ArgumentError
from ladle.jax.cache import cache_folder, private_folder, use_compilation_cache


def test_the_folder_is_made_for_this_user_alone(tmp_path: Path):
    folder = private_folder(tmp_path / "ladle" / "compiled")
    for part in (folder, folder.parent):
        assert stat.S_IMODE(part.stat().st_mode) == 0o700
    assert private_folder(folder) == folder, "a second time it is there already"


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777, 0o1777])
def test_a_folder_that_others_may_write_is_refused_not_mended(tmp_path: Path, mode: int):
    folder = tmp_path / "compiled"
    folder.mkdir()
    folder.chmod(mode)
    with pytest.raises(ArgumentError, match="LADLE_CACHE must be a folder that you alone can write; got .*chmod go-w"):
        private_folder(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == mode


def test_a_link_is_refused(tmp_path: Path):
    private_folder(tmp_path / "mine")
    (tmp_path / "link").symlink_to(tmp_path / "mine")
    with pytest.raises(ArgumentError, match="you alone can write"):
        private_folder(tmp_path / "link")


def test_a_folder_of_somebody_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = private_folder(tmp_path / "compiled")
    monkeypatch.setattr(os, "getuid", lambda: folder.stat().st_uid + 1)
    with pytest.raises(ArgumentError, match="you alone can write"):
        private_folder(folder)


def test_where_the_folder_is(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LADLE_CACHE", "/a")
    assert cache_folder() == Path("/a/compiled")
    monkeypatch.delenv("LADLE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/b")
    assert cache_folder() == Path("/b/ladle/compiled")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "ladle" / "compiled"


def test_off_is_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LADLE_CACHE", "off")
    assert use_compilation_cache(tmp_path / "compiled") is None
    assert not (tmp_path / "compiled").exists()
    assert jax.config.jax_compilation_cache_dir is None


def test_a_home_that_cannot_be_written_is_no_reason_to_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("LADLE_CACHE")
    (tmp_path / "file").write_text("")
    assert use_compilation_cache(tmp_path / "file" / "compiled") is None
    assert jax.config.jax_compilation_cache_dir is None


CHILD = """
import jax, jax.numpy as jnp
from ladle.jax.cache import use_compilation_cache
hits = []
jax.monitoring.register_event_listener(lambda name, **facts: hits.append(name))
print(use_compilation_cache())
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
print(float(jax.jit(lambda x: jnp.sum(jnp.sin(x)))(jnp.ones(3))), "/jax/compilation_cache/cache_hits" in hits)
"""


def test_a_second_process_finds_the_programs_of_the_first(tmp_path: Path, fresh_python: Callable[..., str]):
    outputs = [fresh_python(CHILD, LADLE_CACHE=str(tmp_path)).split() for _ in range(2)]
    assert outputs[0][0] == outputs[1][0] == str(tmp_path / "compiled")
    assert outputs[0][1] == outputs[1][1]
    assert [found for *_, found in outputs] == ["False", "True"]
