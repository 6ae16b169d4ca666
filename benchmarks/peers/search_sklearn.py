"""The search of `search_digits.py` through scikit-learn, two processes. Prints one JSON object.

python benchmarks/peers/search_sklearn.py ROWS.npz      (`x` and `y`: nothing of ladle or JAX is imported)
"""

from __future__ import annotations

import json
import math
import sys
import time

import numpy as np
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.neural_network import MLPClassifier

SIZES, RATES = [16, 32, 64, 128, 256], [1e-3, 3e-3, 1e-2]


def main(path: str) -> None:
    rows = np.load(path)
    x, y = rows["x"], rows["y"]
    started = time.perf_counter()
    network = MLPClassifier((64,), solver="adam", max_iter=20, n_iter_no_change=21, tol=0.0, alpha=0.0, random_state=0)
    grid = {"batch_size": SIZES, "learning_rate_init": RATES}
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    found = GridSearchCV(network, grid, cv=folds, n_jobs=2, refit=False).fit(x, y)
    seconds = time.perf_counter() - started
    means, sds = (found.cv_results_[name] for name in ("mean_test_score", "std_test_score"))
    top = int(means.argmax())
    best = found.cv_results_["params"][top]
    said = {"size": best["batch_size"], "lr": best["learning_rate_init"]}
    print(json.dumps({"search": seconds, "best": {**said, "mean": means[top], "se": sds[top] / math.sqrt(4)}}))


if __name__ == "__main__":
    main(sys.argv[1])
