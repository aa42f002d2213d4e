"""Which masked pixels a step reveals, and how many: `Unmask`."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from typing import Any, SupportsFloat, SupportsIndex

import numpy as np
import numpy.typing as npt

from .arguments import as_array, as_float, as_int

ORDERS = ("random", "purity", "margin", "entropy", "confidence")  # as vqd_order counts them, from 1
_DUE, _THRESHOLD, _ENTROPY_BOUND = range(3)  # of vqd_unmask_rule


@dataclass(frozen=True, eq=False)
class Unmask:
    """How a step reveals pixels: how many of the masked ones of each row, and which.

    The scheduler's own chain decides for each pixel by itself. Below some 25 calls of the model the
    pixels revealed together then fit each other less and less; to choose them by how sure the model
    is may help, mostly with noise (`temperature=1`), see docs/orders_compared.md. With
    `step(..., unmask=Unmask())` a class is drawn from the model output at the chosen pixels, and
    every other pixel stays as it is, whether it is masked or not.

    How many, of the M masked pixels of a row that may be revealed: M - ⌊M γ̄_s/γ̄_t + ½⌋, all at
    s = -1, unless one of `count`, `threshold` and `entropy_bound` is given. Over a chain these add
    up to all pixels, whatever its strides.

    Which: those with the largest keys; of equal ones the lower index, and keys of -inf last. With p
    the model's distribution at a pixel (under guidance and truncation what these make of it):

    - "random": all alike. With one pixel a call that is the scheduler's own chain.
    - "purity": log of the largest p, over that of the row's masked pixels.
    - "margin": log of the difference of the two largest p.
    - "entropy": -H, H = -Σ p log p.
    - "confidence": log p of the token that has been drawn. That is what MaskGIT and LLaDA do, and
      it is here for compatibility: pixels at which a likely token was drawn come first, which
      biases the samples even at one pixel a call: of two pairs of three classes that mostly agree,
      by enumeration, total variation 0.461 at temperature 0 and 0.160 at 1, where all others have
      0.000. With two calls it is 0.345, and 0.000 by margin and by entropy.

    `count` and `positions` are copied. They may be torch tensors; those that NumPy cannot read, as
    on an accelerator, are for the classes on tensors alone.

    Parameters
    ----------
    by : {"margin", "random", "purity", "entropy", "confidence"}
    temperature : float
        So many times Gumbel noise, -log(-log(1 - u)), is added to the keys. At 1 pixels are drawn
        without replacement in proportion to e^key; at 0 there is no noise. "random" always has the
        noise, whatever this is.
    count : int or array of integers, shape (B,), optional
        How many to reveal, in all rows or in each. All, where fewer are masked.
    threshold : float, optional
        From 0 to 1: all whose largest p (for "confidence": p of the token) exceeds it; where none
        does, the one with the largest key.
    entropy_bound : float, optional
        In nats: those of lowest entropy, whatever the keys, as long as the sum of their entropies
        less the largest of them is at most this; at least one.
    prior_weight : float
        r of the purity prior (Tang et al. 2022): classes are drawn from p^(1 + r q), normalised,
        where q is the largest p over that of the row's masked pixels. Keys are of p itself.
    positions : array of bool, shape (N,) or (B, N), optional
        Only there pixels are revealed and counted, for one block after the other.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described, or two of `count`, `threshold` and `entropy_bound` are
        given.
    """

    by: str = "margin"
    temperature: SupportsFloat = 0.0
    count: SupportsIndex | npt.ArrayLike | None = None
    threshold: SupportsFloat | None = None
    entropy_bound: SupportsFloat | None = None
    prior_weight: SupportsFloat = 0.0
    positions: npt.ArrayLike | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.by, str):
            raise TypeError(f"by must be a str, not {type(self.by).__name__}")
        if self.by not in ORDERS:
            raise ValueError(f"by must be one of {', '.join(map(repr, ORDERS))}, not {self.by!r}")
        self._set("temperature", _not_negative(self.temperature, "temperature"))
        self._set("prior_weight", _not_negative(self.prior_weight, "prior_weight"))
        rules = [
            name
            for name in ("count", "threshold", "entropy_bound")
            if getattr(self, name) is not None
        ]
        if len(rules) > 1:
            raise ValueError(f"{rules[0]} and {rules[1]} must not both be given")
        if self.threshold is not None:
            share = as_float(self.threshold, "threshold")
            if not 0 <= share <= 1:
                raise ValueError(f"threshold must be a probability from 0 to 1, not {share:g}")
            self._set("threshold", share)
        if self.entropy_bound is not None:
            self._set("entropy_bound", _not_negative(self.entropy_bound, "entropy_bound"))
        if self.count is not None:
            self._set("count", _as_count(self.count))
        if self.positions is not None:
            self._set("positions", _as_positions(self.positions))

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    @property
    def _has_noise(self) -> bool:
        return self.by == "random" or self.temperature != 0

    @property
    def _chooses_first(self) -> bool:
        """Whether the pixels are chosen before anything is read."""
        has_rule = self.threshold is not None or self.entropy_bound is not None
        return self.by == "random" and self.prior_weight == 0 and not has_rule

    @property
    def _has_tensors(self) -> bool:
        """Whether NumPy cannot read all of it."""
        return any(
            one is not None and not isinstance(one, np.ndarray)
            for one in (self.count, self.positions)
        )

    def _check_shapes(self, shape: tuple[int, int]) -> None:
        """Refuses what does not go with a grid of this shape."""
        batch, pixels = shape
        positions: Any = self.positions
        if positions is not None and tuple(positions.shape) not in ((pixels,), shape):
            raise ValueError(
                f"positions must have shape ({pixels},) or {shape}, not {tuple(positions.shape)}"
            )
        count: Any = self.count
        if count is not None and tuple(count.shape) not in ((), (batch,)):
            raise ValueError(
                f"count must be one integer or have one for each of {batch} rows, not shape "
                f"{tuple(count.shape)}"
            )

    def _native(
        self,
        shape: tuple[int, int],
        order_uniforms: npt.NDArray[np.float64] | None,
        revealed: npt.NDArray[np.bool_] | None = None,
        scores: npt.NDArray[np.float64] | None = None,
    ) -> tuple[Any, ...]:
        """What the native module takes, for a grid of this shape."""
        self._check_shapes(shape)
        positions, count = (
            None if value is None else as_array(value, name)
            for value, name in ((self.positions, "positions"), (self.count, "count"))
        )
        if count is not None:
            count = np.broadcast_to(count, shape[:1])
        rule: int = _DUE
        bound: Any = 0.0
        if self.threshold is not None:
            rule, bound = _THRESHOLD, self.threshold
        elif self.entropy_bound is not None:
            rule, bound = _ENTROPY_BOUND, self.entropy_bound
        return (
            ORDERS.index(self.by) + 1,
            rule,
            bound,
            self.temperature,
            self.prior_weight,
            count,
            positions,
            order_uniforms,
            revealed,
            scores,
        )


def as_unmask(unmask: Any, remask: SupportsFloat) -> tuple[Unmask | None, float]:
    """The two arguments of a step, checked as far as they go without its schedule."""
    sigma = as_float(remask, "remask")
    if unmask is not None and not isinstance(unmask, Unmask):
        raise TypeError(f"unmask must be None or vqdiffusion.Unmask, not {type(unmask).__name__}")
    if unmask is not None and sigma != 0:
        raise ValueError(
            "remask must be 0 with unmask, which leaves every pixel as it is that it does not "
            f"reveal, not {sigma:g}"
        )
    return unmask, sigma


def check_no_remask(remask: float) -> None:
    """Refuses to mask pixels again in a step that draws from an override."""
    if remask != 0:
        raise ValueError(
            f"remask must be 0 where the scheduler's posterior is overridden, not {remask:g}"
        )


def _not_negative(value: SupportsFloat, name: str) -> float:
    number = as_float(value, name)
    if not 0 <= number < math.inf:
        raise ValueError(f"{name} must be finite and at least 0, not {number:g}")
    return number


def _as_count(value: Any) -> Any:
    array = _readable(value, "count") if hasattr(value, "__len__") else None
    if array is None or (isinstance(array, np.ndarray) and array.ndim == 0):
        return np.array(as_int(value, "count", 0), np.int64)
    if isinstance(array, np.ndarray) and array.shape == (0,):  # of an empty batch, a list too
        array = array.astype(np.int64)
    if _kind_of(array) not in "iu":
        raise TypeError(f"count must be an integer or integers, not dtype {array.dtype}")
    if array.ndim > 1:
        raise ValueError(f"count must have the 1 axis (batch,), not shape {tuple(array.shape)}")
    if not isinstance(array, np.ndarray):
        return _tensor_of_counts(array)
    for row in np.flatnonzero((array < 0) | (array > np.iinfo(np.int64).max))[:1]:
        raise ValueError(f"count must be from 0 to 2**63 - 1, not {array[row]} as at [{row}]")
    counts = array.astype(np.int64)
    counts.flags.writeable = False
    return counts


def _tensor_of_counts(tensor: Any) -> Any:
    try:
        low = int(tensor.min()) if tensor.numel() else 0
    except RuntimeError:  # no values: under vmap, or on the meta device
        low = 0
    if low < 0:
        raise ValueError(f"count must be at least 0, not {low}")
    return tensor.clone()


def _as_positions(value: Any) -> Any:
    array = _readable(value, "positions")
    if _kind_of(array) != "b":
        raise TypeError(f"positions must be of bool, not dtype {array.dtype}")
    if array.ndim not in (1, 2):
        raise ValueError(
            "positions must have the axes (pixels,) or (batch, pixels), not shape "
            f"{tuple(array.shape)}"
        )
    if not isinstance(array, np.ndarray):
        return array.clone()
    array = array.copy()
    array.flags.writeable = False
    return array


def _readable(value: Any, name: str) -> Any:
    """`value` as an array, or as the torch tensor that it is where NumPy cannot read it: on an
    accelerator, or standing for other tensors.
    """
    try:
        return as_array(value, name)
    except TypeError:
        torch = sys.modules.get("torch")
        if torch is None or not isinstance(value, torch.Tensor):
            raise
        return value


def _kind_of(value: Any) -> str:
    """The kind of its elements, as NumPy names it."""
    if isinstance(value, np.ndarray):
        return str(value.dtype.kind)
    name = str(value.dtype).removeprefix("torch.")
    return "b" if name == "bool" else "i" if name.startswith(("int", "uint")) else "f"
