"""What a reverse step returns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(eq=False)
class VQDiffusionSchedulerOutput:
    """The result of `VQDiffusionScheduler.step`, with its fields also as `out["prev_sample"]` and
    `out[0]`.

    Attributes
    ----------
    prev_sample : numpy.ndarray of int64, shape (B, N)
        The classes of each pixel at the previous timestep, to be used as the next model input.
    revealed : numpy.ndarray of bool, shape (B, N), or None
        With `unmask`: the pixels that the step has revealed.
    scores : numpy.ndarray of float64, shape (B, N), or None
        With `unmask`: the keys of its order, without noise; NaN at pixels that were not read.
    """

    prev_sample: npt.NDArray[np.int64]
    revealed: npt.NDArray[np.bool_] | None = None
    scores: npt.NDArray[np.float64] | None = None

    def keys(self) -> tuple[str, ...]:
        if self.revealed is None:
            return ("prev_sample",)
        return "prev_sample", "revealed", "scores"

    def to_tuple(self) -> tuple[Any, ...]:
        return tuple(getattr(self, key) for key in self.keys())

    def __getitem__(self, key: str | int | slice) -> Any:
        if isinstance(key, str):
            if key not in self.keys():
                raise KeyError(key)
            return getattr(self, key)
        return self.to_tuple()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __len__(self) -> int:
        return len(self.keys())
