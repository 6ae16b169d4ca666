from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from ladle.core.errors import ArgumentError, DataError
from ladle.data.dataset import Data
from ladle.data.encoding import Encoding, NumberCode, number_codes, standardised, strange_rows, word_codes
from ladle.data.loader import load
from ladle.data.table import Column, Numbers, Texts

Write = Callable[..., Path]


def encode_numbers(features: Mapping[str, Column], train: np.ndarray) -> tuple[list[np.ndarray], tuple[str, ...]]:
    """Standardised columns, each with its mark of missing values where there are any: `f32[rows, 1 or 2]` each."""
    codes = number_codes(features, train)
    rows = len(next(iter(features.values())).values) if codes else 0  # type: ignore[union-attr]
    made = [standardised([one], features, rows) for one in codes]
    return made, Encoding(codes, ()).notes({})


def encode_words(
    features: Mapping[str, Column], train: np.ndarray, embed: int
) -> tuple[list[np.ndarray], np.ndarray, tuple[int, ...], tuple[str, ...]]:
    """Categories: one-hot `f32[rows, levels]` each; codes `i32[rows, c]` with their cardinalities; notes.

    Levels are those of the training rows. A row with another one gets all zeros, or code 0.
    """
    codes = word_codes(features, train, embed)
    made = [(one.hot, one.apply(features[one.name].codes)) for one in codes]  # type: ignore[union-attr]
    coded = [array for hot, array in made if not hot]
    stacked = np.stack(coded, axis=1) if coded else np.zeros((0, 0), np.int32)
    encoding = Encoding((), codes)
    return [a for hot, a in made if hot], stacked, encoding.cardinalities, encoding.notes(strange_rows(codes, features))


@pytest.fixture
def csv(tmp_path: Path) -> Write:
    """`csv(a=[...], y=[...])` writes a table with these columns."""

    def write(**columns: list[object]) -> Path:
        path = tmp_path / "t.csv"
        rows = zip(*columns.values(), strict=True)
        path.write_text("\n".join(",".join(str(cell) for cell in row) for row in [tuple(columns), *rows]) + "\n")
        return path

    return write


def whole(data: Data, key: str = "x") -> np.ndarray:
    return np.concatenate([data.train[key], data.valid[key]])


def test_numbers_are_standardised_with_training_rows_only(csv: Write) -> None:
    """The raw value rides along in the target, so that each part can be recomputed from the closed form."""
    raw = np.random.default_rng(0).integers(0, 10_000, 50).tolist()
    data = load(csv(a=raw, y=raw), kind="regression")
    train = data.train["y"].astype(float) * data.target_sd + data.target_mean
    valid = data.valid["y"].astype(float) * data.target_sd + data.target_mean
    assert abs(train.mean() - np.mean(raw)) > 1
    np.testing.assert_allclose(data.train["x"][:, 0], (train - train.mean()) / train.std(), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(data.valid["x"][:, 0], (valid - train.mean()) / train.std(), rtol=1e-4, atol=1e-6)


def test_the_median_is_known_also_where_no_training_row_lacks_a_number() -> None:
    """A row to predict may: it was taken for 0."""
    assert NumberCode.of("area", np.array([100.0, 120.0, 200.0]), 0).median == 120.0


def test_missing_numbers_get_the_training_median_and_a_mark(csv: Write) -> None:
    train = np.arange(6)
    values = np.array([1.0, 2.0, np.nan, 4.0, 100.0, np.nan, np.nan, -1000.0])
    (encoded,), notes = encode_numbers({"a": Numbers(values, "real")}, train)
    filled = np.where(np.isnan(values), 3.0, values)  # median of 1, 2, 4, 100
    mean, sd = filled[train].mean(), filled[train].std()
    np.testing.assert_allclose(encoded[:, 0], (filled - mean) / sd, rtol=1e-6)
    np.testing.assert_array_equal(encoded[:, 1], np.isnan(values))
    assert notes[1] == "a: 3 missing, filled with the training median 3; a 0/1 column marks them."
    (again,), _ = encode_numbers({"a": Numbers(np.where(np.arange(8) < 6, values, 5e9), "real")}, train)
    np.testing.assert_array_equal(again[:6], encoded[:6])


def test_equal_training_values_do_not_blow_up() -> None:
    (encoded,), _ = encode_numbers({"a": Numbers(np.array([0.1, 0.1, 0.1, 0.2]), "real")}, np.arange(3))
    assert np.abs(encoded).max() < 1


def test_one_hot_knows_training_levels_only() -> None:
    column = Texts(np.array([0, 2, 0, -1, 1]), ("a", "b", "c"))
    (hot,), codes, cardinalities, notes = encode_words({"w": column}, np.arange(4), 32)
    np.testing.assert_array_equal(hot, [[1, 0, 0], [0, 1, 0], [1, 0, 0], [0, 0, 1], [0, 0, 0]])  # a, c, missing
    assert cardinalities == () and codes.size == 0
    assert notes[0] == "w: 3 categories (one of them (missing), 1 rows), one 0/1 column each."
    assert "1 rows to validate hold categories that no training row has: all zeros." in notes[1]


def test_many_levels_become_codes_with_zero_for_unknown() -> None:
    column = Texts(np.array([0, 2, 0, -1, 1]), ("a", "b", "c"))
    hot, codes, cardinalities, _ = encode_words({"w": column}, np.arange(4), 2)
    assert hot == [] and cardinalities == (4,)
    assert codes.tolist() == [[1], [2], [1], [3], [0]]
    assert codes.dtype == np.int32


def test_embedded_categories_end_to_end(csv: Write) -> None:
    rows = 400
    path = csv(city=[f"city{n % 40}" for n in range(rows)], a=list(range(rows)), y=["no", "yes"] * (rows // 2))
    data = load(path)
    assert data.cardinalities == (41,) and data.input_shape == (1,)
    assert data.train["x"]["numbers"].shape == (320, 1) and data.train["x"]["codes"].shape == (320, 1)
    assert data.train["x"]["codes"].min() >= 1 and data.valid["x"]["codes"].max() <= 40
    assert "city: 40 categories, as codes for an embedding." in data.notes
    one_hot = load(path, embed=40)
    assert one_hot.cardinalities == () and one_hot.input_shape == (41,)
    only_words = load(csv(w=["a", "b", "c", "d"] * 6, y=[0, 1] * 12), embed=0)
    assert only_words.train["x"]["numbers"].shape[1] == 0 and only_words.cardinalities == (5,)


def test_what_is_done_is_said(csv: Write) -> None:
    rows = 40
    data = load(
        csv(
            flag=["true", "false"] * 20,
            day=[f"2020-01-{1 + n % 28:02d}" for n in range(rows)],
            same=[7] * rows,
            word=["a", "b", "", "a"] * 10,
            gap=["1", "2", "", "4", "5"] * 8,
            price=[n * 1.5 for n in range(rows)],
        )
    )
    said = "\n".join(data.notes)
    for sentence in (
        "Target: price, the last column; another one is given as target.",
        "Task: regression of price, because it holds decimal numbers",
        "Standardised with mean and sd of the training rows: flag, day, gap.",
        "gap: 8 missing, filled with the training median",
        "word: 3 categories (one of them (missing), 10 rows), one 0/1 column each.",
        "Dates as seconds: day;",
        "Left out: same, the same in every row.",
        "Split: 32 rows to train on, 8 to validate (20 %, seed 0, drawn at random).",
        "Target standardised: (amount - ",
    ):
        assert sentence in said
    assert data.input_shape == (1 + 1 + 2 + 3,)
    assert np.isfinite(whole(data)).all()


@pytest.mark.parametrize(
    ("columns", "target", "why"),
    [
        ({"a": [1, 2, 3, 4], "Class": ["u", "v"] * 2, "b": [1, 2, 3, 4]}, "Class", "by its name"),
        ({"a": [1, 2, 3, 4], "b": [0, 1, 0, 1]}, "b", "the last column"),
    ],
)
def test_default_target(csv: Write, columns: dict[str, list[object]], target: str, why: str) -> None:
    assert any(note.startswith(f"Target: {target}, {why}") for note in load(csv(**columns)).notes)


def test_target_by_name_and_kind(csv: Write) -> None:
    path = csv(a=[1, 2, 3, 1, 2, 3], b=[0, 1, 0, 1, 0, 1])
    assert load(path, target="a").classes == ("1", "2", "3")
    assert load(path, kind="regression").kind == "regression"
    assert load(csv(b=[1, 2, 3, 4], t=["true", "true", "false", "false"])).classes == ("False", "True")


NUMBERS = [1, 2, 3, 4]
CLASSES = [0, 1, 0, 1]


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        ({"price": NUMBERS, "b": CLASSES}, {"target": "prise"}, "target must name a column; got 'prise'.*try 'price'"),
        ({"label": CLASSES, "y": CLASSES}, {}, "target must be named; got 'label, y'.*target='label'"),
        ({"a": ["", "", "", ""], "y": CLASSES}, {}, "column a must have a value in some row; .*drop=.'a'."),
        ({"a": NUMBERS, "b": ["NA", "?", "", "nan"], "y": CLASSES}, {}, "column b must have a value"),
        (
            {"a": NUMBERS, "y": [0, 1, "", ""]},
            {},
            r"target y .* row 3 \(counted from 1, without a header\).* 2 of 4 rows",
        ),
        ({"a": NUMBERS, "y": [0.5, "inf", 1.5, 2.5]}, {}, "target y .* got inf; because row 2"),
        ({"a": NUMBERS, "y": ["u", "", "v", "u"]}, {}, "target y .* got None; because row 2"),
        ({"a": NUMBERS, "y": ["u"] * 4}, {}, "target y must have at least two classes"),
        ({"a": NUMBERS, "y": [1.5] * 4}, {}, "target y must have at least two values"),
        ({"a": [1, 2, "inf", 4.5], "y": CLASSES}, {}, "column a must be finite in float32; got inf; because row 3"),
        ({"a": [1, 2, "1e200", 4.5], "y": CLASSES}, {}, r"column a must be finite in float32; got 1e\+200"),
        ({"a": [5] * 4, "y": CLASSES}, {}, "a column to predict from.*the same in every row: a"),
        ({"y": [0, 1, 0, 1]}, {}, "it is the only column"),
        (
            {"who": ["p1", "p2", "p3", "p4"], "y": CLASSES},
            {},
            "got '4 different words in 4 rows'; .*identifiers; try drop=.'who'., as_=.'who=category'.",
        ),
        ({"a": NUMBERS, "y": CLASSES}, {"drop": ["b"]}, "drop must name columns"),
        ({"a": NUMBERS, "y": CLASSES}, {"target": "y", "drop": ["y"]}, "target must name a column; got 'y'"),
        ({"a": NUMBERS, "y": ["2020-01-01"] * 4}, {}, "target y must hold classes or amounts; got 'dates'"),
        ({"a": NUMBERS, "y": ["u", "v", "w", "x"]}, {}, "no class has two rows"),
    ],
)
def test_bad_tables_are_one_clear_line(csv: Write, columns: dict, options: dict, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        load(csv(**columns), **options)
    assert "\n" not in str(caught.value)


def test_text_becomes_weights_of_its_words_and_can_be_dropped(csv: Write) -> None:
    reviews = [f"a rather {'good' if n % 2 else 'bad'} film, number {n}" for n in range(60)]
    path = csv(a=[n * n % 7 for n in range(60)], review=[f'"{one}"' for one in reviews], y=[0, 1] * 30)
    data = load(path)
    assert any(note.startswith("review: text as ") and "TfidfVectorizer" in note for note in data.notes)
    x, y = whole(data)[:, 1:], whole(data, "y")
    np.testing.assert_allclose(np.square(x).sum(1), 1, rtol=1e-5)
    tells = np.abs([np.corrcoef(column, y)[0, 1] if column.std() else 0 for column in x.T])
    assert tells.max() > 0.9
    assert load(path, drop=["review"]).input_shape == (1,)
    assert load(path, as_=["review=category"]).cardinalities == (49,)


def test_one_bad_cell_among_numbers_is_found(csv: Write) -> None:
    cells = [str(n) for n in range(30)]
    cells[17] = "12 kg"
    with pytest.raises(
        DataError, match=r"column a must hold numbers only; got '12 kg'; because row 18 \(counted from 1"
    ):
        load(csv(a=cells, y=[0, 1] * 15))


@pytest.mark.parametrize("embed", [-1, 1.5, True])
def test_embed_counts_levels(csv: Write, embed: object) -> None:
    with pytest.raises(ArgumentError, match=r"embed must be a whole number"):
        load(csv(a=NUMBERS, y=CLASSES), embed=embed)  # type: ignore[arg-type]


def test_target_never_leaks_into_the_inputs(csv: Write) -> None:
    data = load(csv(a=[9, 8, 7, 6, 5, 4, 3, 2], y=[0, 1] * 4))
    assert data.input_shape == (1,)
