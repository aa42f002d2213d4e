"""The training loss on NumPy arrays, and what it shares with that on tensors. Equation numbers are
those of Gu et al. 2021, arXiv 2111.14822.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, SupportsFloat, SupportsIndex

import numpy as np
import numpy.typing as npt

from ._chain import Chain
from .arguments import as_array, as_float, as_tensor, as_timesteps
from .checks import check_classes

FloatArray = npt.NDArray[np.float32] | npt.NDArray[np.float64]
# The weights of masked pixels and of others, λ, and whether that is adaptive.
Weights = tuple[float, float, float, bool]


class VQDiffusionLossOutput(NamedTuple):
    """The result of `VQDiffusionScheduler.loss`.

    Attributes
    ----------
    loss : float
        The loss of the batch.
    per_row : numpy.ndarray of float64, shape (B,)
        For each row the sum of L_t over its pixels, with their weights: what
        `TimestepSampler.update` takes.
    gradient : numpy.ndarray, shape (B, K, N)
        That of `loss` with respect to the logits, in their memory layout; float64 when they are
        float64, else float32.
    """

    loss: float
    per_row: npt.NDArray[np.float64]
    gradient: FloatArray


class TrainingLoss:
    """The method of a scheduler to train with."""

    _chain: Chain

    def loss(
        self,
        logits: npt.ArrayLike,
        x_0: npt.ArrayLike,
        x_t: npt.ArrayLike,
        timesteps: SupportsIndex | npt.ArrayLike,
        *,
        previous_timesteps: SupportsIndex | npt.ArrayLike | None = None,
        probability: SupportsFloat | npt.ArrayLike | None = None,
        mask_weight: Sequence[SupportsFloat] = (1.0, 1.0),
        auxiliary_weight: SupportsFloat = 0.0,
        adaptive_auxiliary: bool = True,
        pixel_weights: npt.ArrayLike | None = None,
    ) -> VQDiffusionLossOutput:
        """The variational bound of a model's prediction, eq. 10, and its gradient.

        With p = softmax(logits) the loss L_t of a pixel is KL(q(x_s | x_t, x_0) ‖ p(x_s | x_t)),
        and at s = -1 the cross-entropy -log p(x_0). Where β̄_t = 0 a pixel that shows a class keeps
        it whatever the model says: its loss and its gradient are 0. The posterior is the class's
        own; overridden methods are not called.

        Parameters
        ----------
        logits : array of float16, float32 or float64, shape (B, K, N)
            What the model predicts of x_0. Log-probabilities will do: a column is normalised. They
            may be -inf. Any strides.
        x_0 : array of any integer dtype, shape (B, N)
            Classes 0 … K - 1.
        x_t : array of any integer dtype, shape (B, N)
            Classes 0 … K: x_0 at `timesteps`, as `add_noise` draws it.
        timesteps : int, or array of any integer dtype, shape (B,)
            t, 0 … T - 1, one for all rows or one for each.
        previous_timesteps : int or array, optional
            s, -1 … t - 1, of chains with strides; t - 1 if not given, whatever `set_timesteps`
            chose.
        probability : float, or array of shape (B,), optional
            With which each row's t was drawn, as `TimestepSampler.sample` returns it; 1/T if not
            given.
        mask_weight : pair of float
            What to multiply the losses of a pixel with: of one that is masked at t, and of others.
            Not at s = -1.
        auxiliary_weight : float
            λ: λ a_t times the cross-entropy is added to the loss of every pixel, with its weight.
        adaptive_auxiliary : bool
            Whether a_t is 2 - t/T, else 1.
        pixel_weights : array of real numbers, shape (B, N), optional
            What to multiply the losses of each pixel with: 0 for padding and for tokens that are
            given.

        Returns
        -------
        VQDiffusionLossOutput
            `loss` is the sum of (L_t + auxiliary)/probability over rows and pixels, divided by
            B * N: without the auxiliary term an estimate of `likelihood_bound`, less its prior
            term, in nats per pixel. Where pixels are replaced, however rarely, a model that knows
            nothing begins far above log K. Of `per_row` and `gradient` see there. Each column of
            the gradient sums to zero.
            Where a model gives x_0 no probability the loss may be infinite; the gradient is finite.

        Raises
        ------
        TypeError
            If `logits` is not floating, `x_0`, `x_t` or a timestep not of an integer dtype, or a
            weight no real number.
        ValueError
            If shapes disagree, a timestep or a class is out of range, the logits hold NaN or +inf
            or a column of nothing but -inf, a weight is negative, NaN or infinite, or a probability
            is not in (0, 1].
        """
        logits = as_tensor(logits, "logits")
        chain = self._chain
        check_classes(logits, chain.num_classes, "logits")
        batch, _, pixels = logits.shape
        t = as_timesteps(timesteps, "timesteps", batch, chain.num_timesteps - 1)
        s = as_previous(previous_timesteps, t, chain.num_timesteps - 1)
        weights = as_weights(mask_weight, auxiliary_weight, adaptive_auxiliary)
        dtype = np.float64 if logits.dtype == np.float64 else np.float32
        gradient: npt.NDArray[Any] = np.empty_like(logits, dtype, subok=False)
        per_row = np.empty(batch)
        loss = chain.loss(
            logits,
            as_array(x_0, "x_0"),
            as_array(x_t, "x_t"),
            t,
            s,
            weights,
            as_reals(probability, "probability", (batch,)),
            as_reals(pixel_weights, "pixel_weights", (batch, pixels)),
            per_row,
            gradient,
        )
        return VQDiffusionLossOutput(loss, per_row, gradient)


def as_previous(value: Any, t: npt.NDArray[np.int64], last: int) -> npt.NDArray[np.int64]:
    """s for each row from what a caller has passed, t - 1 for None."""
    if value is None:
        return t - 1
    return as_timesteps(value, "previous_timesteps", len(t), last, first=-1)


def as_weights(mask_weight: Any, auxiliary_weight: Any, adaptive_auxiliary: Any) -> Weights:
    """The weights as numbers; their range is for the native module to check."""
    try:
        masked, others = mask_weight
    except (TypeError, ValueError):
        raise TypeError(
            "mask_weight must be a pair, of masked pixels and of others, not "
            f"{type(mask_weight).__name__} {mask_weight!r}"
        ) from None
    return (
        as_float(masked, "mask_weight"),
        as_float(others, "mask_weight"),
        as_float(auxiliary_weight, "auxiliary_weight"),
        bool(adaptive_auxiliary),
    )


def as_reals(value: Any, name: str, shape: tuple[int, ...]) -> npt.NDArray[np.float64] | None:
    """Real numbers as an array of float64; one number stands for a whole list of them."""
    if value is None:
        return None
    array = as_array(value, name)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name} must be of real numbers, not dtype {array.dtype}")
    if array.shape != shape and (array.ndim or len(shape) > 1):
        raise ValueError(f"{name} must have shape {shape}, not {array.shape}")
    return np.broadcast_to(array.astype(np.float64), shape)
