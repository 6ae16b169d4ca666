"""Rounds of federated training simulated in one program, beside Flower with a process for each client.

Claim: the same accuracy of 2,000 test images after rounds 3 and 10, to the digit, for the same clients and keys; and at
least 50 times as fast a round.

    FLOWER=PYTHON python benchmarks/federated.py [--quick]

PYTHON is an interpreter with flwr (its pins are narrow) and ladle: this one where nothing is said. Each repetition
is `recipes/federated_flower.py` with another seed: 20 clients of 200 rows, an MLP 64-64-10, 10 rounds, evaluation
included, both in turn in one program. The time of a round is the median from the second on; a ratio is within a
repetition. Flower passes messages between processes, which is its point, and here the processes share the machine's
cores. Hardware and every sample: `results/federated.json`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from timing import arguments, headline, ratio, save, show, spread, table

RECIPES = Path(__file__).resolve().parents[1] / "recipes"


def measure(seed: int, rounds: int, clients: int) -> dict[str, Any]:
    """Both with this seed: accuracy after each round, and seconds of one."""
    python = os.environ.get("FLOWER", sys.executable)
    asked = ["--seed", str(seed), "--until", f"{rounds} rounds", "--clients", str(clients)]
    program = f"import json; from federated_flower import main; print(json.dumps(main({asked!r})))"
    done = subprocess.run([python, "-c", program], cwd=RECIPES, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    options = arguments(__doc__)
    print(headline())
    repeats, rounds, clients = (1, 3, 4) if options.quick else (3, 10, 20)
    found = [measure(seed, rounds, clients) for seed in range(repeats)]
    seconds = {name: [one[f"{name}_seconds"] for one in found] for name in ("simulated", "flower")}
    shown = sorted({3, rounds})
    rows = [
        (name, *("; ".join(f"{one[name][at - 1]:.4f}" for one in found) for at in shown),
         show(spread([1e3 * value for value in seconds[name]])))
        for name in seconds
    ]  # fmt: skip
    print(table(["program", *(f"accuracy after round {at}" for at in shown), "ms a round"], rows))
    times = ratio(seconds["flower"], seconds["simulated"])
    alike = all(one["simulated"] == one["flower"] for one in found)
    print(
        f"Flower / simulated: {show(times)}; the aim is 50. Accuracy after every round {'the same' if alike else 'not'}"
    )
    print(save("federated", quick=options.quick, times=times, alike=alike, samples=found))


if __name__ == "__main__":
    main()
