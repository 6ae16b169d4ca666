from __future__ import annotations

import hashlib
import json
import math
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import optax
import pytest

import ladle
from ladle.api.assembly import assemble
from ladle.api.branch_start import Start, start_of
from ladle.api.critical_branches import Branch, _branch, _grown, _require_fit, _rule, aligned, measure
from ladle.api.options import TaskOptions
from ladle.api.request import Request, begin
from ladle.core.carry import Carry
from ladle.core.errors import ArgumentError, CheckpointError
from ladle.core.observation import Observation
from ladle.core.record import RUN_FILE, read_json, write_json
from ladle.core.spec import BatchSpec
from ladle.critical.answer import points_of
from ladle.feed.arrays import Arrays
from ladle.feed.host import HostFeed
from ladle.feed.order import Permuted

TASK = TaskOptions("digits", model="linear", optimizer="sgd", lr=0.05)
REQUEST = Request(TASK, micro_size=16, schedule="geometric 16..32 x2 every 1ep", until="3 epochs")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three epochs with a checkpoint after each."""
    folder = tmp_path_factory.mktemp("runs") / "a"
    begin(REQUEST, folder, show=False, every_seconds=0)
    return folder


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Path:
    """The same with the last checkpoint gone: the newest is of two epochs.

    By then a schedule had doubled the size and, by the coupling, its rate.
    """
    folder = Path(shutil.copytree(whole, tmp_path / "run"))
    shutil.rmtree(folder / "checkpoints" / f"{3 * 1438:012d}")
    return folder


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_branches_of_a_run(run: Path, tmp_path: Path, compilations):
    before = digests(run)
    found = measure(run, factors=(1, 2, 8), examples="1 epoch", seeds=2, out=tmp_path / "critical")
    assert digests(run) == before
    assert compilations["_trace_window"] == 1  # every size is several micro-batches of the run's own 16
    assert [(row["size"], row["updates"]) for row in found.table] == [(32, 45), (64, 23), (256, 6)]
    ratios = [row["lr_factor"] / found.table[0]["lr_factor"] for row in found.table]
    assert ratios == pytest.approx([1, 2, 8])
    critical = found["B_paired"]
    assert found.points == ((2876, critical.value, critical.low, critical.high),)
    assert "above the first" in str(found) and "note: the 3 differences are tested together" in str(found)
    with pytest.raises(KeyError):
        found["Bc"]

    written = json.loads((tmp_path / "critical" / "critical.json").read_text())
    assert {name: written[name] for name in found.to_json()} == json.loads(json.dumps(found.to_json()))
    assert (
        written["data"]["name"] == "digits" and written["optimizer"] == read_json(run / RUN_FILE)["optimizer"]["name"]
    )
    assert (tmp_path / "critical" / "critical.png").stat().st_size > 10_000
    assert points_of([tmp_path / "critical"]) == ((2876, critical.low),)

    # The first branch of the run's own order is the run itself going on.
    own = read_json(run / RUN_FILE)["final"]
    assert own["examples"] == 3 * 1438
    assert found.table[0]["seed_losses"][0] == pytest.approx(own["valid_loss"], rel=1e-6)


def test_one_data_order_gives_no_point_and_says_why(run: Path, tmp_path: Path):
    found = measure(run, factors=(1, 8), seeds=1, out=tmp_path / "critical")
    assert found.points == () and found.table[1]["verdict"] == "not tested"
    assert any("one data order" in note for note in found.notes)
    assert (tmp_path / "critical" / "critical.png").stat().st_size > 10_000
    with pytest.raises(ArgumentError, match="nor does one data order"):
        points_of([tmp_path / "critical"])


def test_a_micro_batch_is_cut_to_the_branch(run: Path):
    start = start_of(run)
    assert [_branch(start, factor, "linear", 64).spec.micro_size for factor in (1, 8)] == [32, 64]


def test_the_rate_is_the_checkpoints_whatever_a_later_sitting_wrote(run: Path):
    """A sitting that was killed before its first line has left its own size and rate in run.json."""
    assert start_of(run).lr_factor == 2.0
    facts = read_json(run / RUN_FILE)
    write_json(run / RUN_FILE, {**facts, "size": 128, "optimizer": {**facts["optimizer"], "lr": 0.4}})
    start = start_of(run)
    assert (start.spec.size, start.lr_factor) == (32, 2.0)
    assert float(start.carry.state.hyper["lr"]) == pytest.approx(0.05)


class Exploding:
    """A step whose every update is refused."""

    def prepare(self, state, draw, spec):
        return state

    def __call__(self, state, draw, spec, lr_factor, clock=None):
        sums = np.array([np.nan, 1.0, 0.0, 1.0, np.nan])
        return state, Observation(("loss", "weight", "updates", "refused", "grad_sq"), sums)


def test_a_branch_that_diverges_has_no_finite_loss():
    feed = HostFeed(Arrays({"x": np.zeros(20)}), Permuted(20, 0))
    engine = SimpleNamespace(step=Exploding(), copy=lambda state: state, losses=lambda state, rows: np.ones(5))
    assembly = SimpleNamespace(engine=engine, feed=lambda seed: feed, valid=None)
    start = Start(assembly, Carry({"w": np.zeros(3)}, feed.start()), 0, BatchSpec(2, 2), 1.0)
    grown = _grown(start, Branch(2, BatchSpec(4, 2), 2.0), 0, 20)
    assert grown.losses.tolist() == [math.inf] * 5


class Small:
    """A probe on a machine where nothing fits."""

    def memory_bytes(self, spec):
        return 10**9 * spec.micro_size

    def limit_bytes(self):
        return 2 * 10**9, "given"


def test_a_forward_pass_that_does_not_fit_is_refused():
    _require_fit(BatchSpec(8, 2), Small())
    with pytest.raises(ArgumentError, match="factors must leave forward passes that fit in memory; got '4 examples"):
        _require_fit(BatchSpec(8, 4), Small())


def test_places_where_the_batches_of_all_branches_end():
    assert aligned(0, 100, 32, 100) == 100
    assert aligned(100, 100, 32, 100) == 200
    assert aligned(100, 101, 32, 100) == 232
    assert aligned(90, 5, 32, 100) == 100
    assert aligned(10, 64, 32, 100) == 74
    for position in range(0, 60, 7):
        for examples in (1, 13, 50, 51, 99):
            end = aligned(position, examples, 12, 50)
            begin = position if end <= (position // 50 + 1) * 50 else end // 50 * 50
            assert end >= position + examples and (end % 50 == 0 or (end - begin) % 12 == 0)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"factors": (2, 4)}, "factors must ascend from 1; got '2,4'"),
        ({"factors": (1, 4, 2)}, "factors must ascend from 1"),
        ({"factors": (1,)}, "factors must ascend from 1"),
        ({"factors": (1, 64)}, "factors must make batches of at most the 1,438 training examples; got 2048"),
        ({"seeds": 0}, "seeds must be a whole number from 1 on"),
        ({"seeds": 1.5}, "seeds must be a whole number from 1 on"),
        ({"examples": "5 steps"}, "examples must be a positive number of examples or epochs"),
        ({"examples": "1 epoch, 5 steps"}, "examples must be a positive number of examples or epochs"),
        ({"examples": 0}, "examples must be a positive number of examples or epochs; got 0"),
        ({"rule": "none"}, "rule must be 'linear' or 'square root'"),
        ({"micro_size": 0}, "micro_size must be at least 1"),
        ({"micro_size": 5000}, "micro_size must be at most the batch size 512"),
        ({"margin": math.nan}, "margin must be a positive number"),
        ({"margin": -1}, "margin must be a positive number"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_any_training(run: Path, how, message: str):
    with pytest.raises(ArgumentError, match=message):
        measure(run, **how)


def test_a_folder_without_a_checkpoint_is_refused(run: Path, tmp_path: Path):
    write_json(tmp_path / RUN_FILE, read_json(run / RUN_FILE))
    with pytest.raises(ArgumentError, match="folder must hold a checkpoint"):
        measure(tmp_path)
    (tmp_path / "checkpoints" / "000000001438").mkdir(parents=True)
    with pytest.raises(CheckpointError, match="000000001438"):
        measure(tmp_path)


def test_other_data_and_a_rate_that_has_come_to_zero_are_refused(run: Path):
    facts = read_json(run / RUN_FILE)
    write_json(run / RUN_FILE, {**facts, "request": {**facts["request"], "lr_schedule": "cosine", "until": "2 epochs"}})
    with pytest.raises(ArgumentError, match="before the end of the rate's schedule; got '2,876 examples'"):
        measure(run)
    write_json(run / RUN_FILE, {**facts, "data": {**facts["data"], "digest": "other"}})
    with pytest.raises(ArgumentError, match="data must be what the run began with"):
        measure(run)


def test_an_optimiser_of_the_users_needs_a_rule():
    data = ladle.data.load("digits")
    task = ladle.Task(ladle.models.linear(64, 10), ladle.losses.cross_entropy, data, optimizer=optax.sgd(0.1))
    with pytest.raises(ArgumentError, match="your own optimiser follows the size is not known"):
        _rule(None, assemble(task))
    assert _rule("linear", assemble(task)) == "linear"
