"""Energy, carbon and processor time: counters where the machine has them, a labelled model, or nothing.

Read `meter.py` first (which of them a machine gets), then `counters.py` (what makers build in).
"""

from ladle.energy.meter import best_meter

__all__ = ["best_meter"]
