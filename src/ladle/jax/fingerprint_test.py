"""What counts as the same value, and near misses: what a trace could tell apart has other fingerprints, or none."""

from __future__ import annotations

import functools
import itertools
import random
import threading
from collections import OrderedDict
from dataclasses import dataclass
from types import ModuleType, SimpleNamespace
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from ladle.jax.code import Opaque
from ladle.jax.fingerprint import LARGEST_BYTES, fingerprint
from ladle.models import convnet, from_equinox, mlp, tabular
from ladle.models.losses import huber
from ladle.models.nnx import from_nnx

SCALE: Any = 1.0
SETTINGS = SimpleNamespace(scale=1.0)
CONFIG = ModuleType("config")
CONFIG.scale = 1.0  # type: ignore[attr-defined]
OTHER_CODE = compile("1.0 * o", "config", "eval")


def scaled_by(k):
    return lambda x: k * x


def by_global(x):
    return SCALE * x


def through_another(x):
    def within(x):
        return by_global(x)

    return within(x)


def by_setting(x):
    return SETTINGS.scale * x


def by_config(x):
    return CONFIG.scale * x


@dataclass(frozen=True)
class Scaling:
    k: Any

    def __call__(self, x):
        return SCALE * self.k * x


class Plain:
    """Not frozen, not a dataclass, with a class attribute."""

    offset = 0.0

    def __init__(self, k):
        self.k = k

    def apply(self, x):
        return self.k * x + self.offset


class Pair(NamedTuple):
    one: Any
    other: Any


class Net(eqx.Module):
    layer: eqx.nn.Linear
    activation: Any = eqx.field(static=True)

    def __init__(self, key, width=3, activation=jnp.tanh):
        self.layer, self.activation = eqx.nn.Linear(4, width, key=key), activation

    def __call__(self, x):
        return SCALE * self.activation(self.layer(x))


class Flax(nnx.Module):
    def __init__(self, rngs, width=3):
        self.layer = nnx.Linear(4, width, rngs=rngs)

    def __call__(self, x):
        return SCALE * self.layer(x)


def with_counter():
    count = 0

    def loss(x):
        nonlocal count
        count += 1
        return x

    return loss


def with_import(x):
    import random

    return random.random() * x


def drawn(x):
    return np.random.rand() * x


def drawn_otherwise(x):
    return jax.random.uniform(jax.random.key(0)) * jnp.float32(np.pi) * x


# Each is made twice: two values that a trace cannot tell apart.
ALIKE = {
    "number": lambda: 1.5,
    "array": lambda: np.arange(3.0),
    "device array": lambda: jnp.arange(3.0),
    "key": lambda: jax.random.key(3),
    "lambda": lambda: lambda x: x + 1,
    "closure": lambda: scaled_by(2.0),
    "closure over an array": lambda: scaled_by(np.ones(3)),
    "function that reads globals": lambda: through_another,
    "other random numbers": lambda: drawn_otherwise,
    "partial": lambda: functools.partial(by_global, x=1),
    "method": lambda: Plain(2.0).apply,
    "frozen": lambda: Scaling(2.0),
    "named tuple": lambda: Pair(1, "a"),
    "containers": lambda: {"a": [1, (2, 3)], "b": {1, 2}, "c": OrderedDict(z=1)},
    "library function": lambda: jax.nn.gelu,
    "mlp": lambda: mlp(4, 8, 3),
    "convnet": lambda: convnet((8, 8), 3),
    "tabular": lambda: tabular(4, (3, 2), outputs=3),
    "huber": lambda: huber(2.0),
    "equinox factory": lambda: from_equinox(lambda key: eqx.nn.MLP(4, 3, 8, 1, key=key)),
    "equinox class": lambda: from_equinox(Net),
    "equinox module": lambda: from_equinox(Net(jax.random.key(0))),
    "equinox of other numbers, applied": lambda: from_equinox(Net(jax.random.key(next(NUMBERS)))).applied,
    "flax factory": lambda: from_nnx(lambda rngs: Flax(rngs)),
    "flax of other numbers, applied": lambda: from_nnx(Flax(nnx.Rngs(next(NUMBERS)))).applied,
    "transformation": lambda: optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-3)),
    "schedule": lambda: optax.cosine_decay_schedule(1.0, 100),
}
NUMBERS = itertools.count()


@pytest.mark.parametrize("name", ALIKE)
def test_what_is_made_twice_is_the_same(name: str):
    one, other = ALIKE[name](), ALIKE[name]()
    assert fingerprint(one) == fingerprint(other)
    assert hash(fingerprint(one)) == hash(fingerprint(other))


NEAR_MISSES = {
    "types of numbers": (1, 1.0, True, np.float32(1), np.float64(1), jnp.float32(1), "1"),
    "signed zero": (0.0, -0.0),
    "content, type, shape": (np.arange(3), np.arange(3) + 1, np.arange(3.0), np.arange(3)[None], jnp.arange(3)),
    "weak type": (jnp.asarray(1.0), jnp.float32(1.0)),
    "keys": (jax.random.key(1), jax.random.key(2), jax.random.key_data(jax.random.key(1))),
    "lambdas": (lambda x: x + 1, lambda x: x + 2, lambda x: x + 1.0, lambda x, k=1: x + 1),
    "closures": (scaled_by(1), scaled_by(1.0), scaled_by(2), scaled_by(np.ones(2)), scaled_by(scaled_by(1))),
    "defaults": (lambda x, k=1: x, lambda x, k=2: x, lambda x, *, k=2: x),
    "objects": (Scaling(1), Scaling(2), Plain(1), Plain(2), Plain(1).apply, Pair(1, 2), (1, 2), [1, 2]),
    "models": (mlp(4, 8, 3), mlp(4, 9, 3), mlp(4, 8, 3, activation="tanh"), mlp(4, 8, 3, dropout=0.5)),
    "losses": (huber(1.0), huber(2.0)),
    "equinox": (
        from_equinox(Net),
        from_equinox(lambda key: Net(key, 5)),
        from_equinox(lambda key: Net(key, activation=jax.nn.relu)),
        from_equinox(Net(jax.random.key(0))),
        from_equinox(Net(jax.random.key(1))),
    ),
    "flax": (from_nnx(lambda rngs: Flax(rngs)), from_nnx(lambda rngs: Flax(rngs, 5)), from_nnx(Flax(nnx.Rngs(0)))),
    "optax": (optax.adam(1e-3), optax.adam(2e-3), optax.adamw(1e-3), optax.adam(optax.linear_schedule(1e-3, 0, 5))),
    "schedules": (optax.cosine_decay_schedule(1.0, 100), optax.cosine_decay_schedule(1.0, 101)),
}


@pytest.mark.parametrize("name", NEAR_MISSES)
def test_near_misses_differ(name: str):
    found = [fingerprint(value) for value in NEAR_MISSES[name]]
    assert len(set(found)) == len(found)


READERS = [by_global, through_another, Scaling(1), Net, from_equinox(Net), from_nnx(lambda rngs: Flax(rngs)).applied]


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: getattr(reader, "__name__", type(reader).__name__))
@pytest.mark.parametrize("value", [2.0, 1, np.ones(2), by_setting])
def test_a_global_that_changes_is_seen_wherever_it_is_read(reader, value, monkeypatch):
    before = fingerprint(reader)
    assert fingerprint(reader) == before
    monkeypatch.setattr(f"{__name__}.SCALE", value)
    assert fingerprint(reader) != before


@pytest.mark.parametrize(("reader", "held"), [(by_setting, SETTINGS), (by_config, CONFIG)])
def test_fields_and_modules_that_change_are_seen(reader, held, monkeypatch):
    before = fingerprint(reader)
    monkeypatch.setattr(held, "scale", 2.0)
    assert fingerprint(reader) != before


def test_what_can_be_written_to_is_compared_as_it_is_now():
    array, held, plain = np.zeros(3), [1], Plain(1.0)
    function = scaled_by((array, held, plain))
    found = [fingerprint(function)]
    array[0] = 1
    found.append(fingerprint(function))
    held.append(2)
    found.append(fingerprint(function))
    plain.k = 2.0
    found.append(fingerprint(function))
    assert len(set(found)) == 4


def test_a_class_whose_methods_change_is_seen(monkeypatch):
    before = fingerprint(Plain(1))
    monkeypatch.setattr(Plain, "offset", 1.0)
    other = fingerprint(Plain(1))
    monkeypatch.setattr(Plain, "apply", lambda self, x: x)
    assert len({before, other, fingerprint(Plain(1))}) == 3


def test_rings_have_fingerprints_too():
    one, other = [1], [1]
    one.append(one)
    other.append(other)
    assert fingerprint(one) == fingerprint(other)
    other.append(other)
    assert fingerprint(one) != fingerprint(other)


HOPELESS = {
    "generator": (x for x in ()),
    "iterator": iter([1, 2]),
    "counter": itertools.count(),
    "random": random.Random(0),
    "numpy random": np.random.default_rng(0),
    "lock": threading.Lock(),
    "module": random,
    "large array": np.zeros(LARGEST_BYTES // 8 + 1),
    "objects": np.array([object()]),
    "counts its calls": with_counter(),
    "imports": with_import,
    "draws": drawn,
    "reads the clock": lambda x: __import__("time").time() * x,
    "module as a value": lambda x: getattr(CONFIG, "scale") * x,  # noqa: B009
    "evaluates": lambda o: eval(OTHER_CODE) * o,
}


@pytest.mark.parametrize("name", HOPELESS)
def test_in_doubt_there_is_none(name: str):
    with pytest.raises(Opaque):
        fingerprint(HOPELESS[name])
    with pytest.raises(Opaque):
        fingerprint(scaled_by([HOPELESS[name]]))
