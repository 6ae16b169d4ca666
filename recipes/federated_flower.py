"""Clients of their own: Flower's server and a process for each client, beside the simulation of the same clients.

    LADLE_DATA=FOLDER python recipes/federated_flower.py [--until "10 rounds"] [--clients 20] [--seed 0] [--data FOLDER]

MNIST, 4,000 images shrunk to 8 x 8, dealt evenly to 20 clients, an MLP 64-64-10, plain SGD, batches of 20, one pass a
round; judged on the first 2,000 test images after every round. Flower (`pip install flwr`, in an environment of its own
with ladle, for its pins are narrow) runs its server here, on a free port of this machine alone, and 20 processes that
each read their own 200 rows and train them by `ladle.FederatedClient`. They end with the program.

Accuracy after rounds 3 and 10, of both, to the digit, seeds 0, 1, 2: 42.90, 57.10 %; 42.75, 64.25 %; 41.45, 58.30 %. A
round takes 2.7 ms simulated, 49 ms by Flower's processes, and 409 ms in its own simulation (`benchmarks/federated.py`).
One run took 46 s of processor time, most of it 20 processes that begin.
"""

from __future__ import annotations

import argparse
import logging
import os
import re
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from federated_images import folder_of, read

import ladle

ROWS, TESTED, SIDE, SIZE, LR = 200, 2_000, 8, 20, 0.1


def task_of(folder: Path, clients: int, own: int | None = None) -> ladle.Task:
    """The task of all clients together, or of one: the test images are everybody's, and hold all ten classes."""
    x, y = read(folder, "train", ROWS * clients, SIDE)
    rows = slice(None) if own is None else ladle.federated.even(len(x), clients)[own]
    data = ladle.data.arrays(x[rows], y[rows], valid=read(folder, "t10k", TESTED, SIDE), name="mnist")
    return ladle.Task(ladle.models.mlp(SIDE**2, 64, 10), ladle.losses.cross_entropy, data, optimizer="sgd", lr=LR)


def simulated(folder: Path, clients: int, rounds: int, seed: int) -> tuple[list[float], float]:
    """Accuracy after each round, and seconds of one: the median, evaluation included."""
    task = task_of(folder, clients)
    parts, accuracy, ends = ladle.federated.even(task.data.rows, clients), [], []

    class Screen:
        def append(self, line: dict[str, Any]) -> None:
            accuracy.append(line["valid_accuracy"])
            ends.append(time.perf_counter())

        def message(self, text: str) -> None: ...

    ladle.federate(task, parts, rounds=rounds, size=SIZE, seed=seed, show=Screen())
    return accuracy[1:], statistics.median(np.diff(ends)[1:])


def be_client(folder: Path, clients: int, number: int, seed: int, address: str) -> None:
    """One client: connects to the server at `address`, and trains when it is asked to."""
    import flwr  # pyright: ignore[reportMissingImports]

    logging.getLogger("flwr").setLevel(logging.ERROR)
    trainer = ladle.FederatedClient(task_of(folder, clients, number), number=number, size=SIZE, seed=seed)

    class Client(flwr.client.NumPyClient):
        def fit(self, parameters: list[np.ndarray], config: dict[str, Any]) -> tuple[list[np.ndarray], int, dict]:
            return *trainer.train(parameters, int(config["round"])), {}

    flwr.client.start_client(server_address=address, client=Client().to_client())


def flowered(folder: Path, clients: int, rounds: int, seed: int) -> tuple[list[float], float]:
    """The same of Flower's server and processes of their own."""
    import flwr  # pyright: ignore[reportMissingImports]
    from flwr.server.strategy import FedAvg  # pyright: ignore[reportMissingImports]

    logging.getLogger("flwr").setLevel(logging.ERROR)
    judge = ladle.FederatedClient(task_of(folder, clients), number=0, size=SIZE, seed=seed)
    tested, accuracy, ends = judge.assembly.valid, [], []

    def judged(number: int, weights: list[np.ndarray], config: dict[str, Any]) -> tuple[float, dict[str, float]]:
        found = judge.evaluate(weights, tested)
        accuracy.append(found["accuracy"])
        ends.append(time.perf_counter())
        return found["loss"], {}

    strategy = FedAvg(
        fraction_evaluate=0.0, min_fit_clients=clients, min_available_clients=clients, evaluate_fn=judged,
        on_fit_config_fn=lambda number: {"round": number - 1},
        initial_parameters=flwr.common.ndarrays_to_parameters(judge.weights()),
    )  # fmt: skip
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [sys.executable, __file__, "--data", str(folder.parent), "--clients", str(clients), "--seed", str(seed)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    begun = [subprocess.Popen([*command, "--be", f"{n} {address}"], **quiet) for n in range(clients)]
    try:
        config = flwr.server.ServerConfig(num_rounds=rounds)
        flwr.server.start_server(server_address=address, config=config, strategy=strategy)
    finally:
        for one in begun:
            one.terminate()
        for one in begun:
            one.wait()
    return accuracy[1:], statistics.median(np.diff(ends)[1:])


def main(args: Sequence[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", default=os.environ.get("LADLE_DATA", ""), help="folder with mnist/")
    parser.add_argument("--until", default="10 rounds")
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--be", help=argparse.SUPPRESS)
    given = parser.parse_args(args)
    folder = folder_of(given.data, parser, "federated_flower.py")
    os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
    if given.be:
        number, address = given.be.split()
        be_client(folder, given.clients, int(number), given.seed, address)
        return {}
    rounds = re.fullmatch(r"(\d+) rounds?", given.until)
    if rounds is None or int(rounds[1]) < 3:
        why, remedy = "a time is read off the third on", "'10 rounds'"
        be = f"until must be 3 rounds or more; got {given.until!r}; because {why}; try {remedy}"
        parser.exit(2, f"federated_flower.py: {be}\n")
    try:
        import flwr  # noqa: F401  # pyright: ignore[reportMissingImports]
    except ModuleNotFoundError:
        remedy = "pip install flwr, in an environment of its own"
        parser.exit(2, f"federated_flower.py: flwr must be installed; got none; try {remedy}\n")
    how = folder, given.clients, int(rounds[1]), given.seed
    (mine, mine_seconds), (theirs, theirs_seconds) = simulated(*how), flowered(*how)
    for number in sorted({3, 10, len(mine)} & set(range(1, len(mine) + 1))):
        print(f"round {number:>3}: simulated {mine[number - 1]:.4f}, Flower {theirs[number - 1]:.4f}")
    print(f"a round: simulated {1e3 * mine_seconds:.1f} ms, Flower {1e3 * theirs_seconds:.0f} ms, evaluation included")
    return {
        "simulated": mine,
        "flower": theirs,
        "simulated_seconds": mine_seconds,
        "flower_seconds": theirs_seconds,
        "times": theirs_seconds / mine_seconds,
    }


if __name__ == "__main__":
    main()
