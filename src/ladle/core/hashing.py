"""Words of 32 and 64 bits, mixed until they look random. The same for NumPy and JAX arrays, bit for bit.

Sources: C. Wellons, "Prospecting for hash functions", 2018 (the 32-bit finaliser); G. Steele et al., "Fast splittable
pseudorandom number generators", OOPSLA 2014 (the 64-bit finaliser).
"""

from __future__ import annotations

from typing import Any

# (shift, multiplier, shift, multiplier, shift) of the finaliser, and an odd number near 2^bits / golden ratio.
_FINALISER = {4: (16, 0x7FEB352D, 15, 0x846CA68B, 16), 8: (30, 0xBF58476D1CE4E5B9, 27, 0x94D049BB133111EB, 31)}
SPREAD = {4: 0x9E3779B1, 8: 0x9E3779B97F4A7C15}


def finalise(z: Any) -> Any:
    """A bijection of the machine word in which every input bit flips every output bit with a chance near 1/2.

    `z`: `u32[...]` or `u64[...]`, an array of either library.

    >>> import numpy as np
    >>> finalise(np.array([0, 1, 2], np.uint32)).tolist()
    [0, 1753845952, 3507691905]
    """
    word = z.dtype.type
    shift_1, times_1, shift_2, times_2, shift_3 = (word(number) for number in _FINALISER[z.dtype.itemsize])
    z = (z ^ (z >> shift_1)) * times_1
    z = (z ^ (z >> shift_2)) * times_2
    return z ^ (z >> shift_3)
