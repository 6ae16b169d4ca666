"""`doctor`: what there is to compute with here, where things are kept, what is known to go wrong. Changes nothing."""

from __future__ import annotations

import os
import re
import shutil
import stat
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from itertools import chain
from pathlib import Path
from typing import Any

from ladle.api.backend import HOMES, backend_named
from ladle.core import record
from ladle.core.host import cache_base, host_free_bytes
from ladle.report.numbers import data_bytes

SET = (
    "LADLE_CACHE", "LADLE_DATA", "JAX_PLATFORMS", "JAX_COMPILATION_CACHE_DIR", "JAX_NUM_CPU_DEVICES", "JAX_ENABLE_X64",
    "XLA_FLAGS", "XLA_PYTHON_CLIENT_PREALLOCATE", "XLA_PYTHON_CLIENT_MEM_FRACTION", "CUDA_VISIBLE_DEVICES",
    "OMP_NUM_THREADS",
)  # fmt: skip
"""Variables of the environment that change what a run does; those that are set are told."""
OURS = {"dev", "docs", "bench"}
"""Extras for working on ladle itself."""


@dataclass(frozen=True)
class Doctor:
    """What was found. `str()` is a page of it.

    - `devices`: of each backend, by name; empty where it could not be loaded. `memory`: bytes, and how the limit was
      found. `caches`: folder, bytes, mode. `versions`; `extras`: each with what it still lacks. `environment`: what is
      set. `traps`: what is known to go wrong, a sentence each.
    """

    devices: Mapping[str, list[str]]
    machine: Mapping[str, Any]
    memory: Mapping[str, Any]
    caches: tuple[Mapping[str, Any], ...]
    versions: Mapping[str, str]
    extras: Mapping[str, list[str]]
    environment: Mapping[str, str]
    traps: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Everything, as JSON has it."""
        return record.plain(vars(self))

    def __str__(self) -> str:
        free = f"{data_bytes(self.memory['free_bytes'])} may be taken: {self.memory['how']}"
        lines = [
            *(f"device    {name}: {', '.join(of) or 'none'}" for name, of in self.devices.items()),
            f"machine   {self.machine['processor']}, {self.machine['cores']} cores, {self.machine['system']}",
            f"memory    {free}; {data_bytes(self.memory['host_bytes'])} in the host",
            *(f"cache     {_cache_line(one)}" for one in self.caches),
            "versions  " + "  ".join(f"{name} {version}" for name, version in self.versions.items()),
            *(f"extra     {name:10} {_extra(lacking)}" for name, lacking in self.extras.items()),
            *(f"set       {name}={value}" for name, value in self.environment.items()),
            *(f"trap      {one}" for one in self.traps),
        ]
        return "\n".join(lines if self.traps else [*lines, "trap      none that is known"])


def doctor() -> Doctor:
    """Look at this machine as a run would. Raises nothing: what cannot be looked at is a trap.

    >>> found = doctor()
    >>> found.versions["python"].startswith("3."), "jax" in found.devices
    (True, True)
    """
    devices, traps = _devices()
    memory = _memory()
    caches = tuple(_cache(what, folder) for what, folder in _folders())
    environment = {name: os.environ[name] for name in SET if os.environ.get(name)}
    machine = {name: value for name, value in record.hardware().items() if name not in ("devices", "memory_bytes")}
    looked = (_of_devices(devices), _of_memory(memory), _of_processors(machine), _of_caches(caches))
    found = [*traps, *chain(*looked), *_of_environment(environment)]
    versions = record.versions()
    if versions.get("jax") != versions.get("jaxlib"):
        found.append(f"jax {versions.get('jax')} beside jaxlib {versions.get('jaxlib')}: they are released together")
    return Doctor(devices, machine, memory, caches, versions, extras(), environment, tuple(found))


def extras(name: str = "ladle") -> dict[str, list[str]]:
    """Each extra of an installed package with the packages it names that are not installed; empty where it is whole."""
    try:
        required = metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        return {}
    found: dict[str, list[str]] = {}
    for line in required:
        extra = re.search(r"extra == ['\"]([\w-]+)['\"]", line)
        if extra is None or extra[1] in OURS:
            continue
        package = re.match(r"[\w.-]+", line)
        lacking = found.setdefault(extra[1], [])
        if package is not None and not _installed(package[0]):
            lacking.append(package[0])
    return found


def _installed(package: str) -> bool:
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True


def _devices() -> tuple[dict[str, list[str]], list[str]]:
    """The devices of every backend that is installed, and why one could not be asked."""
    found: dict[str, list[str]] = {}
    traps = []
    for name in HOMES:
        if not _installed(name):
            continue
        try:
            found[name] = backend_named(name).device_names()
        except Exception as error:  # Whatever a broken installation raises is what is wanted here.
            found[name] = []
            traps.append(f"{name} cannot be used: {' '.join(str(error).split()) or type(error).__name__}")
    return found, traps


def _memory() -> dict[str, Any]:
    """What a run may take, as a plan counts it, and where that number is from."""
    free, how = host_free_bytes()
    try:
        backend = backend_named()
        if not backend.on_host():
            free, how = backend.free_bytes(), "the device's own count"
    except Exception:  # Told already, as a trap.
        how = f"{how}; the device could not be asked"
    return {"free_bytes": free, "how": how, "host_bytes": record.hardware()["memory_bytes"]}


def _folders() -> Iterator[tuple[str, Path]]:
    """What is kept between runs, and where."""
    base = cache_base()
    own = os.environ.get("JAX_COMPILATION_CACHE_DIR")
    if own:
        yield "compiled programs (JAX's own setting)", Path(own)
    elif base is not None:
        yield "compiled programs", base / "compiled"
    for folder in sorted(base.iterdir()) if base is not None and base.is_dir() else ():
        if folder.is_dir() and folder.name != "compiled":
            yield folder.name, folder


def _cache(what: str, folder: Path) -> dict[str, Any]:
    size, mode = 0, None
    if folder.is_dir():
        mode = stat.filemode(folder.stat().st_mode)
        size = sum(_bytes(Path(place) / name) for place, _, names in os.walk(folder) for name in names)
    return {"what": what, "folder": str(folder), "bytes": size, "mode": mode}


def _bytes(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:  # Another process may have removed it meanwhile.
        return 0


def _of_devices(devices: Mapping[str, list[str]]) -> Iterator[str]:
    """A graphics processor that nothing computes on."""
    driver = Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi") is not None
    names = devices.get("jax", [])
    if driver and names and all(name.startswith("cpu") for name in names):
        if os.environ.get("JAX_PLATFORMS") == "cpu":
            yield "there is a GPU, and JAX_PLATFORMS=cpu keeps JAX from it"
        else:
            yield "there is a GPU, but this jaxlib computes on processors alone: pip install 'jax[cuda13]'"


def _of_memory(memory: Mapping[str, Any]) -> Iterator[str]:
    if "container" in memory["how"] and (memory["host_bytes"] or 0) > 2 * memory["free_bytes"]:
        yield (
            f"this container may take {data_bytes(memory['free_bytes'])} of the host's "
            f"{data_bytes(memory['host_bytes'])}: plans count the former, other programs often the latter"
        )


def _of_processors(machine: Mapping[str, Any]) -> Iterator[str]:
    quota, cores = _quota_cores(), machine["cores"]
    if quota is not None and cores and quota < cores:
        yield f"a control group gives {quota:g} of {cores} cores: threads of one each wait for each other"


def _quota_cores(file: Path = Path("/sys/fs/cgroup/cpu.max")) -> float | None:
    """Cores that a control group allows; None for no limit."""
    try:
        limit, period = file.read_text().split()
        return int(limit) / int(period)
    except (OSError, ValueError):
        return None


def _of_caches(caches: tuple[Mapping[str, Any], ...]) -> Iterator[str]:
    if cache_base() is None:
        yield "LADLE_CACHE=off: every process compiles anew, which takes seconds at its start"
    for one in caches:
        if one["what"].startswith("compiled") and one["mode"] and "w" in one["mode"][5] + one["mode"][8]:
            yield f"{one['folder']} can be written by others, who could run code here: chmod go-w {one['folder']}"


def _of_environment(environment: Mapping[str, str]) -> Iterator[str]:
    if flags := environment.get("XLA_FLAGS"):
        yield f"XLA_FLAGS={flags}: programs are compiled otherwise, and numbers may differ in their last bits"
    if environment.get("JAX_ENABLE_X64", "").lower() in ("1", "true"):
        yield "JAX_ENABLE_X64: numbers of 64 bits, twice the memory"
    if (count := environment.get("JAX_NUM_CPU_DEVICES", "1")) != "1":
        yield f"JAX_NUM_CPU_DEVICES={count}: so many devices share the cores; meant for tests"
    if (folder := environment.get("LADLE_DATA")) and not Path(folder).is_dir():
        yield f"LADLE_DATA={folder}: there is no such folder"
    if sys.platform == "linux" and sys.version_info < (3, 14):
        yield (
            "multiprocessing forks here unless told otherwise, and a fork of a process with JAX's threads may hang: "
            "multiprocessing.get_context('spawn'), as ladle's own readers do"
        )


def _cache_line(one: Mapping[str, Any]) -> str:
    held = f"{data_bytes(one['bytes'])}, {one['mode']}" if one["mode"] else "not there yet"
    return f"{one['what']}: {one['folder']}, {held}"


def _extra(lacking: list[str]) -> str:
    return "present" if not lacking else f"missing: {', '.join(lacking)}"
