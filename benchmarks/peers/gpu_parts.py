"""The parts of `gpu_jax.py`: each a function `quick -> things found, one after the other`, in a process of its own.

`quick`, and a machine without an accelerator, mean small models and few repetitions.
"""

from __future__ import annotations

import platform
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from importlib import metadata
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from peers import gpu_images, gpu_transformer
from peers.gpu_transformer import Shape
from timing import interleave, ratio, spread

import ladle
from ladle.api.assembly import Assembly, assemble
from ladle.core.carry import Carry
from ladle.core.duration import Until
from ladle.core.moments import Gauge
from ladle.loop.train import train
from ladle.planner.memory import largest_fitting
from ladle.policy.constant import Constant

Found = Iterator[dict[str, Any]]

IN_JAX = "/jax/core/compile/backend_compile_duration"
"""The event of a compilation. Should a later JAX call it otherwise, the part says that it saw none."""

SIZES = (128, 192, 256, 320, 384, 448, 512, 576, 640, 704, 768, 1000)
MICRO = 64
WITHIN = 0.1


def small(quick: bool) -> bool:
    return quick or jax.default_backend() == "cpu"


def facts(quick: bool) -> Found:
    device = jax.devices()[0]
    stats = device.memory_stats() or {}
    versions = {name: metadata.version(name) for name in ("jax", "jaxlib", "optax")}
    yield {
        "platform": device.platform,
        "device": device.device_kind,
        "devices": jax.device_count(),
        "memory_bytes": stats.get("bytes_limit"),
        "peak_bf16": gpu_transformer.peak_of(device.device_kind),
        "python": platform.python_version(),
        "runtime": str(getattr(device.client, "platform_version", "")).split("\n")[0],
        **versions,
    }
    side = 256 if small(quick) else 8192
    yield {"product_bf16": side, "flops_per_second": _product(side, 3 if small(quick) else 30)}


def _product(side: int, times: int) -> float:
    """FLOP/s of `side`^3 products in bfloat16, one behind the other."""
    a = jnp.full((side, side), 1 / side, jnp.bfloat16)
    multiply = jax.jit(lambda a, b: a @ b)
    found = jax.block_until_ready(multiply(a, a))
    began = time.perf_counter()
    for _ in range(times):
        found = multiply(found, a)
    jax.block_until_ready(found)
    return 2 * side**3 * times / (time.perf_counter() - began)


def images(quick: bool) -> Found:
    less = small(quick)
    fashion, cifar = gpu_images.fashion(), gpu_images.cifar(64 if less else 48_000)
    width = 4 if less else 32
    pairs = {
        "mlp 784-256-10": (
            ladle.models.mlp(784, 256, 10), gpu_images.mlp_init, gpu_images.mlp_apply, fashion, 64
        ),
        f"convnet 32x32x3, width {width}": (
            ladle.models.convnet((32, 32, 3), 10, width=width),
            partial(gpu_images.convnet_init, width=width),
            gpu_images.convnet_apply, cifar, 32 if less else 256,
        ),
    }  # fmt: skip
    for name, (model, init, apply, rows, size) in pairs.items():
        rows = rows.first(512) if less else rows
        programs = {
            "ladle": gpu_images.by_ladle(model, rows, size),
            "by hand": gpu_images.by_hand(init, apply, rows, size),
        }
        both = {which: partial(_mean, program, 2 if less else 4) for which, program in programs.items()}
        laps = interleave(both, 2 if less else 7)
        kept = {which: of[1:] for which, of in laps.items()}  # The first of each compiles.
        yield {
            "of": name, "rows": f"{len(rows.x):,} rows, {rows.rows}", "size": size,
            "to_hand": ratio(kept["ladle"], kept["by hand"]), "at_most": 1.05,
            "seconds": spread(kept["ladle"]), "seconds_by_hand": spread(kept["by hand"]),
        }  # fmt: skip


def _mean(program: Callable[[int], list[float]], epochs: int) -> float:
    return float(np.mean(program(epochs)))


def transformer(quick: bool) -> Found:
    less = small(quick)
    shape, size = (Shape(1, 32, 2, 16), 4) if less else (Shape(12, 1024, 8, 1024), 32)
    attention, why = gpu_transformer.attention_here(shape.length, shape.heads, shape.width)
    shape = replace(shape, attention=attention)
    data, rows = gpu_transformer.text(64 if less else 2048, shape.length)
    peak = gpu_transformer.peak_of(jax.devices()[0].device_kind)
    yield {
        "weights": shape.multiplied, "depth": shape.depth, "width": shape.width, "length": shape.length,
        "size": size, "rows": rows, "attention": f"{attention} ({why})", "peak": peak,
    }  # fmt: skip
    task = gpu_transformer.task_of(shape, data, precision="bf16")
    programs = {
        "ladle": gpu_transformer.by_ladle(task, size),
        "by hand": gpu_transformer.by_hand(shape, data, size),
    }
    laps: dict[str, list[float]] = {}
    for which, program in programs.items():
        program(2)  # Compiles; and each is told by itself, should the other not come to an end.
        laps[which] = [program(3 if less else 20)]
        yield _utilised(which, laps[which], shape, size, peak)
    for _ in range(1 if less else 3):
        for which, program in programs.items():
            laps[which].append(program(3 if less else 20))
    for which, of in laps.items():
        yield _utilised(which, of, shape, size, peak)
    yield {"to_hand": ratio(laps["ladle"], laps["by hand"])}


def _utilised(which: str, seconds: list[float], shape: Shape, size: int, peak: float | None) -> dict[str, Any]:
    """Seconds of an update, and the share of the peak that they are; None where the device's peak is not known."""
    tokens, middle = size * shape.length, float(np.median(seconds))
    share = {
        name: shape.flops(tokens, attention=whole) / (middle * peak) if peak else None
        for name, whole in (("utilised", False), ("utilised_with_attention", True))
    }
    return {"by": which, "seconds": spread(seconds), "tokens_per_second": tokens / middle, **share, "aim": 0.5}


def _tasks(less: bool) -> dict[str, tuple[ladle.Task, tuple[int, ...]]]:
    """Four models, each with the micro-batches to try; two of one each for a quick look."""
    shape = Shape(1, 32, 2, 16) if less else Shape(6, 512, 8, 512)
    rows, wide = (512, 64) if less else (16_384, 4096)
    flat = gpu_images.made_up((784,), rows, "").data
    pictures = gpu_images.made_up((32, 32, 3), rows // 4, "").data
    tokens, _ = gpu_transformer.text(256, shape.length)
    mlp = ladle.Task(ladle.models.mlp(784, wide, wide, 10), "cross_entropy", flat)
    convnet = ladle.Task(ladle.models.convnet((32, 32, 3), 10, width=4 if less else 64), "cross_entropy", pictures)
    half = gpu_transformer.task_of(shape, tokens, precision="bf16")
    sizes = ((16,), (8,), (8,), (8,)) if less else (
        (1024, 4096, 8192, 16_384), (256, 512, 1024, 4096), (16, 32, 64, 128), (16, 32, 64, 128)
    )  # fmt: skip
    tasks = {
        f"mlp 784-{wide}-{wide}-10, adam": mlp,
        "convnet 32x32x3, adam": convnet,
        "transformer, f32, adamw": gpu_transformer.task_of(shape, tokens),
        "transformer, bf16, remat full": half.with_(remat="full"),
    }
    found = {name: (task, of) for (name, task), of in zip(tasks.items(), sizes, strict=True)}
    for name in ("transformer, f32, adamw", "convnet 32x32x3, adam") if less else ():
        del found[name]  # The other transformer compiles what it would, and `largest` has a convnet.
    return found


def memory(quick: bool) -> Found:
    for name, (task, sizes) in _tasks(small(quick)).items():
        specs = [ladle.BatchSpec(size, size) for size in sizes]
        try:
            asked = _probe(assemble(task), specs[0])
            predicted = [asked.memory_bytes(spec) for spec in specs]
            measured = asked.confirm_all(specs)  # Ascending: a device's peak is that of its process.
        except Exception as error:  # One model that fails is one that failed.
            yield {"of": name, "failed": str(error)[:300]}
            continue
        for size, guess, peak in zip(sizes, predicted, measured, strict=True):
            share = guess / peak
            found = {"predicted_bytes": guess, "measured_bytes": peak, "ratio": share}
            yield {"of": name, "micro_size": size, **found, "within": abs(share - 1) <= WITHIN}


def offload(quick: bool) -> Found:
    """Adam's moments on the device and in the host's memory: predicted and measured peaks, seconds, the same losses."""
    less = small(quick)
    shape = Shape(1, 64, 2, 16) if less else Shape(4, 1024, 8, 512)
    data, _ = gpu_transformer.text(64, shape.length)
    task = gpu_transformer.task_of(shape, data, precision="bf16")
    spec = ladle.BatchSpec(8, 8)
    for which in ("device", "host"):
        assembly = assemble(task.with_(offload=which == "host"))
        probe = _probe(assembly, spec)
        bytes_of = {"state_bytes": assembly.engine.state_bytes(), "predicted_bytes": probe.memory_bytes(spec)}
        yield {"of": which, **bytes_of, "measured_bytes": probe.confirm_bytes(spec)}
        _trained(assembly, 8, 8, 1)
        yield {"of": which, "update_seconds": _trained(assembly, 8, 8, 1) / (data.rows / 8)}
        yield {"of": which, "loss": ladle.fit(assembly, size=8, until="4 updates").final["train_loss"]}


def _probe(assembly: Assembly, spec: ladle.BatchSpec) -> Any:
    hyper = {**assembly.optimizer.hyper, "lr": 1e-3}
    return assembly.engine.probe(assembly.feed(0), spec, hyper=hyper)


def largest(quick: bool) -> Found:
    less = small(quick)
    if less:
        data = gpu_images.made_up((32, 32, 3), 32, "").data
        task = ladle.Task(ladle.models.convnet((32, 32, 3), 10, width=4), "cross_entropy", data)
    else:
        shape = Shape(4, 1024, 8, 512)
        data, _ = gpu_transformer.text(2048, shape.length)
        task = gpu_transformer.task_of(shape, data, precision="bf16")
    assembly = assemble(task)
    probe = _probe(assembly, ladle.BatchSpec(8, 8))
    limit, where = probe.limit_bytes()
    if less:  # One that binds.
        limit, where = (
            int(1.2 * probe.memory_bytes(ladle.BatchSpec(16, 16))),
            "1.2 of what 16 examples are told to take",
        )
    micro, _ = largest_fitting(limit, lambda rung: probe.memory_bytes(ladle.BatchSpec(rung, rung)), most=data.rows)
    yield {"limit_bytes": limit, "limit": where, "micro_size": micro}
    # Children first: what this process has once taken for a fit, it keeps, and they would lack it.
    held = (jax.local_devices()[0].memory_stats() or {}).get("pool_bytes")
    for rung in (micro, 2 * micro):
        yield {**_next_to(probe, rung, limit, data.rows), "held_by_parent_bytes": held}
    run = ladle.fit(assembly, size=micro, micro_size=micro, until="3 updates")
    yield {"micro_size": micro, "trains": True, "loss": run.final["train_loss"]}


def _next_to(probe: Any, rung: int, limit: int, rows: int) -> dict[str, Any]:
    """Whether an update at `rung` runs in a child and keeps the limit: the planned one should, the next one not."""
    if rung > rows:
        why = f"there are {rows:,} rows: memory was not what bound it"
        return {"micro_size": rung, "fits": None, "why": why}
    spec = ladle.BatchSpec(rung, rung)
    found = {"micro_size": rung, "predicted_bytes": probe.memory_bytes(spec)}
    try:
        peak = probe.confirm_bytes(spec)
    except Exception as error:  # Want of memory, as it should be at the next rung; or something else, which it says.
        return {**found, "fits": False, "why": str(error)[:300]}
    return {
        **found,
        "measured_bytes": peak,
        "fits": peak <= limit,
        "why": f"it ran with {peak / limit:.2f} of the limit",
    }


def _flat(less: bool) -> gpu_images.Images:
    return gpu_images.made_up((784,), 512, "") if less else gpu_images.fashion()


def lanes(quick: bool) -> Found:
    """Examples a second of the same batches, once with rows on the device, once with rows that travel."""
    less = small(quick)
    rows = _flat(less)
    task = ladle.Task(ladle.models.mlp(784, 256, 10), "cross_entropy", rows.data, lr=1e-3)
    for size in (256,) if less else (256, 4096):
        both = {lane: assemble(task.with_(lane=lane)) for lane in ("device", "host")}
        programs = {lane: partial(_rate, one, size, 2 if less else 4) for lane, one in both.items()}
        for program in programs.values():
            program()
        laps = interleave(programs, 2 if less else 5)
        told = {f"{lane}_examples_per_second": spread(of) for lane, of in laps.items()}
        yield {"size": size, **told, "host_to_device": ratio(laps["host"], laps["device"])}


def _rate(assembly: Assembly, size: int, epochs: int) -> float:
    final = ladle.fit(assembly, size=size, micro_size=size, until=f"{epochs} epochs").final
    return final["examples"] / final["seconds"]


CUTS: Mapping[str, tuple[int, int, float]] = {
    "4 micro-batches of 128": (512, 128, 1.05),
    "one micro-batch of 512": (512, 512, 1.15),
}
"""Size, micro-batch and the ratio that is claimed."""


def noise(quick: bool) -> Found:
    """With the gauge and without, as in `noise_overhead.py`: a loss that is said to be no sum has no moments."""
    less = small(quick)
    rows = _flat(less)
    pictures = gpu_images.cifar(128 if less else 20_480)
    models: dict[str, tuple[Any, gpu_images.Images]] = {"mlp": (ladle.models.mlp(784, 256, 10), rows)}
    if not less:
        models["convnet"] = (ladle.models.convnet((32, 32, 3), 10, width=32), pictures)
    for name, (model, of) in models.items():
        task = ladle.Task(model, "cross_entropy", of.data, lr=1e-3)
        plain = task.with_(model=replace(cast(Any, task.objective()), additive=False), loss=None)
        both = {"with": assemble(task, gauge=Gauge()), "without": assemble(plain)}
        for cut, (size, micro, most) in list(CUTS.items())[: 1 if less else None]:
            passes = 1 if less else 4
            programs = {which: partial(_trained, one, size, micro, passes) for which, one in both.items()}
            for program in programs.values():
                program()
            laps = interleave(programs, 2 if less else 7)
            yield {"of": f"{name}, {cut}", "ratio": ratio(laps["with"], laps["without"]), "at_most": most}


def _trained(assembly: Assembly, size: int, micro: int, passes: int) -> float:
    feed = assembly.feed(0)
    carry = Carry(assembly.engine.step.init(0), feed.start())
    until = Until(examples=passes * feed.epoch_size)
    return [line for line, _ in train(carry, feed, assembly.engine.step, Constant(size, micro), until)][-1]["seconds"]


def compilations(quick: bool) -> Found:
    """Compilations of fits at a dozen sizes, cut into micro-batches of one size: all at the first."""
    counts: Counter[str] = Counter()

    def happened(event: str, duration_secs: float, **more: Any) -> None:
        counts.update([event])

    jax.monitoring.register_event_duration_secs_listener(happened)
    rows = gpu_images.made_up((784,), 2048, "").data
    task = ladle.Task(ladle.models.mlp(784, 64, 10), "cross_entropy", rows, lr=1e-3)
    assembly, found = assemble(task), []
    for size in SIZES:
        before = counts[IN_JAX]
        ladle.fit(assembly, size=size, micro_size=MICRO, until="3 updates")
        found.append(counts[IN_JAX] - before)
    told = {"first": found[0], "later": sum(found[1:]), "sizes": len(SIZES), "at_most_later": 0}
    yield told if found[0] else {**told, "failed": "this JAX tells of no compilation, so none can be counted"}


PARTS: Mapping[str, Callable[[bool], Found]] = {
    one.__name__: one for one in (facts, images, transformer, memory, largest, lanes, noise, compilations, offload)
}
