from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import ladle
from ladle.api.assembly import Assembly, assemble
from ladle.core.decision import Decision, Progress
from ladle.core.errors import ArgumentError, RunError
from ladle.core.record import METRICS_FILE, RUN_FILE, read_json, read_lines, write_json
from ladle.jax.geometry import holds_second_moment
from ladle.policy import CABS, Plateau, Range, Steps


def small(**changes: Any) -> ladle.Task:
    """A linear regression that is exact: y = 2 x0 - x1 + 3, standardised."""
    x = np.random.default_rng(0).standard_normal((50, 2)).astype(np.float32)
    data = ladle.data.arrays(x, 2 * x[:, 0] - x[:, 1] + 3.0, name="plane")
    return ladle.Task(ladle.models.linear(2, 1), "mse", data, **{"optimizer": "sgd", "lr": 0.1, **changes})


@pytest.fixture(scope="module")
def plane() -> Assembly:
    return assemble(small())


def test_it_learns_and_predicts_in_the_units_of_the_data(plane: Assembly) -> None:
    run = ladle.fit(plane, size=8, until="40 epochs")
    assert run.status == "finished" and run.final["valid_loss"] < 1e-6
    np.testing.assert_allclose(run.predict(np.array([[1.0, 1.0], [0.0, 0.0]])), [4.0, 3.0], atol=1e-2)
    judged = run.evaluate(plane.task.data.valid)
    assert {"valid_" + name: value for name, value in judged.items()}.items() <= run.final.items()
    assert [line["epoch"] for line in run.metrics] == list(range(41))
    assert "valid_loss" in run._repr_html_() and "finished" in run._repr_html_()


def test_the_noise_of_a_run_is_that_of_its_lines_together(plane: Assembly) -> None:
    run = ladle.fit(plane, size=8, until="4 epochs", gauge=ladle.Gauge(parts=4, every=1))
    every = [ladle.Moments.from_sums(line) for line in run.metrics]
    assert run.noise().updates == sum(one.count for one in every) == 20
    assert run.noise(since=10).trace == pytest.approx((every[2].trace + every[3].trace + every[4].trace) / 15)
    assert run.noise(until=6).updates == 5 and run.noise(since=21).verdict == "unresolved"


def test_all_sizes_start_from_the_same_parameters_and_see_every_example(plane: Assembly) -> None:
    runs = [ladle.fit(plane, size=size, until="3 epochs", seed=5) for size in (1, 7, "full")]
    assert len({run.metrics[0]["valid_loss"] for run in runs}) == 1
    assert [run.final["updates"] for run in runs] == [120, 18, 3]
    assert {run.final["examples"] for run in runs} == {120}


def test_a_weight_of_two_is_a_row_twice() -> None:
    rng = np.random.default_rng(1)
    x, y, times = rng.standard_normal((30, 2)), np.arange(30) % 3, np.arange(30) % 4

    def trained(data: ladle.data.Data) -> Any:
        task = ladle.Task(ladle.models.linear(2, 3), "cross_entropy", data, optimizer="sgd", lr=0.5)
        return ladle.fit(task, size="full", until="5 steps").params

    weighted = trained(ladle.data.arrays(x, y, weight=times, valid=0))
    repeated = trained(ladle.data.arrays(x.repeat(times, 0), y.repeat(times), valid=0))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), weighted, repeated)


@pytest.mark.parametrize(
    ("order", "first"),
    [
        ("sequential", [[0, 1, 2, 3], [4, 5, 6, 7]]),
        (lambda seed: ladle.feed.Weighted(np.arange(12) == 7, seed), [[7, 7, 7, 7], [7, 7, 7, 7]]),
    ],
)
def test_rows_are_drawn_in_the_order_of_the_task(order: Any, first: list[list[int]]) -> None:
    data = ladle.data.arrays(np.arange(12.0), np.arange(12) % 3, valid=0)
    feed = assemble(ladle.Task(ladle.models.linear(1, 3), None, data, order=order)).feed(0)
    draw, _ = feed.draw(feed.start(), ladle.BatchSpec(4, 4, updates=2))
    assert [ids.tolist() for ids in draw.ids()] == first


def test_a_stratified_order_holds_every_class_in_every_batch() -> None:
    data = ladle.data.arrays(np.arange(12.0), np.arange(12) // 4, valid=0)
    task = ladle.Task(ladle.models.linear(1, 3), None, data, order="stratified", optimizer="sgd")
    feed = assemble(task).feed(3)
    draw, _ = feed.draw(feed.start(), ladle.BatchSpec(3, 3, updates=8))
    assert all(sorted(ids // 4) == [0, 1, 2] for ids in draw.ids())
    assert ladle.fit(task, size=3, until="2 epochs").final["updates"] == 8


@pytest.mark.parametrize(("order", "says"), [("random", "known: permuted"), ("stratified", "no classes to keep")])
def test_orders_that_cannot_be_are_refused(order: str, says: str) -> None:
    with pytest.raises(ArgumentError, match=says):
        ladle.fit(small(order=order), size=4)


def test_only_a_task_is_trained() -> None:
    with pytest.raises(ArgumentError, match="task must be a ladle.Task; got 'str'"):
        ladle.fit("digits", size=4)  # type: ignore[arg-type]


def test_until_targets_patience_and_steps(plane: Assembly) -> None:
    reached = ladle.fit(plane, size=8, until="100 epochs, valid_loss < 0.01")
    assert reached.status == "stopped" and "target reached" in reached.why and reached.final["epoch"] < 40
    tired = ladle.fit(plane, size=8, until="400 epochs, patience 3")
    assert tired.status == "stopped" and "patience" in tired.why
    counted = ladle.fit(plane, size=8, until="13 steps")
    assert counted.final["updates"] == 13 and "valid_loss" in counted.metrics[-1]


def test_a_schedule_of_rates_is_in_examples_and_absolute() -> None:
    assembly = assemble(small(lr=optax.linear_schedule(0.1, 0.0, 80)))
    run = ladle.fit(assembly, size=10, until="3 epochs")
    assert [line["lr"] for line in run.metrics[1:]] == pytest.approx([0.05, 0.0, 0.0])
    assert run.metrics[2]["valid_loss"] == run.metrics[3]["valid_loss"], "a rate of zero moves nothing"
    # Plain SGD by hand over the first epoch.
    params, feed = assembly.engine.step.init(0).params, assembly.feed(0)
    weight, bias = (np.asarray(leaf, np.float64) for leaf in (params[0]["weight"], params[0]["bias"]))
    train = assembly.task.data.train
    for start in range(0, 40, 10):
        ids = feed.order.ids(start, 10)
        x, y = train["x"][ids], train["y"][ids]
        error = (x @ weight + bias)[:, 0] - y
        rate = 0.1 * (1 - start / 80)
        weight, bias = weight - rate * 2 * x.T @ error[:, None] / 10, bias - rate * 2 * error.mean()
    valid = assembly.task.data.valid
    loss = np.mean(((valid["x"] @ weight + bias)[:, 0] - valid["y"]) ** 2)
    assert run.metrics[1]["valid_loss"] == pytest.approx(loss, rel=1e-4)


def test_auto_rates_follow_the_rule_and_numbers_stay(plane: Assembly) -> None:
    auto = assemble(small(lr="auto", optimizer="adam"))
    assert auto.lr(64) == pytest.approx(1e-3) and auto.lr(16) == pytest.approx(5e-4)
    assert plane.lr(16) == plane.lr(64) == 0.1


def test_only_the_run_that_was_begun_is_resumed(tmp_path: Path, plane: Assembly) -> None:
    ladle.fit(plane, size=8, until="1 epochs", out=tmp_path / "run")
    others = {"order": small(order="sequential"), "optimizer": small(optimizer="momentum")}
    others["data"] = plane.task.with_(data=ladle.data.arrays(np.arange(50.0), np.arange(50.0) ** 2))
    for name, other in others.items():
        with pytest.raises(ArgumentError, match=f"{name} must be what the run began with"):
            ladle.fit(other, size=8, until="2 epochs", out=tmp_path / "run", resume=True)
    with pytest.raises(ArgumentError, match="seed must be what the run began with; got 1"):
        ladle.fit(plane, size=8, until="2 epochs", out=tmp_path / "run", resume=True, seed=1)
    write_json(tmp_path / "run" / RUN_FILE, {"status": "finished"})
    with pytest.raises(ArgumentError, match="data must be what the run began with"):
        ladle.fit(plane, size=8, until="2 epochs", out=tmp_path / "run", resume=True)
    with pytest.raises(ArgumentError, match="out must be given"):
        ladle.fit(plane, size=8, until="2 epochs", resume=True)


def test_resume_is_the_unbroken_run(tmp_path: Path, plane: Assembly) -> None:
    whole = ladle.fit(plane, size=8, until="6 epochs", out=tmp_path / "whole")
    ladle.fit(plane, size=8, until="2 epochs", out=tmp_path / "broken")
    broken = ladle.fit(plane, size=8, until="6 epochs", out=tmp_path / "broken", resume=True)
    for mine, theirs in zip(jax.tree.leaves(whole.params), jax.tree.leaves(broken.params), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    names = ("examples", "updates", "train_loss", "valid_loss", "grad_norm", "lr")
    lines = [
        [[line.get(n) for n in names] for line in read_lines(tmp_path / f / METRICS_FILE)] for f in ("whole", "broken")
    ]
    assert lines[0] == lines[1]
    assert read_json(tmp_path / "broken" / RUN_FILE)["status"] == "finished"


def test_divergence_keeps_the_last_good_checkpoint(tmp_path: Path) -> None:
    with pytest.warns(ladle.DivergedWarning, match="try a smaller lr"):
        run = ladle.fit(small(lr=1e5), size=4, until="5 epochs", out=tmp_path / "run")
    assert run.status == "diverged" and run.checkpoint is not None and run.checkpoint.name == "0" * 12
    assert read_json(tmp_path / "run" / RUN_FILE)["checkpoint"] == "0" * 12


def test_a_loss_that_is_not_a_number_is_not_applied() -> None:
    data = small().data

    def loss(params: Any, batch: Any) -> jax.Array:
        return jnp.log(params["w"] - 1) + 0 * batch["y"]

    task = ladle.Task.functions(lambda key: {"w": jnp.zeros(())}, loss, data, optimizer="sgd", lr=0.1)
    with pytest.warns(ladle.DivergedWarning):
        run = ladle.fit(task, size=8, until="5 epochs")
    assert run.status == "diverged" and float(run.params["w"]) == 0.0


def test_models_of_other_libraries_are_taken_as_they_are() -> None:
    import equinox as eqx
    from flax import nnx

    models: tuple[Any, ...] = (
        eqx.nn.MLP(2, 1, 4, 1, key=jax.random.key(0)),
        lambda key: eqx.nn.Linear(2, 1, key=key),
        nnx.Linear(2, 1, rngs=nnx.Rngs(0)),
        lambda rngs: nnx.Linear(2, 1, rngs=rngs),
    )
    for model in models:
        run = ladle.fit(ladle.Task(model, "mse", small().data, lr=0.01), size=8, until="2 epochs")
        assert run.metrics[-1]["train_loss"] < run.metrics[1]["train_loss"]
    with pytest.raises(ArgumentError, match="model must be one of"):
        ladle.fit(ladle.Task(object(), "mse", small().data), size=8)


def test_no_validation_part_is_fine() -> None:
    data = ladle.data.arrays(np.arange(20.0)[:, None] / 20, np.arange(20.0), valid=0)
    run = ladle.fit(
        ladle.Task(ladle.models.linear(1, 1), "mse", data, optimizer="sgd", lr=0.1), size=5, until="3 epochs"
    )
    assert len(run.metrics) == 4 and "valid_loss" not in run.final


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"size": "atuo"}, "size must be a whole number"),
        ({"size": 0}, "at least 1"),
        ({"size": 2.5}, "whole number"),
        ({"size": 41}, "at most the 40"),
        ({"size": 8, "micro_size": 9}, "at most the batch size 8"),
        ({"size": 8, "until": "soon"}, "until must"),
    ],
)
def test_what_cannot_be_right_is_said_before_work(plane: Assembly, arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ArgumentError, match=said):
        ladle.fit(plane, **arguments)


def test_a_policy_may_be_a_text(plane: Assembly) -> None:
    run = ladle.fit(plane, policy="0:8 1ep:16", until="2 epochs")
    assert [(line["size"], line["lr"]) for line in run.metrics[1:]] == [(8, 0.1), (16, pytest.approx(0.2))]
    assert ladle.fit(plane, policy="constant", size=10, until="1 epochs").final["size"] == 10


def test_a_text_goes_on_with_the_rate_that_a_run_has(tmp_path: Path, plane: Assembly) -> None:
    """0.1 is the rate at 8; at 32, where the first run ended and the policy begins, it is four times that."""
    ladle.fit(plane, policy="0:8 1ep:32", until="2 epochs", out=tmp_path / "run")
    run = ladle.fit(plane, policy="noise 4..32", until="3 epochs", out=tmp_path / "run", resume=True)
    assert (run.final["size"], run.final["lr"]) == (32, pytest.approx(0.4))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"policy": "noise 1024..32"}, "largest must be at least smallest=1024"),
        ({"policy": "constant"}, "size must be given with this schedule"),
        ({"policy": "0:8", "size": 8}, "size must be left out with a schedule; got 8"),
        ({"policy": Steps(((0, 8),), 8), "size": 8}, "size must be left out with a policy; got 8"),
        ({"policy": Steps(((0, 8),), 8), "micro_size": 8}, "micro_size must be left out with a policy"),
        ({"policy": Steps(((0, 8), (40, 64)), 8)}, "policy must go no further than the 40 training examples; got 64"),
        ({"policy": Range(8, 16, 8)}, "policy must have methods init and decide"),
        ({"policy": CABS(Range(8, 16, 8), lr=10.0)}, "lr of the policy must be the run's, 0.1; got 10.0"),
        ({"policy": Plateau(8, 16, 8, metric="valid_acc")}, "metric must be measured; got 'valid_acc'"),
        ({"size": 8, "rebase": True}, "rebase must be False with this optimiser; got 'sgd'"),
    ],
)
def test_policies_that_cannot_be_followed_are_refused_before_work(
    tmp_path: Path, plane: Assembly, arguments: dict[str, Any], said: str
) -> None:
    with pytest.raises(ArgumentError, match=said):
        ladle.fit(plane, **arguments, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_what_a_careful_reader_would_be_told_is_in_the_record(tmp_path: Path) -> None:
    policy = CABS(Range(8, 16, 8), lr=0.01)
    ladle.fit(small(optimizer="adam", lr=0.01), policy=policy, until="1 epochs", out=tmp_path / "run")
    (said,) = read_json(tmp_path / "run" / RUN_FILE)["warnings"]
    assert said == "This policy was made for sgd, not for adam."


def test_a_run_that_breaks_off_is_recorded_as_failed(tmp_path: Path, plane: Assembly) -> None:
    class Breaks:
        def init(self, plan: Any) -> Any:
            return None

        def decide(self, memory: Any, progress: Progress) -> Any:
            if progress.examples >= 40:
                raise RunError("there is nothing to decide")
            return None, Decision(ladle.BatchSpec(8, 8))

    with pytest.raises(RunError):
        ladle.fit(plane, policy=Breaks(), until="3 epochs", out=tmp_path / "run")
    info = read_json(tmp_path / "run" / RUN_FILE)
    assert (info["status"], info["why"]) == ("failed", "there is nothing to decide")
    assert read_lines(tmp_path / "run" / METRICS_FILE)[-1]["examples"] == 40


def test_a_loss_that_stands_still_is_a_plateau() -> None:
    """Evaluations that are equal to the last bit are still one after the other, and the windows between them none."""
    policy = Plateau(4, 16, 8, patience=2)
    run = ladle.fit(small(lr=1e-30), policy=policy, until="6 epochs", window=20)
    assert len({line["valid_loss"] for line in run.metrics if "valid_loss" in line}) == 1
    assert [line["size"] for line in run.metrics[1::2]] == [4, 4, 8, 8, 16, 16]


def test_rebasing_moves_adams_second_moment_where_the_size_changes() -> None:
    """Squared gradients of batches of 40 average less than those of batches of 2, and the line says what was done."""
    task, policy = assemble(small(optimizer="adam", lr=0.05)), Steps(((0, 2), (40, 40)), micro_size=40)
    runs = {asked: ladle.fit(task, policy=policy, rebase=asked, until="2 epochs") for asked in (False, True)}
    told = {asked: [line.get("rebased", False) for line in run.metrics] for asked, run in runs.items()}
    assert told == {False: [False] * 3, True: [False, False, True]}
    moments = {asked: sum(leaf.sum() for leaf in jax.tree.leaves(nu_of(run))) for asked, run in runs.items()}
    assert 0 < moments[True] < 0.9 * moments[False]


def nu_of(run: ladle.Run) -> Any:
    return next(
        part.nu
        for part in jax.tree.leaves(run.state.opt_state, is_leaf=holds_second_moment)
        if holds_second_moment(part)
    )


def test_a_folder_in_use_is_refused(tmp_path: Path, plane: Assembly) -> None:
    ladle.fit(plane, size=8, until="1 epochs", out=tmp_path / "run", checkpoints=False)
    with pytest.raises(ArgumentError, match="out must be a new folder"):
        ladle.fit(plane, size=8, until="1 epochs", out=tmp_path / "run")
