"""`ladle rehearse`."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ladle.cli.arguments import PolicyText
from ladle.cli.common import print_json, rate_from
from ladle.core import record


@dataclass(frozen=True)
class RehearseVerb:
    """Play batch-size policies on an exact noisy quadratic, beside the constant sizes. Trains nothing; seconds."""

    policy: PolicyText = field(kw_only=True)
    """As for --schedule: "constant", "geometric 32..1024 x2 every 2 epochs", "grow 64 x5 at 10ep 20ep max 2048", ..."""
    against: tuple[str, ...] = ()
    """More policies to play beside it."""
    size: int | None = None
    """Size of "constant" (default 64, or the plan's)."""
    lr: str = "auto"
    """auto (the best of a sweep, for every policy), or the rate at the first size."""
    until: str = "loss <= 0.05"
    """When to end; the loss is 1 at the start. "loss <= 0.05", "1e6 examples", "5000 steps", "60 s", or several."""
    noise_scale: float | None = None
    """Gradient noise scale at the start, in examples (default 800, or the plan's)."""
    dimension: int = 1000
    """Coordinates of the quadratic."""
    exponent: float = 1.0
    """Curvature i^-exponent, noise in proportion."""
    momentum: float = 0.0
    """Heavy-ball momentum."""
    fixed_seconds: float | None = None
    """Seconds of an update apart from its examples (default 1e-3)."""
    per_example_seconds: float | None = None
    """Seconds of an example (default 5e-6)."""
    plan: Path | None = None
    """plan.json (or its folder) of `ladle plan`: hardware line, noise scale and size as measured."""
    rule: Literal["none", "linear", "square root"] = "linear"
    """How the rate follows the size, for policies that do not say it themselves."""
    epoch: int = 50_000
    """Examples in an epoch, for positions such as 10ep."""
    window: int = 4096
    """Examples between two decisions."""
    micro_steps: int = 0
    """0: policies are told the exact moments. k >= 2: estimates as noisy as those of k micro-batches an update."""
    seed: int = 0
    """Seed of that noise."""
    out: Path | None = None
    """Folder to write; runs/... where left out."""
    json: bool = False
    """One JSON object on standard output and nothing else."""

    def run(self) -> int:
        from ladle.api import rehearse as rehearsing

        rate = rate_from(self.lr, words=("auto",))
        names = rehearsing.Setting.__dataclass_fields__
        scene = rehearsing.set_up(rehearsing.Setting(**{name: getattr(self, name) for name in names}))
        folder = self.out or record.free_folder("rehearse", self.policy.split()[0] if self.policy.split() else "")
        record.require_new(folder)
        texts = list(dict.fromkeys((self.policy, *self.against)))
        outcome = rehearsing.rehearse_texts(texts, scene, lr=rate if isinstance(rate, float) else None)
        rehearsing.write(outcome, folder)
        if self.json:
            print_json({**outcome.to_json(), "folder": str(folder)})
        else:
            print(outcome)
            print(f"\nfolder  {folder}\npicture {folder / rehearsing.PICTURE_FILE}")
        for line in outcome.failed:
            print(f"ladle: {line}", file=sys.stderr)
        return 1 if outcome.failed else 0
