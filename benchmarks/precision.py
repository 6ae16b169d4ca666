"""Half precision against float32: losses over seeds on three tasks, the noise scale, bytes and seconds of an update.

Claims: with bfloat16 and with float16 the mean validation loss of digits, Fashion-MNIST and a small transformer lies
within the spread of seeds in float32; the noise scale within float32's interval; float16 skips no update but those
that find its scale.

    python benchmarks/precision.py [--quick]        (LADLE_DATA names the folder of data sets)

Hardware and every sample: `results/precision.json`. n = 4 seeds; a seed is the same start and order at each precision,
so what is compared is the difference of pairs, held against the standard deviation of the seeds in float32. A processor
computes bfloat16 and float16 by float32 and rounds, so its seconds say nothing of an accelerator.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

from timing import arguments, headline, save, table
from truth.cases import shakespeare

import ladle
from ladle.api.assembly import assemble

SEEDS = 4
PRECISIONS = ("f32", "bf16", "fp16")


def mlp(name: str, hidden: int) -> ladle.Task:
    data = ladle.data.load(name)
    inputs = data.train["x"].reshape(len(data.train["y"]), -1).shape[1]
    return ladle.Task(ladle.models.mlp(inputs, hidden, 10), "cross_entropy", data, lr=1e-3)


TASKS: dict[str, tuple[Callable[[], ladle.Task], dict[str, Any]]] = {
    "digits, mlp": (lambda: mlp("digits", 32), {"size": 64, "until": "20 epochs"}),
    "fashion_mnist, mlp": (lambda: mlp("fashion_mnist", 128), {"size": 128, "until": "1 epoch"}),
    "shakespeare, transformer": (lambda: shakespeare().with_(lr=3e-3), {"size": 64, "until": "150 updates"}),
}


def of_task(name: str, seeds: int) -> list[dict[str, Any]]:
    make, how = TASKS[name]
    found = []
    for precision in PRECISIONS:
        assembly = assemble(make().with_(precision=precision))
        runs = [ladle.fit(assembly, seed=seed, **how) for seed in range(seeds)]
        print(f"{name}, {precision}: trained", flush=True)  # In half precision a processor takes its time.
        noise = ladle.fit(assembly, micro_size=how["size"] // 4, **how).final
        spec = ladle.BatchSpec(how["size"], how["size"])
        probe = assembly.engine.probe(assembly.feed(0), spec, hyper=dict(assembly.optimizer.hyper))
        found.append(
            {
                "task": name,
                "precision": precision,
                "valid_loss": [run.final["valid_loss"] for run in runs],
                "skipped": [run.final.get("skipped", 0.0) for run in runs],
                "noise_scale": [noise.get(f"noise_scale{end}") for end in ("_low", "", "_high")],
                "bytes": probe.memory_bytes(spec),
                "seconds": statistics.median(probe.seconds(spec, 5).tolist()),
            }
        )
    plain = found[0]
    spread = statistics.stdev(plain["valid_loss"]) if seeds > 1 else float("nan")
    for row in found:
        apart = statistics.fmean(row["valid_loss"]) - statistics.fmean(plain["valid_loss"])
        low, _, high = plain["noise_scale"]
        within = None if low is None else low <= row["noise_scale"][1] <= high
        row |= {"apart": apart, "spread": spread, "loss_within": abs(apart) <= spread, "noise_within": within}
    return found


def main(quick: bool) -> None:
    names = list(TASKS)[:1] if quick else list(TASKS)
    found = []
    for name in names:
        found += of_task(name, SEEDS)
        print(f"{name}: done", flush=True)
    print(headline())
    rows = [
        [
            row["task"], row["precision"], f"{statistics.fmean(row['valid_loss']):.4f}", f"{row['apart']:+.5f}",
            f"{row['spread']:.5f}", "yes" if row["loss_within"] else "NO", str(row["noise_within"]),
            f"{row['bytes'] / 2**20:.1f}", f"{1e3 * row['seconds']:.2f}",
        ]
        for row in found
    ]  # fmt: skip
    header = ["task", "precision", "valid loss", "to f32", "sd of seeds", "within", "noise within", "MiB", "ms"]
    print(table(header, rows), end="\n\n")
    print(save("precision", quick=quick, n=SEEDS, runs=found))


if __name__ == "__main__":
    main(arguments(__doc__).quick)
