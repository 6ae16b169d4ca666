"""LitServe by hand: batches of 64, 1 ms of waiting. `python serve_litserve.py PORT`"""

from __future__ import annotations

import sys
from typing import Any

import litserve
from serve_model import MOST, WAIT_MS, ByHand


class Model(litserve.LitAPI):
    def setup(self, device: str) -> None:
        self.model = ByHand()

    def decode_request(self, request):  # With a type it would be looked for among the query's words.
        return request

    def batch(self, inputs: list[Any]) -> list[Any]:
        return inputs

    def predict(self, x: list[Any]) -> list[Any]:
        return self.model(x)

    def unbatch(self, output: list[Any]) -> list[Any]:
        return output

    def encode_response(self, output: Any) -> Any:
        return output


if __name__ == "__main__":
    api = Model(max_batch_size=MOST, batch_timeout=WAIT_MS / 1e3)
    server = litserve.LitServer(api, accelerator="cpu")
    server.run(host="127.0.0.1", port=int(sys.argv[1]), log_level="error", generate_client_file=False)
