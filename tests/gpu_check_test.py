"""The prepared check of a GPU: how it takes parts that fail or do not end, and the arithmetic of its peak."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def check(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("gpu_jax")


def program(text: str) -> list[str]:
    return [sys.executable, "-S", "-c", text]


def test_a_part_that_fails_keeps_what_it_found_and_says_why(check: Any):
    told = check.part(
        program("print('{\"a\": 1}', flush=True); print('noise'); raise ValueError('no such kernel')"), 30
    )
    assert told["found"] == [{"a": 1}]
    assert told["failed"] == "ended with code 1: ValueError: no such kernel"
    assert any("no such kernel" in line for line in check.lines(told))


def test_a_part_that_does_not_end_is_ended_with_what_it_had_found(check: Any):
    told = check.part(program("import time; print('{\"a\": 1}', flush=True); time.sleep(600)"), 2)
    assert told["found"] == [{"a": 1}] and "was ended" in told["failed"]


def test_a_part_that_ends_well_has_no_failure(check: Any):
    told = check.part(program("print('{\"share\": 0.25}')"), 30)
    assert told["found"] == [{"share": 0.25}] and "failed" not in told
    assert next(iter(check.lines(told))) == "  share 0.25"


def test_the_parts_are_those_that_have_a_limit(check: Any):
    parts = importlib.import_module("peers.gpu_parts").PARTS
    assert list(parts) == list(check.LIMITS)
    assert check.WHOLE < 360


@pytest.mark.parametrize(
    ("device", "peak"),
    [("NVIDIA H200", 989e12), ("NVIDIA H100 80GB HBM3", 989e12), ("NVIDIA H100 PCIe", 756e12), ("cpu", None)],
)
def test_the_peak_is_found_by_the_name_of_the_device(check: Any, device: str, peak: float | None):
    assert importlib.import_module("peers.gpu_transformer").peak_of(device) == peak


def test_weights_that_multiply_are_counted(check: Any):
    import jax

    shape = importlib.import_module("peers.gpu_transformer").Shape(depth=2, width=8, heads=2, length=4)
    made = jax.eval_shape(shape.init, jax.random.key(0))
    matrices = [leaf.size for one in made["blocks"] for name, leaf in one.items() if name != "scales"]
    assert shape.multiplied == sum(matrices) + made["out"].size
    assert shape.flops(10) == 6 * 10 * shape.multiplied


def test_the_quick_facts_run(check: Any):
    first, product = importlib.import_module("peers.gpu_parts").facts(True)
    assert first["platform"] == "cpu" and first["peak_bf16"] is None
    assert product["flops_per_second"] > 0
