"""Checks of what only Python can see: the kinds of objects that callers pass. The native module
checks the rest.
"""

from __future__ import annotations

import math
import operator
from typing import TYPE_CHECKING, Any, SupportsFloat, SupportsIndex

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from ._chain import Chain

_INT64_MAX = 2**63 - 1
MOST_CLASSES = 2**31 - 2  # that 32-bit indices can name, without the mask
MOST_TIMESTEPS = 10**7  # of a schedule, whose tables take about 100 bytes for each


def as_int(value: SupportsIndex, name: str, low: int, high: int = _INT64_MAX) -> int:
    """`value`, an integer or an array or tensor of one, as an int from `low` to `high`."""
    if type(value) is not int:
        value = _single(value, name, "integer")
        if _is_boolean(value):
            raise TypeError(f"{name} must be an integer, not {_kind(value)} {value}")
        try:
            value = operator.index(value)
        except TypeError:
            raise TypeError(f"{name} must be an integer, not {_kind(value)} {value!r}") from None
    if not low <= value <= high:
        limits = (
            f"at least {low}" if high == _INT64_MAX and value < low else f"from {low} to {high}"
        )
        raise ValueError(f"{name} must be {limits}, not {as_digits(value)}")
    return value


def as_float(value: SupportsFloat, name: str) -> float:
    """`value`, a real number or an array or tensor of one element, as a float; never a bool.

    NaN and range are for the native module to refuse.
    """
    if type(value) is float:
        return value
    value = _single(value, name, "real number")
    if _is_boolean(value) or not isinstance(value, _REAL) or isinstance(value, np.timedelta64):
        raise TypeError(f"{name} must be a real number, not {_kind(value)} {value!r}")
    try:
        return float(value)
    except OverflowError:
        number = as_digits(int(value))
        raise ValueError(f"{name} must be a number that float64 can hold, not {number}") from None


_REAL = (int, float, np.integer, np.floating)


def _single(value: Any, name: str, wanted: str) -> Any:
    """The element of an array or tensor that has one; anything else as it is."""
    if isinstance(value, np.generic) or not (hasattr(value, "shape") and hasattr(value, "item")):
        return value
    if math.prod(value.shape) != 1:
        raise ValueError(
            f"{name} must be a single {wanted}, not an array of shape {tuple(value.shape)}"
        )
    return value.reshape(())[()] if isinstance(value, np.ndarray) else value.item()


def _is_boolean(value: Any) -> bool:
    return isinstance(value, (bool, np.bool_))


def _kind(value: Any) -> str:
    return type(value).__name__


def as_digits(number: int) -> str:
    """A number as text; Python refuses to write out those of thousands of digits."""
    return str(number) if number.bit_length() <= 512 else f"one of {number.bit_length()} bits"


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
        raise ValueError(
            f"{name} must have the 3 axes (batch, classes, pixels), not shape {array.shape}"
        )
    return array


def as_grid(value: npt.ArrayLike, name: str) -> npt.NDArray[Any]:
    """`as_array` of something with the axes (batch, pixels)."""
    array = as_array(value, name)
    if array.ndim != 2:
        raise ValueError(f"{name} must have the 2 axes (batch, pixels), not shape {array.shape}")
    return array


def as_known(value: Any, shape: tuple[int, int]) -> npt.NDArray[Any] | None:
    """The known tokens of a step as an array of this shape, or None where there are none."""
    if value is None:
        return None
    array = as_array(value, "known")
    if array.shape != shape:
        raise ValueError(f"known must have shape {shape}, not {array.shape}")
    return array


def sample_of_step(chain: Chain, sample: Any, t: int, s: int) -> npt.NDArray[Any] | None:
    """The sample as an array for a step from t to s, or None where the step does not read it."""
    if not chain.reads_sample(t, s):
        return None
    if s < 0:
        check_given(sample)
    return as_array(sample, "sample")


def check_given(sample: Any) -> None:
    """Refuses None for a sample in a step to clean data, which mostly does not read it."""
    if sample is None:
        raise ValueError(
            "sample must not be None in a step to clean data from a timestep with β̄_t = 0, where "
            "the pixels that show a class keep it"
        )


def as_timesteps(
    value: Any, name: str, batch: int, last: int, first: int = 0
) -> npt.NDArray[np.int64]:
    """One timestep from `first` to `last` for each of `batch` rows, from one for all or an array of
    one for each.
    """
    array = as_array(value, name)
    if array.ndim == 0:
        return np.broadcast_to(np.int64(as_int(value, name, first, last)), batch)
    if array.dtype.kind not in "iu":
        raise TypeError(
            f"{name} must be an integer or an array of integers, not dtype {array.dtype}"
        )
    if array.shape != (batch,):
        raise ValueError(
            f"{name} must be an integer or have one entry for each of {batch} rows, not shape "
            f"{array.shape}"
        )
    entries = array[:1] if array.strides == (0,) else array  # of which there may be any number
    if batch and not (first <= entries.min() and entries.max() <= last):
        raise ValueError(
            f"{name} must be from {first} to {last}, not {entries.min()} to {entries.max()}"
        )
    return np.broadcast_to(entries.astype(np.int64), batch)
