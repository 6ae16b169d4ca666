"""Fashion-MNIST, 60,000 training images, MLP 784-256-10, batches of 64, Adam 1e-3: seconds per whole epoch.

Claims: ladle, through its public API with records and checkpoints on, takes at most 1.15 times what a hand-written JAX
program takes (one compiled scan an epoch); it is at least 8 times faster than PyTorch with a DataLoader, and faster
than a tight PyTorch loop, Keras 3 on JAX and scikit-learn; its model is right on at least 88 % of the 10,000 test
images within 10 epochs.

    python benchmarks/fashion_mlp.py [--quick] [--only NAME ...]        (LADLE_DATA names the folder of data sets)

Hardware and every sample: `results/fashion_mlp.json`. n = 5 interleaved repetitions.
Each program lives in a process of its own (`peers/fashion.py`) and trains afresh in each repetition. The first epoch of
each training is left out (it compiles, touches memory first); it is reported apart. A repetition's value is the mean of
the epochs after the first: three of them for the fast programs, one for the slow ones. The closest claim, that against
the scan, is about a tenth, and the machine moves more than that between two repetitions: this pair is repeated four
times as often, by itself. Everybody trains on all 60,000
rows and nobody evaluates, so no row is held out for validation (`valid=0`). PyTorch is run as it comes and with one
thread: on a machine with other work its thread pool can cost it a factor of ten.
"""

from __future__ import annotations

import statistics
from functools import partial
from typing import Any

from peers.fashion import PROGRAMS, accuracy
from timing import arguments, headline, interleave, ratio, save, serve, show, spread, table, workers

SLOW = ("torch_loader", "torch_loader, 1 thread", "keras", "sklearn")
EPOCHS, SEEDS = 10, 3
NEEDED = ("ladle", "jax_scan")


def answer(worker: str, epochs: int = 0, seed: int | None = None) -> list[float] | float:
    return PROGRAMS[worker](epochs) if seed is None else accuracy(seed, epochs)


Laps = dict[str, list[Any]]


def measure(names: tuple[str, ...], *, repeats: int, fast: int, seeds: int) -> tuple[Laps, Laps, list[float]]:
    """Laps of every training, more of the closest pair, and ladle's test accuracy by seed."""
    epochs = {name: 1 + (1 if name in SLOW else fast) for name in names}
    with workers(__file__, names, KERAS_BACKEND="jax") as alive:
        programs = {name: partial(alive[name], epochs=epochs[name]) for name in names}
        laps = interleave(programs, repeats)
        pair = interleave({name: programs[name] for name in NEEDED}, 4 * repeats)
        return laps, pair, [alive["ladle"](epochs=EPOCHS, seed=seed) for seed in range(seeds)]


def means(laps: Laps) -> dict[str, list[float]]:
    """Seconds per epoch of each repetition, the first epoch left out."""
    return {name: [statistics.fmean(lap[1:]) for lap in of] for name, of in laps.items()}


def compared(epoch: dict[str, list[float]], pair: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    """ladle over the hand-written scan; all others over ladle."""
    others = [name for name in epoch if name not in NEEDED]
    scan = {"ladle / jax_scan": ratio(pair["ladle"], pair["jax_scan"])}
    return scan | {f"{name} / ladle": ratio(epoch[name], epoch["ladle"]) for name in others}


def show_pair(often: dict[str, list[float]]) -> str:
    return ", ".join(f"{name} {show(spread(of))}" for name, of in often.items())


def main(quick: bool, names: tuple[str, ...]) -> None:
    repeats = 2 if quick else 5
    laps, pair, right = measure(names, repeats=repeats, fast=1 if quick else 3, seeds=1 if quick else SEEDS)
    epoch, often = means(laps), means(pair)
    first, ratios = {name: of[0][0] for name, of in laps.items()}, compared(epoch, often)
    print(headline())
    rows = [[name, show(spread(of)), f"{first[name]:.3g}"] for name, of in epoch.items()]
    print(table(["program", "seconds per epoch", "very first epoch"], rows), end="\n\n")
    print(table(["ratio", "median (low - high)"], [[name, show(of)] for name, of in ratios.items()]), end="\n\n")
    print(f"test accuracy of ladle after {EPOCHS} epochs: {', '.join(f'{value:.4f}' for value in right)}")
    print(f"seconds per epoch of the pair, {4 * repeats} repetitions: " + show_pair(often), end="\n\n")
    found = {
        "ratios": ratios,
        "seconds_per_epoch": epoch,
        "pair_seconds_per_epoch": often,
        "first_epoch_seconds": first,
        "test_accuracy": right,
    }
    partial_look = len(names) < len(PROGRAMS)
    print(save("fashion_mlp", quick=quick or partial_look, n=repeats, **found, samples=laps))


if __name__ == "__main__":
    options = arguments(__doc__)
    if options.worker:
        serve(partial(answer, options.worker))
    else:
        main(options.quick, tuple(name for name in PROGRAMS if not options.only or name in (*options.only, *NEEDED)))
