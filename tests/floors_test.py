"""Who may import whom, read from the source. A failure names the file, the line and the rule.

    roof    may import everything in ladle
    rooms   import the hall and themselves, never each other
    hall    standard library and NumPy only

Every import counts: at the top of a file, inside a function, and under TYPE_CHECKING.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "ladle"

ROOF = frozenset(
    "__init__ arguments asking assembly branching cli comparing feeding found options planning rate_checking "
    "reaching recurring rehearsing resuming run scheduling searching sitting task training trying verbs".split(),
)
"""Files directly in the package that join the rooms. Every other file there belongs to the hall."""

ANYWHERE = frozenset({"numpy"})

PLACES = {
    "jax": ("engine/", "models/", "bridge/nnx.py", "feed/output.py", "feeding.py"),
    "jaxlib": ("engine/", "models/", "bridge/nnx.py"),
    "jaxtyping": ("engine/", "models/"),
    "optax": ("engine/", "models/"),
    "equinox": ("engine/", "models/"),
    "pyarrow": ("data/tables.py", "feed/source/"),
    "torch": ("bridge/", "feed/output.py"),
    "tyro": ("arguments.py",),
}
"""Where a library may be imported: folders and files. A library in neither table is refused: add it on purpose."""

ONE_FILE = frozenset(
    "PIL bokeh codecarbon confluent_kafka flax fsspec matplotlib optuna orbax pooch psycopg ray "
    "redis rich submitit torch tyro zeus".split(),
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
    rooms = frozenset(path.name for path in package.iterdir() if path.is_dir()) - ROOF
    return [*floors(found, rooms), *places(found), *one_file(found), *cycles(found)]


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
    """`from . import x` in engine/step.py is about ladle.engine."""
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


def floor(module: str, rooms: frozenset[str]) -> str:
    """Roof, hall, or the room's name, of a full module name such as `ladle.engine.step`."""
    parts = module.split(".")
    if len(parts) > 1 and parts[1] in rooms:
        return parts[1]
    return "roof" if len(parts) == 1 or parts[1] in ROOF else "hall"


def module_of(file: str) -> str:
    return ".".join(["ladle", *file.removesuffix(".py").removesuffix("__init__").strip("/").split("/")]).rstrip(".")


def floors(found: list[Import], rooms: frozenset[str]) -> Iterator[str]:
    for item in found:
        here = floor(module_of(item.file), rooms)
        if here == "roof" or not is_ladle(item.module):
            continue
        there = floor(item.module, rooms)
        if there == "roof":
            yield item.breaks(f"the {'hall' if here == 'hall' else 'rooms'} may not import the roof")
        elif here == "hall" and there != "hall":
            yield item.breaks("the hall may not import a room")
        elif there not in ("hall", here):
            yield item.breaks(f"room {here} may not import room {there}; add the missing word to the hall")


def places(found: list[Import]) -> Iterator[str]:
    for item in found:
        if is_ladle(item.module) or item.module in ANYWHERE or item.module in sys.stdlib_module_names:
            continue
        allowed = PLACES.get(item.module, ())
        in_hall = "/" not in item.file and item.file.removesuffix(".py") not in ROOF
        if in_hall:
            yield item.breaks("the hall imports the standard library and NumPy only")
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
    assert {"spec.py", "errors.py", "engine/step.py"} <= set(seen)
    assert any(item.module == "jax" for file in seen for item in imports(PACKAGE, file))


def test_every_room_is_a_package():
    # Without __init__.py pytest would import a room's files by their bare names, such as `parse` or `table`.
    rooms = {PACKAGE / file.split("/")[0] for file in sources(PACKAGE) if "/" in file}
    assert [room.name for room in sorted(rooms) if not (room / "__init__.py").exists()] == []


def tree(folder: Path, **files: str) -> Path:
    """A package of two hall files and two rooms, with `files` on top; `engine__step` stands for engine/step.py."""
    start = {"__init__": "", "spec": "import numpy as np", "errors": "", "engine____init__": "", "feed____init__": ""}
    for name, text in {**start, **files}.items():
        path = folder / "ladle" / (name.replace("__", "/", 1) + ".py" if not name.startswith("__") else name + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder / "ladle"


@pytest.mark.parametrize(
    "files",
    [
        {
            "engine__step": "import jax\nfrom ladle.spec import BatchSpec\nfrom ladle.engine import rows",
            "engine__rows": "",
        },
        {
            "training": "from ladle.engine import step\nfrom ladle.feed import order",
            "engine__step": "",
            "feed__order": "",
        },
        {"arguments": "import tyro\nfrom ladle.training import fit", "training": "import ladle.spec"},
        {"feed__order_test": "import jax\nimport ladle.engine.step\nimport unheard_of", "engine__step": ""},
        {"feed__order": "from . import ids\nfrom ..spec import BatchSpec", "feed__ids": ""},
    ],
)
def test_lawful_trees_pass(tmp_path: Path, files: dict[str, str]):
    assert violations(tree(tmp_path, **files)) == []


@pytest.mark.parametrize(
    ("files", "where", "rule"),
    [
        ({"spec": "\nimport optax"}, "spec.py:2", "the hall imports the standard library and NumPy only"),
        ({"spec": "import ladle.engine.step", "engine__step": ""}, "spec.py:1", "the hall may not import a room"),
        ({"spec": "from ladle import task", "task": ""}, "spec.py:1", "the hall may not import the roof"),
        ({"spec": "from ladle import BatchSpec"}, "spec.py:1", "the hall may not import the roof"),
        (
            {"feed__order": "from ladle.task import Task", "task": ""},
            "feed/order.py:1",
            "the rooms may not import the roof",
        ),
        (
            {"feed__order": "from ladle.engine import step", "engine__step": ""},
            "feed/order.py:1",
            "may not import room engine",
        ),
        (
            {"feed__order": "from ..engine import step", "engine__step": ""},
            "feed/order.py:1",
            "may not import room engine",
        ),
        ({"feed__order": "def f():\n    import jax"}, "feed/order.py:2", "only allowed in engine/"),
        ({"task": "from jax import numpy"}, "task.py:1", "only allowed in engine/"),
        (
            {"feed__order": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import ladle.engine"},
            "feed/order.py:3",
            "may not import room engine",
        ),
        ({"feed__order": "import pandas"}, "feed/order.py:1", "not a library that ladle depends on"),
        ({"feed__a": "import redis", "feed__b": "import redis.client"}, "feed/b.py:1", "already imported in feed/a"),
        ({"engine__cli": "import tyro"}, "engine/cli.py:1", "only allowed in arguments.py"),
        ({"feed__a": "from ladle.feed import b", "feed__b": "import ladle.feed.a"}, "feed/b.py:1", "import cycle"),
        ({"spec": "import ladle.errors", "errors": "def f():\n    import ladle.spec"}, "spec.py:1", "import cycle"),
    ],
)
def test_each_broken_rule_is_named(tmp_path: Path, files: dict[str, str], where: str, rule: str):
    (broken,) = violations(tree(tmp_path, **files))
    assert f"src/ladle/{where}: " in broken
    assert rule in broken
