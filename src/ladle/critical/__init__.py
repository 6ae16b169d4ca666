"""The critical batch size, measured: what branches and steps to a target say, under each published definition.

Read `definition.py` first (no number without its name), then `branches.py` (which size does no harm), then
`answer.py`.
"""

from ladle.core.hyperbola import fit_hyperbola
from ladle.critical.answer import Critical, points_of
from ladle.critical.definition import critical_from_share, definitions, steps_saved

__all__ = ["Critical", "critical_from_share", "definitions", "fit_hyperbola", "points_of", "steps_saved"]
