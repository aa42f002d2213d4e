"""What callers pass, as what the native module or the torch formulas take."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from .._chain import Chain
from ..arguments import as_array, as_int
from ..checks import wrong_classes
from ..row_keys import KeysAt, RowKeys
from .view import traced

_FLOATING = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def as_timesteps(
    value: Any, name: str, low: int, high: int, batch: int | None = None
) -> int | list[int]:
    """`value` as an int from `low` to `high`, or as a list of them where it holds several.

    Several are one for each batch row, of shape (B,), (B, 1) or (B, 1, 1). One number expanded to
    `batch` entries counts as one.

    0.0 and False count as 0, as comparisons with 0 have it.
    """
    if type(value) is int:
        return value if low <= value <= high else as_int(value, name, low, high)
    if isinstance(value, (Tensor, np.ndarray)):
        if any(length != 1 for length in value.shape[1:]):
            shape = tuple(value.shape)
            raise ValueError(f"{name} must have one entry for each batch row, not shape {shape}")
        expanded = value[:1] if value.shape == (batch,) and not any(_strides(value)) else value
        value = expanded.reshape(-1).tolist()
    if isinstance(value, (list, tuple)):
        timesteps = [_as_timestep(one, name, low, high) for one in value]
        return timesteps[0] if len(timesteps) == 1 else timesteps
    return _as_timestep(value, name, low, high)


def rows_of(x: Any, timestep: Any) -> int | None:
    """The batch rows of `x` where `timestep` may hold one entry for each, else None."""
    if type(timestep) is int or not isinstance(timestep, (Tensor, np.ndarray)):
        return None
    shape = np.shape(x)
    return shape[0] if shape else None


def _strides(value: Tensor | np.ndarray) -> tuple[int, ...]:
    return value.stride() if isinstance(value, Tensor) else value.strides


def _as_timestep(value: Any, name: str, low: int, high: int) -> int:
    if isinstance(value, (bool, float, np.bool_, np.floating)) and value == 0:
        return 0
    return as_int(value, name, low, high)


def by_row(t: int | list[int], batch: int, name: str) -> list[tuple[slice, int]]:
    """Which batch rows have which timestep."""
    if isinstance(t, int):
        return [(slice(None), t)]
    if len(t) != batch:
        raise ValueError(
            f"{name} must be one timestep, or one for each of {batch} batch rows, not {len(t)}"
        )
    return [(slice(row, row + 1), one) for row, one in enumerate(t)]


def index(t: int | list[int], like: Tensor) -> int | Tensor:
    """t for the torch formulas, which take several as a tensor."""
    return t if not isinstance(t, list) else torch.tensor(t, device=like.device)


def leads_to(chain: Chain, t: int | list[int], given: Any = None) -> int | list[int]:
    """The timestep s that a step from t leads to, or one for each batch row, unless `given`."""
    if given is not None:
        given = as_timesteps(given, "previous_timestep", -1, chain.num_timesteps - 1)
    if isinstance(t, int):
        if isinstance(given, list):
            raise ValueError(
                f"previous_timestep must be one where timestep is one, not {len(given)}"
            )
        return chain.previous(t, given)
    each = given if isinstance(given, list) else [given] * len(t)
    if len(each) != len(t):
        raise ValueError(
            f"previous_timestep must be one, or one for each of {len(t)} rows, not {len(each)}"
        )
    return [chain.previous(one, to) for one, to in zip(t, each)]


def by_row_to(
    t: int | list[int], s: int | list[int], batch: int, name: str = "timestep"
) -> list[tuple[slice, int, int]]:
    """Which batch rows go from which timestep to which."""
    each = by_row(t, batch, name)
    return [(rows, one, s if isinstance(s, int) else s[i]) for i, (rows, one) in enumerate(each)]


def as_generators(
    generator: Any, batch: int, t: int | list[int]
) -> Generator | list[Generator] | KeysAt | None:
    """`generator` if it is None, a torch.Generator, or a list or tuple with one for each of `batch`
    rows; RowKeys with the timesteps that are drawn at.
    """
    if generator is None or isinstance(generator, Generator):
        return generator
    if isinstance(generator, RowKeys):
        return KeysAt(generator, t)
    if not isinstance(generator, (list, tuple)):
        raise TypeError(
            "generator must be None, a torch.Generator, a list of them or RowKeys, not "
            f"{_kind(generator)}"
        )
    generators = list(generator)  # a subclass may say another length than it has
    for one in generators:
        if not isinstance(one, Generator):
            raise TypeError(f"generator as a list must hold torch.Generators, not {_kind(one)}")
    if len(generators) != batch:
        raise ValueError(
            f"generator as a list must hold one for each of {batch} batch rows, not "
            f"{len(generators)}"
        )
    return generators


def _kind(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"


def as_log_probabilities(x: Any, name: str, classes: int) -> Tensor:
    """`x` as a floating tensor of shape (B, classes, N)."""
    x = _as_tensor(x, name)
    if x.dtype not in _FLOATING:
        raise TypeError(f"{name} must be float16, bfloat16, float32 or float64, not {x.dtype}")
    if x.ndim == 3 and x.shape[1] != classes:
        raise wrong_classes(tuple(x.shape), classes, name, with_mask=name == "log_onehot_x_t")
    if x.ndim != 3:
        raise ValueError(f"{name} must have shape (batch, {classes}, pixels), not {tuple(x.shape)}")
    return x


def as_columns(x: Any, name: str, classes: int) -> Tensor:
    """`x` as a floating tensor of shape (classes, M)."""
    x = _as_tensor(x, name)
    if x.dtype not in _FLOATING:
        raise TypeError(f"{name} must be float16, bfloat16, float32 or float64, not {x.dtype}")
    if x.ndim == 2 and x.shape[0] != classes:
        raise wrong_classes(tuple(x.shape), classes, name)
    if x.ndim != 2:
        raise ValueError(
            f"{name} for the needed pixels alone must have shape ({classes}, M), not "
            f"{tuple(x.shape)}"
        )
    return x


def as_grid(grid: Any, name: str) -> Tensor:
    """`grid` as an integer tensor of shape (B, N)."""
    grid = _as_tensor(grid, name)
    if grid.dtype.is_floating_point or grid.dtype.is_complex or grid.dtype is torch.bool:
        raise TypeError(f"{name} must be of an integer type, not {grid.dtype}")
    if grid.ndim != 2:
        raise ValueError(
            f"{name} must have the 2 axes (batch, pixels), not shape {tuple(grid.shape)}"
        )
    return grid


def as_grid_of(x: Tensor, grid: Any, name: str) -> Tensor:
    """`grid` as an integer tensor of shape (B, N) that goes with `x` (B, classes, N)."""
    grid = _as_tensor(grid, name)
    if grid.dtype.is_floating_point or grid.dtype.is_complex or grid.dtype is torch.bool:
        raise TypeError(f"{name} must be of an integer type, not {grid.dtype}")
    if grid.shape != (x.shape[0], x.shape[2]):
        raise ValueError(
            f"{name} must have shape {(x.shape[0], x.shape[2])}, not {tuple(grid.shape)}"
        )
    if grid.device != x.device:
        raise ValueError(
            f"{name} must be on {x.device} as the log-probabilities are, not on {grid.device}"
        )
    return grid


def known_of(grid: Tensor, known: Any, classes: int) -> Tensor:
    """The known tokens of a step as a new int64 tensor like `grid` (B, N), in which -1 is
    unknown.
    """
    known = as_grid(known, "known")
    if known.shape != grid.shape:
        raise ValueError(f"known must have shape {tuple(grid.shape)}, not {tuple(known.shape)}")
    if known.device != grid.device:
        raise ValueError(f"known must be on {grid.device}, not on {known.device}")
    check_known(known, "known", classes)
    return known.to(torch.int64, copy=True)


def check_known(known: Tensor, name: str, classes: int) -> None:
    """Refuses what is neither a class of clean data nor -1, where values can be looked at."""
    # As int64 the greatest of uint64 is -1 too.
    check_grid(known, name, classes - 1, 0 if known.dtype is torch.uint64 else -1)


def with_known(tokens: Tensor, known: Any, classes: int) -> Tensor:
    """The tokens that a step has drawn, with the known ones in their places."""
    if known is None:
        return tokens
    known = known_of(tokens, known, classes)
    return torch.where(known < 0, tokens, known)


def _as_tensor(value: Any, name: str) -> Tensor:
    if isinstance(value, Tensor):
        return value
    try:
        return torch.tensor(as_array(value, name), device="cpu")
    except TypeError as error:
        raise TypeError(f"{name} could not be read as a tensor: {error}") from error


def check_grid(grid: Tensor, name: str, classes: int, first: int = 0) -> None:
    """Refuses classes outside `first` … `classes`, where values can be looked at."""
    if traced() or grid.numel() == 0:
        return
    # torch compares few unsigned types. In int64 what does not fit is negative, and out of range
    # too.
    low, high = grid.long().aminmax()
    try:
        if not bool((low < first) | (high > classes)):
            return
    except RuntimeError:  # no values: under vmap, or on the meta device
        return
    wrong = int(low if low < first else high)
    wrong += 2**64 if wrong < 0 and grid.dtype is torch.uint64 else 0
    unknown = ", or -1 where unknown" if first < 0 else ""
    raise ValueError(f"{name} must hold classes from 0 to {classes}{unknown}, not {wrong}")


def check_drawable(total: Tensor, mask: Tensor | None, name: str) -> None:
    """Refuses a posterior that cannot be drawn from, given its `Posterior.total` and `.mask`."""
    if traced():
        return
    impossible = ~total.isfinite() if mask is None else ~total.isfinite() | mask.isnan()
    try:
        if not bool(impossible.any()):
            return
    except RuntimeError:  # as above
        return
    row, _, pixel = impossible.nonzero()[0].tolist()
    if total[row, 0, pixel].isfinite():
        raise ValueError(
            f"the schedule masks nothing at this timestep, but row {row}, pixel {pixel} is masked"
        )
    raise ValueError(
        f"{name} must not hold NaN, +inf or a column of only -inf, but does at row {row}, pixel "
        f"{pixel}"
    )


def check_columns(x: Tensor, name: str) -> None:
    """Refuses columns (classes, M) that cannot be drawn from."""
    bad = ~x.logsumexp(0).isfinite()
    if bool(bad.any()):
        column = int(bad.nonzero()[0])
        raise ValueError(
            f"{name} must not hold NaN, +inf or a column of only -inf, but does in column {column}"
        )


def same_values(a: Tensor, b: Tensor) -> bool:
    """Whether two integer tensors are equal; of values that cannot be looked at, whether their
    shapes are.
    """
    if a.shape != b.shape or a.device != b.device:
        return False
    try:
        return traced() or bool((a.long() == b.long()).all())
    except RuntimeError:  # as above
        return True
