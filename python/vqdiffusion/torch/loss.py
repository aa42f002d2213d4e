"""The training loss on torch tensors. Equation numbers are those of Gu et al. 2021, arXiv
2111.14822.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.autograd.forward_ad import unpack_dual

from ..training import Weights, as_reals, as_weights
from . import loss_formula
from .arguments import (
    as_grid_of,
    as_log_probabilities,
    as_timesteps,
    by_row,
    check_drawable,
    check_grid,
    rows_of,
)
from .schedule_tables import Step
from .tables import HasTables
from .view import copied, numpy_view, numpy_view_of, traced


class VQDiffusionLossOutput(NamedTuple):
    """The result of `VQDiffusionScheduler.loss`.

    Attributes
    ----------
    loss : torch.Tensor without axes
        The loss of the batch, differentiable once with respect to the logits; float64 when they are
        float64, else float32.
    per_row : torch.Tensor of the same dtype, shape (B,)
        For each row the sum of L_t over its pixels, with their weights: what
        `TimestepSampler.update` takes. It has no gradient.
    """

    loss: Tensor
    per_row: Tensor


class _Batch(NamedTuple):
    """What `loss` was given, the logits and the weights checked."""

    logits: Tensor
    x_0: Any
    x_t: Any
    timesteps: Any
    previous_timesteps: Any
    probability: Any
    pixel_weights: Any
    weights: Weights
    needs_gradient: bool


class _Found(NamedTuple):
    loss: Tensor
    per_row: Tensor
    gradient: Tensor | None


class TrainingLoss(HasTables):
    """The method of a scheduler to train with."""

    mask_class: int

    def loss(
        self,
        logits: Tensor,
        x_0: Tensor,
        x_t: Tensor,
        timesteps: int | Tensor,
        *,
        previous_timesteps: int | Tensor | None = None,
        probability: float | Tensor | None = None,
        mask_weight: Sequence[float] = (1.0, 1.0),
        auxiliary_weight: float = 0.0,
        adaptive_auxiliary: bool = True,
        pixel_weights: Tensor | None = None,
    ) -> VQDiffusionLossOutput:
        """The variational bound of a model's prediction, eq. 10.

        With p = softmax(logits) the loss L_t of a pixel is KL(q(x_s | x_t, x_0) ‖ p(x_s | x_t)),
        and at s = -1 the cross-entropy -log p(x_0). Where β̄_t = 0 a pixel that shows a class keeps
        it whatever the model says: its loss and its gradient are 0. The posterior is the class's
        own; overridden methods are not called.

        On the CPU the native module computes the gradient together with the loss, and it is all of
        the size of the logits that is kept. Elsewhere, and under vmap and torch.compile (of torch
        2.4 and newer), torch formulas take twice the memory of the logits beside them.

        Parameters
        ----------
        logits : torch.Tensor of float16, bfloat16, float32 or float64, shape (B, K, N)
            What the model predicts of x_0. Log-probabilities will do: a column is normalised. They
            may be -inf. Any strides, such as those of `output.mT` of an output (B, N, K).
        x_0 : torch.Tensor of any integer dtype, shape (B, N)
            Classes 0 … K - 1.
        x_t : torch.Tensor of any integer dtype, shape (B, N)
            Classes 0 … K: x_0 at `timesteps`, as `add_noise` draws it.
        timesteps : int, or integer tensor of shape (B,)
            t, 0 … T - 1, one for all rows or one for each.
        previous_timesteps : int or integer tensor, optional
            s, -1 … t - 1, of chains with strides; t - 1 if not given, whatever `set_timesteps`
            chose.
        probability : float, or tensor of shape (B,), optional
            With which each row's t was drawn, as `TimestepSampler.sample` returns it; 1/T if not
            given.
        mask_weight : pair of float
            What to multiply the losses of a pixel with: of one that is masked at t, and of others.
            Not at s = -1.
        auxiliary_weight : float
            λ: λ a_t times the cross-entropy is added to the loss of every pixel, with its weight.
        adaptive_auxiliary : bool
            Whether a_t is 2 - t/T, else 1.
        pixel_weights : torch.Tensor of real numbers, shape (B, N), optional
            What to multiply the losses of each pixel with: 0 for padding and for tokens that are
            given.

        Returns
        -------
        VQDiffusionLossOutput
            `loss` is the sum of (L_t + auxiliary)/probability over rows and pixels, divided by
            B * N; of `per_row` see there. Where a model gives x_0 no probability the loss may be
            infinite; the gradient is finite, as long as the weights over the probability are. It
            is not to be changed in place before another backward pass of the same loss.

        Raises
        ------
        TypeError
            If `logits` is not floating, `x_0`, `x_t` or a timestep not of an integer dtype, or a
            weight no real number.
        ValueError
            If shapes or devices disagree, a timestep or a class is out of range, the logits hold
            NaN or +inf or a column of nothing but -inf, a weight is negative, NaN or infinite, or a
            probability is not in (0, 1]. Values cannot be checked under vmap, torch.compile and on
            the meta device.
        RuntimeError
            When the loss is differentiated twice.
        """
        weights = as_weights(mask_weight, auxiliary_weight, adaptive_auxiliary)
        x = as_log_probabilities(logits, "logits", self.mask_class)
        is_recorded = x.requires_grad and torch.is_grad_enabled()
        # Forward mode has no formula: torch then says so.
        is_recorded = is_recorded or not traced() and unpack_dual(x).tangent is not None
        batch = _Batch(
            x,
            x_0,
            x_t,
            timesteps,
            previous_timesteps,
            probability,
            pixel_weights,
            weights,
            is_recorded,
        )
        with torch.no_grad():
            found = self._native_loss(batch) or self._torch_loss(batch)
        loss = found.loss
        if found.gradient is not None:
            loss = _WithGradient.apply(x, loss, found.gradient)
        return VQDiffusionLossOutput(loss, found.per_row)

    def _native_loss(self, batch: _Batch) -> _Found | None:
        """None where torch has to compute."""
        x = batch.logits
        array = numpy_view(x, "logits")
        if array is None or not self._follow_tables():
            return None
        clean, shown = numpy_view_of(batch.x_0, "x_0"), numpy_view_of(batch.x_t, "x_t")
        if clean is None or shown is None:
            return None
        t, s = (np.array(steps, np.int64) for steps in self._steps(batch))
        dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
        gradient = torch.empty_like(x, dtype=dtype, device="cpu") if batch.needs_gradient else None
        per_row = np.empty(len(x))
        loss = self._chain.loss(
            array,
            clean,
            shown,
            t,
            s,
            batch.weights,
            as_reals(copied(batch.probability), "probability", (len(x),)),
            as_reals(copied(batch.pixel_weights), "pixel_weights", (len(x), x.shape[2])),
            per_row,
            None if gradient is None else gradient.numpy(),
        )
        scalar = torch.tensor(loss, dtype=dtype, device="cpu")
        return _Found(scalar, torch.from_numpy(per_row).to(dtype), gradient)

    def _torch_loss(self, batch: _Batch) -> _Found:
        x, steps = batch.logits.detach(), self._chain.num_timesteps
        clean, shown = as_grid_of(x, batch.x_0, "x_0"), as_grid_of(x, batch.x_t, "x_t")
        check_grid(clean, "x_0", self.mask_class - 1)
        check_grid(shown, "x_t", self.mask_class)
        rows, _, pixels = x.shape
        t, factors = self._factors(batch, x)
        real = factors.own_weight.dtype
        *weight, auxiliary, is_adaptive = batch.weights
        for name, value in zip(("mask_weight", "mask_weight", "auxiliary_weight"), batch.weights):
            check_weights(torch.tensor(value), name)
        probability = _reals(batch.probability, "probability", (rows,), x.device, real)
        if probability is None:
            probability = x.new_full((rows,), 1 / steps, dtype=real)
        check_probability(probability)
        given = _reals(batch.pixel_weights, "pixel_weights", (rows, pixels), x.device, real)
        if given is None:
            given = x.new_ones((rows, pixels), dtype=real)
        check_weights(given, "pixel_weights")

        scale = 1 / (probability * max(1, rows * pixels)).view(-1, 1, 1)
        found = loss_formula.losses(
            factors,
            x,
            clean,
            shown,
            (weight[0], weight[1]),
            auxiliary * (2 - t.to(real) / steps if is_adaptive else torch.ones_like(t, dtype=real)),
            given.unsqueeze(1),
            scale if batch.needs_gradient else None,
        )
        is_unreachable = (
            (shown.unsqueeze(1) == self.mask_class) & ~factors.is_reachable & ~factors.is_last
        )
        check_drawable(found.total, torch.where(is_unreachable, torch.nan, 0.0), "logits")
        dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
        per_row = found.loss.sum((1, 2))
        loss = ((per_row + found.auxiliary.sum((1, 2))) * scale.view(-1)).sum()
        return _Found(loss.to(dtype), per_row.to(dtype), found.gradient)

    def _steps(self, batch: _Batch) -> tuple[list[int], list[int]]:
        """t and s for each row."""
        x, last = batch.logits, self._chain.num_timesteps - 1
        t = as_timesteps(batch.timesteps, "timesteps", 0, last, rows_of(x, batch.timesteps))
        by_row(t, len(x), "timesteps")
        t = [t] * len(x) if isinstance(t, int) else t
        if batch.previous_timesteps is None:
            return t, [one - 1 for one in t]
        given = batch.previous_timesteps
        s = as_timesteps(given, "previous_timesteps", -1, last, rows_of(x, given))
        by_row(s, len(x), "previous_timesteps")
        return t, [s] * len(x) if isinstance(s, int) else s

    def _factors(self, batch: _Batch, x: Tensor) -> tuple[Tensor, loss_formula.RowFactors]:
        """t, (B, 1, 1), and what the losses of the rows follow from."""
        if batch.previous_timesteps is None:
            t = self._index(batch, x)
            step = self._law.step(t)
        else:
            t, step = self._strides_of(batch)
        return t.view(-1, 1, 1), loss_formula.RowFactors.of(step)

    @torch.compiler.disable  # the core computes what no table holds
    def _strides_of(self, batch: _Batch) -> tuple[Tensor, Step]:
        device = batch.logits.device
        t, s = self._steps(batch)
        return torch.tensor(t, device=device), self._law.step_to(t, s, device)

    def _index(self, batch: _Batch, x: Tensor) -> Tensor:
        """t for each row as a tensor; unchecked where its values cannot be looked at."""
        if not traced():
            try:
                return torch.tensor(self._steps(batch)[0], device=x.device)
            except RuntimeError:  # no values: under vmap
                pass
        t = torch.as_tensor(batch.timesteps, device=x.device).reshape(-1)
        return t.expand(len(x))


class _WithGradient(torch.autograd.Function):
    """The loss, and its gradient with respect to the logits for the backward pass."""

    generate_vmap_rule = True

    @staticmethod
    def forward(logits: Tensor, loss: Tensor, gradient: Tensor) -> Tensor:
        return loss.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        logits, _, gradient = inputs
        ctx.dtype = logits.dtype
        ctx.save_for_backward(gradient)

    @staticmethod
    def backward(ctx: Any, of_loss: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        factor = numpy_view(of_loss, "gradient")
        # Mostly 1: then nothing of the size of the logits is made.
        if factor is None or factor != 1:
            gradient = gradient * of_loss.to(gradient.dtype)
        gradient = gradient.to(ctx.dtype)
        if torch.is_grad_enabled() and not traced():  # as create_graph=True has it
            gradient = _Once.apply(gradient, torch.zeros((), requires_grad=True))
        return gradient, None, None


class _Once(torch.autograd.Function):
    """Refuses to differentiate a gradient, of which autograd knows nothing, instead of taking it
    for a constant. `link` is any tensor that requires a gradient.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(gradient: Tensor, link: Tensor) -> Tensor:
        return gradient.view_as(gradient)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *of_gradient: Tensor) -> tuple[Tensor, None]:
        raise RuntimeError("the gradient of loss cannot be differentiated: it has no second one")


def _reals(
    value: Any, name: str, shape: tuple[int, ...], device: torch.device, real: torch.dtype
) -> Tensor | None:
    """Real numbers as a tensor; one number stands for a whole list of them."""
    if value is None:
        return None
    if not isinstance(value, Tensor):
        value = torch.from_numpy(np.array(as_reals(value, name, shape)))
    if value.dtype.is_complex:
        raise TypeError(f"{name} must be of real numbers, not {value.dtype}")
    if value.shape != shape and (value.ndim or len(shape) > 1):
        raise ValueError(f"{name} must have shape {shape}, not {tuple(value.shape)}")
    return value.detach().to(device, real).expand(shape)


def check_weights(weights: Tensor, name: str) -> None:
    """Refuses weights that are negative, NaN or infinite, where values can be looked at."""
    _check(weights, (weights >= 0) & (weights < torch.inf), name, "be finite and at least 0")


def check_probability(probability: Tensor) -> None:
    """Refuses what is not in (0, 1], where values can be looked at."""
    good = (probability > 0) & (probability <= 1)
    _check(probability, good, "probability", "be a probability in (0, 1]")


def _check(values: Tensor, good: Tensor, name: str, wanted: str) -> None:
    if traced():
        return
    try:
        if bool(good.all()):
            return
    except RuntimeError:  # no values: under vmap, or on the meta device
        return
    raise ValueError(f"{name} must {wanted}, not {values[~good][0].item()}")
