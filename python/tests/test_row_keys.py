"""RowKeys: NumPy's numbers bit for bit, selection, copies, refusals."""

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import row_uniforms

import vqdiffusion
from vqdiffusion import RowKeys, _native

LARGEST = 2**64 - 1

# ---- The numbers

WORDS = st.one_of(st.integers(0, LARGEST), st.sampled_from([0, 1, 2**63 - 1, 2**63, LARGEST]))


@settings(max_examples=200, deadline=None)
@given(
    WORDS,
    st.lists(WORDS, max_size=5),
    st.integers(0, 2**63 - 1),
    WORDS,
    st.one_of(st.integers(0, 40), st.tuples(st.integers(0, 5), st.integers(0, 9))),
    st.sampled_from([np.float64, np.float32]),
)
def test_uniforms_are_those_row_uniforms(seed, ids, t, draw, shape, dtype):
    found = RowKeys(seed, ids, draw).uniforms(t, shape, dtype)
    np.testing.assert_array_equal(
        found, row_uniforms(seed, ids, t, draw, shape, dtype), strict=True
    )


@pytest.mark.parametrize("shape", [1, 63, 64, 65, 1000, (7, 1001)])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_each_row_at_its_timestep(shape, dtype, rng):
    ids, timesteps = rng.integers(0, 2**63, 9), rng.integers(0, 100, 9)
    expected = row_uniforms(3, ids, timesteps, 5, shape, dtype)
    for at in timesteps, timesteps.astype(np.int16), timesteps.tolist():
        np.testing.assert_array_equal(RowKeys(3, ids, 5).uniforms(at, shape, dtype), expected)


@pytest.mark.parametrize("rows, length", [(1, 300_001), (3, 90_001), (9000, 17)])
def test_threads_change_no_number(rows, length, num_threads_restored):
    keys, found = RowKeys(1, range(rows)), []
    for number in 1, 2, 3, 8, 0:
        vqdiffusion.set_num_threads(number)
        found.append((keys.uniforms(2, length), keys.uniforms(2, length, np.float32)))
    for one in found[1:]:
        np.testing.assert_array_equal(one[0], found[0][0])
        np.testing.assert_array_equal(one[1], found[0][1])
    last = row_uniforms(1, [rows - 1], 2, 0, length)
    np.testing.assert_array_equal(found[0][0][-1:], last)


def test_numbers_are_uniform_and_independent():
    """Neighbouring ids, timesteps and draws. Of a right generator a check fails with 6e-5."""
    u = np.stack([RowKeys(0, range(40), d).uniforms(t, 40) for t in range(20) for d in (0, 1)])
    u = u.reshape(20, 2, 40, 40)
    mean = (u - 0.5) * np.sqrt(12)
    assert abs(mean.sum()) < 4 * np.sqrt(u.size)
    for axis in range(4):
        pairs = (mean * np.roll(mean, 1, axis)).sum()
        assert abs(pairs) < 4 * np.sqrt(u.size)


def test_draws_and_timesteps_differ():
    found = {
        RowKeys(seed, [one], draw).uniforms(t, 8).tobytes()
        for seed in (0, 1)
        for one in (0, 1)
        for draw in (0, 1)
        for t in (0, 1)
    }
    assert len(found) == 16


# ---- The object

IDS = [
    [3, 0, LARGEST],
    (3, 0, LARGEST),
    np.array([3, 0, LARGEST], np.uint64),
    [np.uint64(3), np.int8(0), LARGEST],
]


@pytest.mark.parametrize("ids", IDS, ids=lambda ids: type(ids).__name__)
def test_ids_of_many_kinds(ids):
    keys = RowKeys(7, ids)
    assert keys.ids.dtype == np.uint64 and keys.ids.tolist() == [3, 0, LARGEST]
    assert (keys.seed, keys.draw, len(keys)) == (7, 0, 3)


@pytest.mark.parametrize("dtype", ["i1", "u2", ">i4", "i8", ">u8"])
def test_ids_of_any_integer_dtype(dtype):
    memory = np.arange(10).astype(dtype)
    keys = RowKeys(7, memory[::-2])
    memory[:] = 0  # it has its own
    assert keys.ids.tolist() == [9, 7, 5, 3, 1]


RANGES = [
    range(5), range(0), range(9, 2, -3), range(2**63 - 2, 2**63 + 2), range(LARGEST, LARGEST + 1),
    range(LARGEST, 0, -(2**62)), range(0, 2**64, 2**61),
]  # fmt: skip


@pytest.mark.parametrize("ids", RANGES, ids=str)
def test_ranges(ids):
    assert RowKeys(0, ids).ids.tolist() == list(ids)


def test_rows_are_selected(rng):
    keys, ids = RowKeys(5, range(10, 30), 2), np.arange(10, 30)
    for rows in [
        slice(3, 9), slice(None, None, -2), [4, 4, -1], np.array([2, 7], np.uint8), [], (),
        ids % 3 == 0, (ids % 3 == 0).tolist(), np.zeros(20, bool),
    ]:  # fmt: skip
        index = rows if isinstance(rows, slice) else np.array(rows, bool if len(rows) > 9 else int)
        part = keys[rows]
        assert type(part) is RowKeys and (part.seed, part.draw) == (5, 2)
        np.testing.assert_array_equal(part.ids, ids[index].astype(np.uint64), strict=True)


@pytest.mark.parametrize(
    "again",
    [
        lambda keys: pickle.loads(pickle.dumps(keys)),
        *(lambda keys, p=p: pickle.loads(pickle.dumps(keys, p)) for p in range(6)),
        copy.copy,
        copy.deepcopy,
        lambda keys: RowKeys(keys.seed, keys.ids, keys.draw),
    ],
)
def test_copies_are_equal(again):
    keys = RowKeys(LARGEST, [1, 2, LARGEST], LARGEST)
    other = again(keys)
    assert other == keys and not other != keys and type(other) is RowKeys
    assert not other.ids.flags.writeable
    np.testing.assert_array_equal(other.uniforms(3, 5), keys.uniforms(3, 5))


def test_equality_is_of_all_parts():
    keys = RowKeys(1, [2, 3], 4)
    for other in (
        RowKeys(9, [2, 3], 4),
        RowKeys(1, [2, 9], 4),
        RowKeys(1, [2], 4),
        RowKeys(1, [2, 3]),
    ):
        assert keys != other
    assert keys != 1 and keys != [2, 3]
    with pytest.raises(TypeError, match="unhashable"):
        hash(keys)


def test_representation():
    assert repr(RowKeys(7, [1, LARGEST])).split() == [
        "RowKeys(7,", "[", "1,", "18446744073709551615],", "draw=0)",
    ]  # fmt: skip
    assert len(repr(RowKeys(7, range(10**6)))) < 100


def test_it_does_not_change():
    keys = RowKeys(1, [2, 3])
    for name in "seed", "ids", "draw", "other":
        with pytest.raises(AttributeError):
            setattr(keys, name, 5)
    with pytest.raises(ValueError, match="read-only"):
        keys.ids[0] = 5
    with pytest.raises(TypeError):
        iter(keys)


def test_native_function_takes_signed_and_unsigned_ids():
    for dtype in np.int64, np.uint64:
        out = np.empty((2, 3))
        _native.row_uniforms(1, np.array([5, 6], dtype), np.array([2, 3]), 4, out)
        np.testing.assert_array_equal(out, row_uniforms(1, [5, 6], [2, 3], 4, 3))


# ---- Refusals

BAD = [
    ((-1, [1]), ValueError, "^seed must be from 0 to 18446744073709551615, not -1$"),
    ((2**64, [1]), ValueError, "^seed must be from 0 to 18446744073709551615, not 1844674"),
    ((10**5000, [1]), ValueError, "^seed must be from 0 to .*, not one of 16610 bits$"),
    ((True, [1]), TypeError, "^seed must be an integer, not bool True$"),
    ((1.0, [1]), TypeError, "^seed must be an integer, not float 1.0$"),
    (("1", [1]), TypeError, "^seed must be an integer, not str '1'$"),
    ((None, [1]), TypeError, "^seed must be an integer, not NoneType None$"),
    ((1, [0, -1]), ValueError, r"^ids\[1\] must be from 0 to 18446744073709551615, not -1$"),
    ((1, [2**64]), ValueError, r"^ids\[0\] must be from 0 to .*, not 18446744073709551616$"),
    ((1, [True]), TypeError, r"^ids\[0\] must be an integer, not bool True$"),
    ((1, [1.0]), TypeError, r"^ids\[0\] must be an integer, not float 1.0$"),
    ((1, [[1, 2]]), TypeError, r"^ids\[0\] must be an integer, not list \[1, 2\]$"),
    ((1, range(-1, 3)), ValueError, "^ids must be from 0 to .*, not -1$"),
    ((1, range(2**64, 2**64 + 3)), ValueError, "^ids must be from 0 to .*, not 1844674"),
    ((1, np.array([1, -3])), ValueError, "^ids must be from 0 to .*, not -3$"),
    ((1, np.array([1.0])), TypeError, "^ids must be integers, not dtype float64$"),
    ((1, np.array([True])), TypeError, "^ids must be integers, not dtype bool$"),
    ((1, np.array([1], object)), TypeError, "^ids must be integers, not dtype object$"),
    ((1, np.ones((2, 1), int)), ValueError, r"^ids must have the 1 axis .*, not shape \(2, 1\)$"),
    ((1, 5), ValueError, r"^ids must have the 1 axis .*, not shape \(\)$"),
    ((1, None), TypeError, "^ids must be an array, not None$"),
    ((1, "12"), TypeError, "^ids must be integers, not dtype <U2$"),
    ((1, {1, 2}), TypeError, "^ids must be integers, not dtype object$"),
    ((1, [1], -1), ValueError, "^draw must be from 0 to 18446744073709551615, not -1$"),
    ((1, [1], 0.5), TypeError, "^draw must be an integer, not float 0.5$"),
]


@pytest.mark.parametrize("arguments, error, match", BAD)
def test_bad_parts_are_refused(arguments, error, match):
    with pytest.raises(error, match=match):
        RowKeys(*arguments)


@pytest.mark.parametrize(
    "rows, error, match",
    [
        (2, TypeError, r"^rows must be a slice, or .*, not dtype int64 and shape \(\)$"),
        (None, TypeError, "^rows must be an array, not None$"),
        ([0.5], TypeError, "^rows must be a slice, or .* dtype float64"),
        ([[0]], TypeError, r"^rows must be a slice, or .* shape \(1, 1\)$"),
        ([0, 3], IndexError, "^rows must be among 3: index 3 is out of bounds"),
        ([True], IndexError, "^rows must be among 3: boolean index"),
    ],
)
def test_bad_rows_are_refused(rows, error, match):
    with pytest.raises(error, match=match):
        RowKeys(1, [1, 2, 3])[rows]


@pytest.mark.parametrize(
    "arguments, error, match",
    [
        ((-1, 3), ValueError, "^timesteps must be at least 0, not -1$"),
        ((2.0, 3), TypeError, "^timesteps must be an integer, not float 2.0$"),
        (([1, 2, 3], 3), ValueError, r"^timesteps must .* 2 rows, not shape \(3,\)$"),
        (([1, -2], 3), ValueError, "^timesteps must be from 0 to .*, not -2 to 1$"),
        ((1, -3), ValueError, "^shape must be at least 0, not -3$"),
        ((1, (1, 2, 3)), ValueError, r"^shape must have 1 or 2 lengths, not \(1, 2, 3\)$"),
        ((1, 3, np.float16), TypeError, "^dtype must be float64 or float32, not float16$"),
    ],
)
def test_bad_arguments_of_uniforms_are_refused(arguments, error, match):
    with pytest.raises(error, match=match):
        RowKeys(1, [1, 2]).uniforms(*arguments)


def test_native_ids_and_timesteps_of_any_stride():
    ids, t = np.arange(24, dtype=np.uint64) * 7, np.arange(24)
    for lay in (slice(None, None, 3), slice(None, None, -3), slice(5, 13)):
        expected, found = np.empty((8, 21)), np.empty((8, 21))
        _native.row_uniforms(3, ids[lay].copy(), t[lay].copy(), 2, expected)
        _native.row_uniforms(3, ids[lay], t[lay], 2, found)
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(expected, row_uniforms(3, ids[lay], t[lay], 2, 21))
    repeated = np.broadcast_to(np.uint64(9), 8), np.broadcast_to(np.int64(4), 8)
    _native.row_uniforms(3, *repeated, 2, found)
    np.testing.assert_array_equal(found, row_uniforms(3, repeated[0], 4, 2, 21))
