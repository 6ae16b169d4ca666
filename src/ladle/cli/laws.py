"""`ladle laws`."""

from __future__ import annotations

from dataclasses import dataclass

from ladle.cli.common import print_json


@dataclass(frozen=True, kw_only=True)
class LawsVerb:
    """Batch sizes for a language model by every published law, side by side: a spread, not a plan. Computes only."""

    parameters: float
    """Weights of the model, such as 5e8."""
    tokens: float
    """Tokens it will be trained on, such as 1e10."""
    loss: float | None = None
    """Cross entropy in nats a token, for the law that depends on it."""
    length: int = 512
    """Tokens in your sequences: turns tokens into sequences."""
    json: bool = False
    """One JSON object on standard output and nothing else."""

    def run(self) -> int:
        from ladle.planner.laws import batch_size_spread

        found = batch_size_spread(self.parameters, self.tokens, self.loss, self.length)
        if self.json:
            print_json(found.to_json())
        else:
            print(found)
        return 0
