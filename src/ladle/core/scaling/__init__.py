"""What moves with the batch size: learning rate, betas, weight decay, regularisation; and where each rule holds.

Read `coupling.py` first (a rule with all that it moves), then `rules.py` (the published rules), then `optima.py` (what
the best rate does in models that can be solved).
"""

from ladle.core.scaling.coupling import Coupling, Rule, lr_factor, rule_for
from ladle.core.scaling.levels import AddedNoise, Level

__all__ = ["AddedNoise", "Coupling", "Level", "Rule", "lr_factor", "rule_for"]
