"""The confirming child: run exported updates on made-up inputs and print each one's peak memory in bytes.

    python -m ladle.jax.child FOLDER

`FOLDER/0`, `FOLDER/1`, ... each hold a program and what to feed it, as `probe.py` wrote them. A child can be killed by
the system for want of memory without harm to the parent, and its peak is its own. On an accelerator that peak is since
the child began, for JAX cannot reset it: a program after a larger one is told to take what that one took.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import jax
import numpy as np
from jax import export
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from ladle.core import resident
from ladle.jax.cache import use_compilation_cache
from ladle.jax.mesh import HOST

WARM = 2
"""Runs before the one that is measured. Along the first 20 MB stay in threads' heaps for a 12-block transformer (in
/proc/self/smaps), 2 for small programs; along the second 3 to 5; then next to nothing."""


def peak_bytes(folder: Path) -> int:
    """Peak memory while the program in `folder` runs, inputs included, compiler excluded."""
    facts = json.loads((folder / "facts.json").read_text())
    program = export.deserialize((folder / "program").read_bytes())  # type: ignore[arg-type]
    leaves = facts["leaves"]
    shapes = [jax.ShapeDtypeStruct(leaf["shape"], leaf["dtype"]) for leaf in leaves]
    # On as many devices as it was written for, with a copy or a part of every input on each, as the step has it.
    mesh = jax.make_mesh((program.nr_devices,), ("data",), axis_types=(AxisType.Auto,))
    cuts = ([None] * leaf["axis"] + ["data"] if leaf["axis"] is not None else [] for leaf in leaves)
    kinds = (HOST if leaf["parked"] else None for leaf in leaves)
    parts = zip(cuts, kinds, strict=True)
    places = tuple(NamedSharding(mesh, PartitionSpec(*cut), memory_kind=kind) for cut, kind in parts)
    call = jax.jit(program.call, donate_argnums=range(facts["donated"]), in_shardings=places)
    run = call.lower(*shapes).compile(compiler_options=facts["options"])

    def inputs() -> list[jax.Array]:
        made = (np.full(of.shape, leaf["value"], of.dtype) for of, leaf in zip(shapes, leaves, strict=True))
        return jax.block_until_ready([jax.device_put(*one) for one in zip(made, places, strict=True)])

    for _ in range(WARM):  # For the runtime: its threads' stacks, pools and heaps stay.
        jax.block_until_ready(run(*inputs()))
    before = resident.settled(_reset_peak)
    given = inputs()
    _reset_peak()  # The host's copies of the inputs, made one by one, are no part of the update.
    outputs = run(*given)
    jax.block_until_ready(outputs)
    return max(_peak(program.nr_devices) - before, 0) // program.nr_devices


def _reset_peak() -> int:
    """Give freed memory back to the system, forget the peak so far, and return what is in use now."""
    if jax.local_devices()[0].memory_stats():
        return 0
    return resident.reset_peak()


def _peak(devices: int) -> int:
    """Of all `devices` that the program ran on together; there may be more here."""
    stats = jax.local_devices()[0].memory_stats()
    if stats:
        return devices * int(stats["peak_bytes_in_use"])
    return resident.peak()


if __name__ == "__main__":
    use_compilation_cache()
    for part in sorted(Path(sys.argv[1]).iterdir(), key=lambda path: int(path.name)):
        print(peak_bytes(part), flush=True)
