from __future__ import annotations

import itertools
import math
from dataclasses import replace
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax import lax

from ladle.core.errors import ArgumentError
from ladle.feed.bijection import _add, finalise, host_while
from ladle.feed.layout import interleave
from ladle.feed.order import BLOCK, Permuted, Sequential
from ladle.feed.stratified import Stratified
from ladle.feed.weighted import Weighted

rng = np.random.default_rng(0)
SKEWED = np.repeat(np.arange(7), [400, 300, 150, 90, 40, 19, 1])
SEEDS = st.integers(0, 2**64 - 1)

ORDERS: list[Any] = [
    Sequential(1000),
    Permuted(1, 3),
    Permuted(1000, 3),
    Permuted(65_537, 2**63 + 5),
    Weighted(rng.exponential(size=1000), 3),
    Weighted(np.arange(5.0), 3, draws=1000),
    Stratified(rng.permutation(SKEWED), 3),
    Stratified(np.zeros(1000, int), 3),
    Stratified([f"class {i // 2}" for i in range(1000)], 3),
]


def name(order: Any) -> str:
    return f"{type(order).__name__}-{order.epoch_size}"


each_order = pytest.mark.parametrize("order", ORDERS, ids=name)
COMPILED = [
    pytest.param(order, marks=pytest.mark.long) if n in (1, 5, 7, 8) else order for n, order in enumerate(ORDERS)
]
"""Orders whose program is compiled inside another: one of each kind and size; the other tables are further numbers."""


def one_pass(order: Any, epoch: int = 0) -> np.ndarray:
    return order.ids(epoch * order.epoch_size, order.epoch_size)


@cache
def compiled(number: int) -> Any:
    """The program of `ORDERS[number]`; the epoch is data of it."""
    order = ORDERS[number]
    return jax.jit(lambda tables, epoch, offset: order.program(tables, epoch, offset, jnp, lax.while_loop))


def on_device(order: Any, epoch: int, offset: np.ndarray) -> np.ndarray:
    run = compiled(next(number for number, one in enumerate(ORDERS) if one is order))
    return np.asarray(run(dict(order.tables()), np.uint32(epoch), offset.astype(np.uint32)))


# --- laws of every order ------------------------------------------------------------------------------------------


@each_order
@pytest.mark.parametrize("epoch", [0, 1, 2**32 - 1])
def test_host_and_device_agree_on_every_bit(order, epoch):
    places = np.arange(order.epoch_size)
    ids = on_device(order, epoch, places)
    assert ids.dtype == np.uint32
    np.testing.assert_array_equal(ids, one_pass(order, epoch))


@pytest.mark.parametrize("order", COMPILED, ids=name)
def test_host_and_device_agree_inside_a_device_loop(order):
    """Epoch and offset are traced: the program walks over the end of a pass, 37 places at a time."""
    epochs, n = 2, order.epoch_size
    chunk = math.gcd(n, 37) if n < 37 else 37
    steps = -(-epochs * n // chunk)

    def loop(tables, lane):
        def body(i, out):
            position = i * np.uint32(chunk) + lane
            epoch, offset = position // np.uint32(n), position % np.uint32(n)
            # A chunk may straddle passes: order it under both, keep what belongs to each.
            both = [order.program(tables, e, offset, jnp, lax.while_loop) for e in (epoch[0], epoch[-1])]
            ids = jnp.where(epoch == epoch[0], *both)
            return lax.dynamic_update_slice(out, ids, (i * np.uint32(chunk),))

        return lax.fori_loop(np.uint32(0), np.uint32(steps), body, jnp.zeros(steps * chunk, jnp.uint32))

    out = jax.jit(loop)(dict(order.tables()), np.arange(chunk, dtype=np.uint32))
    np.testing.assert_array_equal(out, order.ids(0, steps * chunk))


@pytest.mark.parametrize("order", COMPILED[1:], ids=name)
def test_program_runs_under_vmap_over_seeds(order):
    seeds, offset = [3, 4, 2**32, 2**64 - 1], np.arange(min(order.epoch_size, 200), dtype=np.uint32)

    def run(seed):
        return order.program({**order.tables(), "seed": seed}, np.uint32(1), offset, jnp, lax.while_loop)

    words = np.array([[seed % 2**32, seed >> 32] for seed in seeds], np.uint32)
    for seed, ids in zip(seeds, np.asarray(jax.vmap(run)(words)), strict=True):
        alone = replace(order, seed=seed)
        np.testing.assert_array_equal(ids, alone.ids(alone.epoch_size, len(offset)))


@each_order
def test_ids_are_those_of_the_program_at_any_places(order):
    """Blocks and what is remembered of them make no difference; places need not be neighbours."""
    places = rng.integers(0, order.epoch_size, 50).astype(np.uint32)
    ids = order.program(order.tables(), np.uint32(2), places, np, host_while)
    np.testing.assert_array_equal(ids, one_pass(order, 2)[places])


@each_order
def test_any_cut_of_the_positions_gives_the_same_ids(order):
    whole = order.ids(0, 2 * order.epoch_size + 9)
    assert whole.dtype == np.int64
    cuts = np.sort(rng.integers(0, len(whole), 20))
    parts = [order.ids(int(a), int(b - a)) for a, b in itertools.pairwise([0, *cuts, len(whole)])]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


@each_order
def test_what_ids_returns_may_be_written_to(order):
    first = order.ids(0, 1)
    first[:] = -1
    assert order.ids(0, 1)[0] >= 0


@pytest.mark.parametrize("order", ORDERS[1:], ids=name)
def test_orders_of_one_shape_share_a_compiled_program(order):
    other = replace(order, seed=99)
    assert order.program == other.program
    assert hash(order.program) == hash(other.program)


def test_orders_of_other_shapes_do_not():
    assert len({Permuted(10).program, Permuted(11).program, Sequential(10).program, Stratified([0] * 10).program}) == 4


@pytest.mark.parametrize(
    ("order", "ids"),
    [
        (Permuted(10, 0), [1, 7, 4, 5, 0, 8, 6, 2, 9, 3, 6, 8, 7, 3, 0, 5, 9, 4, 1, 2]),
        (Permuted(60_000, 1), [2212, 1672, 56589, 40342, 53092, 8907, 53264, 42498]),
        (Permuted(60_000, 2**40 + 1), [14927, 58066, 17069, 31266, 27780, 42067, 19879, 39902]),
        (Permuted(2**31, 1), [1044505388, 1770426385, 1246200411, 290577357]),
        (Permuted(2**31 + 1, 1), [1426318943, 951051430, 446147162, 2047132623]),
        (Permuted(2**62, 1), [2108400607207938662, 3599341171392347002, 2604787867355880046]),
        (Weighted([1, 2, 3, 4], 1), [3, 3, 1, 0, 2, 0, 2, 0, 2, 3, 3, 1]),
        (Stratified([0, 0, 0, 0, 0, 1, 1, 1, 2], 1), [4, 5, 3, 7, 1, 0, 8, 2, 6]),
    ],
    ids=str,
)
def test_orders_are_the_same_in_every_version(order, ids):
    """A run that is resumed years later must see the examples it would have seen."""
    assert order.ids(0, len(ids)).tolist() == ids


def slow_permuted(n: int, seed: int, position: int) -> int:
    """The definition in Python's integers, one place at a time. Every wrap is said."""
    bits, mask = (32, 2**32 - 1) if n <= 2**31 else (64, 2**64 - 1)
    golden = 0x9E3779B1 if bits == 32 else 0x9E3779B97F4A7C15

    def mix(z: int, bits: int) -> int:
        s1, m1, s2, m2, s3 = {
            32: (16, 0x7FEB352D, 15, 0x846CA68B, 16),
            64: (30, 0xBF58476D1CE4E5B9, 27, 0x94D049BB133111EB, 31),
        }[bits]
        z = (z ^ (z >> s1)) * m1 % 2**bits
        z = (z ^ (z >> s2)) * m2 % 2**bits
        return z ^ (z >> s3)

    def key(number: int) -> int:
        h = mix((number + 1) * 0x9E3779B1 % 2**32, 32)
        for word in (seed % 2**32, seed >> 32, position // n % 2**32, 0):
            h = mix(h ^ word, 32)
        return h

    a = math.isqrt(n - 1) + 1
    b = (n + a - 1) // a
    keys = [key(i) if bits == 32 else key(i) + 2**32 * key(i + 8) for i in range(8)]
    x = position % n
    while True:
        left, right = divmod(x, b)
        for i in range(0, 8, 2):
            left = (left + (mix(right * golden & mask ^ keys[i], bits) >> 1)) % a
            right = (right + (mix(left * golden & mask ^ keys[i + 1], bits) >> 1)) % b
        x = left * b + right
        if x < n:
            return x


@given(st.one_of(st.integers(1, 100), st.integers(1, 2**62)), SEEDS, st.integers(0, 3), st.data())
def test_permuted_is_its_definition(n, seed, epoch, data):
    place = data.draw(st.integers(0, n - 1))
    first, count = epoch * n + place, min(n - place, 3)
    slow = [slow_permuted(n, seed, first + i) for i in range(count)]
    assert Permuted(n, seed).ids(first, count).tolist() == slow


# --- the keyed bijection ------------------------------------------------------------------------------------------


@given(st.integers(1, 600), SEEDS, st.integers(0, 2**33))
def test_every_pass_holds_every_example_once(n, seed, epoch):
    assert sorted(one_pass(Permuted(n, seed), epoch)) == list(range(n))


@pytest.mark.parametrize("n", [*range(1, 70), *(4**k + d for k in range(4, 9) for d in (-1, 0, 1)), 3 * BLOCK + 1])
def test_bijection_at_every_small_size_and_around_powers_of_four(n):
    counts = np.bincount(one_pass(Permuted(n, 11), 5), minlength=n)
    assert len(counts) == n
    assert (counts == 1).all()


@pytest.mark.parametrize("word", [np.uint32, np.uint64])
@pytest.mark.parametrize("modulus", [1, 3, 46_341])
def test_a_round_can_be_undone_whatever_the_hash(word, modulus):
    """A sum that wrapped around the word for some halves only would send two of them to one place."""
    for hashed in (0, 1, 2 ** (8 * word().itemsize) - 1):
        moved = _add(np.arange(modulus, dtype=word), np.full(modulus, hashed, word), word(modulus))
        assert sorted(moved) == list(range(modulus))


def test_finaliser_avalanches():
    """Every input bit flips every output bit half of the time (2000 words: sd 1.1 %)."""
    for word, bits in ((np.uint32, 32), (np.uint64, 64)):
        z = rng.integers(0, 2**bits - 1, 2000, dtype=word)
        for bit in range(bits):
            flipped = finalise(z) ^ finalise(z ^ (word(1) << word(bit)))
            share = [float(np.mean((flipped >> word(out)) & word(1))) for out in range(bits)]
            assert max(abs(s - 0.5) for s in share) < 0.06


def test_a_million_million_examples_need_no_memory_and_do_not_repeat():
    n = 10**12
    order = Permuted(n, 7)
    for start in (0, n // 2, 5 * n - 50_000):
        ids = order.ids(start, 100_000)
        ids = ids[: min(n - start % n, 100_000)]
        assert ids.min() >= 0
        assert ids.max() < n
        assert len(np.unique(ids)) == len(ids)
        assert abs(ids.mean() / n - 0.5) < 5 * math.sqrt(1 / 12 / len(ids))


def test_both_widths_are_bijections_of_the_same_quality():
    """At 2^31 the arithmetic changes from 32 to 64 bits; neighbours there must be just as unrelated."""
    for n in (2**31, 2**31 + 1):
        ids = Permuted(n, 3).ids(0, 50_000)
        assert len(np.unique(ids)) == len(ids)
        lag = np.corrcoef(ids[:-1], ids[1:])[0, 1]
        assert abs(lag) < 5 / math.sqrt(len(ids))


@given(SEEDS, st.integers(0, 1000), SEEDS, st.integers(0, 1000))
def test_orders_of_different_seeds_and_epochs_have_nothing_in_common(seed, epoch, other_seed, other_epoch):
    if (seed, epoch) == (other_seed, other_epoch):
        return
    a, b = (one_pass(Permuted(2000, s), e) for s, e in ((seed, epoch), (other_seed, other_epoch)))
    assert (a == b).sum() < 15  # Poisson with mean 1: more than 14 once in 10^12.
    assert abs(np.corrcoef(a, b)[0, 1]) < 8 / math.sqrt(2000)


def test_neighbouring_seeds_and_epochs_do_not_overlap():
    orders = {
        (seed, epoch): tuple(Permuted(500, seed).ids(500 * epoch, 500)) for seed in range(12) for epoch in range(12)
    }
    assert len(set(orders.values())) == len(orders)
    assert orders[0, 1] != orders[1, 0]


SORTED_2 = lambda n: np.arange(n) * 2 // n  # noqa: E731
SORTED_10 = lambda n: (np.arange(n) * 10 // n == 3).astype(int)  # noqa: E731
ALTERNATING = lambda n: np.arange(n) % 2  # noqa: E731


@pytest.mark.parametrize("label", [SORTED_2, SORTED_10, ALTERNATING], ids=["sorted", "tenth", "alternating"])
@pytest.mark.parametrize(("n", "passes"), [(60_000, 40), (1_000_000, 3)])
@pytest.mark.parametrize("size", [32, 256])
def test_batches_vary_as_random_samples_do(label, n, passes, size):
    """Noise estimates rest on it. Theory: a class count in a batch is hypergeometric."""
    labels = label(n)
    share = labels.mean()
    expected = size * share * (1 - share) * (n - size) / (n - 1)
    order, seen = Permuted(n, 5), []
    for epoch in range(passes):
        ids = one_pass(order, epoch)[: n // size * size]
        seen.append(np.mean((labels[ids].reshape(-1, size).sum(1) - size * share) ** 2))
    batches = passes * (n // size)
    assert abs(np.mean(seen) / expected - 1) < min(0.1, 4 * math.sqrt(2 / batches))


@pytest.mark.parametrize("n", [10, 52])
def test_every_example_is_as_likely_at_every_place(n):
    seeds, program = 2000, Permuted(n).program
    words = jnp.stack([jnp.arange(seeds, dtype=jnp.uint32), jnp.zeros(seeds, jnp.uint32)], 1)
    place = np.arange(n, dtype=np.uint32)
    ids = np.asarray(jax.jit(jax.vmap(lambda s: program({"seed": s}, np.uint32(0), place, jnp, lax.while_loop)))(words))
    counts = np.stack([np.bincount(ids[:, p], minlength=n) for p in range(n)])
    ratio = ((counts - seeds / n) ** 2 / (seeds / n)).sum() / (n * (n - 1))
    assert abs(ratio - 1) < 4 * math.sqrt(2) / (n - 1)  # (n-1)^2 degrees of freedom


def test_every_order_of_four_examples_is_as_likely():
    """All 24, over 6000 passes of one seed: chi-square with 23 degrees of freedom, sd 6.8."""
    passes = Permuted(4, 9).ids(0, 4 * 6000).reshape(-1, 4)
    counts = np.unique(passes @ [64, 16, 4, 1], return_counts=True)[1]
    assert len(counts) == 24
    assert ((counts - 250) ** 2 / 250).sum() < 23 + 4 * 6.8


# --- weighted -----------------------------------------------------------------------------------------------------


def test_weighted_draws_are_as_frequent_as_their_weights():
    weights = rng.exponential(size=50) + 0.05
    order = Weighted(weights, 4, draws=20_000)
    counts = np.bincount(order.ids(0, 200_000), minlength=50)
    expected = 200_000 * weights / weights.sum()
    chi = ((counts - expected) ** 2 / expected).sum()
    assert abs(chi - 49) < 4 * math.sqrt(2 * 49)


def test_weighted_draws_are_independent():
    """Pairs of neighbours, and the same place in neighbouring passes, are as frequent as the product of chances."""
    order = Weighted([1, 2, 3, 4], 4, draws=50_000)
    ids = order.ids(0, 200_000)
    chances = np.outer([0.1, 0.2, 0.3, 0.4], [0.1, 0.2, 0.3, 0.4]).ravel()
    for lag in (1, 50_000):
        pairs = ids[:-lag] * 4 + ids[lag:]
        expected = len(pairs) * chances
        chi = ((np.bincount(pairs, minlength=16) - expected) ** 2 / expected).sum()
        assert chi < 15 + 6 * math.sqrt(30)  # Neighbouring pairs share a draw: the spread is a little larger.


def test_weighted_draws_repeat_as_often_as_chance_says():
    """Equal weights, n draws of n: a share 1/e stays unseen."""
    unseen = [1 - len(np.unique(one_pass(Weighted(np.ones(2000), 1), epoch))) / 2000 for epoch in range(20)]
    assert abs(np.mean(unseen) - math.exp(-1)) < 4 * 0.0069 / math.sqrt(20)


@given(st.lists(st.sampled_from([0.0, 0.0, 1e-300, 1.0, 1e300]), min_size=1, max_size=8), st.integers(0, 9))
def test_weight_zero_is_never_drawn_and_size_of_weights_does_not_matter(weights, seed):
    if not any(weights):
        return
    ids = Weighted(weights, seed, draws=200).ids(0, 400)
    assert ids.min() >= 0
    assert all(weights[i] > 0 for i in ids)


def test_resolution_is_as_documented():
    weights = rng.exponential(size=3000)
    ends = Weighted(weights).tables()["ends"].astype(np.float64)
    error = np.abs(np.diff(ends, prepend=0.0) / 2**31 - weights / weights.sum())
    assert ends[-1] == 2**31
    assert error.max() <= 2.0**-31 * (1 + 1e-3)


@pytest.mark.parametrize(
    ("weights", "says"),
    [
        ([1.0, -1.0], "not negative; got '-1.0 for example 1"),
        ([np.nan, 1.0], "be finite"),
        ([np.inf], "be finite"),
        ([0.0, 0.0], "not all be zero"),
        ([], "one number per example"),
        ([[1.0]], "one number per example"),
    ],
)
def test_weights_that_are_no_chances_are_refused(weights, says):
    with pytest.raises(ArgumentError, match=says):
        Weighted(weights)


# --- stratified ---------------------------------------------------------------------------------------------------

COUNTS = st.lists(st.integers(1, 40), min_size=1, max_size=12)


def worst_prefix(owner: np.ndarray, counts: np.ndarray) -> float:
    """max |x_c(p) - p n_c / n| over all prefixes p and classes c."""
    p = np.arange(1, len(owner) + 1)[:, None]
    turns = np.cumsum(owner[:, None] == np.arange(len(counts)), 0)
    return float(np.abs(turns - p * counts / counts.sum()).max())


@given(COUNTS)
def test_every_prefix_holds_the_classes_in_proportion(counts):
    counts = np.array(counts)
    places = interleave(counts)
    owner = np.repeat(np.arange(len(counts)), counts)[places]
    assert sorted(places) == list(range(counts.sum()))
    bound = 1 - 1 / (2 * len(counts) - 2) if len(counts) > 1 else 0
    assert worst_prefix(owner, counts) <= bound + 1e-9


@pytest.mark.parametrize(
    "counts", [[5000, *[1] * 99], [1, 1], [2] * 700, [3000, 2999, 1], [1000, 500, 250, 125, 60, 30, 15, 7, 3, 1]]
)
def test_the_bound_holds_for_rare_and_for_very_many_classes(counts):
    labels = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    ids = one_pass(Stratified(labels, 1), 1)
    assert worst_prefix(labels[ids], np.array(counts)) <= 1 - 1 / (2 * len(counts) - 2) + 1e-9


@given(COUNTS, SEEDS, st.integers(0, 5))
def test_stratified_passes_hold_every_example_once(counts, seed, epoch):
    labels = np.repeat(np.arange(len(counts)), counts)
    assert sorted(one_pass(Stratified(labels, seed), epoch)) == list(range(len(labels)))


def test_each_class_is_shuffled_anew_and_by_itself():
    """In class terms: places alike in each pass, examples not, and two classes of one size differ."""
    labels = np.repeat([0, 1], 500)
    order = Stratified(labels, 2)
    first, second = one_pass(order, 0), one_pass(order, 1)
    np.testing.assert_array_equal(labels[first], labels[second])
    zeros, ones = first[labels[first] == 0], first[labels[first] == 1] - 500
    again = second[labels[second] == 0]
    for a, b in ((zeros, again), (zeros, ones)):
        assert (a == b).sum() < 12
        assert abs(np.corrcoef(a, b)[0, 1]) < 0.25


def test_labels_may_be_names_or_truth_values_and_keep_their_meaning():
    labels = np.array(["cat", "dog"] * 50)
    np.testing.assert_array_equal(one_pass(Stratified(labels)), one_pass(Stratified(labels == "dog")))


@pytest.mark.parametrize("labels", [[0.5, 1.5], [], [[1]], [None, 1]])
def test_labels_that_are_no_classes_are_refused(labels):
    with pytest.raises(ArgumentError, match="labels must be one whole number"):
        Stratified(labels)


# --- arguments ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [-1, 2**64, 1.5, True, "7"])
def test_seeds_that_do_not_fit_are_refused(seed):
    for order in (lambda: Permuted(5, seed), lambda: Weighted([1.0], seed), lambda: Stratified([1], seed)):
        with pytest.raises(ArgumentError, match="seed must be a whole number"):
            order()


def test_sizes_that_do_not_fit_are_refused():
    for order in (lambda: Permuted(0), lambda: Sequential(2.0), lambda: Permuted(2**62 + 1)):  # type: ignore[arg-type]
        with pytest.raises(ArgumentError, match="n must be"):
            order()
    with pytest.raises(ArgumentError, match="draws must be at most 2147483648"):
        Weighted([1.0], draws=2**31 + 1)
