"""The estimators as scikit-learn's users meet them, and scikit-learn's own checks of them."""

from __future__ import annotations

import json
import pickle
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_digits, load_iris
from sklearn.ensemble import VotingClassifier
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from ladle.core.noise import NoiseScale
from ladle.core.plan import Plan
from ladle.errors import ArgumentError, DataError, RunError
from ladle.sklearn import BatchClassifier, BatchRegressor

IRIS = load_iris(return_X_y=True)
QUICK: dict[str, Any] = {"hidden_layer_sizes": (8,), "max_iter": 5, "random_state": 0, "learning_rate": 0.02}


def classifier(**over: Any) -> BatchClassifier:
    return BatchClassifier(**{**QUICK, **over})


def regressor(**over: Any) -> BatchRegressor:
    return BatchRegressor(**{**QUICK, **over})


def amounts() -> tuple[np.ndarray, np.ndarray]:
    X = np.asarray(IRIS[0])
    return X[:, :3], 5000 + 100 * X[:, 3]


BOTH = pytest.mark.parametrize("estimator", [BatchClassifier(), BatchRegressor()], ids=["classifier", "regressor"])


@pytest.mark.long
@BOTH
def test_every_check_of_scikit_learn_passes(estimator: Any):
    found = check_estimator(estimator, on_fail=None, on_skip=None)
    bad = {one["check_name"]: str(one["exception"]) for one in found if one["status"] not in ("passed", "skipped")}
    # Without SCIPY_ARRAY_API in the environment, scikit-learn asks no estimator about other arrays.
    assert not bad and {one["check_name"] for one in found if one["status"] == "skipped"} <= {"check_array_api_input"}
    assert len(found) >= 60


def test_the_same_seed_gives_the_same_model_and_another_gives_another():
    one, same, other = (classifier(random_state=seed).fit(*IRIS).predict_proba(IRIS[0]) for seed in (1, 1, 2))
    assert (one == same).all() and (one != other).any()


def test_a_clone_has_the_parameters_and_nothing_else():
    fitted = classifier(class_weight="balanced").fit(*IRIS)
    fresh = clone(fitted)
    assert fresh.get_params() == fitted.get_params() and not hasattr(fresh, "classes_")
    assert (fresh.fit(*IRIS).predict_proba(IRIS[0]) == fitted.predict_proba(IRIS[0])).all()


def test_a_pickle_predicts_the_same_bits_in_a_new_process(fresh_python: Callable[..., str], tmp_path: Path):
    X, y = amounts()
    fitted = {"classes": classifier().fit(*IRIS), "amounts": regressor().fit(X, y)}
    (tmp_path / "fitted").write_bytes(pickle.dumps(fitted))
    code = (
        "import json, pickle; from pathlib import Path; from sklearn.datasets import load_iris\n"
        f"fitted = pickle.loads(Path({str(tmp_path / 'fitted')!r}).read_bytes())\n"
        "X = load_iris().data\n"
        "print(json.dumps([fitted['classes'].predict_proba(X).tolist(), fitted['amounts'].predict(X[:, :3]).tolist()]))"
    )
    there = json.loads(fresh_python(code).splitlines()[-1])
    assert there == [fitted["classes"].predict_proba(IRIS[0]).tolist(), fitted["amounts"].predict(X).tolist()]


def test_a_pickle_can_be_trained_on():
    part = classifier(warm_start=True).fit(*IRIS)
    again = pickle.loads(pickle.dumps(part))
    assert (part.fit(*IRIS).predict_proba(IRIS[0]) == again.fit(*IRIS).predict_proba(IRIS[0])).all()


def test_warm_starts_go_on_where_training_ended():
    whole = classifier(max_iter=6, tol=0, n_iter_no_change=99).fit(*IRIS)
    parts = classifier(max_iter=2, warm_start=True)
    curve = [loss for _ in range(3) for loss in parts.fit(*IRIS).loss_curve_]
    assert curve == whole.loss_curve_
    assert (parts.predict_proba(IRIS[0]) == whole.predict_proba(IRIS[0])).all()


def test_partial_fits_are_the_passes_of_a_fit():
    whole = classifier(max_iter=3).fit(*IRIS)
    parts = classifier()
    for _ in range(3):
        parts.partial_fit(*IRIS, classes=[2, 0, 1])
    assert parts.loss_curve_ == whole.loss_curve_ and parts.n_iter_ == 3
    assert (parts.predict_proba(IRIS[0]) == whole.predict_proba(IRIS[0])).all()


@pytest.mark.parametrize("size", ["full", 4])
def test_a_row_of_weight_two_is_the_row_twice(size: int | str):
    """In the loss of a pass: at a rate that moves nothing it is that of all rows, however they fall into batches."""
    X, y = IRIS[0][::10], IRIS[1][::10]
    twice = np.arange(len(y)) % 3 == 0
    how = {"batch_size": size, "max_iter": 1, "learning_rate": 1e-30}
    weighted = classifier(**how).fit(X, y, sample_weight=1.0 + twice)
    doubled = classifier(**how).fit(np.concatenate([X, X[twice]]), np.concatenate([y, y[twice]]))
    assert weighted.loss_ == pytest.approx(doubled.loss_, rel=1e-6)


def test_a_row_of_no_weight_is_not_there():
    X, y = IRIS
    weight = np.ones(len(y))
    weight[::7] = 0
    kept = weight > 0
    one, other = classifier().fit(X, y, weight), classifier().fit(X[kept], y[kept])
    assert (one.predict_proba(X) == other.predict_proba(X)).all()


def test_class_weights_are_weights_of_rows():
    X, y = IRIS[0][:70], IRIS[1][:70]
    balanced = classifier(class_weight="balanced").fit(X, y)
    given = classifier(class_weight={0: 0.7, 1: 1.75}).fit(X, y)
    weighed = classifier().fit(X, y, np.where(y == 0, 0.7, 1.75))
    assert (balanced.predict_proba(X) == weighed.predict_proba(X)).all()
    assert (given.predict_proba(X) == weighed.predict_proba(X)).all()


def test_classes_are_words_in_sorted_order():
    names = np.array(["setosa", "versicolor", "albata"])[IRIS[1]]
    fitted = classifier(max_iter=100).fit(IRIS[0], names)
    chances, logs, scores = (getattr(fitted, of)(IRIS[0]) for of in _ASKED)
    assert fitted.classes_.tolist() == ["albata", "setosa", "versicolor"] and fitted.score(IRIS[0], names) > 0.9
    assert (fitted.predict(IRIS[0]) == fitted.classes_[chances.argmax(1)]).all()
    np.testing.assert_allclose(chances, np.exp(scores) / np.exp(scores).sum(1, keepdims=True), rtol=1e-5)
    np.testing.assert_allclose(np.log(chances), logs, rtol=1e-12)


_ASKED = ("predict_proba", "predict_log_proba", "decision_function")


def test_of_two_classes_the_scores_are_the_log_odds_of_the_second():
    X, y = IRIS[0][:100], np.array(["no", "yes"])[IRIS[1][:100]]
    fitted = classifier().fit(X, y)
    log = fitted.predict_log_proba(X)
    np.testing.assert_allclose(fitted.decision_function(X), log[:, 1] - log[:, 0], atol=1e-5)


def test_amounts_come_in_their_own_units_and_in_columns():
    X, y = amounts()
    both = np.stack([y, -1e6 * y], axis=1)
    one, two = regressor(max_iter=200).fit(X, y), regressor(max_iter=200).fit(X, both)
    assert one.score(X, y) > 0.9 and two.score(X, both) > 0.9
    assert one.predict(X).shape == (150,) and two.predict(X).shape == (150, 2)
    # A linear model that has converged is the least squares.
    line = regressor(hidden_layer_sizes=(), batch_size="full", max_iter=2000, tol=0, n_iter_no_change=50).fit(X, y)
    least = np.linalg.lstsq(np.c_[X, np.ones(len(X))], y, rcond=None)[0]
    np.testing.assert_allclose(line.predict(X), np.c_[X, np.ones(len(X))] @ least, rtol=2e-3)


def test_early_stopping_keeps_the_weights_of_the_lowest_loss():
    X, y = IRIS
    fitted = classifier(max_iter=40, early_stopping=True, n_iter_no_change=3, learning_rate=0.3, tol=0.05).fit(X, y)
    curve = fitted.validation_loss_curve_
    assert curve is not None and len(curve) == fitted.n_iter_ < 40
    # The same passes again, ended at the best one, give the same model.
    best = int(np.argmin(curve)) + 1
    again = classifier(max_iter=best, early_stopping=True, n_iter_no_change=99, learning_rate=0.3).fit(X, y)
    assert (again.predict_proba(X) == fitted.predict_proba(X)).all()


def test_training_ends_where_its_loss_does():
    fitted = classifier(max_iter=50, tol=10.0, n_iter_no_change=3).fit(*IRIS)
    assert fitted.n_iter_ == 4 and fitted.validation_loss_curve_ is None


@pytest.mark.parametrize("made", [scipy.sparse.csr_matrix, scipy.sparse.csc_array, list])
def test_other_rows_are_the_same_rows(made: Any):
    X, y = IRIS
    plain, other = classifier().fit(X, y), classifier().fit(made(X.tolist()) if made is list else made(X), y)
    assert (plain.predict_proba(X) == other.predict_proba(other_rows := made(X))).all() and other_rows is not None


def test_frames_give_names_and_are_held_to_them():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(IRIS[0], columns=list("abcd"))
    fitted = classifier().fit(frame, IRIS[1])
    assert fitted.feature_names_in_.tolist() == list("abcd") and fitted.n_features_in_ == 4
    assert (fitted.predict_proba(frame) == classifier().fit(*IRIS).predict_proba(IRIS[0])).all()
    with pytest.raises(ValueError, match="feature names"):
        fitted.predict(frame[list("dcba")])


def test_tables_of_arrow_and_masked_values():
    arrow = pytest.importorskip("pyarrow")
    table = arrow.table({name: IRIS[0][:, at] for at, name in enumerate("abcd")})
    fitted = classifier().fit(table, IRIS[1])
    assert fitted.feature_names_in_.tolist() == list("abcd")
    assert (fitted.predict_proba(table) == classifier().fit(*IRIS).predict_proba(IRIS[0])).all()
    masked = np.ma.array(IRIS[0], mask=IRIS[0] > 7)
    for refused in (lambda: classifier().fit(masked, IRIS[1]), lambda: fitted.predict(masked)):
        with pytest.raises(DataError, match="X must hold no masked values"):
            refused()


def test_a_fit_that_fails_leaves_no_model_of_before():
    X, y = amounts()
    model = regressor().fit(X, y).set_params(optimizer="sgd", learning_rate=1e6, max_iter=20)
    with pytest.raises(RunError):
        model.fit(X * 1e3, y)
    with pytest.raises(NotFittedError):
        model.predict(X)


def test_a_second_fit_of_like_shapes_compiles_and_traces_nothing(compilations: Counter[str]):
    import jax

    X, y = load_digits(return_X_y=True)
    classifier(max_iter=1).fit(X[:300], y[:300]).predict(X[:100])
    before, traces = compilations.total(), []
    listener = lambda event, seconds, **facts: traces.append(event) if event.endswith("trace_duration") else None  # noqa: E731
    jax.monitoring.register_event_duration_secs_listener(listener)
    # Folds differ by a row, and rates, seeds and the number of passes are no part of a program.
    classifier(max_iter=3, learning_rate=0.1, random_state=5).fit(X[:301], y[:301]).predict(X[:99])
    jax.monitoring.unregister_event_duration_listener(listener)
    assert compilations.total() == before and traces == []


def test_it_works_where_estimators_do(compilations: Counter[str]):
    X, y = IRIS
    scaled = make_pipeline(StandardScaler(), classifier(max_iter=30))
    grid = {"batchclassifier__learning_rate": [1e-4, 0.1]}
    search = GridSearchCV(scaled, grid, cv=3).fit(X, y)
    assert search.best_params_ == {"batchclassifier__learning_rate": 0.1} and search.best_score_ > 0.9
    votes = VotingClassifier(
        [("ours", classifier(max_iter=30)), ("line", LogisticRegression(max_iter=500))], voting="soft"
    )
    assert cross_val_score(votes, X, y, cv=3).mean() > 0.9
    assert CalibratedClassifierCV(classifier(max_iter=20), cv=2).fit(X, y).score(X, y) > 0.8
    # A window of 100 and of 75 or 150 rows, at 64: whole batches of 128 and 192 rows.
    assert compilations["_trace_window"] == 2


@pytest.mark.long
def test_it_works_in_processes_of_joblib():
    found = cross_val_score(classifier(), *IRIS, cv=3, n_jobs=2)
    assert found.tolist() == cross_val_score(classifier(), *IRIS, cv=3).tolist()


@pytest.mark.long
def test_a_planned_size_is_used_and_told():
    X, y = load_digits(return_X_y=True)
    how = {"batch_size": "auto", "learning_rate": "auto", "plan_seconds": 1.0, "hidden_layer_sizes": ()}
    fitted = classifier(**how).fit(X / 16, y)
    assert fitted.batch_size_ == fitted.plan_.size and fitted.score(X / 16, y) > 0.9
    again = clone(fitted).set_params(batch_size=pickle.loads(pickle.dumps(fitted)).plan_).fit(X / 16, y)
    assert (again.predict_proba(X) == fitted.predict_proba(X)).all()


def test_a_plan_is_followed():
    plan = Plan(32, 32, 0.03, "given", (32, 32), NoiseScale.unknown(), hyper={"b1": 0.8})
    planned = clone(classifier(batch_size=plan, learning_rate="auto")).fit(*IRIS)
    given = classifier(batch_size=32, learning_rate=0.03, optimizer_options={"b1": 0.8}).fit(*IRIS)
    assert planned.plan_ is not None and planned.batch_size_ == 32
    assert (planned.predict_proba(IRIS[0]) == given.predict_proba(IRIS[0])).all()


def test_sizes_are_those_that_were_asked_for():
    for asked, used in ((10, 10), (1000, 150), ("full", 150)):
        assert classifier(batch_size=asked, max_iter=1).fit(*IRIS).batch_size_ == used


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ({"batch_size": 0}, "batch_size must be a whole number of at least 1, 'auto', 'full' or a ladle.Plan; got 0"),
        ({"batch_size": "half"}, "batch_size must be"),
        ({"learning_rate": -1}, "learning_rate must be a positive number or 'auto'; got -1"),
        ({"hidden_layer_sizes": (8, 0)}, "hidden_layer_sizes must be a whole number of at least 1; got 0"),
        ({"activation": "rellu"}, "activation must be a known name; got 'rellu'"),
        ({"optimizer": "adamm"}, "try 'adam'"),
        ({"optimizer": max}, "optimizer must be the name of an optimiser"),
        ({"optimizer_options": {"lr": 1.0}}, "optimizer_options must be without 'lr'"),
        ({"optimizer_options": {"b9": 1.0}}, "b9"),
        ({"max_iter": 2.5}, "max_iter must be a whole number"),
        ({"tol": -1}, "tol must be a number of at least 0"),
        ({"n_iter_no_change": 0}, "n_iter_no_change must be"),
        ({"early_stopping": "yes"}, "early_stopping must be True or False"),
        ({"validation_fraction": 0}, "validation_fraction must be above 0 and below 1"),
        ({"dropout": 1}, "dropout must be at least 0 and below 1"),
    ],
)
def test_parameters_that_cannot_be_are_refused_in_a_sentence(how: dict[str, Any], sentence: str):
    with pytest.raises(ArgumentError) as refused:
        classifier(**how).fit(*IRIS)
    assert sentence in str(refused.value) and isinstance(refused.value, ValueError)


def test_what_cannot_be_gone_on_with_is_refused():
    X, y = IRIS
    with pytest.raises(NotFittedError):
        classifier().predict(X)
    with pytest.raises(ArgumentError, match="classes must be given to the first partial_fit"):
        classifier().partial_fit(X, y)
    with pytest.raises(ArgumentError, match="class_weight must be numbers for partial_fit"):
        classifier(class_weight="balanced").partial_fit(X, y, classes=[0, 1, 2])
    with pytest.raises(ArgumentError, match="early_stopping must be left out of partial_fit"):
        classifier(early_stopping=True).partial_fit(X, y, classes=[0, 1, 2])
    with pytest.raises(ArgumentError, match="batch_size must be left out of partial_fit"):
        classifier(batch_size="auto").partial_fit(X, y, classes=[0, 1, 2])
    begun = classifier(warm_start=True).fit(X, y)
    with pytest.raises(ArgumentError, match="y must hold classes of"):
        begun.fit(X, y + 1)
    with pytest.raises(ArgumentError, match="hidden_layer_sizes must stay"):
        begun.set_params(hidden_layer_sizes=(9,)).fit(X, y)
    with pytest.raises(ArgumentError, match="optimizer must stay"):
        begun.set_params(hidden_layer_sizes=(8,), optimizer="sgd").fit(X, y)
    with pytest.raises(ArgumentError, match="sample_weight must be above 0 for some row"):
        classifier(class_weight={0: 1, 1: 0, 2: 0}).fit(X, y, y)


def test_training_that_diverges_says_so():
    X, y = amounts()
    with pytest.raises(RunError, match="learning_rate must be low enough to train with"):
        regressor(optimizer="sgd", learning_rate=1e6, max_iter=20).fit(X * 1e3, y)


def test_without_scikit_learn_one_sentence_says_what_to_install(fresh_python: Callable[..., str]):
    code = (
        "import sys; sys.modules['sklearn'] = None\n"
        "import ladle; assert 'jax' not in sys.modules\n"
        "try:\n    from ladle.sklearn import BatchClassifier\nexcept ImportError as error: print(error)"
    )
    assert "try pip install 'ladle[sklearn]'" in fresh_python(code)
