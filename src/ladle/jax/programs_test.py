"""Equal programs are one; a value that changed is never met again."""

from __future__ import annotations

import gc
import weakref
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ladle.jax import programs
from ladle.jax.mesh import layout
from ladle.jax.programs import Form, Program

SCALE: Any = 2.0


def times(factor, x):
    return factor * x


def applied(function, x, *, again=1):
    for _ in range(again):
        x = function(x)
    return x


def by_global(x):
    return SCALE * x


def scaled_by(k):
    return lambda x: k * x


@dataclass
class Scaling:
    """Can be written to."""

    k: float

    def __call__(self, x):
        return self.k * x


def opaque():
    """A function without a fingerprint, and the number of its traces."""
    traces = 0

    def function(x):
        nonlocal traces
        traces += 1
        return 2.0 * x

    return function


X = jnp.float32(3.0)


def test_equal_values_share_what_is_compiled(compilations: Counter[str]):
    assert [float(Program(applied, scaled_by(2.0))(X)) for _ in range(3)] == [6.0] * 3
    assert compilations["applied"] == 1
    assert float(Program(applied, scaled_by(3.0))(X)) == 9.0
    assert compilations["applied"] == 2
    assert float(Program(times, 3.0)(X)) == 9.0
    assert compilations["applied"] == 2 and compilations["times"] == 1


def test_shapes_and_static_arguments_compile_anew_and_forms_are_apart(compilations: Counter[str]):
    form = Form(static=("again",))
    for _ in range(2):
        assert float(Program(applied, scaled_by(2.0), form)(X, again=2)) == 12.0
        assert Program(applied, scaled_by(2.0), form)(jnp.ones(2), again=2).tolist() == [4.0, 4.0]
        assert float(Program(applied, scaled_by(2.0), form)(X, again=3)) == 24.0
    assert compilations["applied"] == 3
    placed = Program(applied, scaled_by(2.0), Form(("again",), donate=True, layout=layout()))
    given = jnp.ones(2)
    assert placed(given, again=2).tolist() == [4.0, 4.0]
    assert given.is_deleted() and compilations["applied"] == 4


def test_a_global_that_changed_is_read_anew(monkeypatch):
    assert float(Program(applied, by_global)(X)) == 6.0
    monkeypatch.setattr(f"{__name__}.SCALE", 5.0)
    assert float(Program(applied, by_global)(X)) == 15.0
    monkeypatch.setattr(f"{__name__}.SCALE", 2.0)
    assert float(Program(applied, by_global)(X)) == 6.0


@pytest.mark.usefixtures("compilations")  # what others compiled is kept for them
def test_a_trace_reads_the_value_of_whoever_calls():
    """Two equal things, one of them changed after its first call: each has its own numbers at shapes yet untraced."""
    programs.forget()
    one, other = Scaling(2.0), Scaling(2.0)
    first, second = Program(applied, one), Program(applied, other)
    assert float(first(X)) == float(second(X)) == 6.0
    one.k = 5.0
    assert first(jnp.ones(1)).tolist() == [5.0]
    assert second(jnp.ones(1)).tolist() == [2.0]
    assert Program(applied, Scaling(2.0))(jnp.ones(1)).tolist() == [2.0]
    assert Program(applied, one)(jnp.ones(1)).tolist() == [5.0]


@pytest.mark.usefixtures("compilations")
@pytest.mark.parametrize("ask", ["shape", "ahead", "exported"])
def test_a_value_that_changed_is_seen_by_every_question(ask: str):
    programs.forget()
    value = Scaling(2.0)
    program = Program(applied, value)
    program(X)
    value.k = np.ones(7, np.float32)  # type: ignore[assignment]
    x = jax.ShapeDtypeStruct((1,), "float32")
    found = getattr(program, ask)(x)
    if ask == "exported":
        found = jax.export.deserialize(bytearray(found)).call(jnp.ones(1))[0]
    if ask == "ahead":
        found = found(jnp.ones(1))
    assert found.shape == (7,)
    assert Program(applied, Scaling(2.0)).shape(x).shape == (1,)


def test_questions_are_answered_once(compilations: Counter[str]):
    x = jax.ShapeDtypeStruct((3,), "float32")
    one, other = Program(applied, scaled_by(2.0)), Program(applied, scaled_by(2.0))
    assert one.ahead(x) is other.ahead(x) and one.exported(x) is other.exported(x)
    assert compilations["applied"] == 1
    assert one.ahead(jax.ShapeDtypeStruct((4,), "float32")) is not one.ahead(x)


def test_what_has_no_fingerprint_shares_nothing(compilations: Counter[str]):
    for _ in range(2):
        program = Program(applied, opaque())
        assert float(program(X)) == float(program(X)) == 6.0
    assert compilations["applied"] == 2


def test_few_programs_are_kept_and_none_that_nothing_shares(monkeypatch: pytest.MonkeyPatch):
    kept = lru_cache(maxsize=6)(programs._shared.__wrapped__)
    monkeypatch.setattr(programs, "_shared", kept)

    class Held(Scaling):
        """Can be referred to weakly."""

    seen = []
    for number in range(11):
        value = Held(float(number))
        seen.append(weakref.ref(value))
        Program(applied, value)(X)
    del value
    gc.collect()
    alive = [number for number, value in enumerate(seen) if value() is not None]
    assert len(alive) <= 6 and min(alive) >= 5
    held = np.zeros(2**20)  # Too large for a fingerprint: held by none.
    known = weakref.ref(held)
    Program(applied, scaled_by(held))(X)
    del held
    gc.collect()
    assert known() is None


SEVERAL_AT_WORK = """
import jax
import jax.numpy as jnp
from ladle.jax.mesh import layout
from ladle.jax.programs import Form, Program

def powers(count, x):
    return jax.lax.fori_loop(0, count, lambda _, x: jnp.tanh(x @ x.T @ x / x.sum()), x)

by_hand = jax.jit(powers)
over = layout()
rows = over.in_parts(jnp.ones((256, 256)))
ready = []
for call in (Program(powers, 200, Form(layout=over)), Program(powers, 200), lambda x: by_hand(200, x)):
    result = call(rows)
    ready.append(result.is_ready())
    jax.block_until_ready(result)
print(ready)
"""


@pytest.mark.slow
def test_one_program_at_a_time_where_devices_share_a_processor(on_devices: Callable[[int, str], str]):
    """With a second one on its way, three of four devices may wait for ever for the last."""
    assert on_devices(4, SEVERAL_AT_WORK) == "[True, True, False]\n"
