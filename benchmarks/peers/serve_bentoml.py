"""BentoML by hand: batches of 64, 100 ms at most. `bentoml serve serve_bentoml:Model --port N`"""

from __future__ import annotations

from typing import Any

import bentoml
from serve_model import MOST, ByHand


@bentoml.service(workers=1, traffic={"timeout": 10}, logging={"access": {"enabled": False}})
class Model:
    def __init__(self) -> None:
        self.model = ByHand()

    @bentoml.api(batchable=True, max_batch_size=MOST, max_latency_ms=100, route="/predict")
    def predict(self, rows: list[list[float]]) -> list[dict[str, Any]]:
        return self.model(rows)
