"""Rounds of federated training simulated in one program, beside Flower's simulation and its processes for each client.

Claim: the same accuracy of 2,000 test images after every round, to the digit, for the same clients and keys; and a
round at least 50 times as fast as one that Flower simulates.

    FLOWER=PYTHON FLOWER_SIMULATION=PYTHON python benchmarks/federated.py [--quick]

Both are interpreters with ladle, this one where nothing is said: one with flwr, one with flwr[simulation], whose pins
leave no room for each other. Each repetition is another seed: 20 clients of 200 rows, an MLP 64-64-10, 10 rounds,
evaluation included, one program after the other: `recipes/federated_flower.py` (the simulation here, then Flower's
server with a process for each client) and `peers/flower_simulation.py`. The time of a round is the median from the
second on; a ratio is within a repetition. Flower passes messages between processes, which is its point, and here the
processes share the machine's cores. Hardware and every sample: `results/federated.json`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from timing import arguments, headline, ratio, save, show, spread, table

HERE = Path(__file__).resolve().parent
RECIPES = HERE.parent / "recipes"


NAMES = ("simulated", "flower", "flower simulation")


def measure(seed: int, rounds: int, clients: int) -> dict[str, Any]:
    """All with this seed: accuracy after each round, and seconds of one."""
    python = os.environ.get("FLOWER", sys.executable)
    asked = ["--seed", str(seed), "--until", f"{rounds} rounds", "--clients", str(clients)]
    program = f"import json; from federated_flower import main; print(json.dumps(main({asked!r})))"
    done = subprocess.run([python, "-c", program], cwd=RECIPES, stdout=subprocess.PIPE, text=True, check=True)
    python = os.environ.get("FLOWER_SIMULATION", sys.executable)
    asked = ["--seed", str(seed), "--rounds", str(rounds), "--clients", str(clients)]
    there = subprocess.run(
        [python, HERE / "peers" / "flower_simulation.py", *asked], stdout=subprocess.PIPE, text=True, check=True
    )
    theirs = json.loads(there.stdout.splitlines()[-1])
    found = json.loads(done.stdout.splitlines()[-1])
    return {**found, "flower simulation": theirs["accuracy"], "flower simulation_seconds": theirs["seconds"]}


def main() -> None:
    options = arguments(__doc__)
    print(headline())
    repeats, rounds, clients = (1, 3, 4) if options.quick else (3, 10, 20)
    found = [measure(seed, rounds, clients) for seed in range(repeats)]
    seconds = {name: [one[f"{name}_seconds"] for one in found] for name in NAMES}
    shown = sorted({3, rounds})
    rows = [
        (name, *("; ".join(f"{one[name][at - 1]:.4f}" for one in found) for at in shown),
         show(spread([1e3 * value for value in seconds[name]])))
        for name in seconds
    ]  # fmt: skip
    print(table(["program", *(f"accuracy after round {at}" for at in shown), "ms a round"], rows))
    times = {name: ratio(seconds[name], seconds["simulated"]) for name in NAMES[1:]}
    alike = all(one["simulated"] == one[name] for one in found for name in NAMES[1:])
    print(*(f"{name} / simulated: {show(value)}" for name, value in times.items()), sep="; ")
    print(f"The aim is 50 times Flower's simulation. Accuracy after every round {'the same' if alike else 'not'}")
    print(save("federated", quick=options.quick, times=times, alike=alike, samples=found))


if __name__ == "__main__":
    main()
