"""Checks of what only Python can see: the kinds of objects that callers pass. The native module checks the rest."""

from __future__ import annotations

import operator
from typing import Any, SupportsIndex

import numpy as np
import numpy.typing as npt

_INT64_MAX = 2**63 - 1


def as_int(value: SupportsIndex, name: str, low: int, high: int = _INT64_MAX) -> int:
    """`value`, an int, a NumPy integer or an integer array of one element, as an int from `low` to `high`."""
    if type(value) is not int:
        if isinstance(value, np.ndarray):
            if value.size != 1:
                raise ValueError(f"{name} must be a single integer, not an array of shape {value.shape}")
            value = value.reshape(())[()]
        if isinstance(value, (bool, np.bool_)):
            raise TypeError(f"{name} must be an integer, not {type(value).__name__} {value}")
        try:
            value = operator.index(value)
        except TypeError:
            raise TypeError(f"{name} must be an integer, not {type(value).__name__} {value!r}") from None
    if not low <= value <= high:
        limits = f"at least {low}" if high == _INT64_MAX and value < low else f"from {low} to {high}"
        raise ValueError(f"{name} must be {limits}, not {value}")
    return value


def as_float(value: float, name: str) -> float:
    """`value` as a float: any real number, never a bool. NaN and range are for the native module to refuse."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"{name} must be a real number, not {type(value).__name__} {value!r}")
    return float(value)


def as_array(value: Any, name: str) -> npt.NDArray[Any]:
    """`value` as an ndarray, without a copy where it has `__array__` or a CPU `__dlpack__`."""
    if type(value) is np.ndarray:
        return value
    if value is None:
        raise TypeError(f"{name} must be an array, not None")
    try:
        if hasattr(value, "__dlpack__") and not hasattr(value, "__array__"):
            return np.from_dlpack(value)
        return np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name} could not be read as an array: {error}") from error
    except (TypeError, RuntimeError, BufferError) as error:
        raise TypeError(f"{name} could not be read as an array: {error}") from error


def as_tensor(value: npt.ArrayLike, name: str) -> npt.NDArray[Any]:
    """`as_array` of something with the axes (batch, classes, pixels)."""
    array = as_array(value, name)
    if array.ndim != 3:
        raise ValueError(f"{name} must have the 3 axes (batch, classes, pixels), not shape {array.shape}")
    return array


def as_grid(value: npt.ArrayLike, name: str) -> npt.NDArray[Any]:
    """`as_array` of something with the axes (batch, pixels)."""
    array = as_array(value, name)
    if array.ndim != 2:
        raise ValueError(f"{name} must have the 2 axes (batch, pixels), not shape {array.shape}")
    return array


def check_given(sample: Any) -> None:
    """Refuses None for a sample at t = 0, where it is mostly not read."""
    if sample is None:
        raise ValueError(
            "sample must not be None at timestep 0 of a schedule with β̄_0 = 0, where the pixels that "
            "show a class keep it"
        )


def as_timesteps(value: Any, name: str, batch: int, last: int) -> npt.NDArray[np.int64]:
    """One timestep from 0 to `last` for each of `batch` rows, from one for all or an array of one for each."""
    array = as_array(value, name)
    if array.ndim == 0:
        return np.broadcast_to(np.int64(as_int(value, name, 0, last)), batch)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name} must be an integer or an array of integers, not dtype {array.dtype}")
    if array.shape != (batch,):
        raise ValueError(
            f"{name} must be an integer or have one entry for each of {batch} rows, not shape {array.shape}"
        )
    entries = array[:1] if array.strides == (0,) else array  # of which there may be any number
    if batch and not (0 <= entries.min() and entries.max() <= last):
        raise ValueError(f"{name} must be from 0 to {last}, not {entries.min()} to {entries.max()}")
    return np.broadcast_to(entries.astype(np.int64), batch)
