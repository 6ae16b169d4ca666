"""Half precision and remat as a user asks for them: whole fits, resumption, refusals, a plan's words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ladle
from ladle.api.arithmetic import Compared
from ladle.api.assembly import assemble
from ladle.cli.main import main
from ladle.core.arithmetic import USUAL
from ladle.jax.probe import CompiledProbe

DIGITS = ladle.data.load("digits")


def task(precision: str = "f32", model=None, **options) -> ladle.Task:
    model = model or ladle.models.mlp(64, 16, 10)
    return ladle.Task(model, "cross_entropy", DIGITS, lr=3e-3, precision=precision, **options)


@pytest.fixture(scope="module")
def plain() -> list[ladle.Run]:
    return [ladle.fit(task(), size=64, until="8 epochs", seed=seed) for seed in range(4)]


@pytest.mark.long
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_digits_are_learnt_as_in_float32(plain, precision):
    """The loss of the same seed is within the spread of seeds, and what is kept is float32."""
    losses = [run.final["valid_loss"] for run in plain]
    run = ladle.fit(task(precision), size=64, until="8 epochs", seed=0)
    assert abs(run.final["valid_loss"] - losses[0]) < np.std(losses, ddof=1)
    assert set(leaf.dtype for leaf in jax.tree.leaves(run.params)) == {np.dtype("float32")}


@pytest.mark.long
def test_a_noise_scale_is_within_the_interval_of_float32():
    found = [
        ladle.fit(task(precision), size=128, micro_size=32, until="3 epochs").final for precision in ("f32", "fp16")
    ]
    assert found[0]["noise_scale_low"] < found[1]["noise_scale"] < found[0]["noise_scale_high"]


def test_what_a_plan_compares_changes_rows_and_shares_a_state_as_the_task_does():
    def brighter(row, key):
        return {**row, "x": row["x"] * 1.1}

    asked = task(augment=brighter, shard_state=True, remat="full")
    assembly = assemble(asked)
    compared = Compared(assembly, assembly.measured_feed(0), {})
    probe = cast(CompiledProbe, compared.probe(asked.with_(**USUAL)))
    assert probe.step.meaning.augment is not None
    assert probe.step.how() == assembly.engine.step.how()


def test_a_run_recovers_from_a_planted_overflow(tmp_path: Path):
    """One row leaves float16's range: its batch is left out in each pass, and the record says so; the rest trains."""
    x, y = np.array(DIGITS.train["x"]), np.array(DIGITS.train["y"])
    x[100] = 1e6
    data = ladle.data.arrays(x, y, valid=0.2, kind="classification")
    planted = task("fp16").with_(data=data)
    run = ladle.fit(planted, size=64, until="3 epochs", out=tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    trained = [line for line in lines if "skipped" in line]
    assert run.status == "finished" and sum(line["skipped"] for line in trained) == 3
    assert trained[-1]["loss_scale"] < trained[0]["loss_scale"]
    assert all(line["refused"] == 0 and np.isfinite(line["train_loss"]) for line in trained)
    assert trained[-1]["train_loss"] < 0.9 * trained[0]["train_loss"]


def test_a_model_that_always_overflows_ends_with_one_sentence():
    def loss(params, batch):
        return (batch["x"].reshape(-1, 64) @ params["w"])[:, 0] + jnp.float16(60000) * jnp.float16(60000)

    def init(key):
        return {"w": jnp.zeros((64, 1))}

    asked = ladle.Task.functions(init, loss, DIGITS, precision="fp16", lr=1e-3)
    said = "was not finite after .* examples: the model itself overflows in fp16; try precision='bf16'"
    with pytest.warns(ladle.DivergedWarning, match=said):
        run = ladle.fit(asked, size=64, until="3 epochs")
    assert run.status == "diverged" and not any(np.asarray(leaf).any() for leaf in jax.tree.leaves(run.params))


def test_a_rate_that_throws_weights_out_of_range_ends_the_run_before_all_scales_are_tried():
    with pytest.warns(ladle.DivergedWarning, match="the validation loss was not finite after .* examples: the model"):
        run = ladle.fit(task("fp16").with_(lr=1e30), size=64, until="1 epochs")
    assert run.status == "diverged" and "skipped" in run.metrics[-1]


def test_a_resumed_run_is_the_same_bit_by_bit(tmp_path: Path):
    whole = ladle.fit(task("fp16"), size=64, until="4 epochs", out=tmp_path / "whole")
    ladle.fit(task("fp16"), size=64, until="2 epochs", out=tmp_path / "parts")
    resumed = ladle.fit(task("fp16"), size=64, until="4 epochs", out=tmp_path / "parts", resume=True)
    same = jax.tree.map(np.array_equal, whole.params, resumed.params)
    assert jax.tree.all(same)
    with pytest.raises(ladle.ArgumentError, match="precision must be what the run began with; got 'bf16'; .*'fp16'"):
        ladle.fit(task("bf16"), size=64, until="5 epochs", out=tmp_path / "parts", resume=True)
    facts = json.loads((tmp_path / "parts" / "run.json").read_text())
    assert facts["precision"] == "fp16"
    loaded = ladle.load(tmp_path / "parts")
    x = DIGITS.valid["x"][:8]
    np.testing.assert_array_equal(loaded.outputs(x), resumed.outputs(x))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"precision": "float16"}, "precision must be one of f32, bf16, fp16; got 'float16'.*try precision='fp16'"),
        ({"precision": 16}, "precision must be one of"),
        ({"remat": "all"}, "remat must be one of none, dots, full, or a policy of jax.checkpoint; got 'all'"),
    ],
)
def test_unknown_words_are_refused_in_one_line(options, said):
    with pytest.raises(ladle.ArgumentError, match=said):
        ladle.Task(ladle.models.mlp(64, 16, 10), "cross_entropy", DIGITS, **options)


@pytest.mark.parametrize("asked", [{"precision": "bf16"}, {"remat": "full"}])
def test_another_backend_refuses_in_one_line(asked):
    torch = pytest.importorskip("torch")
    made = ladle.Task(torch.nn.Linear(64, 10), "cross_entropy", DIGITS, **asked)
    with pytest.raises(ladle.ArgumentError, match="must be '(f32|none)' here; .* torch backend"):
        ladle.fit(made, size=64, until="1 epoch")


@pytest.mark.parametrize("words", [["--precision", "f16"], ["--remat", "some"]])
def test_the_command_line_refuses_in_one_line(words, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["train", "digits", *words])
    assert ended.value.code == 2 and "Traceback" not in capsys.readouterr().err


@pytest.mark.long
def test_a_plan_says_what_half_precision_costs_here():
    plan = ladle.plan(task("bf16"), lr=1e-3, budget=1.0)
    said = plan.explain()
    assert "With bf16 an update" in said and "in f32, with everything kept" in said
    assert ("rounds" in said) == (jax.default_backend() == "cpu")
    assert plan.number("plain_bytes").value > 0 and plan.number("arithmetic_seconds").value > 0


@pytest.mark.long
def test_a_plan_for_float32_says_nothing_of_it():
    plan = ladle.plan(task(), lr=1e-3, budget=1.0)
    assert plan.number("plain_bytes") is None and "everything kept" not in plan.explain()
