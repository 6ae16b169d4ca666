"""What `molecules.py` is held against: models of counts, from scikit-learn."""

from __future__ import annotations

import numpy as np
from molecules import BONDS, rmse, targets
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import RidgeCV

from ladle.feed import Graphs


def peers(parts: dict[str, Graphs], spread: float) -> dict[str, float]:
    """Models of the counts of atoms and bonds of each kind, from scikit-learn."""

    def counts(graphs: Graphs) -> np.ndarray:
        bonds = np.eye(BONDS)[graphs.edges.values["bond"]]
        both = ((graphs.nodes.values["tokens"], graphs.nodes.offsets), (bonds, graphs.edges.offsets))
        sums = [np.diff(np.concatenate([np.zeros((1, of.shape[1])), of.cumsum(0)])[at], axis=0) for of, at in both]
        return np.concatenate([*sums, graphs.lengths[:, None]], axis=1)

    train, test, found = counts(parts["train"]), counts(parts["test"]), {}
    for name, model in (
        ("ridge", RidgeCV(np.logspace(-3, 3, 7))),
        ("trees", HistGradientBoostingRegressor(random_state=0)),
    ):
        found[name] = rmse(model.fit(train, targets(parts["train"])).predict(test), parts["test"], spread)
    return found
