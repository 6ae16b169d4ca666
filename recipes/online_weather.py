"""Rain or not, over fifty years of days, learnt as they come, beside river's models on the same events.

    LADLE_DATA=FOLDER python recipes/online_weather.py [--peer] [--sizes] [--seed 0] [--until TEXT] [--out FOLDER]

18,159 days at Offutt Air Force Base, eight measurements each. Prequential accuracy of the whole stream, seeds 0, 1, 2,
all models in the same run; events a second of processor time (seed 2):

    ladle, batches of 4        78.75, 79.03, 79.02 %      2,200
    leveraging bagging         78.33, 78.16, 78.48 %        590
    adaptive random forest     77.69, 77.92, 78.62 %        800
    logistic regression        76.79 %                  116,000
    Hoeffding adaptive tree    73.56, 73.51, 73.97 %     14,000

An MLP by Adam at 0.002. Sizes at the best of three rates (--sizes, seed 0): batches of 4 78.91 %, of 8 78.61, of 16
78.09, of 64 77.82: the price of a larger batch is a model that is older when it is asked. ADWIN finds no drift for the
worse here. A minute and a half of CPU time with --peer, 15 s without.
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
        rates = {
            4: (0.002, 0.005, 0.01), 8: (0.002, 0.003, 0.005), 16: (0.001, 0.002, 0.003), 64: (0.003, 0.005, 0.01),
            256: (0.01, 0.03), 1024: (0.01, 0.03),
        }  # fmt: skip
        sizes(given.file, TARGET, given.seed, given.until, rates)
    return learnt(given.file, TARGET, given, HOW)


if __name__ == "__main__":
    main()
