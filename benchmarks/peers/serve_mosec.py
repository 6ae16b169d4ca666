"""mosec by hand: batches of 64, 1 ms of waiting, no controller. `python serve_mosec.py --port N`"""

from __future__ import annotations

from typing import Any

from mosec import Server, Worker
from serve_model import MOST, WAIT_MS, ByHand


class Model(Worker):
    def __init__(self) -> None:
        super().__init__()
        self.model = ByHand()

    def forward(self, data: list[Any]) -> list[Any]:
        return self.model(data)


if __name__ == "__main__":
    server = Server()
    server.append_worker(Model, max_batch_size=MOST, max_wait_time=WAIT_MS, route="/predict")
    server.run()
