from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ladle.core.errors import CheckpointError
from ladle.jax.save import OrbaxSaver


class Pair(NamedTuple):
    first: Any
    second: Any


class Layer(eqx.Module):
    weight: jax.Array
    name: str = eqx.field(static=True)


def optimiser_state() -> Any:
    params = {"w": jnp.linspace(-1, 1, 12).reshape(3, 4), "b": jnp.zeros(4)}
    optimiser = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(optax.cosine_decay_schedule(1e-3, 100)))
    with jax.numpy_dtype_promotion("standard"):  # optax counts on it
        _, state = optimiser.update(jax.tree.map(jnp.ones_like, params), optimiser.init(params), params)
    return params, state


BITS = np.array([0x7FC00001, 0xFFC12345, 0x80000000, 0x00000001, 0x7F800000], np.uint32).view(np.float32)

TREES: dict[str, Any] = {
    "optax": optimiser_state,
    "module": lambda: Layer(jnp.arange(6.0).reshape(2, 3), "hidden"),
    "named tuple": lambda: Pair({"a": jnp.ones(2)}, Pair((), None)),
    "nan, -0 and subnormal bits": lambda: {"odd": jnp.asarray(BITS), "minus zero": jnp.full(9, -0.0)},
    "key words": lambda: jax.random.key_data(jax.random.key(7)),
    "scalars": lambda: [jnp.float32(3), jnp.int32(-1), jnp.array(True), jnp.bfloat16(1.5)],
    "narrow": lambda: [
        jnp.ones(3, dtype) for dtype in (jnp.bfloat16, jnp.float16, jnp.int8, jnp.uint8, jnp.float8_e4m3fn)
    ],
    "of size zero": lambda: {"none": jnp.zeros((0, 3)), "some": jnp.ones(1)},
    "nothing but size zero": lambda: jnp.zeros((4, 0), jnp.int32),
    "no leaf": lambda: ((), None, {}),
    "numpy": lambda: {"double": np.array([1 / 3]), "wide": np.array(2**40, np.int64)},
    "more than ten leaves": lambda: [jnp.full(1, i) for i in range(13)],
}


def assert_same(found: Any, wanted: Any) -> None:
    assert jax.tree.structure(found) == jax.tree.structure(wanted)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        assert isinstance(a, np.ndarray) == isinstance(b, np.ndarray)
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


@pytest.mark.parametrize("name", TREES)
def test_every_tree_comes_back_bit_for_bit(tmp_path: Path, name: str) -> None:
    tree = TREES[name]()
    saver = OrbaxSaver()
    saver.save(tmp_path / "state", tree)()
    assert_same(saver.load(tmp_path / "state", tree), tree)


def test_shapes_are_enough_to_load(tmp_path: Path) -> None:
    tree = optimiser_state()
    OrbaxSaver().save(tmp_path / "state", tree)()
    assert_same(OrbaxSaver().load(tmp_path / "state", jax.eval_shape(lambda: tree)), tree)


def test_no_class_of_the_tree_reaches_the_disk(tmp_path: Path) -> None:
    OrbaxSaver().save(tmp_path / "state", (optimiser_state(), Layer(jnp.ones(3), "hidden")))()
    text = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"metadata" in text.lower()
    for word in (b"ScaleByAdam", b"optax", b"equinox", b"Layer", b"hidden"):
        assert word not in text


def test_a_donated_state_is_saved_as_it_was(tmp_path: Path) -> None:
    @jax.jit
    def fresh() -> Any:
        return {"w": jnp.arange(200_000.0), "step": jnp.int32(0)}

    step = jax.jit(lambda state: jax.tree.map(lambda leaf: leaf + 1, state), donate_argnums=0)
    state = fresh()
    wait = OrbaxSaver().save(tmp_path / "state", state)
    for _ in range(20):
        before = state
        state = step(state)
        assert before["w"].is_deleted()
    wait()
    assert_same(OrbaxSaver().load(tmp_path / "state", fresh()), fresh())


def test_what_was_loaded_may_be_donated(tmp_path: Path) -> None:
    tree = {"w": jnp.arange(10_000.0)}
    OrbaxSaver().save(tmp_path / "state", tree)()
    loaded = OrbaxSaver().load(tmp_path / "state", tree)
    after = jax.jit(lambda state: jax.tree.map(lambda leaf: leaf * 2, state), donate_argnums=0)(loaded)
    assert loaded["w"].is_deleted()
    assert_same(after, {"w": jnp.arange(10_000.0) * 2})


def test_a_sharded_tree_comes_back_sharded(tmp_path: Path) -> None:
    mesh = Mesh(np.array(jax.devices()), ("data",))
    many = len(jax.devices())
    rows, whole = (NamedSharding(mesh, spec) for spec in (PartitionSpec("data"), PartitionSpec()))
    tree = {
        "rows": jax.device_put(jnp.arange(8.0 * many).reshape(8 * many, 1), rows),
        "whole": jax.device_put(jnp.arange(5), whole),
    }
    OrbaxSaver().save(tmp_path / "state", tree)()
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding), tree)
    loaded = OrbaxSaver().load(tmp_path / "state", shapes)
    assert_same(loaded, tree)
    assert {name: leaf.sharding for name, leaf in loaded.items()} == {"rows": rows, "whole": whole}


@pytest.mark.parametrize(
    "like",
    [
        {"w": jnp.ones((3, 5)), "n": jnp.int32(1)},
        {"w": jnp.ones((4, 3)), "n": jnp.int32(1)},
        {"w": jnp.ones((3, 4), jnp.bfloat16), "n": jnp.int32(1)},
        {"w": jnp.ones((3, 4)), "n": jnp.ones(1, jnp.int32)},
        {"w": jnp.ones((3, 4))},
        {"w": jnp.ones((3, 4)), "n": jnp.int32(1), "z": jnp.ones(2)},
        {"w": jnp.ones((3, 4)), "n": jnp.zeros((0,))},
    ],
    ids=lambda like: " ".join(f"{name}{leaf.dtype}{leaf.shape}" for name, leaf in like.items()),
)
def test_nothing_is_cast_padded_or_cut(tmp_path: Path, like: Any) -> None:
    saver = OrbaxSaver()
    tree = {"w": jnp.ones((3, 4)), "n": jnp.int32(1)}
    saver.save(tmp_path / "state", tree)()
    assert saver.describe(like) != saver.describe(tree)
    with pytest.raises(CheckpointError, match="nothing is cast or cut"):
        saver.load(tmp_path / "state", like)


def test_describe_names_every_leaf() -> None:
    tree = Pair({"w": jnp.ones((3, 4), jnp.bfloat16)}, (jnp.int32(1), None))
    described = [[".first['w']", "bfloat16[3,4]"], [".second[0]", "int32[]"]]
    assert OrbaxSaver().describe(tree) == described
    assert OrbaxSaver().describe(jax.eval_shape(lambda: tree)) == described


def test_a_save_that_fails_says_so_to_whoever_waits(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    wait = OrbaxSaver().save(tmp_path / "file" / "state", {"w": jnp.ones(3)})
    with pytest.raises(OSError, match="Not a directory"):
        wait()


def test_saving_and_loading_are_silent(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, logger="absl"):
        OrbaxSaver().save(tmp_path / "state", {"w": jnp.ones(3)})()
        OrbaxSaver().load(tmp_path / "state", {"w": jnp.ones(3)})
        logging.getLogger("absl").info("from somebody else")
    assert capfd.readouterr() == ("", "")
    assert [record.message for record in caplog.records if record.name == "absl"] == ["from somebody else"]
