"""A market that drifts, learnt as it goes, beside river's models on the same events in the same order.

    LADLE_DATA=FOLDER python recipes/online_elec2.py [--peer] [--sizes] [--seed 0] [--until TEXT] [--out FOLDER]

elec2: 45,312 half hours of the market of New South Wales in time order: is the price above its mean of a day? Two
columns more are known by then: the class before, and how much the price rose. Prequential accuracy, seeds 0, 1, 2, and
events a second of processor time; the first 8,000 events with --peer, all models in the same run:

    ladle, batches of 4        93.04, 92.74, 92.89 %      2,100 to 2,800
    leveraging bagging         92.36, 92.49, 92.55 %        700
    adaptive random forest     92.29, 91.92, 92.22 %      1,300
    logistic regression        91.88 %                  115,000
    Hoeffding adaptive tree    90.44, 90.05, 90.60 %     14,000

The whole stream: ladle 91.37, 90.91, 90.98 %, 1,700 to 2,000 events a CPU-second; river's best two with seed 0, each in
a run of its own: leveraging bagging 91.06 %, adaptive random forest 90.81 %; logistic regression 89.82 %.

An MLP in batches of four events by plain SGD at 0.1; river's models as river makes them. Optimiser and rate were chosen
on the first 8,000 events of seed 0: there Adam at 0.002 is 91.25, Adagrad at 0.03 92.44, SGD 93.04 %. Sizes of the
whole stream (--sizes, seed 0, the better of two rates, no answer to drift): 4 91.32 %, 16 90.60, 64 89.96, 256 89.06,
1,024 86.11: an event in a larger batch is judged by an older model, and learnt in fewer steps. The answer to drift
(ADWIN, batches shrink) is worth no more than seeds differ by. Half a minute of CPU time for the whole stream, with
--peer two minutes.
"""

from __future__ import annotations

import argparse
import csv
import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import ladle

FILE, TARGET = "electricity/elec.csv", "class"
HOW: dict[str, Any] = {
    "size": 4, "optimizer": "sgd", "lr": 0.1, "drift": "adwin", "on_drift": "shrink", "smallest": 1, "hold": 2000,
}  # fmt: skip


def with_lags(source: Path, made: Path) -> Path:
    """The table with two columns more that are known by then: the class before, and how much the price rose since."""
    header, *rows = [line.split(",") for line in source.read_text().split()]
    price = header.index("nswprice")
    lines = [
        ",".join([*row, last[-1], f"{float(row[price]) - float(last[price]):.6f}"])
        for last, row in zip([rows[0], *rows], rows, strict=False)
    ]
    made.write_text("\n".join([",".join([*header, "before", "rise"]), *lines, ""]))
    return made


def peers(seed: int) -> dict[str, Callable[[], Any]]:
    """river's models: its best two on such streams, and two that are fast."""
    from river import ensemble, forest, linear_model, preprocessing, tree  # pyright: ignore[reportMissingImports]

    hoeffding = tree.HoeffdingTreeClassifier
    return {
        "logistic regression": lambda: preprocessing.StandardScaler() | linear_model.LogisticRegression(),
        "Hoeffding adaptive tree": lambda: tree.HoeffdingAdaptiveTreeClassifier(seed=seed),
        "leveraging bagging": lambda: ensemble.LeveragingBaggingClassifier(hoeffding(), n_models=10, seed=seed),
        "adaptive random forest": lambda: forest.ARFClassifier(n_models=10, seed=seed),
    }


def judged(file: Path, target: str, count: int, model: Any) -> tuple[float, float]:
    """Prequential accuracy of a model of river's on the first `count` events, and events a second of processor time."""
    with file.open(newline="") as lines:
        rows = [row for row, _ in zip(csv.DictReader(lines), range(count), strict=False)]
    events = [({name: float(x) for name, x in row.items() if name != target}, int(row[target])) for row in rows]
    right, begun = 0, time.process_time()
    for x, y in events:
        right += model.predict_one(x) == y
        model.learn_one(x, y)
    return right / len(events), len(events) / (time.process_time() - begun)


def sizes(
    file: Path, target: str, seed: int, until: str | None, rates: Mapping[int, Sequence[float]], **how: Any
) -> None:
    """What the batch size does: a table of sizes, each at the best of a few rates."""
    print("size  rate   prequential accuracy  events/s")
    for size, tried in rates.items():
        runs = {lr: ladle.online(file, target=target, size=size, lr=lr, seed=seed, until=until, **how) for lr in tried}
        lr, best = max(runs.items(), key=lambda one: one[1].prequential["accuracy"])
        print(f"{size:>4}  {lr:<5g}  {best.prequential['accuracy']:>20.2%}  {best.events_per_second:>8,.0f}")
    plan = ladle.plan(best.run.assembly.task, seed=seed)
    print(f"plan: {plan.size}, as if the same events came again and again ({plan.bound}); {plan.noise}")


def learnt(file: Path, target: str, given: Any, how: Mapping[str, Any]) -> dict[str, Any]:
    """Learn the stream, and with `--peer` let river's models learn it too."""
    words = {"target": target, "seed": given.seed, "until": given.until, "out": given.out}
    ladle.online(file, target=target, until=f"{how['size']} examples", **how)  # Compiles, so that it is not timed.
    begun = time.process_time()
    done = ladle.online(file, **words, **how)
    events, busy = done.run.final["examples"], time.process_time() - begun
    found: dict[str, Any] = {
        "accuracy": done.prequential["accuracy"],
        "window": done.prequential["accuracy_window"],
        "events": events,
        "events_per_second": events / busy,
        "decisions": len(done.decisions),
        "updates": done.run.final["updates"],
    }
    own = f"ladle, batches of {how['size']}"
    print(f"{own:<31} {found['accuracy']:.2%}  {events / busy:>7,.0f} events a CPU-second")
    for name, make in peers(given.seed).items() if given.peer else ():
        accuracy, speed = judged(file, target, events, make())
        found |= {name: accuracy, f"{name}, events a CPU-second": speed}
        print(f"{'river, ' + name:<31} {accuracy:.2%}  {speed:>7,.0f} events a CPU-second")
    for at, reason in done.decisions[:4]:
        print(f"{at:,}: {reason}")
    print(f"{found['decisions']} decisions in {events:,} events")
    return found


def asked(args: Sequence[str] | None, name: str, words: str, file: str) -> Any:
    """The command line of an online recipe; ends with one line where the data is not there."""
    parser = argparse.ArgumentParser(prog=name, description=words)
    parser.add_argument("--data", default=os.environ.get("LADLE_DATA", ""), help=f"folder with {file}")
    parser.add_argument("--until", help="where to end before the stream does")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", help="run folder to write")
    parser.add_argument("--peer", action="store_true", help="river's models beside it")
    parser.add_argument("--sizes", action="store_true", help="what the batch size does")
    given = parser.parse_args(args)
    if not given.data or not Path(given.data, file).is_file():
        remedy = "try --data FOLDER, or LADLE_DATA=FOLDER"
        parser.exit(2, f"{parser.prog}: data must hold {file}; got {given.data!r}; {remedy}\n")
    given.file = Path(given.data, file)
    return given


def main(args: Sequence[str] | None = None) -> dict[str, Any]:
    given = asked(args, Path(__file__).name, (__doc__ or "").partition("\n")[0], FILE)
    with tempfile.TemporaryDirectory() as made:
        file = with_lags(given.file, Path(made, "elec2.csv"))
        if given.sizes:
            rates = {4: (0.03, 0.1), 16: (0.03, 0.1), 64: (0.1, 0.3), 256: (0.3, 1.0), 1024: (0.3, 1.0)}
            sizes(file, TARGET, given.seed, given.until, rates, optimizer="sgd")
        return learnt(file, TARGET, given, HOW)


if __name__ == "__main__":
    main()
