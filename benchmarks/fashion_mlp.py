"""Fashion-MNIST, 60,000 training images, MLP 784-256-10, batches of 64, Adam 1e-3: seconds per whole epoch.

Claims: ladle, through its public API with records and checkpoints on, takes at most 1.15 times what a hand-written JAX
program takes (one compiled scan an epoch); it is at least 8 times faster than PyTorch with a DataLoader, and faster
than a tight PyTorch loop, Keras 3 on JAX and scikit-learn; its model is right on at least 88 % of the 10,000 test
images within 10 epochs.

    python benchmarks/fashion_mlp.py [--quick]        (LADLE_DATA names the folder of data sets)

Hardware and every sample: `results/fashion_mlp.json`. n = 5 interleaved repetitions.
Each program lives in a process of its own (`peers/fashion.py`) and trains afresh in each repetition. The first epoch of
each training is left out (it compiles, touches memory first); it is reported apart. A repetition's value is the mean of
the epochs after the first: three of them for the fast programs, one for the slow ones. Everybody trains on all 60,000
rows and nobody evaluates, so no row is held out for validation (`valid=0`). PyTorch is run as it comes and with one
thread: on a machine with other work its thread pool can cost it a factor of ten.
"""

from __future__ import annotations

import statistics
from functools import partial

from peers.fashion import PROGRAMS, accuracy
from timing import arguments, headline, interleave, ratio, save, serve, show, spread, table, workers

SLOW = ("torch_loader", "torch_loader, 1 thread", "keras", "sklearn")
EPOCHS, SEEDS = 10, 3


def answer(worker: str, epochs: int = 0, seed: int | None = None) -> list[float] | float:
    return PROGRAMS[worker](epochs) if seed is None else accuracy(seed, epochs)


def main(quick: bool) -> None:
    repeats, fast = (2, 1) if quick else (5, 3)
    with workers(__file__, tuple(PROGRAMS), KERAS_BACKEND="jax") as alive:
        laps = interleave(
            {name: partial(alive[name], epochs=1 + (1 if name in SLOW else fast)) for name in alive}, repeats
        )
        right = [alive["ladle"](epochs=EPOCHS, seed=seed) for seed in range(1 if quick else SEEDS)]
    epoch = {name: [statistics.fmean(lap[1:]) for lap in of] for name, of in laps.items()}
    first = {name: of[0][0] for name, of in laps.items()}
    ratios = {
        "ladle / jax_scan": ratio(epoch["ladle"], epoch["jax_scan"]),
        **{
            f"{name} / ladle": ratio(of, epoch["ladle"])
            for name, of in epoch.items()
            if name not in ("ladle", "jax_scan")
        },
    }
    print(headline())
    rows = [[name, show(spread(of)), f"{first[name]:.3g}"] for name, of in epoch.items()]
    print(table(["program", "seconds per epoch", "very first epoch"], rows), end="\n\n")
    print(table(["ratio", "median (low - high)"], [[name, show(of)] for name, of in ratios.items()]), end="\n\n")
    print(f"test accuracy of ladle after {EPOCHS} epochs: {', '.join(f'{value:.4f}' for value in right)}")
    print(
        save(
            "fashion_mlp", quick=quick, n=repeats, ratios=ratios, seconds_per_epoch=epoch, first_epoch_seconds=first,
            test_accuracy=right, samples=laps,
        )
    )  # fmt: skip


if __name__ == "__main__":
    options = arguments(__doc__)
    if options.worker:
        serve(partial(answer, options.worker))
    else:
        main(options.quick)
