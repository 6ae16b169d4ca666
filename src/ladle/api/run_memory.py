"""Memory of a whole run: data, update, evaluation and what is saved, predicted together and held within one limit."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ladle.api.assembly import Assembly
from ladle.core.errors import ArgumentError, must
from ladle.core.explain import bytes_text
from ladle.core.plan import Evidence, Plan

COPIES_OF_A_SAVE = 3
"""Times the state that a save holds on the host: its copy, and what orbax makes of it, measured at 2.0."""

RUNTIME_BYTES = 6 * 2**20
"""What the host's runtime takes for itself along a fit, buffers and records of it, measured at 1 to 7 MiB: a prediction
has this."""

SLACK_BYTES = 2 * 2**20
"""How much more of it there may be: a limit is kept with this too."""


@dataclass(frozen=True)
class RunMemory:
    """Bytes of the parts of a run, predicted. The peak is the largest of three moments, which do not meet:

        beside      valid_bytes + kept_bytes + runtime_bytes
        update      beside + update_bytes                                (training data and state are in it)
        evaluation  beside + train_bytes + state_bytes + evaluation_bytes
        a save      beside + train_bytes + state_bytes + saving_bytes

    - `train_bytes`, `valid_bytes`: data where the programs read them. `state_bytes`: parameters and optimiser's state,
      the part of one device where devices share it. `whole_bytes`: all of it.
    - `kept_bytes`: the best evaluation's state, `saving_bytes`: copies that a save makes; both on the host, as
      `runtime_bytes` is, and zero where the devices have memory of their own.
    - `evaluation_rows`: how many are judged at once, `evaluation_bytes` for what that takes beside the rest; 0 without
      validation data.

    The moments do not meet in a run under a limit, which waits for each save. Others train on while they save.
    """

    train_bytes: int
    valid_bytes: int
    state_bytes: int
    kept_bytes: int
    saving_bytes: int
    whole_bytes: int = 0
    evaluation_rows: int = 0
    evaluation_bytes: int = 0
    runtime_bytes: int = 0

    @property
    def beside_update(self) -> int:
        """What is there beside an update and what it was compiled with."""
        return self.valid_bytes + self.kept_bytes + self.runtime_bytes

    @property
    def resting(self) -> int:
        """What is there between two updates."""
        return self.train_bytes + self.state_bytes + self.beside_update

    def peak(self, update_bytes: int, *, waits: bool = True) -> int:
        """Of a run whose update takes `update_bytes`; with saves on their way beside it where none is waited for."""
        update = update_bytes + self.beside_update
        if waits:
            return max(update, self.resting + max(self.evaluation_bytes, self.saving_bytes))
        return max(update, self.resting + self.evaluation_bytes) + 2 * self.saving_bytes


def memory_of(assembly: Assembly) -> RunMemory:
    """The parts of a run of `assembly`, but for its update. Compiles an evaluation; runs nothing.

    Raises `ArgumentError` where one row at a time does not stay within the assembly's limit.
    """
    fixed = _fixed(assembly)
    if assembly.valid is None:
        return fixed
    rows, bytes_ = assembly.engine.judging(assembly.valid)
    return replace(fixed, evaluation_rows=rows, evaluation_bytes=bytes_)


def within_limit(assembly: Assembly, limit_bytes: int) -> Assembly:
    """`assembly` for runs that keep to `limit_bytes`: evaluations pick their rows by it, saves are waited for.

    Raises `ArgumentError` where data, state and a checkpoint of it alone are above it.
    """
    if assembly.limit_bytes == limit_bytes:
        return assembly
    fixed = _fixed(assembly, SLACK_BYTES)
    least = fixed.resting + fixed.saving_bytes
    if least >= limit_bytes:
        why = "data, state and a checkpoint of it take that much before any example is looked at"
        remedy = "a larger memory, a smaller model, or lane='host'"
        got = f"{limit_bytes:,} bytes"
        raise ArgumentError(must("memory", f"be more than {least:,} bytes", got, why, remedy))
    engine = assembly.engine.within(limit_bytes - fixed.resting)
    return replace(assembly, engine=engine, limit_bytes=limit_bytes)


def update_limit(assembly: Assembly, limit_bytes: int, one_example_bytes: int) -> int:
    """What of `limit_bytes` the compiled update may take, whose smallest takes `one_example_bytes`.

    Raises `ArgumentError` where that is too little.
    """
    beside = _fixed(assembly, SLACK_BYTES).beside_update
    if one_example_bytes + beside > limit_bytes:
        why = "that is what an update with a micro-batch of one example needs, beside validation data and a kept state"
        be = f"be at least {one_example_bytes + beside:,} bytes"
        remedy = "a larger memory, or a smaller model"
        raise ArgumentError(must("memory", be, f"{limit_bytes:,} bytes", why, remedy))
    return limit_bytes - beside


def limit_of(plan: Plan | None) -> int | None:
    """The limit in bytes that `plan` was made under; None where none was given."""
    limit = plan and plan.number("memory_limit_bytes")
    return int(limit.value) if limit is not None and limit.source == "given" else None


def with_whole_run(made: Plan, assembly: Assembly, limit_bytes: int | None) -> Plan:
    """`made` with the memory of a whole run beside that of an update, and the limit that was given for all of it."""
    update = made.number("memory_predicted_bytes")
    if update is None:
        return made
    parts = memory_of(assembly if limit_bytes is None else within_limit(assembly, limit_bytes))
    peak = parts.peak(int(update.value), waits=limit_bytes is not None)
    numbers = [
        ("memory_data_bytes", parts.train_bytes + parts.valid_bytes, "bytes", "training and validation rows"),
        ("memory_state_bytes", parts.state_bytes, "bytes", "parameters and optimiser's state"),
        ("memory_saving_bytes", parts.kept_bytes + parts.saving_bytes, "bytes", "the best state and a checkpoint"),
        ("evaluation_rows", parts.evaluation_rows, "examples", "judged at once"),
        ("memory_evaluation_bytes", parts.evaluation_bytes, "bytes", "compiled evaluation, beside data and state"),
        ("memory_run_bytes", peak, "bytes", "peak of a whole run: data, update, evaluation, checkpoints"),
    ]
    found = [Evidence(name, value, unit, "predicted", how) for name, value, unit, how in numbers]
    given = [_given(one, limit_bytes) for one in made.evidence]
    notes = (*made.notes, *of_shared(parts, assembly.engine.devices))
    if assembly.task.offload and assembly.backend.on_host():
        notes = (*notes, "offload saves nothing here: the memory of the device is that of the host.")
    return replace(made, evidence=(*given, *found), notes=notes)


def _given(one: Evidence, limit_bytes: int | None) -> Evidence:
    """The limit of the whole run in the place of the update's part of it."""
    if one.name != "memory_limit_bytes" or limit_bytes is None:
        return one
    return replace(one, value=limit_bytes)


def of_shared(parts: RunMemory, devices: int) -> tuple[str, ...]:
    """What a plan says of a state that devices share, or the host keeps a part of; nothing where each has all of it.

    >>> of_shared(RunMemory(0, 0, 2_000_000, 0, 0, whole_bytes=15_000_000), 8)
    ('Each of 8 devices keeps 2 MB of the state, which is 15 MB in all (predicted).',)
    """
    if parts.state_bytes == parts.whole_bytes:
        return ()
    mine, whole = bytes_text(parts.state_bytes), bytes_text(parts.whole_bytes)
    each = "The device" if devices == 1 else f"Each of {devices} devices"
    return (f"{each} keeps {mine} of the state, which is {whole} in all (predicted).",)


def _fixed(assembly: Assembly, slack_bytes: int = 0) -> RunMemory:
    """All but the evaluation: from shapes alone."""
    state, whole = assembly.engine.state_bytes(), assembly.engine.state_bytes(whole=True)
    on_host = assembly.backend.on_host()
    return RunMemory(
        train_bytes=_bytes(assembly.placed),
        valid_bytes=_bytes(assembly.valid),
        state_bytes=state,
        kept_bytes=whole if on_host else 0,
        saving_bytes=COPIES_OF_A_SAVE * whole if on_host else 0,
        whole_bytes=whole,
        runtime_bytes=RUNTIME_BYTES + slack_bytes if on_host else 0,
    )


def _bytes(tree: Any) -> int:
    """Bytes of a tree of dicts and tuples of arrays."""
    if tree is None:
        return 0
    if hasattr(tree, "nbytes"):
        return int(tree.nbytes)
    return sum(_bytes(one) for one in (tree.values() if hasattr(tree, "values") else tree))
