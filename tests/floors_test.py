"""Who may import whom, read from the folders. A failure names the file, the line and the rule.

    cli     may import everything; nothing imports it
    sklearn the estimators: may import what api may, and api; nothing imports it
    api     may import everything but the other two and the backends, which it asks through `ladle.core.backend`
    rooms   every other folder: import core and themselves, never each other
    core    itself, the standard library and NumPy

The file at the top, `ladle/__init__.py`, holds public names and nothing else. Every import counts: at the top of a
file, inside a function, and under TYPE_CHECKING.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "ladle"

DOORS = frozenset({"cli", "sklearn"})
"""Ways in, above the roof: nothing imports them."""

BACKENDS = frozenset({"jax", "torch"})
"""Rooms of the libraries that compute. The roof names them as text in one file, and loads what a task needs."""

ENTRIES = 26
"""Files and folders directly in the package, at most."""

ANYWHERE = frozenset({"numpy"})

PLACES = {
    "jax": ("jax/", "models/", "feed/output.py"),
    "jaxlib": ("jax/", "models/"),
    "jaxtyping": ("jax/", "models/"),
    "optax": ("jax/", "models/"),
    "equinox": ("jax/", "models/"),
    "pyarrow": (
        "data/tables.py",
        "data/reader.py",
        "data/facts.py",
        "data/stored.py",
        "data/new_rows.py",
        "feed/source/",
        "board/lines.py",
    ),
    "bokeh": ("report/plots.py", "board/figures.py", "board/page.py", "board/server.py"),
    "torch": ("torch/", "feed/output.py"),
    "sklearn": ("data/text.py", "sklearn/", "baselines/fits.py"),
    "safetensors": ("api/weights.py", "torch/save.py"),
}
"""Where a library may be imported: folders and files. A library in neither table is refused: add it on purpose."""

ONE_FILE = frozenset(
    "codecarbon confluent_kafka flax fsspec lightning matplotlib mlflow opacus optuna orbax PIL pooch psycopg ray "
    "redis rich river submitit tensorboardX threadpoolctl trackio transformers tyro uvicorn wandb zeus".split(),
)
"""Libraries that one file each stands in front of, so that they can be replaced, or be missing, in one place."""


@dataclass(frozen=True)
class Import:
    """One imported module, with where it was written. Modules of ladle are full names, others are first names."""

    file: str
    line: int
    module: str
    typed_only: bool = False
    """Under TYPE_CHECKING: it never runs, so it closes no ring; every other rule holds for it."""

    def breaks(self, rule: str) -> str:
        return f"src/ladle/{self.file}:{self.line}: imports {self.module}: {rule}"


def violations(package: Path) -> list[str]:
    """Every broken rule under `package`, one line each."""
    found = [item for file in sources(package) for item in imports(package, file)]
    return [*floors(found), *places(found), *one_file(found), *cycles(found)]


def sources(package: Path) -> list[str]:
    """The package's files by relative name. Tests are free to import what they like."""
    files = sorted(path.relative_to(package).as_posix() for path in package.rglob("*.py"))
    return [file for file in files if not file.endswith(("_test.py", "conftest.py"))]


def imports(package: Path, file: str) -> Iterator[Import]:
    tree = ast.parse((package / file).read_text(encoding="utf-8"), filename=file)
    typed = {id(inner) for node in ast.walk(tree) if type_checking(node) for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(file, node.lineno, known(package, alias.name), id(node) in typed)
        elif isinstance(node, ast.ImportFrom):
            base = absolute(file, node)
            for alias in node.names:
                yield Import(file, node.lineno, known(package, f"{base}.{alias.name}"), id(node) in typed)


def type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def absolute(file: str, node: ast.ImportFrom) -> str:
    """`from . import x` in jax/step.py is about ladle.jax."""
    parents = ["ladle", *file.split("/")[:-1]]
    up = parents[: len(parents) - node.level + 1] if node.level else []
    return ".".join([*up, *filter(None, [node.module])])


def known(package: Path, name: str) -> str:
    """The module that `name` (maybe a name inside a module) lives in; other libraries by their first name."""
    parts = name.split(".")
    if parts[0] != "ladle":
        return parts[0]
    for length in range(len(parts), 1, -1):
        path = package.joinpath(*parts[1:length])
        if path.with_suffix(".py").exists() or (path / "__init__.py").exists():
            return ".".join(parts[:length])
    # A folder without __init__.py is still a room; anything else is a name in ladle/__init__.py.
    return ".".join(parts[:2]) if len(parts) > 1 and (package / parts[1]).is_dir() else "ladle"


def floor(module: str) -> str:
    """The folder, right below `ladle`, of a full module name such as `ladle.jax.step`; "" for ladle itself."""
    return module.split(".")[1] if "." in module else ""


def module_of(file: str) -> str:
    return ".".join(["ladle", *file.removesuffix(".py").removesuffix("__init__").strip("/").split("/")]).rstrip(".")


def floors(found: list[Import]) -> Iterator[str]:
    for item in found:
        here = floor(module_of(item.file))
        if here == "" or not is_ladle(item.module):
            continue
        there = floor(item.module)
        if (there == "" or there in DOORS) and here != there:
            what = {"": "public names", "cli": "command line"}.get(there, "estimators")
            yield item.breaks(f"{here} may not import the {what}")
        elif here == "api" or here in DOORS:
            if there in BACKENDS:
                yield item.breaks(f"{here} may not import a backend; it asks ladle.core.backend")
        elif there == "api":
            yield item.breaks(f"{here} may not import the roof")
        elif here == "core" and there != "core":
            yield item.breaks("core may not import a room")
        elif there not in ("core", here):
            yield item.breaks(f"room {here} may not import room {there}; add the missing word to core")


def places(found: list[Import]) -> Iterator[str]:
    for item in found:
        if is_ladle(item.module) or item.module in ANYWHERE or item.module in sys.stdlib_module_names:
            continue
        allowed = PLACES.get(item.module, ())
        if floor(module_of(item.file)) in ("", "core"):
            yield item.breaks("core imports the standard library and NumPy only")
        elif allowed and not item.file.startswith(allowed):
            yield item.breaks(f"only allowed in {', '.join(allowed)}")
        elif not allowed and item.module not in ONE_FILE:
            yield item.breaks("not a library that ladle depends on; see PLACES and ONE_FILE")


def one_file(found: list[Import]) -> Iterator[str]:
    first: dict[str, str] = {}
    for item in found:
        if item.module in ONE_FILE and first.setdefault(item.module, item.file) != item.file:
            yield item.breaks(f"already imported in {first[item.module]}; one file stands in front of each library")


def cycles(found: list[Import]) -> Iterator[str]:
    """One line for each import that closes a ring, found by walking in depth from every module."""
    edges: dict[str, dict[str, Import]] = {}
    for item in found:
        here = module_of(item.file)
        if is_ladle(item.module) and item.module != here and not item.typed_only:
            edges.setdefault(here, {}).setdefault(item.module, item)
    done: set[str] = set()

    def walk(module: str, path: tuple[str, ...]) -> Iterator[str]:
        for target, item in sorted(edges.get(module, {}).items()):
            if target in path:
                ring = " -> ".join([*path[path.index(target) :], target])
                yield item.breaks(f"closes the import cycle {ring}")
            elif target not in done:
                yield from walk(target, (*path, target))
        done.add(module)

    for start in sorted(edges):
        if start not in done:
            yield from walk(start, (start,))


def is_ladle(module: str) -> bool:
    return module.split(".")[0] == "ladle"


def test_the_package_keeps_its_floors():
    assert "\n".join(violations(PACKAGE)) == ""


def test_the_checker_sees_the_package():
    seen = sources(PACKAGE)
    assert {"core/spec.py", "core/errors.py", "jax/step.py"} <= set(seen)
    assert any(item.module == "jax" for file in seen for item in imports(PACKAGE, file))


def test_the_package_is_folders_with_a_sentence_each():
    entries = [path for path in PACKAGE.iterdir() if path.name != "__pycache__"]
    assert len(entries) <= ENTRIES
    assert [path.name for path in entries if path.suffix == ".py"] == ["__init__.py"]
    for folder in {Path(file).parent for file in sources(PACKAGE)}:
        # Without __init__.py pytest would import a room's files by their bare names, such as `parse` or `table`.
        assert ast.get_docstring(ast.parse((PACKAGE / folder / "__init__.py").read_text(encoding="utf-8"))), folder


LINES = 350
"""Of a file, at most: past that it holds more than one concept."""


def depth(node: ast.AST, level: int = 0) -> int:
    """How deep functions stand inside functions below `node`."""
    inner = [level]
    for child in ast.iter_child_nodes(node):
        inner.append(depth(child, level + isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)))
    return max(inner)


@pytest.mark.parametrize("file", sources(PACKAGE))
def test_files_are_short_and_functions_not_deep(file: str):
    text = (PACKAGE / file).read_text(encoding="utf-8")
    assert text.count("\n") <= LINES and depth(ast.parse(text)) <= 2


def tree(folder: Path, **files: str) -> Path:
    """A package with two files in core and two rooms, and `files` on top; `jax__step` stands for jax/step.py."""
    start = {"core__spec": "import numpy as np", "core__errors": "", "jax____init__": "", "feed____init__": ""}
    for name, text in {"__init__": "", **start, **files}.items():
        path = folder / "ladle" / (name.replace("__", "/", 1) + ".py" if not name.startswith("__") else name + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder / "ladle"


@pytest.mark.parametrize(
    "files",
    [
        {"jax__step": "import jax\nfrom ladle.core.spec import BatchSpec\nfrom ladle.jax import rows", "jax__rows": ""},
        {"api__fit": "from ladle.feed import order", "feed__order": ""},
        {"cli__main": "import tyro\nfrom ladle.api.fit import fit", "api__fit": "import ladle.core.spec"},
        {"sklearn__fit": "import sklearn.base\nfrom ladle.api.fit import fit", "api__fit": ""},
        {"feed__order_test": "import jax\nimport ladle.jax.step\nimport unheard_of", "jax__step": ""},
        {"feed__order": "from . import ids\nfrom ..core.spec import BatchSpec", "feed__ids": ""},
        {"__init__": "from ladle.api.fit import fit\nfrom ladle.core import spec", "api__fit": ""},
    ],
)
def test_lawful_trees_pass(tmp_path: Path, files: dict[str, str]):
    assert violations(tree(tmp_path, **files)) == []


@pytest.mark.parametrize(
    ("files", "where", "rule"),
    [
        ({"core__spec": "\nimport optax"}, "core/spec.py:2", "core imports the standard library and NumPy only"),
        ({"core__spec": "import ladle.jax.step", "jax__step": ""}, "core/spec.py:1", "core may not import a room"),
        (
            {"core__spec": "from ladle.api import task", "api__task": ""},
            "core/spec.py:1",
            "core may not import the roof",
        ),
        ({"core__spec": "from ladle import BatchSpec"}, "core/spec.py:1", "core may not import the public names"),
        (
            {"feed__order": "from ladle.api.task import Task", "api__task": ""},
            "feed/order.py:1",
            "may not import the roof",
        ),
        ({"api__fit": "import ladle.cli.main", "cli__main": ""}, "api/fit.py:1", "api may not import the command line"),
        ({"feed__order": "import ladle.cli.main", "cli__main": ""}, "feed/order.py:1", "import the command line"),
        ({"api__fit": "import ladle.sklearn.base", "sklearn__base": ""}, "api/fit.py:1", "import the estimators"),
        ({"api__fit": "import sklearn"}, "api/fit.py:1", "only allowed in data/text.py, sklearn/"),
        ({"api__fit": "from ladle.jax import step", "jax__step": ""}, "api/fit.py:1", "api may not import a backend"),
        ({"api__fit": "from ladle import plan"}, "api/fit.py:1", "api may not import the public names"),
        ({"feed__order": "from ladle.jax import step", "jax__step": ""}, "feed/order.py:1", "may not import room jax"),
        ({"feed__order": "from ..jax import step", "jax__step": ""}, "feed/order.py:1", "may not import room jax"),
        ({"feed__order": "def f():\n    import jax"}, "feed/order.py:2", "only allowed in jax/"),
        ({"api__task": "from jax import numpy"}, "api/task.py:1", "only allowed in jax/"),
        (
            {"feed__order": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import ladle.jax"},
            "feed/order.py:3",
            "may not import room jax",
        ),
        ({"feed__order": "import pandas"}, "feed/order.py:1", "not a library that ladle depends on"),
        ({"feed__a": "import redis", "feed__b": "import redis.client"}, "feed/b.py:1", "already imported in feed/a"),
        ({"feed__a": "from ladle.feed import b", "feed__b": "import ladle.feed.a"}, "feed/b.py:1", "import cycle"),
        (
            {"core__spec": "import ladle.core.errors", "core__errors": "def f():\n    import ladle.core.spec"},
            "core/spec.py:1",
            "import cycle",
        ),
    ],
)
def test_each_broken_rule_is_named(tmp_path: Path, files: dict[str, str], where: str, rule: str):
    (broken,) = violations(tree(tmp_path, **files))
    assert f"src/ladle/{where}: " in broken
    assert rule in broken
