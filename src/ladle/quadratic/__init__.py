"""A referee without sampling: any policy played on a noisy quadratic whose training is known exactly.

Read `noisy_quadratic.py` first (the model), then `dry_run.py` (a policy on it, window by window), then `referee.py`
(that policy beside the best constant size).
"""

from ladle.quadratic.dry_run import Rehearsal, rehearse
from ladle.quadratic.noisy_quadratic import NoisyQuadratic
from ladle.quadratic.referee import compare

__all__ = ["NoisyQuadratic", "Rehearsal", "compare", "rehearse"]
