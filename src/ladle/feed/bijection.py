"""A keyed bijection of `0 .. n-1` that needs no table: position in, example out, in any order and on any device.

A generalised Feistel network on `Z_a x Z_b` with `a = ceil(sqrt(n))`, `b = ceil(n / a)`, then cycle walking:

    x = l * b + r
    l <- (l + H(r, k_0)) mod a;   r <- (r + H(l, k_1)) mod b;   ...                (8 rounds)
    x <- network(x)   while x >= n                                    (fewer than a of the a*b pairs lie outside)

Each round only adds something to one half that depends on the other half, so it can be undone: the network is a
bijection whatever `H` is. `H` has to avalanche (every input bit moves every output bit), or batches stop being random
samples: with four rounds, or a weak `H`, the variance between batches comes out at a fraction of a true shuffle's.
What eight rounds leave, computed exactly for ideal `H`: at n = 5 and 6 the distance from a uniform choice among all
n! orders is 6 and 9 %, while any example is at any place with a chance within 0.6 percentage points of 1/n.

Everything here is written once for NumPy (`xp=numpy`) and for JAX (`xp=jax.numpy`), in wrapping unsigned integers
only, so both give the same bits: `u32` up to `NARROW` examples, `u64` (NumPy only) beyond.

Sources: J. Black and P. Rogaway, "Ciphers with arbitrary finite domains", CT-RSA 2002 (network and cycle walking);
C. Wellons, "Prospecting for hash functions", 2018 (the 32-bit finaliser); G. Steele et al., "Fast splittable
pseudorandom number generators", OOPSLA 2014 (the 64-bit finaliser).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ladle.core.hashing import SPREAD, finalise

NARROW = 2**31
"""Largest domain computed in `u32`, and so the largest that a device can order."""
WIDE = 2**62
"""Largest domain of all."""
ROUNDS = 8


def keyed(z: Any, key: Any) -> Any:
    """Hash of `z` under `key`. Inputs are spread over the whole word first, so that close keys share nothing."""
    return finalise((z * z.dtype.type(SPREAD[z.dtype.itemsize])) ^ key)


_FIRST_WORDS = finalise(np.arange(1, 2 * ROUNDS + 1, dtype=np.uint32) * np.uint32(SPREAD[4]))


def round_keys(seed: Any, epoch: Any, stream: Any, count: int = ROUNDS) -> Any:
    """`u32[count, k]` key words, hashed from `(round, seed, epoch, stream)`.

    Hashed, never added: with `seed + epoch`, epoch 1 of seed 0 would be epoch 0 of seed 1. Every link of the chain is
    a bijection, so two epochs of one seed never share a key; the round enters first, so two seeds would have to
    collide in every round at once to share an order.

    - `seed`: `u32[2]`; `epoch`: `u32[]`; `stream`: `u32[k]`, what the keys are for (a purpose, a class).
    """
    words = _FIRST_WORDS[:count]
    for word in (seed[0], seed[1], epoch):
        words = finalise(words ^ word)
    return finalise(words[:, None] ^ stream[None, :])


def sides(n: int) -> tuple[int, int]:
    """The rectangle `a, b` that just covers `n`.

    >>> sides(10)
    (4, 3)
    """
    a = math.isqrt(n - 1) + 1
    return a, -(-n // a)


def permute(x: Any, n: Any, a: Any, b: Any, *, keys: Any, xp: Any, while_loop: Callable[..., Any]) -> Any:
    """Where the keyed bijection of `0 .. n-1` sends each element of `x`.

    - `x`: `u32[k]` or `u64[k]`, below `n`. `n`, `a`, `b`: of the same type, one for all or one per element.
    - `keys`: from `round_keys`, one column for all or one per element; 8 of them for `u32`, 16 for `u64`.
    """
    words = _key_words(keys, x.dtype)

    def network(x: Any, at: Any = None) -> Any:
        rows, columns, key = (_at(value, at) for value in (a, b, words))
        left = x // columns
        right = x - left * columns
        for i in range(0, ROUNDS, 2):
            left = _add(left, keyed(right, key[i]), rows)
            right = _add(right, keyed(left, key[i + 1]), columns)
        return left * columns + right

    def walk(x: Any) -> Any:
        if xp is not np:
            return xp.where(x >= n, network(x), x)
        outside = np.flatnonzero(x >= n)  # A few in a hundred: NumPy need not touch the others.
        x[outside] = network(x[outside], outside)
        return x

    return while_loop(lambda x: xp.any(x >= n), walk, network(x))


def _at(value: Any, at: Any) -> Any:
    """The elements `at` of a value that has one per element; the whole of one that all elements share."""
    return value if at is None or value.ndim == 0 or value.shape[-1] == 1 else value[..., at]


def _add(half: Any, hashed: Any, modulus: Any) -> Any:
    # One bit is dropped so that the sum cannot wrap: a sum that wraps for some halves only is no bijection.
    total = half + (hashed >> hashed.dtype.type(1))
    return total - total // modulus * modulus


def _key_words(keys: Any, dtype: Any) -> Any:
    if dtype.itemsize == 4:
        return keys
    wide = keys.astype(np.uint64)
    return wide[:ROUNDS] | (wide[ROUNDS:] << np.uint64(32))


def host_while(condition: Callable[[Any], Any], body: Callable[[Any], Any], value: Any) -> Any:
    """What `jax.lax.while_loop` does, for NumPy."""
    while condition(value):
        value = body(value)
    return value
