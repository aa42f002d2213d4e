"""Random numbers that depend on the row they are for, and on nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, SupportsIndex

import numpy as np
import numpy.typing as npt

from . import _native, threads
from .arguments import as_array, as_int, as_timesteps

_MOST = 2**64 - 1  # that a word of a key can hold
_LAST = 2**63 - 1  # of the timesteps that the native module takes

Ids = npt.NDArray[np.uint64]


class RowKeys:
    """A `generator` whose numbers for a batch row depend only on (seed, id of the row, timestep,
    draw): however a job is divided into batches, resumed or tried again, a row gets the same ones.

    Row i's uniforms at timestep t are, bit for bit, those of
    `numpy.random.Generator(Philox(key=[seed, ids[i]], counter=[0, t, draw, 0])).random(N)`, for
    "gumbel" `.random((K + 1, N), dtype=numpy.float32)`. With `unmask` they are `.random((2, N))`,
    the first half for the classes, as without, the second for the order.

    It is passed in place of a generator, the same at every step of a chain, and has no state:

        keys = RowKeys(seed=7, ids=range(1_000_000))
        for part in parts:  # slices or arrays of row numbers, in any order, on any machine
            sample = scheduler.sample_prior((len(keys[part]), N), keys[part])
            for t in scheduler.timesteps:
                log_p = model(sample, t)
                sample = scheduler.step(log_p, t, sample, keys[part]).prev_sample

    The tokens do not depend on the division if the model's output for a row does not: many networks
    round in another way for another batch size.

    Two draws at one timestep need two values of `draw`. After
    `x_t = scheduler.add_noise(x_0, t, keys)` a step from t with the same keys would repeat the
    uniforms that x_t was drawn with, and not be a sample of the chain: pass one of them
    `RowKeys(seed, ids, draw=1)`.

    Parameters
    ----------
    seed : int
        0 … 2**64 - 1.
    ids : sequence or array of integers, shape (B,)
        0 … 2**64 - 1, one for each batch row: what names the row in the whole job. Equal ids get
        equal numbers.
    draw : int
        0 … 2**64 - 1.

    Attributes
    ----------
    seed, draw : int
    ids : numpy.ndarray of uint64, shape (B,)
        Read-only.

    Raises
    ------
    TypeError
        If `seed`, `draw` or an id is no integer; booleans are none.
    ValueError
        If one is out of range, or `ids` has not one axis.
    """

    __slots__ = ("_draw", "_ids", "_seed")

    def __init__(
        self,
        seed: SupportsIndex,
        ids: npt.ArrayLike | range,
        draw: SupportsIndex = 0,
    ) -> None:
        self._seed = as_int(seed, "seed", 0, _MOST)
        self._ids = _as_ids(ids)
        self._draw = as_int(draw, "draw", 0, _MOST)

    @property
    def seed(self) -> int:
        return self._seed

    @property
    def ids(self) -> Ids:
        return self._ids

    @property
    def draw(self) -> int:
        return self._draw

    def uniforms(
        self,
        timesteps: SupportsIndex | npt.ArrayLike,
        shape: int | tuple[int, ...],
        dtype: npt.DTypeLike = np.float64,
    ) -> npt.NDArray[Any]:
        """Uniforms on [0, 1), as a step draws them.

        Parameters
        ----------
        timesteps : int, or array of any integer dtype, shape (B,)
            Not negative; one for all rows or one for each.
        shape : int or tuple of one or two ints
            Of a row: N, or (K + 1, N).
        dtype : numpy.float64 or numpy.float32
            53 or 24 random bits each.

        Returns
        -------
        numpy.ndarray, shape (B, *shape)

        Raises
        ------
        TypeError, ValueError
            If an argument is not as described.
        """
        given = shape if isinstance(shape, tuple) else (shape,)
        if len(given) not in (1, 2):
            raise ValueError(f"shape must have 1 or 2 lengths, not {shape}")
        if np.dtype(dtype) not in (np.float64, np.float32):
            raise TypeError(f"dtype must be float64 or float32, not {np.dtype(dtype)}")
        lengths = [as_int(length, "shape", 0) for length in given]
        out = np.empty((len(self), *lengths), dtype)
        at = as_timesteps(timesteps, "timesteps", len(self), _LAST)
        _native.row_uniforms(self._seed, self._ids, at, self._draw, out, threads._num_threads)
        return out

    def __len__(self) -> int:
        """The number of rows."""
        return len(self._ids)

    def __getitem__(self, rows: slice | npt.ArrayLike) -> RowKeys:
        """The keys of some rows: a slice, an array of their numbers, or a mask of booleans."""
        if not isinstance(rows, slice):
            is_empty = isinstance(rows, (list, tuple)) and not rows
            rows = np.empty(0, np.intp) if is_empty else as_array(rows, "rows")
            if rows.ndim != 1 or rows.dtype.kind not in "iub":
                raise TypeError(
                    "rows must be a slice, or integers or booleans in 1 axis, not dtype "
                    f"{rows.dtype} and shape {rows.shape}"
                )
        try:
            ids = self._ids[rows]
        except IndexError as error:
            raise IndexError(f"rows must be among {len(self)}: {error}") from None
        return type(self)(self._seed, ids, self._draw)

    __iter__ = None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RowKeys):
            return NotImplemented
        return (self._seed, self._draw) == (other._seed, other._draw) and np.array_equal(
            self._ids, other._ids
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        ids = np.array2string(self._ids, separator=", ", threshold=8)
        return f"RowKeys({self._seed}, {ids}, draw={self._draw})"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._seed, self._ids, self._draw)


def _as_ids(value: Any) -> Ids:
    if isinstance(value, (list, tuple)):
        # By elements: NumPy makes floats of integers below and above 2**63 side by side.
        each = [as_int(one, f"ids[{row}]", 0, _MOST) for row, one in enumerate(value)]
        ids = np.array(each, np.uint64)
    elif isinstance(value, range):
        ids = _of_range(value)
    else:
        array = as_array(value, "ids")
        if array.dtype.kind not in "iu":
            raise TypeError(f"ids must be integers, not dtype {array.dtype}")
        if array.ndim != 1:
            raise ValueError(f"ids must have the 1 axis (batch,), not shape {array.shape}")
        if array.dtype.kind == "i" and array.size and array.min() < 0:
            raise ValueError(f"ids must be from 0 to {_MOST}, not {array.min()}")
        ids = array.astype(np.uint64)
    ids.flags.writeable = False
    return ids


def _of_range(value: range) -> Ids:
    """As numpy.asarray, in a hundredth of the time."""
    if not value:
        return np.empty(0, np.uint64)
    first, _ = (as_int(end, "ids", 0, _MOST) for end in (value[0], value[-1]))
    # Modulo 2**64, also where the range falls.
    return np.arange(len(value), dtype=np.uint64) * np.uint64(value.step % 2**64) + np.uint64(first)


@dataclass(frozen=True)
class KeysAt:
    """Keys and the timesteps that a call draws at: one, or one for each row."""

    keys: RowKeys
    timesteps: Any

    def uniforms(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """Uniforms of a shape that begins with the batch."""
        if len(self.keys) != shape[0]:
            raise ValueError(
                "generator as RowKeys must have one id for each batch row, not "
                f"{len(self.keys)} for {shape[0]} rows"
            )
        return self.keys.uniforms(self.timesteps, shape[1:], dtype)


def at_timesteps(generator: Any, timesteps: Any) -> Any:
    """What a call at these timesteps draws from: for keys `KeysAt`, else `generator` itself."""
    return KeysAt(generator, timesteps) if isinstance(generator, RowKeys) else generator
