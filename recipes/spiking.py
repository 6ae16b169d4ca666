"""DOC"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.linear_model import LogisticRegression

import ladle

RATE_HZ, WINDOW, HOP = 8000, 256, 80
BANDS, TIMES, LEVELS = 24, 32, (-0.5, 0.5, 1.5)
"""Bands of frequency, moments of a recording, and how loud a band has to be for each of its inputs to spike."""

HIDDEN, SIZE, LR, SIZES = 128, 64, 3e-3, (16, 64, 256, 1024)


def spikes(wave: np.ndarray) -> np.ndarray:
    """`f32[TIMES, BANDS * levels]` of zeros and ones: which bands are louder than each level, from moment to moment."""
    wave = np.pad(wave.astype(np.float32), (0, max(0, WINDOW - len(wave))))
    pieces = np.lib.stride_tricks.sliding_window_view(wave, WINDOW)[::HOP] * np.hanning(WINDOW)
    energy = np.log(np.abs(np.fft.rfft(pieces)) ** 2 @ FILTERS + 1)
    place = np.linspace(0, len(energy) - 1, TIMES)
    even = np.stack([np.interp(place, np.arange(len(energy)), band) for band in energy.T], 1)
    loud = (even - even.mean()) / even.std()
    return (loud[..., None] > np.array(LEVELS)).reshape(TIMES, -1).astype(np.float32)


def filters() -> np.ndarray:
    """`f64[frequencies, BANDS]`: triangles whose widths go with what the ear tells apart (mel)."""
    edges = 700 * (np.exp(np.linspace(*np.log1p(np.array([60, 3900]) / 700), BANDS + 2)) - 1)
    frequency = np.fft.rfftfreq(WINDOW, 1 / RATE_HZ)[:, None]
    up, down = (frequency - edges[:-2]) / np.diff(edges)[:-1], (edges[2:] - frequency) / np.diff(edges)[1:]
    return np.minimum(up, down).clip(0)


FILTERS = filters()


def recordings(file: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Spikes and digits of all recordings, and which of them are to be tested on: the first five takes of each."""
    kept = np.load(file, allow_pickle=False)
    ends, pairs = kept["offsets"], np.stack([kept["delta_lo"], kept["delta_hi"]], 1)
    audio = np.cumsum(pairs.view("<i2").ravel(), dtype=np.int16)
    x = np.stack([spikes(audio[start:end]) for start, end in zip(ends, ends[1:], strict=False)])
    return x, kept["digit"].astype(np.int32), kept["take"] < 5


def fires(above: jax.Array) -> jax.Array:
    """One where a potential is above its threshold; its slope, for the gradient, that of a soft step (Zenke and Ganguli
    2018): 1 / (1 + 10 |above|)^2."""
    soft = above / (1 + 10 * jnp.abs(above))
    return soft + jax.lax.stop_gradient((above > 0) - soft)


def init(key: jax.Array) -> dict[str, jax.Array]:
    into, back, out = jax.random.split(key, 3)
    inputs = BANDS * len(LEVELS)
    return {
        "in": jax.random.normal(into, (inputs, HIDDEN)) * 2 / inputs**0.5,
        "back": jax.random.normal(back, (HIDDEN, HIDDEN)) * 0.5 / HIDDEN**0.5,
        "out": jax.random.normal(out, (HIDDEN, 10)) / HIDDEN**0.5,
        "bias": jnp.zeros(10),
        "keep": jnp.linspace(0.0, 3.0, HIDDEN),
    }


def outputs(params: dict[str, jax.Array], x: jax.Array) -> jax.Array:
    """Potentials leak, add up what comes in, and fall by the threshold when they fire. `keep`: of each, what stays."""
    keep = jax.nn.sigmoid(params["keep"])[None]

    def moment(carry: Any, current: jax.Array) -> tuple[Any, jax.Array]:
        potential, fired = carry
        potential = keep * potential + (1 - keep) * (current + fired @ params["back"]) - fired
        fired = fires(potential - 1)
        return (potential, fired), fired

    currents = jnp.moveaxis(x @ params["in"], 1, 0)
    still = jnp.zeros((x.shape[0], HIDDEN))
    _, fired = jax.lax.scan(moment, (still, still), currents)
    return fired.mean(0) @ params["out"] * 10 + params["bias"][None]
