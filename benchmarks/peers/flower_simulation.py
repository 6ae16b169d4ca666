"""Flower's own simulation (its `run_simulation`, on Ray) of the clients of `recipes/federated_flower.py`: one line of
JSON, the accuracy after each round and the seconds of one.

    python flower_simulation.py --rounds 10 --clients 20 --seed 0        needs `pip install "flwr[simulation]"`

Each actor of Ray's has a core and keeps the clients that it has met, so that a client is compiled and its rows are
read once. The time of a round is the median from the second on, evaluation included.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

RECIPES = str(Path(__file__).resolve().parents[2] / "recipes")
sys.path.insert(0, RECIPES)
MET: dict[tuple[int, int], Any] = {}
"""Trainers of clients that this process has met, by number and seed."""


def trainer(number: int, clients: int, seed: int) -> Any:
    from federated_flower import SIZE, task_of
    from federated_images import folder_of

    import ladle

    if (number, seed) not in MET:
        folder = folder_of(os.environ["LADLE_DATA"], argparse.ArgumentParser(), "flower_simulation.py")
        MET[number, seed] = ladle.FederatedClient(task_of(folder, clients, number), number=number, size=SIZE, seed=seed)
    return MET[number, seed]


def run(rounds: int, clients: int, seed: int) -> dict[str, Any]:
    from flwr.client import ClientApp, NumPyClient  # pyright: ignore[reportMissingImports]
    from flwr.common import Context, ndarrays_to_parameters  # pyright: ignore[reportMissingImports]
    from flwr.server import ServerApp, ServerAppComponents, ServerConfig  # pyright: ignore[reportMissingImports]
    from flwr.server.strategy import FedAvg  # pyright: ignore[reportMissingImports]
    from flwr.simulation import run_simulation  # pyright: ignore[reportMissingImports]

    logging.getLogger("flwr").setLevel(logging.ERROR)
    accuracy: list[float] = []
    ends: list[float] = []

    class Client(NumPyClient):
        def __init__(self, number: int) -> None:
            self.number = number

        def fit(self, parameters: list[np.ndarray], config: dict[str, Any]) -> tuple[list[np.ndarray], int, dict]:
            import flower_simulation  # The module of the process, not a copy that travelled.

            one = flower_simulation.trainer(self.number, clients, seed)
            return *one.train(parameters, int(config["round"])), {}

    def client_of(context: Context) -> Any:
        return Client(int(context.node_config["partition-id"])).to_client()

    judge = trainer(0, clients, seed)
    tested = judge.assembly.valid

    def judged(number: int, weights: list[np.ndarray], config: dict[str, Any]) -> tuple[float, dict[str, float]]:
        found = judge.evaluate(weights, tested)
        accuracy.append(found["accuracy"])
        ends.append(time.perf_counter())
        return found["loss"], {}

    def server_of(context: Context) -> Any:
        strategy = FedAvg(
            fraction_evaluate=0.0, min_fit_clients=clients, min_available_clients=clients, evaluate_fn=judged,
            on_fit_config_fn=lambda number: {"round": number - 1},
            initial_parameters=ndarrays_to_parameters(judge.weights()),
        )  # fmt: skip
        return ServerAppComponents(strategy=strategy, config=ServerConfig(num_rounds=rounds))

    run_simulation(
        server_app=ServerApp(server_fn=server_of), client_app=ClientApp(client_fn=client_of), num_supernodes=clients,
        backend_config={"client_resources": {"num_cpus": 1, "num_gpus": 0.0}},
    )  # fmt: skip
    return {"accuracy": accuracy[1:], "seconds": statistics.median(np.diff(ends)[1:])}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    os.environ["FLWR_TELEMETRY_ENABLED"] = os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    here = str(Path(__file__).resolve().parent)
    os.environ["PYTHONPATH"] = os.pathsep.join([here, RECIPES, os.environ.get("PYTHONPATH", "")])
    print(json.dumps(run(given.rounds, given.clients, given.seed)))


if __name__ == "__main__":
    main()
