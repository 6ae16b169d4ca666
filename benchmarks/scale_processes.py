"""Two processes against one: what an update takes, beside the forecast from one process and the time of a sum.

    python benchmarks/scale_processes.py [--quick]

A perceptron 512-1024-1024-10, batches of 4,096 rows of 32,768, SGD, windows of 8 updates; n = 5 turns (1 if quick):

    half, third          one process that has one core, batches of 2,048 and 1,366: what each of two or three computes
    half, both cores     the same while the other core computes one too
    one thread           one core, at 4,096
    two threads          one process that has both cores, at 4,096
    two processes        `ladle launch -n 2`, a core each, at 4,096; and the mean of the gradient's bytes over both
    three processes      `ladle launch -n 3` on the two cores
    by hand              the same update in two processes, written by hand: a jitted loop in which each process sums
                         over its own rows and all gradients travel as one vector; nothing else

    forecast = half + sum        seconds of an update of two processes: no overlap of the two is assumed
    limit    = half, both cores + sum
    one      = half + 2,048 (half - third) / 682         of one process at 4,096: the line through both
    three    = 3/2 third + 4/3 sum                       three processes on two cores, in a ring of three

Claim: two processes reach 0.9 of the forecast, or what a loop by hand reaches of it. Both cores share a memory bus and
a cache, which no line through one process's times knows, and a sum within an update waits for the later process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from timing import arguments, headline, ratio, save, show, spread, table

ROWS, UPDATES, SIZE, THIRD = 32_768, 32, 4096, 1366
BYTES = 4 * (512 * 1024 + 1024 + 1024 * 1024 + 1024 + 1024 * 10 + 10)
"""Of a gradient."""

CHILD = """
import json, statistics, sys, time
from ladle.jax.world import join
join()
import jax, numpy as np, ladle
from functools import partial
from ladle.jax.allreduce import FEW, MANY, _sums
from ladle.jax.mesh import across
size, updates, size_bytes, count = map(int, sys.argv[1:5])
file = sys.argv[5]
rng = np.random.default_rng(0)
data = ladle.data.arrays(rng.standard_normal((count, 512), dtype=np.float32), rng.integers(0, 10, count), valid=0)
task = ladle.Task(ladle.models.mlp(512, 1024, 1024, 10), ladle.losses.cross_entropy, data, optimizer="sgd", lr=0.01)
run = ladle.fit(task, size=size, until=f"{updates} updates", window=8 * size)
lines = [line for line in run.metrics if line.get("updates", 0) > 0]
took = [
    (b["seconds"] - a["seconds"]) / (b["updates"] - a["updates"])
    for a, b in zip(lines[1:], lines[2:]) if b["updates"] > a["updates"]
]
sums = 0.0
if jax.process_count() > 1:
    over = across()
    rows = over.in_parts(np.ones((1, size_bytes // 4), np.float32))
    program = partial(_sums, over)
    def timed(count):
        began = time.perf_counter()
        jax.block_until_ready(program(rows, np.int32(count)))
        return time.perf_counter() - began
    timed(FEW)
    few, many = (min(times) for times in zip(*((timed(FEW), timed(MANY)) for _ in range(7))))
    sums = (many - few) / (MANY - FEW)
if jax.process_index() == 0:
    open(file, "w").write(json.dumps({"seconds": statistics.median(took), "sum_seconds": sums}))
"""

HAND = """
import json, statistics, sys, time
from ladle.jax.world import join
join()
import jax, jax.numpy as jnp, numpy as np
from jax.flatten_util import ravel_pytree
from jax.sharding import PartitionSpec
from ladle.jax.mesh import across
size, updates, _, count = map(int, sys.argv[1:5])
over, rng, dims = across(), np.random.default_rng(0), (512, 1024, 1024, 10)
x, y = rng.standard_normal((count, 512), dtype=np.float32), rng.integers(0, 10, count).astype(np.int32)
dense = lambda a, b: (rng.standard_normal((a, b)).astype(np.float32) / a**0.5, np.zeros(b, np.float32))
layers = [dense(a, b) for a, b in zip(dims, dims[1:])]
layers, x, y = over.everywhere((layers, x, y))
def loss(layers, x, y):
    for w, b in layers[:-1]:
        x = jax.nn.relu(x @ w + b)
    chances = jax.nn.log_softmax(x @ layers[-1][0] + layers[-1][1])
    return -jnp.take_along_axis(chances, y[:, None], 1).mean()
def each(layers, x, y, start):
    part, own = size // over.devices, jax.lax.axis_index("data")
    def update(i, layers):
        ids = (start + i * size + own * part + jnp.arange(part)) % count
        flat, tree = ravel_pytree(jax.grad(loss)(layers, x[ids], y[ids]))
        gradient = tree(jax.lax.psum(flat, "data") / over.devices)
        return jax.tree.map(lambda a, b: a - 0.01 * b, layers, gradient)
    return jax.lax.fori_loop(0, 8, update, layers)
all_of_it = PartitionSpec()
window = jax.jit(jax.shard_map(each, mesh=over.mesh, in_specs=(all_of_it,) * 4, out_specs=all_of_it, check_vma=False))
took = []
for number in range(updates // 8 + 1):
    began = time.perf_counter()
    layers = jax.block_until_ready(window(layers, x, y, np.int32(8 * number * size % count)))
    took.append((time.perf_counter() - began) / 8)
if jax.process_index() == 0:
    open(sys.argv[5], "w").write(json.dumps({"seconds": statistics.median(took[1:])}))
"""


def asked(
    folder: Path, size: int, *, cores: list[int], processes: int = 1, out: str = "found.json", text: str = CHILD
) -> list[str]:
    child = folder / ("child.py" if text is CHILD else "hand.py")
    child.write_text(text)
    told = [str(child), *map(str, (size, UPDATES, BYTES, ROWS)), str(folder / out)]
    pinned = ["taskset", "-c", ",".join(map(str, cores))]
    if processes == 1:
        return [*pinned, sys.executable, *told]
    return [*pinned, sys.executable, "-m", "ladle.cli", "launch", "-n", str(processes), *told]


def seconds(*commands: list[str], folder: Path, out: str = "found.json") -> dict[str, float]:
    """What the first of some programs that run side by side found."""
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "LADLE_CACHE": str(folder / "cache")}
    running = [
        subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        for command in commands
    ]
    told = [one.communicate()[1].decode() for one in running]
    if any(one.returncode for one in running):
        raise RuntimeError("\n".join(told))
    return json.loads((folder / out).read_text())


def lap(folder: Path) -> dict[str, float]:
    """Each program once: seconds of an update, and of a sum over two processes."""
    half = asked(folder, SIZE // 2, cores=[0])
    beside = asked(folder, SIZE // 2, cores=[1], out="beside.json")
    two = seconds(asked(folder, SIZE, cores=[0, 1], processes=2), folder=folder)
    hand = asked(folder, SIZE, cores=[0, 1], processes=2, text=HAND)
    found: dict[str, Any] = {
        "half": seconds(half, folder=folder)["seconds"],
        "half, both cores": seconds(half, beside, folder=folder)["seconds"],
        "third": seconds(asked(folder, THIRD, cores=[0]), folder=folder)["seconds"],
        "three processes": seconds(asked(folder, SIZE, cores=[0, 1], processes=3), folder=folder)["seconds"],
        "one thread": seconds(asked(folder, SIZE, cores=[0]), folder=folder)["seconds"],
        "two threads": seconds(asked(folder, SIZE, cores=[0, 1]), folder=folder)["seconds"],
        "two processes": two["seconds"],
        "by hand": seconds(hand, folder=folder)["seconds"],
        "sum": two["sum_seconds"],
    }
    half, third, told = found["half"], found["third"], found["sum"]
    forecasts = {
        "forecast": half + told,
        "limit": found["half, both cores"] + told,
        "one": half + (SIZE - SIZE // 2) * (half - third) / (SIZE // 2 - THIRD),
        "three": 1.5 * third + 4 / 3 * told,
    }
    return found | forecasts


def main(quick: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        laps = [lap(Path(folder)) for _ in range(1 if quick else 5)]
    print(headline())
    names = list(laps[0])
    print(table(["", "seconds"], [[name, show(spread([one[name] for one in laps]))] for name in names]))

    def of(name: str) -> list[float]:
        return [one[name] for one in laps]

    told = {
        "forecast / two processes": ratio(of("forecast"), of("two processes")),
        "forecast of one / one thread": ratio(of("one"), of("one thread")),
        "forecast of three / three processes": ratio(of("three"), of("three processes")),
        "limit / two processes": ratio(of("limit"), of("two processes")),
        "forecast / by hand": ratio(of("forecast"), of("by hand")),
        "by hand / two processes": ratio(of("by hand"), of("two processes")),
        "one thread / two processes": ratio(of("one thread"), of("two processes")),
        "two threads / two processes": ratio(of("two threads"), of("two processes")),
    }
    print(table(["ratio", "median (low - high)"], [[name, show(value)] for name, value in told.items()]))
    print(save("scale_processes", quick=quick, n=len(laps), laps=laps, ratios=told))


if __name__ == "__main__":
    main(arguments(__doc__).quick)
