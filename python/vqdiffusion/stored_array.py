"""Arrays in a pickle as plain values: NumPy 2 pickles its arrays in a way that NumPy before 1.26
cannot load.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class StoredArray:
    dtype: str
    shape: tuple[int, ...]
    data: bytes


def stored(value: Any) -> Any:
    """Numeric arrays, in tuples too, as StoredArray; any other value itself."""
    if type(value) is np.ndarray and value.dtype.kind in "biufc":
        return StoredArray(value.dtype.str, value.shape, value.tobytes())
    if type(value) is tuple:
        return tuple(stored(one) for one in value)
    return value


def restored(value: Any) -> Any:
    """What `stored` was given."""
    if isinstance(value, StoredArray):
        return np.frombuffer(value.data, value.dtype).reshape(value.shape).copy()
    if type(value) is tuple:
        return tuple(restored(one) for one in value)
    return value
