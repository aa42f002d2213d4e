"""What a reverse step returns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(eq=False)
class VQDiffusionSchedulerOutput:
    """The result of `VQDiffusionScheduler.step`, with its field also as `out["prev_sample"]` and
    `out[0]`.

    Attributes
    ----------
    prev_sample : numpy.ndarray of int64, shape (B, N)
        The classes of each pixel at the previous timestep, to be used as the next model input.
    """

    prev_sample: npt.NDArray[np.int64]

    def keys(self) -> tuple[str, ...]:
        return ("prev_sample",)

    def to_tuple(self) -> tuple[npt.NDArray[np.int64]]:
        return (self.prev_sample,)

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
