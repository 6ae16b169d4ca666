"""The climate every test runs in, and four fixtures that any of them may ask for.

Types never promote by accident, ranks never broadcast by accident, compiled programs are not kept from run to run. All
of it is said through the environment, before JAX is imported, so that child processes live in the same climate.
"""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from functools import lru_cache
from pathlib import Path

import pytest
from hypothesis import settings

os.environ["JAX_NUMPY_DTYPE_PROMOTION"] = "strict"
os.environ["JAX_NUMPY_RANK_PROMOTION"] = "raise"
os.environ["LADLE_CACHE"] = "off"
os.environ.pop("JAX_COMPILATION_CACHE_DIR", None)
os.environ.setdefault("MPLBACKEND", "agg")
# Torch's threads wait for each other in a loop: two test processes on two cores would mostly wait.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell's background job ignores Ctrl-C, and so would the tests and every child they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Deadlines measure the machine, not the code. In continuous integration the same examples are tried every time.
settings.register_profile("ladle", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("ladle")

SOURCE = Path(__file__).parent / "src"
COMPILED = "/jax/core/compile/backend_compile_duration"


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Sets what is imported and collected aside: it stays, and the garbage collector need not look through it again."""
    gc.disable()
    found = yield
    gc.collect()
    gc.freeze()
    gc.enable()
    return found


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Slow tests last: a quick failure is seen early."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is not None)


@pytest.fixture
def compilations() -> Iterator[Counter[str]]:
    """Programs that XLA compiles during the test, counted by the name of the jitted function.

    `compilations["update"]` is the number for `jax.jit(update)`; `compilations.total()` counts every one, also the
    small ones that JAX compiles for single operations outside `jit`. Programs of earlier tests are laid aside
    meanwhile: a count does not depend on what ran before, and what runs later need not compile them again.
    """
    import jax

    from ladle.jax import programs

    earlier = programs._shared
    programs._shared = lru_cache(maxsize=programs.MOST)(earlier.__wrapped__)
    counts: Counter[str] = Counter()

    def compiled(event: str, seconds: float, **facts: object) -> None:
        if event == COMPILED:
            counts[str(facts.get("fun_name")).removeprefix("jit(").removesuffix(")")] += 1

    jax.monitoring.register_event_duration_secs_listener(compiled)
    yield counts
    jax.monitoring.unregister_event_duration_listener(compiled)
    programs._shared = earlier


@pytest.fixture
def on_devices() -> Callable[[int, str], str]:
    """`on_devices(count, code)` runs Python `code` in a child with `count` devices on this host; returns its output.

    The number of devices is fixed when JAX starts, so it cannot change inside one process. `code` shows what it
    found with `print`; a child that fails fails the test with its own traceback.
    """

    def run(count: int, code: str) -> str:
        return run_python(code, JAX_NUM_CPU_DEVICES=str(count), JAX_PLATFORMS="cpu")

    return run


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """`LADLE_CACHE` is a folder of this test alone; JAX, which an engine tells of it, is told to keep nothing again."""
    monkeypatch.setenv("LADLE_CACHE", str(tmp_path / "cache"))
    yield tmp_path / "cache"
    if "jax" in sys.modules:
        import jax
        from jax.experimental.compilation_cache import compilation_cache

        jax.config.update("jax_compilation_cache_dir", None)
        compilation_cache.reset_cache()


@pytest.fixture
def fresh_python() -> Callable[..., str]:
    """`fresh_python(code, NAME="value")` runs `code` in a new interpreter with this environment; returns its output."""
    return run_python


def run_python(code: str, **environment: str) -> str:
    """Output of `code` in a child that imports ladle from this checkout. Fails with the child's last words."""
    path = os.pathsep.join(filter(None, [str(SOURCE), os.environ.get("PYTHONPATH", "")]))
    child = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )
    if child.returncode != 0:
        pytest.fail(f"the child ended with {child.returncode}\n{child.stdout}\n{child.stderr}", pytrace=False)
    return child.stdout
