"""scikit-learn estimators: `BatchClassifier` and `BatchRegressor`, perceptrons trained in mini-batches by ladle.

>>> from sklearn.datasets import load_iris
>>> from ladle.sklearn import BatchClassifier
>>> X, y = load_iris(return_X_y=True)
>>> BatchClassifier((16,), learning_rate=0.01, max_iter=20, random_state=0).fit(X, y).predict(X[:2]).tolist()
[0, 0]
"""

from __future__ import annotations

from importlib.util import find_spec

from ladle.core.errors import must

if not find_spec("sklearn"):
    _why, _remedy = "its estimators are built on scikit-learn's base classes", "pip install 'ladle[sklearn]'"
    raise ImportError(must("ladle.sklearn", "have scikit-learn beside it", "none", _why, _remedy))

from ladle.sklearn.classifier import BatchClassifier
from ladle.sklearn.regressor import BatchRegressor

__all__ = ["BatchClassifier", "BatchRegressor"]
