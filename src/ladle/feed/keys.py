"""What random numbers of a feed are for, and keys for one number each."""

from __future__ import annotations

from typing import Any

import numpy as np

from ladle.feed.bijection import finalise

PERMUTED, WEIGHTED, STRATIFIED = (np.array([stream], np.uint32) for stream in range(3))
"""What keys are for, so that no two uses share one. Classes of a stratified order are numbered on from the last."""

# The others begin where those do not come.
BLOCKS = 0x19DA_0224
"""Blocks of a block order, and the rows of its windows, which hash in one more link: the window."""
BUCKETS = 0x8000_0000
"""Buckets inside windows; one stream for each window, of which no run sees 2**28."""
MIXTURE = 0x9000_0000
"""Places inside blocks of a mixture; one stream for each phase."""
SOURCES = 0xA000_0000
"""Seeds of the sources of a mixture; one stream for each."""
CURRICULUM = 0xB000_0000
"""Passes over the easiest; one stream for each stage. The last stream of all breaks ties."""
TIES = 0xBFFF_FFFF
ROUNDS_OF_CLASSES = 0xC000_0000
"""In which order the classes of a balanced order have their turn."""
BALANCED = 0xC000_0001
"""Passes of each class of a balanced order; one stream for each."""
EXAMPLES = 0xE000_0000
"""Keys of examples: what a dataset or an augmentation draws from."""
AUGMENTED = 0xE000_0001
"""Keys of a keyed stage, so that it draws other numbers than the dataset below it."""
NEIGHBOURS = 0xF000_0000
"""Sampled neighbours; one stream for each depth."""


def for_each(keys: Any, *numbers: np.ndarray) -> np.ndarray:
    """`u32[count, k]`: the keys of `k` numbers each, hashed from `keys` (`u32[count, 1]` or `u32[count, k]`).

    - `numbers`: `i64[k]`, not negative; both 32-bit words of each are hashed in, one after the other, so that no two
      tuples of one length share a chain of bijections.

    >>> one = np.array([[7]], np.uint32)
    >>> for_each(one, np.array([0, 1, 2**32])).shape, len(set(for_each(one, np.array([0, 1, 2**32]))[0].tolist()))
    ((1, 3), 3)
    """
    return for_words(
        keys, *(word.astype(np.uint32) for number in numbers for word in (number & 0xFFFFFFFF, number >> 32))
    )


def for_words(keys: Any, *words: Any) -> Any:
    """The same of words (`u32[k]` or `u32[1]`), arrays of NumPy or JAX: two for each number, the low one first."""
    for word in words:
        keys = finalise(keys ^ word[None, :])
    return keys


def stream(number: int) -> np.ndarray:
    """`u32[1]`, as `ladle.feed.bijection.round_keys` takes it."""
    return np.array([number], np.uint32)
