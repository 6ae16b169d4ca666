from __future__ import annotations

from typing import Any

import pytest

from ladle.report.checks import findings
from ladle.report.fakes_test import compare_json, row
from ladle.report.rules.finding import Finding


def verdict(code: str, rows: list[dict[str, Any]], **more: Any) -> Finding:
    return next(one for one in findings(compare_json(rows, **more)) if one.code == code)


def losses(**levels: tuple[float, float, float]) -> list[dict[str, Any]]:
    """Rows `b64=(low, mean, high)` of validation loss, whose budget was enough and whose rate was searched for."""
    return [
        row(
            "full" if name == "full" else name[1:],
            1437 if name == "full" else int(name[1:]),
            valid_loss=mean,
            spread={"valid_loss": [low, high]},
            lr=0.1,
            lr_sweep=[[0.01, 1.0], [0.1, 0.1], [1.0, 1.0]],
            late_fall=0.0,
        )
        for name, (low, mean, high) in levels.items()
    ]


@pytest.mark.parametrize(
    ("full", "mini", "expected"),
    [
        ((0.10, 0.11, 0.12), (0.2, 0.21, 0.22), "holds"),
        ((0.3, 0.31, 0.32), (0.2, 0.21, 0.22), "does not"),
        ((0.1, 0.15, 0.21), (0.2, 0.21, 0.22), "not resolved"),
    ],
)
def test_full_batch_for_small_sets(full: Any, mini: Any, expected: str) -> None:
    found = verdict("small-full", losses(full=full, b64=mini, b1=(0.5, 0.5, 0.5)))
    assert found.verdict == expected
    assert "size 64" in found.sentence and "1,437" in found.sentence


def test_full_batch_rule_knows_its_limits() -> None:
    rows = losses(full=(0.1, 0.1, 0.1), b64=(0.2, 0.2, 0.2))
    assert "2,000" in verdict("small-full", rows, data={"rows": 60_000}).sentence
    assert verdict("small-full", rows, data={}).verdict == "not resolved"
    assert verdict("small-full", losses(b64=(0.2, 0.2, 0.2))).verdict == "not resolved"
    one_seed = [row("full", 1437, seeds=1, valid_loss=0.1), row("64", 64, seeds=1, valid_loss=0.9)]
    assert "One seed" in verdict("small-full", one_seed).sentence
    diverged = [row("full", 1437), row("64", 64, diverged=True)]
    assert verdict("small-full", diverged).verdict == "not resolved"


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        ({"b8": (0.3, 0.3, 0.3), "b64": (0.1, 0.1, 0.1), "b1024": (0.3, 0.3, 0.3)}, "holds"),
        ({"b8": (0.05, 0.05, 0.05), "b64": (0.1, 0.1, 0.1)}, "does not"),
        ({"b8": (0.05, 0.1, 0.2), "b256": (0.1, 0.11, 0.12)}, "not resolved"),
        ({"b32": (0.1, 0.1, 0.1), "b256": (0.2, 0.2, 0.2)}, "not resolved"),
    ],
)
def test_sweet_spot(levels: dict[str, Any], expected: str) -> None:
    assert verdict("sweet-spot", losses(**levels)).verdict == expected


def speeds(*pairs: tuple[int, float], seeds: int = 3) -> list[dict[str, Any]]:
    rows = [row(str(size), size, seeds=seeds, examples_per_second=speed) for size, speed in pairs]
    return [r | {"spread": {**r["spread"], "examples_per_second": [r["examples_per_second"]] * 2}} for r in rows]


@pytest.mark.parametrize(
    ("speed", "expected"), [(1000.0, "does not"), (2000.0, "does not"), (700.0, "holds"), (930.0, "not resolved")]
)
def test_powers_of_two(speed: float, expected: str) -> None:
    found = verdict("power-of-two", speeds((64, 1000.0), (96, speed), (128, 1000.0)))
    assert found.verdict == expected and "size 96".capitalize() in found.sentence


@pytest.mark.parametrize("code", ["power-of-two", "throughput"])
def test_speeds_of_runs_beside_each_other_decide_nothing(code: str) -> None:
    compare = {"runs": speeds((64, 1000.0), (96, 700.0), (128, 2000.0)), "workers": "processes:2"}
    (found,) = [one for one in findings(compare) if one.code == code]
    assert found.verdict == "not resolved" and "beside each other" in found.sentence


def test_powers_of_two_need_close_neighbours_and_little_noise() -> None:
    assert verdict("power-of-two", speeds((64, 1.0), (128, 2.0))).verdict == "not resolved"
    assert verdict("power-of-two", speeds((1, 1.0), (96, 2.0), (1024, 2.0))).verdict == "not resolved"
    # The trend between 64 and 256 at 128 would be 1000: a size is set against its neighbours, not against the best.
    assert verdict("power-of-two", speeds((64, 500.0), (90, 707.0), (128, 1000.0))).verdict == "does not"
    noisy = speeds((64, 1000.0), (96, 1000.0), (128, 1000.0))
    noisy[1]["spread"]["examples_per_second"] = [500.0, 1500.0]
    assert verdict("power-of-two", noisy).verdict == "not resolved"


@pytest.mark.parametrize(
    ("rates", "expected"),
    [
        ((0.001, 0.01, 0.01), "holds"),
        ((0.01, 0.01, 0.001), "does not"),
        ((0.01, 0.01, 0.01), "not resolved"),
        ((0.001, 0.1, 0.01), "not resolved"),
    ],
)
def test_smaller_rate(rates: tuple[float, ...], expected: str) -> None:
    rows = [row(str(size), size, lr=lr, lr_sweep=[[lr, 1.0]]) for size, lr in zip((1, 64, 512), rates, strict=True)]
    assert verdict("smaller-rate", rows, lr="the best of those tried at each size").verdict == expected
    ruled = [{**one, "lr_sweep": []} for one in rows]
    assert verdict("smaller-rate", ruled, lr="square-root rule").verdict == "not resolved"


def gaps(*levels: tuple[int, float, float]) -> list[dict[str, Any]]:
    """Rows `(size, validation loss, gap)` with seeds 1 % apart."""
    return [
        row(
            str(size),
            size,
            valid_loss=loss,
            generalisation_gap=gap,
            spread={"valid_loss": [0.99 * loss, 1.01 * loss], "generalisation_gap": [0.99 * gap, 1.01 * gap]},
        )
        for size, loss, gap in levels
    ]


@pytest.mark.parametrize(
    ("levels", "expected", "word"),
    [
        (((1, 0.1, 0.01), (64, 0.2, 0.02), (1024, 0.3, 0.03)), "holds", "Both"),
        (((1, 0.3, 0.03), (64, 0.2, 0.02)), "does not", "higher"),
        (((1, 0.1, 0.05), (64, 0.2, 0.01)), "not resolved", "fitting faster"),
        (((1, 0.2, 0.01), (64, 0.1, 0.02), (1024, 0.3, 0.03)), "does not", "size 64"),
        (((1, 0.2, 0.01), (64, 0.201, 0.02)), "not resolved", "not in one order"),
    ],
)
def test_generalisation(levels: Any, expected: str, word: str) -> None:
    found = verdict("generalise", gaps(*levels))
    assert found.verdict == expected and word in found.sentence


def test_generalisation_needs_seeds_and_sizes() -> None:
    single = [row("1", 1, seeds=1, valid_loss=0.1), row("64", 64, seeds=1, valid_loss=0.9)]
    assert "One seed" in verdict("generalise", single).sentence
    assert verdict("generalise", [row("64", 64)]).verdict == "not resolved"
    assert verdict("generalise", [row("64", 64), row("planned", 64)]).verdict == "not resolved"


@pytest.mark.parametrize(
    ("pairs", "expected", "word"),
    [
        (((1, 100.0), (64, 1000.0), (512, 1020.0)), "holds", "10.2 times"),
        (((1, 100.0), (64, 1000.0), (512, 600.0)), "does not", "40% slower than 64"),
        (((32, 1000.0), (64, 1010.0)), "not resolved", "equal"),
        (((8, 100.0), (128, 1350.0), (512, 1250.0)), "not resolved", "7% slower than 128 on average"),
        (((64, 1000.0),), "not resolved", "two sizes"),
    ],
)
def test_throughput(pairs: Any, expected: str, word: str) -> None:
    for seeds in (1, 3):
        found = verdict("throughput", speeds(*pairs, seeds=seeds))
        assert found.verdict == expected and word in found.sentence


def test_the_same_runs_under_two_names_count_once() -> None:
    rows = speeds((1, 100.0), (64, 900.0), seeds=1)
    rows = [{**one, "folders": [f"{one['size']}-seed0"]} for one in rows]
    found = verdict("throughput", [*rows, {**rows[-1], "name": "planned"}])
    assert found.sentence.count(" at 64") == 1


def variances(power: float, wide: float = 1.01) -> list[dict[str, Any]]:
    rows = []
    for size in (1, 8, 64):
        value = 10 * size**power * (1 - size / 1437)
        rows.append(
            row(str(size), size, gradient_variance=value, spread={"gradient_variance": [value / wide, value * wide]})
        )
    return [*rows, row("full", 1437, gradient_variance=0.0)]


@pytest.mark.parametrize(
    ("power", "wide", "expected"),
    [(-1.0, 1.01, "holds"), (-0.5, 1.01, "does not"), (-1.5, 1.01, "does not"), (-1.0, 8.0, "not resolved")],
)
def test_variance_slope(power: float, wide: float, expected: str) -> None:
    found = verdict("variance", variances(power, wide))
    assert found.verdict == expected
    assert "within 0.25 of -1 holds" in found.sentence
    assert f"size^{power:.2f}" in found.sentence  # the finite-data factor is divided out exactly


def test_variance_needs_two_sizes() -> None:
    assert verdict("variance", variances(-1.0)[-2:]).verdict == "not resolved"


def test_an_empty_comparison_resolves_nothing() -> None:
    for compare in ({}, {"runs": [], "data": None}, {"runs": [{"name": "64"}]}):
        assert {one.verdict for one in findings(compare)} == {"not resolved"}


def test_findings_are_json() -> None:
    assert findings({})[0].to_json().keys() == {"code", "title", "verdict", "sentence"}
    assert len({one.code for one in findings({})}) == 7
