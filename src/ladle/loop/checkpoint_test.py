from __future__ import annotations

import json
import math
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ladle.core.carry import Carry
from ladle.core.cursor import Cursor
from ladle.core.decision import Progress
from ladle.core.errors import ArgumentError, CheckpointError, RunError
from ladle.loop.checkpoint import Checkpoints


class NumpySaver:
    """The slowest thing that can work: one file a leaf, written only when somebody waits."""

    def describe(self, tree: dict[str, Any]) -> list[list[str]]:
        return [[name, f"{leaf.dtype}{list(leaf.shape)}"] for name, leaf in sorted(tree.items())]

    def save(self, folder: Path, tree: dict[str, Any]) -> Callable[[], None]:
        copies = {name: np.array(leaf) for name, leaf in tree.items()}

        def write() -> None:
            folder.mkdir()
            for name, leaf in copies.items():
                np.save(folder / f"{name}.npy", leaf)

        return write

    def load(self, folder: Path, like: dict[str, Any]) -> dict[str, np.ndarray]:
        return {name: np.load(folder / f"{name}.npy") for name in like}


class FullDisk(NumpySaver):
    """Fails in the background as a full disk does, as long as `full`."""

    full = True

    def save(self, folder: Path, tree: dict[str, Any]) -> Callable[[], None]:
        write = super().save(folder, tree)

        def fail() -> None:
            folder.mkdir()
            (folder / "half").write_text("written")
            raise OSError(28, "No space left on device")

        return fail if self.full else write


def orbax_saver() -> Any:
    from ladle.jax.save import OrbaxSaver

    return OrbaxSaver()


SAVERS: dict[str, Callable[[], Any]] = {"numpy": NumpySaver, "orbax": orbax_saver}


@pytest.fixture(params=SAVERS)
def saver(request: pytest.FixtureRequest) -> Any:
    return SAVERS[request.param]()


def state_at(position: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(position)
    weights = rng.standard_normal((7, 5)).astype(np.float32)
    weights[0] = [np.nan, -0.0, np.inf, 1e-45, 0.0]
    return {
        "weights": weights,
        "count": np.array(position, np.int32),
        "key": rng.integers(2**32, size=2, dtype=np.uint32),
    }


def carry_at(position: int) -> Carry:
    return Carry(
        state_at(position),
        Cursor(position, {"buffer": [1, 2]}),
        {"size": 64, "seen": [0.1, None, "x"]},
        Progress(position, position // 10, position / 3, 0.1 + 0.2, {"train_loss": 1 / 3, "noise_scale": math.nan}),
    )


LIKE = state_at(0)


def assert_is(carry: Carry, position: int) -> None:
    wanted = carry_at(position)
    assert carry.state.keys() == wanted.state.keys()
    for name, leaf in wanted.state.items():
        assert np.asarray(carry.state[name]).dtype == leaf.dtype
        assert np.asarray(carry.state[name]).tobytes() == leaf.tobytes(), name
    assert repr(carry.facts()) == repr(wanted.facts())


def saved(folder: Path, saver: Any, *positions: int, keep: int = 3) -> Checkpoints:
    with Checkpoints(folder, saver, keep) as checkpoints:
        for position in positions:
            checkpoints.save(carry_at(position))
    return checkpoints


def files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def flip(path: Path, bit: int) -> None:
    content = bytearray(path.read_bytes())
    if content:
        content[bit // 8 % len(content)] ^= 1 << bit % 8
    else:
        content.append(1 << bit % 8)
    path.write_bytes(content)


# --- the laws, for every saver


def test_a_carry_comes_back_bit_for_bit(tmp_path: Path, saver: Any) -> None:
    saved(tmp_path, saver, 1437)
    restored = Checkpoints(tmp_path, saver).restore(LIKE)
    assert (restored.position, restored.refused) == (1437, ())
    assert_is(restored.carry, 1437)


def test_what_happens_to_the_state_after_save_does_not_matter(tmp_path: Path, saver: Any) -> None:
    carry = carry_at(10)
    with Checkpoints(tmp_path, saver) as checkpoints:
        checkpoints.save(carry)
        for leaf in carry.state.values():
            leaf[...] = 77
    assert_is(checkpoints.restore(LIKE).carry, 10)


def test_the_newest_three_stay(tmp_path: Path, saver: Any) -> None:
    checkpoints = saved(tmp_path, saver, 5, 100, 20_000, 300_000)
    assert checkpoints.steps() == [100, 20_000, 300_000]
    names = ["000000000100", "000000020000", "000000300000"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names


def test_a_flipped_bit_in_any_file_is_refused_by_name(tmp_path: Path, saver: Any) -> None:
    checkpoints = saved(tmp_path, saver, 100, 200)
    rng = random.Random(0)
    paths = files_of(tmp_path / "000000000200")
    assert {path.name for path in paths} >= {"manifest.json", "facts.json"} and len(paths) >= 5
    for path in paths:
        before = path.read_bytes()
        flip(path, rng.randrange(8 * max(1, len(before))))
        restored = checkpoints.restore(LIKE)
        assert_is(restored.carry, 100)
        ((name, reason),) = restored.refused
        assert name == "000000000200"
        assert path.name in reason or path.name == "manifest.json"
        path.write_bytes(before)
    assert checkpoints.restore(LIKE).position == 200


def truncated(newest: Path) -> None:
    path = max(files_of(newest / "state"), key=lambda path: path.stat().st_size)
    path.write_bytes(path.read_bytes()[:-1])


def emptied(newest: Path) -> None:
    max(files_of(newest / "state"), key=lambda path: path.stat().st_size).write_bytes(b"")


def without_a_file(newest: Path) -> None:
    files_of(newest / "state")[-1].unlink()


def without_facts(newest: Path) -> None:
    (newest / "facts.json").unlink()


def without_manifest(newest: Path) -> None:
    (newest / "manifest.json").unlink()


def with_another_file(newest: Path) -> None:
    (newest / "state" / "extra").write_text("")


def with_a_link(newest: Path) -> None:
    (newest / "state" / "link").symlink_to(newest.parent)


def empty_folder(newest: Path) -> None:
    shutil.rmtree(newest)
    newest.mkdir()


def a_file_instead(newest: Path) -> None:
    shutil.rmtree(newest)
    newest.write_text("")


def of_another_format(newest: Path) -> None:
    path = newest / "manifest.json"
    path.write_text(path.read_text().replace('"format":1', '"format":2'))


def renamed(newest: Path) -> None:
    newest.rename(newest.with_name("000000000201"))


def no_object(newest: Path) -> None:
    (newest / "manifest.json").write_text("[]")


DAMAGES = {
    truncated: "bytes instead of",
    emptied: "has 0 bytes",
    without_a_file: "is missing",
    without_facts: "facts.json is missing",
    without_manifest: "manifest.json is missing",
    with_another_file: "state/extra is not in the manifest",
    with_a_link: "state/link is not in the manifest",
    empty_folder: "manifest.json is missing",
    a_file_instead: "manifest.json cannot be read",
    of_another_format: "format 2",
    renamed: "position 200",
    no_object: "manifest.json cannot be read",
}


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_damaged_newest_checkpoint_is_refused_and_the_one_before_used(
    tmp_path: Path, saver: Any, damage: Callable[[Path], None]
) -> None:
    saved(tmp_path, saver, 100, 200)
    damage(tmp_path / "000000000200")
    restored = Checkpoints(tmp_path, saver).restore(LIKE)
    assert_is(restored.carry, 100)
    ((name, reason),) = restored.refused
    assert name == ("000000000201" if damage is renamed else "000000000200")
    assert DAMAGES[damage] in reason


def test_another_model_is_refused_leaf_by_leaf(tmp_path: Path, saver: Any) -> None:
    checkpoints = saved(tmp_path, saver, 100)
    for like, words in [
        ({**LIKE, "weights": np.zeros((7, 6), np.float32)}, "weights"),
        ({**LIKE, "count": np.zeros((), np.int64)}, "count"),
        ({name: LIKE[name] for name in ("weights", "count")}, "weights"),
        ({**LIKE, "zz": LIKE["key"]}, "only here"),
    ]:
        with pytest.raises(CheckpointError, match=f"000000000100: another model or optimiser.*{words}"):
            checkpoints.restore(like)


def test_all_refused_are_named_in_one_line(tmp_path: Path, saver: Any) -> None:
    checkpoints = saved(tmp_path, saver, 100, 200)
    truncated(tmp_path / "000000000100")
    empty_folder(tmp_path / "000000000200")
    with pytest.raises(CheckpointError) as caught:
        checkpoints.restore(LIKE)
    text = str(caught.value)
    assert "\n" not in text
    assert re.search("000000000200: manifest.json is missing; 000000000100: state/.* bytes instead of", text)


def test_a_checkpoint_at_a_position_seen_before_is_replaced(tmp_path: Path, saver: Any) -> None:
    saved(tmp_path, saver, 100)
    truncated(tmp_path / "000000000100")
    saved(tmp_path, saver, 100)
    restored = Checkpoints(tmp_path, saver).restore(LIKE)
    assert restored.refused == ()
    assert_is(restored.carry, 100)


# --- what does not depend on the saver


def test_no_bit_of_the_manifest_is_idle(tmp_path: Path) -> None:
    checkpoints = saved(tmp_path, NumpySaver(), 100, 200)
    path = tmp_path / "000000000200" / "manifest.json"
    before = path.read_bytes()
    for bit in random.Random(1).sample(range(8 * len(before)), 400):
        flip(path, bit)
        assert checkpoints.restore(LIKE).position == 100, bit
        path.write_bytes(before)


def test_nothing_to_restore(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="there is none"):
        Checkpoints(tmp_path / "never made", NumpySaver()).restore(LIKE)
    assert Checkpoints(tmp_path, NumpySaver()).steps() == []


def test_names_that_are_no_positions_are_ignored(tmp_path: Path) -> None:
    checkpoints = saved(tmp_path, NumpySaver(), 100)
    for name in (".saving-000000000300", ".gone-000000000300", "notes", "²"):
        shutil.copytree(tmp_path / "000000000100", tmp_path / name)
    assert checkpoints.steps() == [100]
    assert checkpoints.restore(LIKE).refused == ()


def test_leftovers_of_dead_saves_go_with_the_next_save(tmp_path: Path) -> None:
    saved(tmp_path, NumpySaver(), 100)
    for name in (".saving-000000000300", ".gone-000000000050", ".old-000000000100"):
        shutil.copytree(tmp_path / "000000000100", tmp_path / name)
    saved(tmp_path, NumpySaver(), 200)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["000000000100", "000000000200"]


def test_a_checkpoint_that_stepped_aside_is_read_and_comes_back(tmp_path: Path) -> None:
    checkpoints = saved(tmp_path, NumpySaver(), 100)
    (tmp_path / "000000000100").rename(tmp_path / ".old-000000000100")
    assert checkpoints.restore(LIKE).position == 100
    assert saved(tmp_path, NumpySaver(), 200).steps() == [100, 200]


def test_the_checkpoint_just_written_stays_though_older_than_a_broken_one(tmp_path: Path) -> None:
    saved(tmp_path, NumpySaver(), 100, 300)
    flip(tmp_path / "000000000300" / "state" / "weights.npy", 2000)  # of the right size: only its digest tells
    checkpoints = saved(tmp_path, NumpySaver(), 200, keep=1)
    assert checkpoints.restore(LIKE).position == 200
    assert not (tmp_path / "000000000100").exists()


def test_a_refused_checkpoint_that_was_replaced_counts_again(tmp_path: Path) -> None:
    saved(tmp_path, NumpySaver(), 100, 300)
    flip(tmp_path / "000000000300" / "state" / "weights.npy", 2000)
    with Checkpoints(tmp_path, NumpySaver(), keep=1) as checkpoints:
        assert checkpoints.restore(LIKE).position == 100
        checkpoints.save(carry_at(200))
        checkpoints.save(carry_at(300))
    assert [path.name for path in tmp_path.iterdir()] == ["000000000300"]
    assert checkpoints.restore(LIKE).refused == ()


def test_broken_checkpoints_do_not_count_among_those_kept(tmp_path: Path) -> None:
    saved(tmp_path, NumpySaver(), 100, 200, 300)
    for position in ("000000000200", "000000000300"):
        flip(tmp_path / position / "state" / "weights.npy", 2000)
    with Checkpoints(tmp_path, NumpySaver(), keep=2) as checkpoints:
        checkpoints.restore(LIKE)
        checkpoints.save(carry_at(400))
        checkpoints.wait()
        assert (tmp_path / "000000000100").exists()
        checkpoints.save(carry_at(500))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["000000000400", "000000000500"]


def test_a_full_disk_is_told_at_the_next_call_and_harms_nothing(tmp_path: Path) -> None:
    saver = FullDisk()
    saved(tmp_path, NumpySaver(), 100)
    checkpoints = Checkpoints(tmp_path, saver)
    checkpoints.save(carry_at(200))
    with pytest.raises(RunError, match="No space left on device") as caught:
        checkpoints.save(carry_at(300))
    assert "\n" not in str(caught.value)
    checkpoints.save(carry_at(300))
    with pytest.raises(RunError, match="No space left"):
        checkpoints.wait()
    checkpoints.wait()  # told once
    assert checkpoints.restore(LIKE).position == 100
    saver.full = False
    checkpoints.save(carry_at(400))
    checkpoints.wait()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["000000000100", "000000000400"]


def test_a_folder_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunError, match="checkpoints must be written; got .*file.* try") as caught:
        Checkpoints(tmp_path / "file" / "checkpoints", NumpySaver()).save(carry_at(1))
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_one_clear_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(RunError, match="Permission denied"):
        Checkpoints(tmp_path / "checkpoints", NumpySaver()).save(carry_at(1))


def test_a_memory_that_is_no_json_is_told_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="plain JSON values; set is none"):
        Checkpoints(tmp_path, NumpySaver()).save(Carry(LIKE, memory={"seen": {1}}))
    assert list(tmp_path.iterdir()) == []


def test_numpy_numbers_in_facts_are_welcome(tmp_path: Path) -> None:
    with Checkpoints(tmp_path, NumpySaver()) as checkpoints:
        checkpoints.save(Carry(LIKE, memory={"size": np.int64(3)}, progress=Progress(reading={"x": np.float32(0.5)})))
    carry = checkpoints.restore(LIKE).carry
    assert (carry.memory, carry.progress.reading) == ({"size": 3}, {"x": 0.5})


def test_keep_counts(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="keep must be at least 1"):
        Checkpoints(tmp_path, NumpySaver(), keep=0)


# --- kills

TOUCHES = {"open", "os.rename", "os.mkdir", "os.rmdir", "os.remove", "os.scandir", "os.listdir", "shutil.rmtree"}


def kill_self_at(touch: int) -> None:
    """SIGKILL to this process just before its `touch`-th operation on a file or folder."""
    seen = 0

    def hook(event: str, _: tuple[Any, ...]) -> None:
        nonlocal seen
        if event in TOUCHES:
            seen += 1
            if seen == touch:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def every_instant(folder: Path) -> int:
    """Save 300 twice onto 100 and 200, killed before every single touch of the disk in turn. Returns how many."""
    for touch in range(1, 1000):
        here = folder / str(touch)
        saved(here, NumpySaver(), 100, 200, keep=1)
        child = os.fork()
        if child == 0:
            kill_self_at(touch)
            saved(here, NumpySaver(), 300, 300, keep=1)
            os._exit(0)
        killed = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        restored = Checkpoints(here, NumpySaver()).restore(LIKE)
        assert restored.refused == (), (touch, restored.refused)
        numbered = {int(path.name) for path in here.glob("[0-9]*")}
        assert numbered <= set(Checkpoints(here, NumpySaver()).steps()), touch  # none of them half removed
        assert restored.position in (200, 300) if killed else restored.position == 300
        assert_is(restored.carry, restored.position)
        saved(here, NumpySaver(), 400, keep=1)
        assert [path.name for path in here.iterdir()] == ["000000000400"], touch
        shutil.rmtree(here)
        if not killed:
            return touch - 1
    raise AssertionError("the save never ends")


def save_for_ever(folder: Path, name: str) -> None:
    """Restore, then save on and on; print each position once it is durable."""
    checkpoints = Checkpoints(folder, SAVERS[name](), keep=2)
    position = checkpoints.restore(LIKE).position if checkpoints.steps() else 0
    while True:
        position += 100
        checkpoints.save(carry_at(position))
        checkpoints.wait()
        print(position, flush=True)


def python(code: str, *arguments: object) -> subprocess.Popen[str]:
    """Another interpreter that finds what this one finds."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [
        sys.executable,
        "-c",
        f"import sys; from pathlib import Path; from ladle.loop import checkpoint_test as test; {code}",
    ]
    return subprocess.Popen([*command, *map(str, arguments)], stdout=subprocess.PIPE, text=True, env=environment)


def test_a_kill_before_any_touch_of_the_disk_leaves_a_whole_checkpoint(tmp_path: Path) -> None:
    with python("print(test.every_instant(Path(sys.argv[1])))", tmp_path) as child:
        output, _ = child.communicate(timeout=120)
    assert child.returncode == 0
    assert int(output) > 50  # the kills really happened, and reached both saves


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "kills"), [("numpy", 2), ("orbax", 2), pytest.param("numpy", 12, marks=pytest.mark.long)]
)
def test_sigkill_at_random_instants(tmp_path: Path, name: str, kills: int) -> None:
    rng = random.Random(name)
    position = 0
    for _ in range(kills):
        with python("test.save_for_ever(Path(sys.argv[1]), sys.argv[2])", tmp_path, name) as child:
            assert child.stdout is not None
            durable = [int(child.stdout.readline()) for _ in range(rng.randint(1, 4))][-1]
            time.sleep(rng.uniform(0, 0.1 if name == "orbax" else 0.01))  # to land anywhere in a save
            child.kill()
        assert child.returncode == -signal.SIGKILL
        restored = Checkpoints(tmp_path, SAVERS[name]()).restore(LIKE)
        assert restored.refused == ()
        assert restored.position >= durable > position
        assert_is(restored.carry, restored.position)
        position = restored.position


def test_facts_are_readable_by_anything(tmp_path: Path) -> None:
    saved(tmp_path, NumpySaver(), 100)
    facts = json.loads((tmp_path / "000000000100" / "facts.json").read_text())
    assert facts["carry"]["cursor"]["drawn"] == 100
    assert facts["tree"] == [["count", "int32[]"], ["key", "uint32[2]"], ["weights", "float32[7, 5]"]]
