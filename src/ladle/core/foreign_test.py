"""Arrays of every library are the values that they hold, or are refused; each kind with inputs of its own."""

from __future__ import annotations

import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from ladle.core.errors import DataError
from ladle.core.foreign import as_array, is_array, is_number, require_narrow, same_rows, tree_of

REAL = st.sampled_from("f2 f4 f8 i1 i2 i4 i8 u1 u2 u4 u8 ? c8 c16 M8[s]".split())


def library(name: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip(name)


@given(st.data(), REAL)
def test_byte_order_layout_and_masks_without_a_masked_cell_change_nothing(data: st.DataObject, dtype: str) -> None:
    plain = data.draw(arrays.arrays(np.dtype(dtype), arrays.array_shapes(max_dims=3, max_side=4)))
    swapped = plain.astype(plain.dtype.newbyteorder())
    for given_array in (plain, swapped, np.asfortranarray(swapped), np.ma.array(swapped), np.ma.array(plain)):
        made = as_array(given_array)
        assert type(made) is np.ndarray and made.dtype.isnative and made.dtype == plain.dtype
        np.testing.assert_array_equal(made, plain)
    assert as_array(plain) is plain


@given(st.data())
def test_a_masked_cell_is_refused_with_its_place(data: st.DataObject) -> None:
    shape = data.draw(arrays.array_shapes(min_dims=1, max_dims=3, max_side=4))
    mask = data.draw(arrays.arrays(bool, shape).filter(lambda mask: mask.any()))
    with pytest.raises(DataError, match=rf"row {np.argwhere(mask)[0][0]}.* is masked, {mask.sum()} in all") as caught:
        as_array(np.ma.array(np.full(shape, -9999.0), mask=mask), "x")
    assert "-9999" not in str(caught.value)


NUMBERS = st.one_of(st.integers(-(2**62), 2**62), st.floats(), st.booleans())
LISTS = st.integers(1, 4).flatmap(lambda wide: st.lists(st.lists(NUMBERS, min_size=wide, max_size=wide), min_size=1))


@given(LISTS)
def test_lists_are_what_numpy_makes_of_them(rows: list[list[Any]]) -> None:
    made = as_array(rows)
    np.testing.assert_array_equal(made, np.asarray(rows))
    np.testing.assert_array_equal(as_array([np.asarray(row) for row in rows]), np.asarray(rows))
    np.testing.assert_array_equal(as_array(tuple(map(tuple, rows))), np.asarray(rows))


@given(LISTS, st.integers(0, 100))
def test_ragged_lists_are_refused_with_the_row(rows: list[list[Any]], at: int) -> None:
    ragged = [rows[0], *rows]
    ragged[1 + at % len(rows)] = [*rows[0], 1]
    with pytest.raises(DataError, match=f"in row 0, .* in row {1 + at % len(rows)}"):
        as_array(ragged)


@pytest.mark.parametrize(
    "given_list",
    [
        ["a", 1],
        ["a", float("nan")],
        ["a", None],
        [1, None],
        [2**70],
        [2**63, -1],
        [[1, "a"]],
        [b"a", "a"],
        [[2**63, -1]],
    ],
)
def test_what_numpy_would_spell_otherwise_stays_objects(given_list: list[Any]) -> None:
    made = as_array(given_list)
    assert made.dtype == object
    assert made.tolist() == given_list or given_list[1] != given_list[1]


@pytest.mark.parametrize(
    ("given_value", "said"),
    [
        ({1, 2}, "got 'set'; because what has no order"),
        (iter([1]), "what has no order, or is gone once it was read"),
        ([1.0, np.ma.masked], r"row 1 \(counted from 0\) is masked"),
        ([np.ma.array([1, 2], mask=[0, 1])], "is masked"),
        (jax.random.key(0), "got 'PRNGKeyArray'"),
        (np.ma.array([(1, 2.0)], dtype=[("a", int), ("b", float)], mask=[(True, False)]), "its fields"),
    ],
    ids="set iterator constant inside key fields".split(),
)
def test_what_is_no_array_is_refused_in_a_line(given_value: Any, said: str) -> None:
    with pytest.raises(DataError, match=said) as caught:
        as_array(given_value)
    assert "\n" not in str(caught.value)


def test_protocols_are_enough() -> None:
    class Arrayed:
        def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
            return np.arange(3, dtype=">i4")

    class Packed:
        def __init__(self) -> None:
            self.held = np.arange(3)

        def __dlpack__(self, **how: Any) -> Any:
            return self.held.__dlpack__(**how)

        def __dlpack_device__(self) -> Any:
            return self.held.__dlpack_device__()

    class Numpied:
        def to_numpy(self) -> np.ndarray:
            return np.ma.array([1, 2], mask=[0, 1])

    class Listed:
        def __len__(self) -> int:
            return 3

        def __getitem__(self, at: int) -> int:
            return at

    for one in (Arrayed(), Packed(), Listed(), range(3), memoryview(np.arange(3)), jnp.arange(3)):
        assert as_array(one).tolist() == [0, 1, 2] and as_array(one).dtype.isnative
    with pytest.raises(DataError, match="is masked"):
        as_array(Numpied())


def test_small_floats_of_jax_stay_small() -> None:
    made = as_array(jnp.arange(3, dtype=jnp.bfloat16))
    assert made.dtype.name == "bfloat16" and is_number(made.dtype)
    assert not is_number(np.dtype("U1")) and not is_number(np.dtype([("a", int)])) and not is_number(np.dtype("M8[s]"))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", "float16 float32 float64 int8 int16 int32 int64 uint8 bool complex64".split())
def test_tensors_of_every_type_and_layout(dtype: str) -> None:
    torch = library("torch")
    tensor = torch.arange(12).reshape(3, 4).to(getattr(torch, dtype))
    plain = tensor.numpy()
    for one in (tensor, tensor.T.contiguous().T, tensor[::2], tensor[:, 1:3], tensor.to_sparse()):
        np.testing.assert_array_equal(as_array(one), as_array(one.to_dense().contiguous().numpy()))
    assert np.shares_memory(as_array(tensor), plain)
    if tensor.is_floating_point():
        np.testing.assert_array_equal(as_array((tensor * 2).requires_grad_()), plain * 2)
        np.testing.assert_array_equal(as_array(torch.nn.Parameter(tensor)), plain)
    if tensor.is_complex():
        np.testing.assert_array_equal(as_array(tensor.conj()), plain.conj())


@pytest.mark.slow
@pytest.mark.parametrize("dtype", "bfloat16 float8_e4m3fn float8_e5m2".split())
def test_tensors_without_a_numpy_type_keep_their_bits(dtype: str) -> None:
    torch = library("torch")
    tensor = torch.tensor([[0.5, -2.0], [1.0, 0.0]]).to(getattr(torch, dtype))
    for one in (tensor, tensor.T, tensor[0]):
        made = as_array(one)
        assert made.dtype.name == dtype
        assert made.astype(np.float32).tolist() == one.float().tolist()
    np.testing.assert_array_equal(as_array([tensor[0], tensor[1]]), as_array(tensor))


@pytest.mark.slow
def test_tensors_that_hold_nothing_to_read_are_refused() -> None:
    torch = library("torch")
    with pytest.raises(DataError, match="x must be an array; got 'Tensor'; because .*meta"):
        as_array(torch.ones(2, device="meta"), "x")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nested = torch.nested.nested_tensor([torch.ones(1), torch.ones(2)])
    with pytest.raises(DataError, match="got 'a nested tensor'"):
        as_array(nested)


@pytest.mark.slow
@pytest.mark.parametrize("kind", "csr csc coo lil dok bsr dia".split())
def test_sparse_matrices_are_made_dense_where_there_is_room(kind: str) -> None:
    sparse = library("scipy.sparse")
    plain = np.array([[0, 1, 0], [2, 0, 0]])
    for make in (f"{kind}_matrix", f"{kind}_array"):
        made = getattr(sparse, make)(plain)
        assert is_array(made)
        np.testing.assert_array_equal(as_array(made), plain)
    with pytest.raises(DataError, match="x must fit half of the free memory; got 'a sparse .10000000, 10000000.'"):
        as_array(sparse.coo_matrix((10**7, 10**7)), "x")


@given(st.integers(-(2**63), 2**63 - 1))
def test_numbers_of_32_bits_are_kept_and_others_refused(value: int) -> None:
    array = np.array([0, value])
    if -(2**31) <= value < 2**31:
        require_narrow(array, "ids", "another")
        assert jnp.asarray(array).tolist() == [0, value]
    else:
        with pytest.raises(DataError, match=f"ids must fit 32 bits; got {value}; because .* row 1 has more"):
            require_narrow(array, "ids", "another")


@pytest.mark.parametrize("fine", [[np.nan, np.inf, 3e38], [], [2.0**53]])
def test_floats_fit_where_float32_reaches(fine: list[float]) -> None:
    require_narrow(np.array(fine), "x", "another")
    require_narrow(np.array([2**32 - 1], np.uint64), "x", "another")
    with pytest.raises(DataError, match="got 1e\\+300"):
        require_narrow(np.array([*fine, 1e300]), "x", "another")


def test_lengths_are_compared_through_the_whole_tree() -> None:
    tree = tree_of({"a": ([1, 2], {"b": np.ma.array([1.0, 2.0])}), "c": jnp.zeros((2, 3))}, "rows")
    assert same_rows(tree, "rows") == 2
    with pytest.raises(DataError, match="got 'a.0 2, a.1.b 2, c 3'"):
        same_rows({**tree, "c": np.zeros(3)}, "rows")
    with pytest.raises(DataError, match="rows 'a' must count rows along its first axis"):
        same_rows({"a": np.array(1)}, "rows")
    with pytest.raises(DataError, match="rows must hold an array"):
        same_rows({}, "rows")
    with pytest.raises(DataError, match="rows 'a.1.b' must have a value in every cell"):
        tree_of({"a": (1, {"b": np.ma.array([1, 2], mask=[1, 0])})}, "rows")
