from __future__ import annotations

import json
import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ladle.core.errors import ArgumentError
from ladle.core.moments import Moments, pair, pair_sums
from ladle.core.noise import PASSED, NoiseScale, estimate, fieller, jackknife, lucky, measurement_budget, student_t
from ladle.core.record import plain

D, SIGMA_SQ, SIGNAL, BATCH = 50, 2.0, 0.25, 128
MEAN = np.full(D, math.sqrt(SIGNAL / D))


def pairs_of(rng: np.random.Generator, draws: int, micro: int, batch: int = BATCH) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of `draws` updates with Gaussian micro-batch gradients: tr Sigma = 100, |G|^2 = 0.25, noise scale 400."""
    k = batch // micro
    g = MEAN + math.sqrt(SIGMA_SQ / micro) * rng.standard_normal((draws, k, D))
    return pair(micro * (g**2).sum((1, 2)), (g.mean(1) ** 2).sum(-1), batch, k)


@pytest.fixture(scope="module")
def draws() -> dict[int, tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(0)
    return {micro: pairs_of(rng, 4000, micro) for micro in (1, 16, 64)}


@pytest.mark.parametrize("micro", [1, 16, 64])
def test_both_parts_are_unbiased(draws, micro):
    trace, square = draws[micro]
    assert square.mean() == pytest.approx(0.25, abs=4 * square.std() / math.sqrt(4000))
    assert square.mean() == pytest.approx(0.25, abs=0.01)
    assert trace.mean() == pytest.approx(100, abs=max(0.6, 4 * trace.std() / math.sqrt(4000)))
    assert trace.mean() / square.mean() == pytest.approx(400, rel=0.05)


@pytest.mark.parametrize(
    ("micro", "sd_square", "var_trace"), [(1, 0.201, 3.15), (16, 0.209, 57.14), (64, 0.254, 400.0)]
)
def test_their_variances_are_those_of_the_theory(draws, micro, sd_square, var_trace):
    trace, square = draws[micro]
    n = BATCH // micro
    trace_sigma_sq = D * SIGMA_SQ**2
    theory = 4 * SIGMA_SQ * SIGNAL / BATCH + 2 * trace_sigma_sq / BATCH**2 * (1 + 1 / (n - 1))
    assert math.sqrt(theory) == pytest.approx(sd_square, abs=6e-4)
    assert 2 * trace_sigma_sq / (n - 1) == pytest.approx(var_trace, rel=2e-3)
    assert square.std() == pytest.approx(sd_square, rel=0.05)
    assert trace.var() == pytest.approx(var_trace, rel=0.08)


@pytest.mark.parametrize("micro", [1, 16, 64])
def test_the_average_of_ratios_is_badly_off(draws, micro):
    """In blocks of 200 updates: the mean of a ratio whose denominator passes through zero never settles."""
    trace, square = (part.reshape(20, 200) for part in draws[micro])
    of_averages = np.abs(trace.mean(1) / square.mean(1) / 400 - 1)
    of_ratios = np.abs((trace / square).mean(1) / 400 - 1)
    assert np.median(of_ratios) > 0.4 and of_ratios.max() > 3
    assert np.median(of_averages) < 0.06 and of_averages.max() < 0.25


def test_equal_micro_batches_give_the_formula_of_the_paper():
    rng = np.random.default_rng(3)
    g = rng.standard_normal((8, 5))
    small, big, b, batch = (g**2).sum(1).mean(), (g.mean(0) ** 2).sum(), 4, 32
    trace, square = pair(b * (g**2).sum(), big, batch, 8)
    assert trace == pytest.approx((small - big) / (1 / b - 1 / batch))
    assert square == pytest.approx((batch * big - b * small) / (batch - b))


def test_unequal_micro_batches_are_unbiased_to_the_last_bit():
    """Expectation in closed form: replace each square by its mean."""
    counts, signal, trace = np.array([7.0, 7.0, 3.0, 1.0]), 0.3, 11.0
    batch = counts.sum()
    expected = pair((counts * (signal + trace / counts)).sum(), signal + trace / batch, batch, len(counts))
    assert expected == pytest.approx((trace, signal), rel=1e-14)


def test_weighted_examples_are_unbiased_to_the_last_bit():
    """The same with weights: micro-batch j has mass m_j, squared mass q_j and mean gradient of variance q_j / m_j^2."""
    weight, signal, trace = np.array([[2.0, 0.5, 1.0], [0.25, 3.0, 0.0], [1.0, 1.0, 1.0]]), 0.3, 11.0
    mass, squared = weight.sum(1), (weight**2).sum(1)
    batch, whole = mass.sum(), squared.sum() / mass.sum()
    micro = (mass * (signal + trace * squared / mass**2)).sum()
    found = pair(micro, signal + trace * squared.sum() / batch**2, batch, (squared / mass).sum(), whole)
    assert found == pytest.approx((trace, signal), rel=1e-14)


@given(st.lists(st.integers(1, 9), min_size=2, max_size=6), st.integers(0, 99))
def test_micro_batches_of_one_point_have_no_noise(counts, seed):
    g = np.random.default_rng(seed).standard_normal(3)
    counts = np.array(counts)
    trace, square = pair(float((counts * (g @ g)).sum()), float(g @ g), int(counts.sum()), len(counts))
    assert trace == pytest.approx(0, abs=1e-12 * counts.sum() * (g @ g))
    assert square == pytest.approx(g @ g)


def test_finite_population_exactly():
    """All 495 batches of 4 from 12 rows, each in all its cuts into pairs: E square = |G|^2 - S^2/N, E trace = S^2."""
    rng = np.random.default_rng(0)
    rows, n, batch, micro = rng.standard_normal((12, 3)) + 0.3, 12, 4, 2
    mean = rows.mean(0)
    variance = ((rows - mean) ** 2).sum() / (n - 1)
    traces, squares = [], []
    for chosen in combinations(range(n), batch):
        part = rows[list(chosen)]
        small = np.mean([(part[list(two)].mean(0) ** 2).sum() for two in combinations(range(batch), micro)])
        trace, square = pair(batch * small, (part.mean(0) ** 2).sum(), batch, batch // micro)
        traces.append(trace)
        squares.append(square)
    assert np.mean(traces) == pytest.approx(variance, rel=1e-12)
    assert np.mean(squares) == pytest.approx(mean @ mean - variance / n, abs=1e-12)
    corrected = estimate(Moments.from_pairs(traces, squares, 495 * batch), population=n)
    assert corrected.gradient_sq == pytest.approx(mean @ mean, rel=1e-12)
    assert corrected.value == pytest.approx(variance / (mean @ mean), rel=1e-12)


def test_nearly_fitted_data_without_the_correction_is_a_trap():
    """The data set's own gradient is small but real; the uncorrected square is rightly negative."""
    rng = np.random.default_rng(1)
    n, batch, micro, updates = 64, 32, 4, 4000
    rows = rng.standard_normal((n, 30))
    rows += 0.05 - rows.mean(0)
    chosen = rng.permuted(np.tile(np.arange(n), (updates, 1)), axis=1)[:, :batch]
    g = rows[chosen].reshape(updates, -1, micro, 30).mean(2)
    moments = Moments.from_pairs(*pair(micro * (g**2).sum((1, 2)), (g.mean(1) ** 2).sum(1), batch, batch // micro), 1)
    assert estimate(moments).gradient_sq < 0
    assert estimate(moments).verdict == "unresolved"
    truth = ((rows - rows.mean(0)) ** 2).sum() / (n - 1) / (30 * 0.05**2)
    corrected = estimate(moments, population=n)
    assert corrected.verdict == "resolved" and corrected.low < truth < corrected.high
    assert corrected.value == pytest.approx(truth, rel=0.08)


def test_per_example_pairs_of_the_whole_data_give_the_gradient_diversity_identity():
    """n sum|g_i|^2 / |sum g_i|^2 = 1 + tr Sigma / |G|^2 with Sigma's 1/n normalisation (DiveBatch)."""
    rng = np.random.default_rng(0)
    g, n = rng.standard_normal((12, 3)) + 0.3, 12
    trace, square = pair((g**2).sum(), (g.mean(0) ** 2).sum(), n, n)
    noise = estimate(Moments.from_pairs([trace], [square], n), population=n)
    diversity = n * (g**2).sum() / (g.sum(0) ** 2).sum()
    assert noise.trace / noise.gradient_sq * (n - 1) / n + 1 == pytest.approx(diversity, rel=1e-12)


def test_the_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(11)
    covered = {8: 0, 32: 0}
    for updates in covered:
        for _ in range(200):
            noise = estimate(Moments.from_pairs(*pairs_of(rng, updates, 8, batch=512), updates * 512))
            covered[updates] += noise.low <= 400 <= noise.high
    assert all(0.90 <= count / 200 <= 0.98 for count in covered.values()), covered


@pytest.mark.parametrize("norms", ["normal", "Student"])
@pytest.mark.parametrize(("scale", "rank"), [(300, 10), (100, 2)])
def test_what_is_resolved_with_little_power_covers_too(norms, scale, rank):
    """|G|^2 about five standard errors from zero: hardly half of the pilots resolve, and these are the lucky ones."""
    rng = np.random.default_rng(2)
    noises = [estimate(normed(rng, norms, scale, rank)) for _ in range(300)]
    resolved = [noise for noise in noises if noise.verdict == "resolved"]
    assert 60 < len(resolved) < 290
    assert 0.90 <= np.mean([noise.low <= scale <= noise.high for noise in resolved]) <= 0.99
    assert all(noise.high < 7 * noise.value for noise in resolved)


def normed(rng: np.random.Generator, norms: str, scale: float, rank: int = 10) -> Moments:
    """16 updates of 16 micro-batches of 16 in `rank` equal dimensions: tr Sigma = 1, |G|^2 = 1 / scale."""
    shape = (16, 16, 16)
    draws = {
        "normal": lambda: np.ones(shape),
        "Student": lambda: rng.standard_t(4.5, shape) / math.sqrt(4.5 / 2.5),
        "log-normal": lambda: np.exp(2 * rng.standard_normal(shape) - 4),
    }
    spread = np.sqrt((draws[norms]() ** 2).sum(-1, keepdims=True) / rank) / 16
    g = math.sqrt(1 / scale / rank) + spread * rng.standard_normal((16, 16, rank))
    return Moments.from_pairs(*pair(16 * (g**2).sum((1, 2)), (g.mean(1) ** 2).sum(-1), 256, 16), 16 * 256)


def test_a_gradient_that_is_resolved_by_luck_is_not_called_resolved():
    """A true |G|^2 below half a standard error is beyond two of them now and then; it is never called resolved."""
    rng = np.random.default_rng(3)
    noises = [estimate(Moments.from_pairs(*pairs_of(rng, 16, 16, batch=32), 1)) for _ in range(400)]
    assert sum(noise.verdict == "resolved" for noise in noises) == 0
    assert np.mean([noise.low <= 400 for noise in noises]) > 0.9


def test_heavy_tails_are_noticed():
    """Log-normal norms: the mean of 4,096 squares mostly misses the rare ones that make it, and is called no answer."""
    rng = np.random.default_rng(4)
    noises = [estimate(normed(rng, "log-normal", 100)) for _ in range(200)]
    assert sum(noise.verdict == "resolved" for noise in noises) <= 4
    heavy = [noise for noise in noises if noise.verdict == "heavy tails"]
    assert len(heavy) > 100 and all(noise.high == math.inf for noise in heavy)
    assert np.mean([noise.low <= 100 for noise in heavy]) > 0.95
    assert sum(estimate(normed(rng, "Student", 100)).verdict == "heavy tails" for _ in range(100)) <= 5


def test_the_lucky_end_holds_as_often_as_it_says():
    """Among normal means that are looked at only beyond `PASSED`, by simulation."""
    rng = np.random.default_rng(0)
    for truth in (2.5, 3.5, 6.0):
        seen = [z for z in truth + rng.standard_normal(40_000) if z > PASSED][:4000]
        missed = np.mean([z - lucky(z, 1.0, 1.96, 0.95) > truth for z in seen])
        assert missed == pytest.approx(0.025, abs=4 * math.sqrt(0.025 / len(seen)))


def test_a_lower_bound_covers_too_and_is_called_one():
    """A weak pilot: |G|^2 is often not resolved. The interval must then be one-sided, and still cover."""
    rng = np.random.default_rng(5)
    noises = [estimate(Moments.from_pairs(*pairs_of(rng, 6, 16), 6 * BATCH)) for _ in range(200)]
    bounds = [noise for noise in noises if noise.verdict == "lower bound only"]
    assert len(bounds) > 40
    assert all(noise.high == math.inf and noise.low > 0 for noise in bounds)
    assert 0.90 <= sum(noise.low <= 400 <= noise.high for noise in noises) / 200 <= 0.98


def test_verdicts():
    assert estimate(Moments()).verdict == "unresolved"
    assert estimate(Moments.from_pairs([1.0], [1.0], 8)).verdict == "unresolved"
    assert estimate(Moments.from_pairs([1.0, math.inf], [1.0, 2.0], 8)).verdict == "unresolved"
    negative = estimate(Moments.from_pairs([9.0, 10.0, 11.0] * 3, [-0.5, -0.51, -0.49] * 3, 8))
    assert negative.verdict == "unresolved" and negative.high == math.inf
    zero = estimate(Moments.from_pairs([9.0, 10.0, 11.0], [-0.5, 0.6, 0.0], 8))
    assert zero.verdict == "lower bound only" and zero.low > 0
    quiet = estimate(Moments.from_pairs([0.0, 0.0], [1.0, 1.0], 8))
    assert (quiet.verdict, quiet.value, quiet.low, quiet.high) == ("resolved", 0.0, 0.0, 0.0)


def test_examples_needed_shrinks_the_spread_to_ten_percent():
    """On average over pilots: each says how much more it wants, and gets that much."""
    rng = np.random.default_rng(8)
    spreads = []
    for _ in range(30):
        noise = estimate(Moments.from_pairs(*pairs_of(rng, 20, 8), 20 * BATCH))
        assert noise.examples_needed is not None
        updates = 20 + round(noise.examples_needed / BATCH)
        spreads.append(estimate(Moments.from_pairs(*pairs_of(rng, updates, 8), updates * BATCH)).log_sd)
    assert np.median(spreads) == pytest.approx(0.10, rel=0.15)


def test_the_jackknife_agrees():
    rng = np.random.default_rng(2)
    trace, square = pairs_of(rng, 2000, 8)
    blocks = [
        Moments.from_pairs(*part, 100 * BATCH) for part in zip(np.split(trace, 20), np.split(square, 20), strict=True)
    ]
    value, error = jackknife(blocks)
    noise = estimate(Moments.from_pairs(trace, square, 2000 * BATCH))
    assert value == pytest.approx(noise.value, rel=0.01)
    assert error / value == pytest.approx(noise.log_sd, rel=0.4)
    with pytest.raises(ArgumentError, match="at least two"):
        jackknife([*blocks[:1], Moments()])
    assert jackknife([blocks[0], Moments.from_pairs([100.0], [-1e3], BATCH)])[1] == math.inf


def test_the_jackknife_sees_that_neighbours_are_alike_where_the_interval_does_not():
    """Each pair twenty times over: the estimate takes them for independent, blocks of twenty do not."""
    trace, square = (np.repeat(values, 20) for values in pairs_of(np.random.default_rng(5), 40, 8))
    blocks = [Moments.from_pairs(*part, 20) for part in zip(np.split(trace, 40), np.split(square, 40), strict=True)]
    value, error = jackknife(blocks)
    assert error / value > 2 * estimate(Moments.from_pairs(trace, square, 800)).log_sd


def test_measurement_budget_is_what_the_simulation_needs():
    """With that many examples in per-example updates the relative spread of |G|^2 is as asked."""
    needed = measurement_budget(400.0, effective_dimension=D)
    assert 4 * 400 / (D * needed) + 2 * 400**2 / (D * needed**2) == pytest.approx(0.01)
    assert needed > 400
    _, square = pairs_of(np.random.default_rng(4), 3000, 32, batch=32 * round(needed / 32))
    assert square.std() / SIGNAL == pytest.approx(0.10, rel=0.06)


@given(st.lists(st.tuples(st.floats(0.1, 9), st.floats(-1, 9)), min_size=2, max_size=20), st.integers(1, 19))
def test_merging_windows_changes_nothing(pairs, cut):
    def moments(part):
        return Moments.from_pairs([s for s, _ in part], [q for _, q in part], 8 * len(part))

    whole, halves = moments(pairs), moments(pairs[:cut]).merge(moments(pairs[cut:]))
    assert vars(halves) == pytest.approx(vars(whole))


def test_sums_of_an_observation_are_read_back():
    sums = {name: 0.0 for name in pair_sums(1.0, 1.0, 8)}
    for trace, square in ((100.0, 0.2), (90.0, 0.3)):
        sums = {name: sums[name] + value for name, value in pair_sums(trace, square, 8).items()}
    assert Moments.from_sums({**sums, "loss": 3.0}) == Moments.from_pairs([100.0, 90.0], [0.2, 0.3], 16)
    assert Moments.from_sums({}) == Moments()


def test_json_keeps_what_json_can_say():
    bound = NoiseScale(math.inf, 50.0, math.inf, "lower bound only", 1e-3, 2.0, 8, 512, None)
    assert NoiseScale(**json.loads(json.dumps(plain(vars(bound))))) == bound
    unknown = NoiseScale(**json.loads(json.dumps(plain(vars(NoiseScale.unknown())))))
    assert math.isnan(unknown.value) and unknown.high == math.inf and math.isnan(unknown.trace)


def test_students_quantile():
    """Tabulated values, two-sided."""
    for freedom, quantile in ((1, 12.706), (1.5, 6.1), (2, 4.303), (5, 2.571), (10, 2.228), (30, 2.042)):
        assert student_t(0.95, freedom) == pytest.approx(quantile, rel=0.02 if freedom == 1.5 else 1e-3)
    assert student_t(0.99, 10) == pytest.approx(3.169, rel=1e-3)


def test_fieller_is_the_delta_method_for_small_errors_and_unbounded_for_large():
    low, high = fieller(100.0, 0.25, 0.01, 1e-8, 0.0, t=1.96) or (0, 0)
    sd = math.sqrt(0.01 / 100**2 + 1e-8 / 0.25**2)
    assert math.log(high / low) / 2 == pytest.approx(1.96 * sd, rel=1e-3)
    assert fieller(100.0, 0.25, 1.0, 0.1, 0.0, t=1.96) is None


@pytest.mark.parametrize("wrong", [{"population": 0}, {"confidence": 1.0}])
def test_wrong_arguments_are_refused(wrong):
    with pytest.raises(ArgumentError):
        estimate(Moments(), **wrong)
