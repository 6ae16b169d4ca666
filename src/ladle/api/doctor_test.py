from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import ladle.api.doctor as doctor_
from ladle.api.doctor import doctor
from ladle.cli.main import run


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LADLE_CACHE", str(tmp_path))
    (tmp_path / "compiled").mkdir(mode=0o700)
    (tmp_path / "compiled" / "a").write_bytes(b"x" * 1000)
    return tmp_path


def said(found: Any) -> str:
    return "\n".join(found.traps)


def test_a_sound_machine_is_described(cache: Path):
    found = doctor()
    assert found.devices["jax"] and found.memory["free_bytes"] > 0 and found.memory["how"]
    assert {"python", "jax", "jaxlib", "numpy"} <= set(found.versions)
    (one,) = found.caches
    assert (one["bytes"], one["mode"], one["folder"]) == (1000, "drwx------", str(cache / "compiled"))
    assert f"{cache / 'compiled'}, 1 kB, drwx------" in str(found)


def test_a_cache_that_others_may_write_is_a_trap(cache: Path):
    (cache / "compiled").chmod(0o777)
    assert f"chmod go-w {cache / 'compiled'}" in said(doctor())


def test_settings_that_change_runs_are_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LADLE_CACHE", "off")
    monkeypatch.setenv("LADLE_DATA", "/no/such/folder")
    monkeypatch.setenv("JAX_ENABLE_X64", "1")
    monkeypatch.setenv("XLA_FLAGS", "--xla_some_flag")
    found = doctor()
    for word in ("every process compiles anew", "there is no such folder", "64 bits", "--xla_some_flag"):
        assert word in said(found)
    assert found.environment["LADLE_CACHE"] == "off"


def test_a_gpu_without_its_jaxlib_is_a_trap(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(doctor_.shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    (line,) = doctor_._of_devices({"jax": ["cpu:0 cpu"]})
    assert "pip install 'jax[cuda13]'" in line
    assert list(doctor_._of_devices({"jax": ["gpu:0 a card"]})) == []


def test_a_backend_that_does_not_load_is_a_trap_not_an_error(monkeypatch: pytest.MonkeyPatch):
    def broken(name: str = "jax") -> Any:
        raise RuntimeError("no\ndriver")

    monkeypatch.setattr(doctor_, "backend_named", broken)
    found = doctor()
    assert found.devices["jax"] == [] and "jax cannot be used: no driver" in said(found)
    assert "could not be asked" in found.memory["how"]


def test_limits_of_a_container(tmp_path: Path):
    limited = {"how": "memory left to this container", "free_bytes": 1e9, "host_bytes": 64e9}
    assert next(doctor_._of_memory(limited)).startswith("this container may take 1 GB of the host's 64 GB")
    for text, cores in (("150000 100000", 1.5), ("max 100000", None)):
        (tmp_path / "cpu.max").write_text(text)
        assert doctor_._quota_cores(tmp_path / "cpu.max") == cores


def test_extras_say_what_they_lack(monkeypatch: pytest.MonkeyPatch):
    lines = ["numpy>=2", 'numpy>=2 ; extra == "here"', "no-such-package>=1; extra == 'gone'", 'ruff; extra == "dev"']
    monkeypatch.setattr(doctor_.metadata, "requires", lambda name: lines)
    assert doctor_.extras() == {"here": [], "gone": ["no-such-package"]}


def test_the_verb_prints_a_page_or_one_object(capsys: pytest.CaptureFixture[str]):
    assert run(["doctor"]) == 0
    assert {"device", "memory", "cache", "versions", "trap"} <= {
        line.split()[0] for line in capsys.readouterr().out.splitlines()
    } | {"cache"}
    assert run(["doctor", "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)) == {
        "devices", "machine", "memory", "caches", "versions", "extras", "environment", "traps",
    }  # fmt: skip
