"""Frames of polars at every door that takes those of pandas: the same as NumPy's arrays, or one sentence."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ladle
from ladle.core.errors import DataError

pl: Any = pytest.importorskip("polars")

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 3)).astype(np.float32)
Y = (X[:, 0] > 0).astype(int)
F, S = pl.DataFrame({name: X[:, at] for at, name in enumerate("abc")}), pl.Series("y", Y)
WORDS = np.where(Y, "yes", "no").tolist()
DAYS = [datetime.date(2020, 1, 1) + datetime.timedelta(days=i) for i in range(60)]
GAPS = F.with_columns(pl.when(pl.col("a") > 1).then(None).otherwise(pl.col("a")).alias("a"))


def with_column(values: Any, dtype: Any = None) -> Any:
    return F.with_columns(pl.Series("t", values, dtype=dtype))


def wide(values: Any) -> Any:
    return with_column(values).with_columns(pl.col("t").cast(pl.Int128))


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (F, S),
        (F, pl.DataFrame({"y": Y})),
        (pl.concat([F[:7], F[7:]], rechunk=False), pl.concat([S[:20], S[20:]], rechunk=False)),
    ],
    ids=["series", "frame", "chunks"],
)
def test_a_frame_is_the_array_of_its_columns(x: Any, y: Any) -> None:
    assert (
        ladle.data.arrays(x, y, weight=pl.Series(np.ones(60))).digest
        == ladle.data.arrays(X, Y, weight=np.ones(60)).digest
    )
    assert ladle.Task(ladle.models.linear(3, 2), "cross_entropy", (x, y)).data.rows == 48


@pytest.mark.parametrize("dtype", [pl.String, pl.Categorical, pl.Enum(["yes", "no"])], ids=str)
def test_categories_of_a_target_are_its_words(dtype: Any) -> None:
    assert ladle.data.arrays(F, pl.Series(WORDS, dtype=dtype)).digest == ladle.data.arrays(X, WORDS).digest


@pytest.mark.parametrize(
    ("values", "dtype", "width"),
    [
        ([True, False] * 30, None, 4),
        ([1, 2] * 30, pl.UInt8, 4),
        (["1.5"] * 60, None, None),
        ([[1.0, 2.0]] * 60, pl.Array(pl.Float32, 2), 5),
        ([[1.0, 2.0]] * 60, pl.List(pl.Float32), 5),
    ],
    ids=["bool", "bytes", "words", "arrays", "lists"],
)
def test_numbers_of_every_type_are_taken_and_words_refused(values: Any, dtype: Any, width: int | None) -> None:
    frame = with_column(values, dtype)
    if width is None:
        frame, width = frame.with_columns(pl.col("t").cast(pl.Decimal(5, 1))), 4
        with pytest.raises(DataError, match="^column 't' of x must hold numbers; got '<U3'"):
            ladle.data.arrays(with_column(values), S)
    assert ladle.data.arrays(frame, S).input_shape == (width,)


REFUSED: list[tuple[str, Callable[[], Any], str]] = [
    ("lazy x", lambda: ladle.data.arrays(F.lazy(), S), "x must be a frame that was read; got 'LazyFrame'.*collect"),
    ("lazy y", lambda: ladle.data.arrays(F, F.select("a").lazy()), "y must be a frame that was read"),
    ("lazy data", lambda: ladle.Task(ladle.models.linear(3, 2), None, F.lazy()), "data must be a frame that was read"),
    ("frame alone", lambda: ladle.Task(ladle.models.linear(3, 2), None, F), "data must be .*no column of a frame"),
    ("load", lambda: ladle.data.load(F, target="a"), "data must be a known name or a path; got 'DataFrame'"),
    (
        "nulls",
        lambda: ladle.data.arrays(GAPS, S),
        "column 'a' of x must have a value .* row 2 .* is missing, 11 in all",
    ),
    ("no target", lambda: ladle.data.arrays(F, pl.Series([None, *Y[1:].tolist()])), "y must have a value in every row"),
    ("dates", lambda: ladle.data.arrays(with_column(DAYS), S), "column 't' of x must hold numbers; got 'datetime64"),
    ("durations", lambda: ladle.data.arrays(with_column([datetime.timedelta(1)] * 60), S), "column 't' .*timedelta64"),
    ("fields", lambda: ladle.data.arrays(with_column([{"q": 1}] * 60), S), "column 't' of x must hold one value a row"),
    ("128 bits", lambda: ladle.data.arrays(wide([1] * 60), S), "column 't' of x must be of a type .* got 'Int128'"),
    (
        "ragged",
        lambda: ladle.data.arrays(with_column([[1.0]] * 59 + [[1.0, 2.0]]), S),
        "column 't' .*lists of one length",
    ),
    (
        "objects",
        lambda: ladle.data.arrays(with_column([object()] * 60, pl.Object), S),
        "column 't' .*objects of Python",
    ),
    ("loader", lambda: ladle.feed.Loader(F.lazy()), "data must be a frame that was read"),
    ("loader nulls", lambda: ladle.feed.Loader(GAPS), "column 'a' of data must have a value in every row"),
]


@pytest.mark.parametrize(("ask", "said"), [one[1:] for one in REFUSED], ids=[one[0] for one in REFUSED])
def test_what_cannot_be_meant_is_refused_in_one_sentence(ask: Callable[[], Any], said: str) -> None:
    with pytest.raises(DataError, match=f"^{said}") as refused:
        ask()
    assert "\n" not in str(refused.value)


def test_a_loader_gives_columns_by_name() -> None:
    batch = next(iter(ladle.feed.Loader(with_column(WORDS), batch_size=4, shuffle=False)))
    np.testing.assert_array_equal(batch["a"], X[:4, 0])
    assert batch["t"].tolist() == WORDS[:4]


@pytest.fixture(scope="module")
def run() -> ladle.Run:
    return ladle.fit(ladle.Task(ladle.models.linear(3, 2), None, (F, S), optimizer="sgd"), 16, until="1 epoch")


def test_a_model_of_columns_finds_them_by_name(run: ladle.Run) -> None:
    wanted = run.predict_proba(X)
    np.testing.assert_array_equal(run.predict_proba(F.select("c", "a", "b").with_columns(z=pl.lit("q"))), wanted)
    with pytest.raises(DataError, match="^rows must have the column c; got 'no such column'"):
        run.predict(F.select("a", "b"))
    with pytest.raises(DataError, match="^rows must be a frame that was read; got 'LazyFrame'"):
        run.predict(F.lazy())
    assert run.evaluate({"x": F, "y": S}) == run.evaluate({"x": X, "y": Y})


def test_a_model_of_a_table_reads_frames_as_it_reads_files(tmp_path: Path) -> None:
    town = np.array(["north", "south"])[Y].tolist()
    table = pl.DataFrame(
        {"area": X[:, 1].round(2).astype(float), "town": town, "day": DAYS, "price": X[:, 0].astype(float)}
    )
    table = table.with_columns(pl.when(pl.col("area") > 1).then(None).otherwise(pl.col("area")).alias("area"))
    table.write_csv(tmp_path / "table.csv")
    table.write_parquet(tmp_path / "table.parquet")
    data = ladle.data.load(tmp_path / "table.csv", target="price")
    assert ladle.data.load(tmp_path / "table.parquet", target="price").digest == data.digest
    model = ladle.fit(ladle.Task(ladle.models.linear(*data.input_shape, 1), None, data), 16, until="1 epoch")
    wanted, new = model.predict(tmp_path / "table.csv"), table.drop("price")
    for same in (
        new,
        new.select("day", "town", "area"),
        new.to_pandas() if _has_pandas() else new,
        new.with_columns(pl.col("town").cast(pl.Categorical), pl.col("day").cast(pl.Datetime("us", "UTC"))),
        new.with_columns(pl.col("town").cast(pl.Enum(["north", "south"])), pl.col("day").cast(pl.String)),
        {name: new[name] for name in new.columns},
        new.to_dicts(),
    ):
        np.testing.assert_array_equal(model.predict(same), wanted)
    assert np.isfinite(model.predict(new.with_columns(town=pl.lit("island"), area=pl.lit(None)))).all()
    for refused, said in (
        (new.lazy(), "rows must be a frame that was read"),
        (new.drop("town"), "rows must have the column town"),
        (new.with_columns(area=pl.lit("wide")), "column area must hold a number in every row; got 'wide'"),
        (new.with_columns(area=pl.struct("area", "day")), "column area must hold numbers; got 'struct"),
        (new.with_columns(area=pl.lit(1).cast(pl.Int128)), "column 'area' must be of a type .* got 'Int128'"),
        (
            {"area": new["area"].fill_null(0).cast(pl.Int128), "town": town, "day": DAYS},
            "column 'area' of rows must be",
        ),
    ):
        with pytest.raises(DataError, match=f"^{said}"):
            model.predict(refused)


def _has_pandas() -> bool:
    try:
        import pandas  # noqa: F401
        import pyarrow  # noqa: F401
    except ImportError:
        return False
    return True


def test_estimators_take_frames_and_refuse_what_only_looks_like_numbers() -> None:
    pytest.importorskip("sklearn")
    from ladle.sklearn import BatchClassifier, BatchRegressor

    def classifier() -> BatchClassifier:
        return BatchClassifier((4,), max_iter=1, random_state=0)

    made = classifier().fit(F, S, sample_weight=pl.Series(np.ones(60)))
    assert made.feature_names_in_.tolist() == list("abc")
    np.testing.assert_array_equal(
        made.predict_proba(F), classifier().fit(X, Y, sample_weight=np.ones(60)).predict_proba(X)
    )
    assert set(classifier().fit(F, pl.Series(WORDS, dtype=pl.Categorical)).predict(F)) <= {"yes", "no"}
    with pytest.raises(ValueError, match="feature names"):
        made.predict(F.select("c", "b", "a"))
    for frame, said in (
        (F.lazy(), "X must be a frame that was read"),
        (with_column(DAYS), "column 't' of X must hold numbers; got 'Date'"),
        (with_column([datetime.timedelta(1)] * 60), "column 't' of X must hold numbers; got .Duration"),
        (with_column([{"q": 1}] * 60), "column 't' of X must hold numbers; got .Struct"),
    ):
        for ask in (lambda frame=frame: classifier().fit(frame, S), lambda frame=frame: made.predict(frame)):
            with pytest.raises(DataError, match=f"^{said}"):
                ask()
    with pytest.raises(ValueError, match="NaN"):
        classifier().fit(GAPS, S)
    with pytest.raises(DataError, match="^y must hold numbers; got '(datetime64|Date)"):
        BatchRegressor((4,), max_iter=1).fit(F, pl.Series(DAYS))
