"""Rain or not, over fifty years of days, learnt as they come, beside river's models on the same events.

LADLE_DATA=FOLDER python recipes/online_weather.py [--peer] [--sizes] [--seed 0] [--until TEXT] [--out FOLDER]
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from online_elec2 import asked, learnt, sizes

FILE, TARGET = "weather_noaa/weather.csv", "target"
HOW: dict[str, Any] = {"size": 4, "lr": 0.002, "drift": "adwin", "on_drift": "reset"}


def main(args: Sequence[str] | None = None) -> dict[str, Any]:
    given = asked(args, Path(__file__).name, (__doc__ or "").partition("\n")[0], FILE)
    if given.sizes:
        rates = {4: (0.001, 0.003), 16: (0.003, 0.01), 64: (0.003, 0.01), 256: (0.01, 0.03), 1024: (0.01, 0.03)}
        sizes(given.file, TARGET, given.seed, given.until, rates)
    return learnt(given.file, TARGET, given, HOW)


if __name__ == "__main__":
    main()
