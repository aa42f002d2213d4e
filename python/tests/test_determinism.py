"""What results depend on, each cell of determinism_claims.py a test: equal bit for bit, or within
the stated bound.
"""

import os
from functools import cache, partial

import numpy as np
import pytest
import views
from cpu_levels import LEVELS
from determinism_claims import COLUMNS, DIFFERENT, RESULTS
from level_results import INPUTS, WITH_FMA, B, of_process, results

# A Python with the package on another machine or emulated, whose results are to be x86-64-v3's.
AARCH64 = os.environ.get("VQDIFFUSION_AARCH64_PYTHON")
THREADS = 2, 3, 8, 0
LAYOUTS = [
    views.turned,  # classes inner
    views.spread,  # every second element along each axis
    views.backwards,
    lambda x: views.backwards(x, axis=1),
    lambda x: views.padded(x, offset=5),  # a slice of a larger array
    lambda x: views.ordered(x, (2, 0, 1) if x.ndim == 3 else (1, 0)),  # pixels outermost
]
ALIGNMENTS = [views.one_on, views.unaligned]


def in_order(x, lay):
    """`lay`, with the axes in the order in which they lie in memory."""
    axes = np.argsort(x.strides, kind="stable")[::-1]
    return lay(x.transpose(axes)).transpose(np.argsort(axes))


def variants(column):
    """Results that a column compares, in pairs, by their names with the kind of input before."""
    if column == "levels":
        for level in WITH_FMA[1:]:
            yield of_process(level, 2), of_process(WITH_FMA[0], 1)
    elif column == "baseline":
        yield of_process(LEVELS[0], 3), of_process(LEVELS[-1], 1)
    elif column == "aarch64":
        yield of_process("aarch64", 1, AARCH64), of_process("x86-64-v3", 1)
    else:
        for kind in INPUTS:
            expected = results(kind, 1)
            if column == "threads":
                found = (results(kind, number) for number in THREADS)
            elif column == "batch":
                found = [rows_one_by_one(kind)]
            else:
                lays = LAYOUTS
                if column == "alignment":
                    lays = [partial(in_order, lay=lay) for lay in ALIGNMENTS]
                found = (results(kind, 1, lay=lay) for lay in lays)
            for one in found:
                yield named(kind, one), named(kind, expected)


def named(kind, found):
    return {f"{kind}/{name}": value for name, value in found.items()}


def rows_one_by_one(kind):
    alone = [results(kind, 1, rows=slice(row, row + 1)) for row in range(B)]
    found = {name: np.concatenate([one[name] for one in alone]) for name in alone[0]}
    # Losses are divided by the number of rows, here a power of two.
    found["loss, all rows"] = found["loss, all rows"].sum(keepdims=True) / B
    found["loss"] = found["loss"] / found["loss"].dtype.type(B)
    return found


@cache
def differing(column):
    """The pairs of results of a column that are not equal bit for bit, by their names."""
    pairs = []
    for found, expected in variants(column):
        assert found.keys() == expected.keys()
        for name, value in found.items():
            other = expected[name]
            assert (value.dtype, value.shape) == (other.dtype, other.shape), name
            if value.tobytes() != other.tobytes():
                pairs.append((*name.split("/"), value, other))
    return pairs


def needed(column):
    """Whether there is something to compare here."""
    return {"levels": len(WITH_FMA) > 1, "baseline": LEVELS[0] == "x86-64"}.get(column, True)


CELLS = [(row, column) for row in RESULTS for column in COLUMNS if column != "aarch64" or AARCH64]


@pytest.mark.parametrize("row, column", CELLS)
def test_cell(row, column):
    if not needed(column):
        pytest.skip("this machine has no two such CPU levels")
    pairs = [pair for pair in differing(column) if pair[1] in RESULTS[row]]
    within = DIFFERENT.get((row, column))
    assert within is not None or not pairs, {pair[:2] for pair in pairs}
    for kind, name, value, other in pairs:
        near = within.double if kind == "float64" else within.single
        scale = np.abs(other).max() if row == "gradient" else 1
        near = np.isclose(value, other, rtol=near, atol=near * scale, equal_nan=True)
        assert (~near).sum() <= within.places, (kind, name)


def test_every_result_has_a_row():
    names = [name for row in RESULTS.values() for name in row]
    assert sorted(names) == sorted(results("float32", 1))


def test_no_column_compares_less_than_it_says():
    """Each arrangement is another one in memory than the others."""
    x = np.zeros((2, 3, 5))
    strides = {lay(x).strides for lay in LAYOUTS}
    assert len(strides) == len(LAYOUTS) and x.strides not in strides
    assert all(lay(x).__array_interface__["data"][0] % 16 for lay in ALIGNMENTS)
