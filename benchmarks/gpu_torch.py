"""The torch backend on an accelerator: what a processor cannot show. Under five minutes on one device.

    python benchmarks/gpu_torch.py [--quick]

Claims, each told with its number:
  memory      `max_memory_allocated` is within 5 % of the prediction; the planned size trains at five shares of memory
  compile     a dozen batch sizes cost one compilation; with CUDA graphs (mode "reduce-overhead") too
  AMP         bf16 autocast and fp16 with a GradScaler learn, and an update of infinite gradients is left out
  fused       a fused optimiser leaves the same parameters as the plain one, to rounding
  moments     an accumulated update costs at most 1.05 of one without moments
  plan        the seconds of an update in the plan are within 10 % of those of the loop

Without CUDA (or with --quick) it runs what a processor can, on smaller nets, and says what it left out. Hardware and
every number: `results/gpu_torch.json`.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from timing import arguments, headline, save, table
from torch import nn

import ladle
import ladle.torch as lt
from ladle.core.spec import BatchSpec
from ladle.torch.trace import Updating, trace

SHARES = (0.05, 0.1, 0.2, 0.4, 0.8)
"""Of the device's memory, which the process is held to one after the other."""

SIZES = (64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 512)
MICRO = 64
CUDA = torch.cuda.is_available()
DEVICE = torch.device("cuda" if CUDA else "cpu")


def net(width: int) -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Linear(256, width), nn.GELU(), nn.Linear(width, width), nn.GELU(), nn.Linear(width, 10)]
    return nn.Sequential(*layers).to(DEVICE)


def rows(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    return torch.randn(count, 256, device=DEVICE), torch.randint(0, 10, (count,), device=DEVICE)


def loss(model: Any, batch: Any) -> torch.Tensor:
    return nn.functional.cross_entropy(model(batch[0]).float(), batch[1], reduction="none")


def adamw(parameters: Any, **more: Any) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameters, lr=1e-3, **more)


def synchronised() -> float:
    if CUDA:
        torch.cuda.synchronize()
    return time.perf_counter()


def seconds_of(update: Callable[[], Any], times: int) -> float:
    """The median of `times`, after three that are not counted."""
    for _ in range(3):
        update()
    taken = []
    for _ in range(times):
        began = synchronised()
        update()
        taken.append(synchronised() - began)
    return statistics.median(taken)


def memory(width: int, size: int) -> dict[str, Any]:
    """Predicted and measured peak of two updates; on a processor the prediction alone."""
    model = net(width)
    optimizer = adamw(model.parameters())
    predicted = trace(Updating(model, loss, optimizer, rows(4)), BatchSpec(size, size)).peak
    found: dict[str, Any] = {"size": size, "predicted_bytes": predicted}
    if not CUDA:
        return found
    batch, update = rows(size), lt.Update(model, optimizer, micro_size=size)
    torch.cuda.reset_peak_memory_stats()
    for _ in range(2):
        update(batch, loss)
    torch.cuda.synchronize()
    measured = torch.cuda.max_memory_allocated()
    return {**found, "measured_bytes": measured, "within": abs(predicted - measured) <= 0.05 * measured}


def under_a_share(share: float, width: int) -> dict[str, Any]:
    """The size that is planned where the process may have `share` of the device, and whether it trains."""
    limit = int(share * torch.cuda.get_device_properties(0).total_memory)
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(share)
    try:
        model = net(width)
        optimizer = adamw(model.parameters())
        loader = [rows(1 << 14)] * 4
        plan = lt.plan(model, loss, loader, optimizer, memory=limit)
        update = lt.Update(model, optimizer, micro_size=plan.micro_size)
        torch.cuda.reset_peak_memory_stats()
        batch = rows(plan.size)
        for _ in range(5):
            update(batch, loss)
        trained = True
    except torch.cuda.OutOfMemoryError:
        trained = False
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    return {"share": share, "size": plan.size, "trains": trained, "reserved_bytes": torch.cuda.max_memory_reserved()}


def compilations(mode: str | None) -> dict[str, Any]:
    """Graphs that dynamo makes for updates at a dozen sizes."""
    from torch._dynamo.utils import counters

    torch._dynamo.reset()
    counters.clear()
    model = net(64)
    compiled: Any = torch.compile(model, mode=mode, backend="inductor" if CUDA else "eager")
    update = lt.Update(compiled, adamw(model.parameters()), micro_size=MICRO)
    for size in SIZES:
        update(rows(size), loss)
    return {"mode": mode or "default", "sizes": len(SIZES), "graphs": int(counters["stats"]["unique_graphs"])}


def amp(dtype: torch.dtype) -> dict[str, Any]:
    """Losses of 50 updates under autocast; with a scaler in fp16, and what becomes of an infinite gradient there."""
    model = net(128)
    scaler = torch.amp.GradScaler(DEVICE.type) if dtype is torch.float16 else None
    update = lt.Update(model, adamw(model.parameters()), micro_size=MICRO, scaler=scaler)
    batch = rows(256)

    def cast(model: Any, batch: Any) -> torch.Tensor:
        with torch.autocast(DEVICE.type, dtype):
            return loss(model, batch)

    losses = [float(update(batch, cast).loss) for _ in range(50)]
    before = [leaf.detach().clone() for leaf in model.parameters()]
    hot = (batch[0].clone(), batch[1])
    hot[0][0] = torch.inf
    refused = not update(hot, cast).applied
    kept = all(torch.equal(one, other) for one, other in zip(before, model.parameters(), strict=True))
    return {"type": str(dtype), "first": losses[0], "last": losses[-1], "refused": refused, "kept": kept}


def fused() -> dict[str, Any]:
    """The largest difference of parameters, fused beside plain, after 20 updates."""
    models = [net(128), net(128)]
    for model, on in zip(models, (True, False), strict=True):
        update = lt.Update(model, adamw(model.parameters(), fused=on), micro_size=MICRO)
        for _ in range(20):
            update(rows(256), loss)
    pairs = zip(models[0].parameters(), models[1].parameters(), strict=True)
    return {"difference": max(float((one - other).detach().abs().max()) for one, other in pairs)}


def moments(width: int, times: int) -> dict[str, Any]:
    """Seconds of an accumulated update with and without moments, in turns."""
    batch, found = rows(8 * MICRO), {}
    for name, gauge in (("without", None), ("with", ladle.Gauge(every=1))):
        model = net(width)
        update = lt.Update(model, adamw(model.parameters()), micro_size=MICRO, gauge=gauge)
        found[name] = seconds_of(lambda: update(batch, loss), times)  # noqa: B023
    return {**found, "ratio": found["with"] / found["without"]}


def plan_beside_the_loop(width: int, times: int) -> dict[str, Any]:
    """Seconds of an update at the planned size: in the plan, and in the loop."""
    model = net(width)
    optimizer = adamw(model.parameters())
    plan = lt.plan(model, loss, [rows(256)] * 16, optimizer)
    update = lt.Update(model, optimizer, micro_size=plan.micro_size)
    batch = rows(plan.size)
    per_second = plan.number("examples_per_second")
    planned = plan.size / per_second.value if per_second else None
    return {"size": plan.size, "planned_seconds": planned, "seconds": seconds_of(lambda: update(batch, loss), times)}


def main(quick: bool) -> None:
    print(headline())
    width, times = (128, 5) if quick or not CUDA else (2048, 30)
    found: dict[str, Any] = {"device": torch.cuda.get_device_name() if CUDA else "cpu"}
    found["memory"] = [memory(width, size) for size in (64, 512, 4096)]
    found["compilations"] = [compilations(None)]
    found["amp"] = [amp(torch.bfloat16)]
    found["fused"] = fused()
    found["moments"] = moments(width, times)
    found["plan"] = plan_beside_the_loop(width, times)
    if CUDA:
        found["shares"] = [under_a_share(share, width) for share in SHARES]
        found["compilations"].append(compilations("reduce-overhead"))
        found["amp"].append(amp(torch.float16))
    else:
        found["left_out"] = ["measured device memory", "shares of memory", "CUDA graphs", "fp16 with a scaler"]
    shown = [[name, str(one)] for name, told in found.items() for one in (told if isinstance(told, list) else [told])]
    print(table(["of", "found"], shown), end="\n\n")
    if not quick:
        print(save("gpu_torch", quick=quick, **found))


if __name__ == "__main__":
    main(arguments(__doc__).quick)
