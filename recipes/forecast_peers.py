"""What `forecast.py` is held against."""

from __future__ import annotations

import numpy as np
from forecast import FUTURE, Windows, errors
from sklearn.linear_model import Ridge


def peers(parts: dict[str, Windows], scale: tuple[float, float]) -> dict[str, dict[str, float]]:
    """The last value, and ridge on everything that a net sees, its penalty chosen by the same validation year."""
    train, valid, test = (parts[name].take(np.arange(len(parts[name]))) for name in ("train", "valid", "test"))
    flat = [rows["x"].reshape(len(rows["x"]), -1) for rows in (train, valid, test)]
    tried = []
    for penalty in (10.0, 100.0, 1000.0, 10_000.0):
        model = Ridge(penalty).fit(flat[0], train["y"], sample_weight=train["known"].mean(1))
        off = ((model.predict(flat[1]) - valid["y"]) ** 2 * valid["known"]).mean()
        tried.append((float(off), penalty, model.predict(flat[2])))
    last = np.repeat(test["x"][:, -1:, 0], FUTURE, axis=1)
    return {
        "last value": errors(last, test, scale),
        "ridge": errors(min(tried, key=lambda one: one[0])[2], test, scale),
    }
