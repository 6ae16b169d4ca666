"""`OrbaxSaver`: a tree of arrays to a folder and back, bit for bit. The only file that knows orbax."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ladle.core.errors import CheckpointError, must


class OrbaxSaver:
    """Saves and loads trees of arrays with orbax-checkpoint (v1 API).

    What reaches the disk is a flat dict `{"0": leaf, "1": leaf, ...}` of NumPy arrays in the order of
    `jax.tree.leaves`. No class of the tree (optimiser states, modules, dataclasses) is ever written, so a checkpoint
    does not depend on where those classes live; `load` takes them from `like`.

    Leaves are arrays that this process holds whole (on one device, replicated, or sharded over its own devices).
    Random keys go in as raw `uint32` words (`jax.random.key_data`).

    >>> import tempfile, jax.numpy as jnp
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     tree = {"w": jnp.arange(3.0), "none": None}
    ...     OrbaxSaver().save(Path(folder) / "state", tree)()
    ...     OrbaxSaver().load(Path(folder) / "state", tree)["w"].tolist()
    [0.0, 1.0, 2.0]
    """

    def describe(self, tree: Any) -> list[list[str]]:
        """Path and type of every leaf, as JSON: `[["['w']", "float32[3]"], ...]`. Copies nothing.

        The tree may hold arrays or `jax.ShapeDtypeStruct`s. Two trees that `describe` alike can be loaded in each
        other's place.
        """
        leaves = jax.tree_util.tree_leaves_with_path(tree)
        return [[jax.tree_util.keystr(path), _type(leaf)] for path, leaf in leaves]

    def save(self, folder: Path, tree: Any) -> Callable[[], None]:
        """Begin to save `tree` as the new folder `folder`; the answer waits for the end and raises what went wrong.

        The leaves are copied to host memory before this returns, so the caller may donate or overwrite them at once.
        Everything slow (orbax's import included, about half a second the first time) happens in a thread.
        """
        copies = _copies(tree)
        failure: list[BaseException] = []

        def work() -> None:
            try:
                _write(Path(folder), copies)
            except BaseException as error:  # handed to whoever waits
                failure.append(error)

        thread = threading.Thread(target=work, name="ladle-save")
        thread.start()

        def wait() -> None:
            thread.join()
            if failure:
                raise failure[0]

        return wait

    def load(self, folder: Path, like: Any) -> Any:
        """The tree saved in `folder`, with the structure and the shardings of `like`.

        `like`: arrays or `jax.ShapeDtypeStruct`s; NumPy leaves come back as NumPy, every other leaf as a `jax.Array`,
        which may be donated. Nothing is cast, padded or cut: raises `CheckpointError` where a dtype or a shape differs.
        """
        leaves, structure = jax.tree.flatten(like)
        folder = Path(folder)
        found = _read(folder) if any(_held(leaf) for leaf in leaves) else {}
        if set(found) != {str(index) for index, leaf in enumerate(leaves) if _held(leaf)}:
            raise CheckpointError(_mismatch(folder, f"{len(leaves)} leaves", f"{len(found)} leaves that hold numbers"))
        return structure.unflatten(_placed(folder, found.get(str(index)), leaf) for index, leaf in enumerate(leaves))

    def arrays(self, folder: Path, described: list[list[str]]) -> list[np.ndarray]:
        """All leaves in `folder` on the host, in the order of `described`; what they are like is told there.

        For whoever does not know the optimiser that a state is of. Raises `CheckpointError` as `load` does.
        """
        return self.load(folder, [_like(kind) for _, kind in described])


def _like(kind: str) -> np.ndarray:
    """An array of that type and shape, `float32[3,4]`, without memory of its own."""
    dtype, _, shape = kind.removesuffix("]").partition("[")
    return np.broadcast_to(np.zeros((), dtype), tuple(int(n) for n in shape.split(",") if n))


def _copies(tree: Any) -> dict[str, np.ndarray]:
    """Host copies of the leaves by number. Leaves of size zero hold nothing to save, and orbax refuses them."""
    leaves = jax.tree.leaves(tree)
    for leaf in leaves:
        if isinstance(leaf, jax.Array):
            leaf.copy_to_host_async()  # all transfers at once; each `np.array` below then waits for its own only
    # `np.asarray` of an array in CPU memory is a view of a buffer that the next step may reuse: `np.array` copies.
    return {str(index): np.array(leaf) for index, leaf in enumerate(leaves) if _held(leaf)}


def _write(folder: Path, copies: dict[str, np.ndarray]) -> None:
    if not copies:
        return folder.mkdir()
    orbax = _orbax()
    with _alone(orbax):
        orbax.save(folder.absolute(), copies)


def _read(folder: Path) -> dict[str, Any]:
    orbax = _orbax()
    with _alone(orbax):
        return orbax.load(folder.absolute())


@contextmanager
def _alone(orbax: Any) -> Iterator[None]:
    """Orbax as this process uses it by itself, though there be others, which whoever shares the run tells."""
    context = orbax.Context()
    # Made in the background, a folder that cannot be made leaves orbax's threads waiting for it for five minutes.
    context.asynchronous.create_directories_asynchronously = False
    if jax.process_count() == 1:
        with context:
            yield
        return
    from orbax.checkpoint.experimental.v1._src.saving import execution

    own = jax.process_index()
    context.multiprocessing.primary_host, context.multiprocessing.active_processes = own, {own}
    asked = getattr(execution, "_check_directory_consistency", None)
    try:
        # It asks all processes, whichever are active, and these are not here.
        execution._check_directory_consistency = lambda directory: None
        with context:
            yield
    finally:
        if asked is not None:
            execution._check_directory_consistency = asked


def _placed(folder: Path, value: Any, like: Any) -> Any:
    """`value` where and as `like` wants it."""
    value = np.zeros(np.shape(like), _dtype(like)) if value is None else np.asarray(value)
    if _type(value) != _type(like):
        raise CheckpointError(_mismatch(folder, _type(like), _type(value)))
    if isinstance(like, np.ndarray | np.generic):
        return value
    place = getattr(like, "sharding", None)
    if place is not None and not place.is_fully_addressable:  # Of several processes: who loads puts on its own devices.
        return jax.make_array_from_callback(value.shape, place, lambda index: value[index])
    return jax.device_put(value, place)


def _mismatch(folder: Path, wanted: str, found: str) -> str:
    return must(
        str(folder), f"hold {wanted}", found, "nothing is cast or cut", "the model and optimiser it was saved with"
    )


def _dtype(leaf: Any) -> Any:
    return leaf.dtype if hasattr(leaf, "dtype") else np.asarray(leaf).dtype


def _type(leaf: Any) -> str:
    return f"{_dtype(leaf)}[{','.join(str(n) for n in np.shape(leaf))}]"


def _held(leaf: Any) -> bool:
    """Whether the leaf holds any number."""
    return 0 not in np.shape(leaf)


class _Quiet(logging.Filter):
    """Keeps orbax off absl's logger. What goes wrong is raised; other users of that logger are not touched."""

    def filter(self, record: logging.LogRecord) -> bool:
        return "orbax" not in record.pathname


_QUIET = _Quiet()


def _orbax() -> Any:
    """The v1 API. It leaves `experimental` in newer releases."""
    try:
        from orbax.checkpoint import v1  # pyright: ignore[reportAttributeAccessIssue]
    except ImportError:
        from orbax.checkpoint.experimental import v1
    # Only now: a logger made before absl's import would not be absl's. A filter is added once, however often.
    logging.getLogger("absl").addFilter(_QUIET)
    return v1
