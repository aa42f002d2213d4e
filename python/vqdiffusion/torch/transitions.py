"""The posterior and the transitions it is made of, on torch tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.forward_ad import unpack_dual
from torch.compiler import is_compiling

from ..arguments import check_given
from ..checks import check_classes
from . import composed, formulas
from .arguments import (
    as_grid_of,
    as_log_probabilities,
    as_timesteps,
    by_row,
    by_row_to,
    check_drawable,
    check_grid,
    index,
    leads_to,
    rows_of,
)
from .tables import HasTables
from .view import numpy_view, traced


class Transitions(HasTables):
    """The methods of a scheduler that give probabilities.

    Each may be overridden, in a subclass or on an object.
    """

    num_embed: int
    mask_class: int
    # Whether the object has a function of its own in the place of a method.
    _has_own_posterior = False
    _has_own_transitions = False

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name in _NAMES:
            self._note_own_parts()

    def q_posterior(
        self,
        log_p_x_0: Tensor,
        x_t: Tensor,
        t: int | Tensor,
        *,
        previous_timestep: int | Tensor | None = None,
    ) -> Tensor:
        """log p(x_s | x_t) = log Σ_{x_0} q(x_s | x_t, x_0) p(x_0 | x_t), eq. 11, for any s < t.

        It is not normalised: a column sums to Σ p(x_0). Differentiable to any order.

        Parameters
        ----------
        log_p_x_0 : torch.Tensor of float16, bfloat16, float32 or float64, shape (B, K, N)
            As `model_output` of `step`.
        x_t : torch.Tensor of any integer dtype, shape (B, N)
            Classes 0 … K.
        t : int, integer tensor of one element, or integer tensor of shape (B,)
            0 … T - 1.

        previous_timestep : int, or integer tensor as t
            s, from -1 to t - 1, and t - 1 unless given. -1 is clean data.

        Returns
        -------
        torch.Tensor, shape (B, K + 1, N)
            float64 when `log_p_x_0` is float64, else float32. What is impossible because x_t is not
            masked (x_s masked) has log 1e-30 for the logarithm of that zero, and a finite
            value; what is impossible at t = 0 is -inf.

        Raises
        ------
        TypeError, ValueError
            As in `step`.
        """
        if self._overrides_transitions():
            at = t if traced() else as_timesteps(t, "t", 0, self._chain.num_timesteps - 1)
            if previous_timestep is not None and not traced():
                s = leads_to(self._chain, at, previous_timestep)
                if s != self._leads_to(at, None):
                    raise ValueError(
                        "steps of several timesteps are not defined where the single steps that "
                        f"the posterior is composed of are overridden: from {at} to {s}"
                    )
            log_p_x_0 = as_log_probabilities(log_p_x_0, "log_p_x_0", self.mask_class)
            x_t = as_grid_of(log_p_x_0, x_t, "x_t")
            check_grid(x_t, "x_t", self.mask_class)
            check_drawable(log_p_x_0.logsumexp(1, keepdim=True), None, "log_p_x_0")
            given = composed.as_reference_takes(t, at, x_t)
            return composed.posterior(self, log_p_x_0, x_t.long(), given)
        at, x, grid = self._arguments(t, 0, log_p_x_0, "log_p_x_0", x_t, "x_t")
        if x is not None and grid is not None:
            out, result = _empty(x, self.num_embed)
            s = self._leads_to(at, previous_timestep)
            for rows, one, to in by_row_to(at, s, len(x), "t"):
                self._chain.q_posterior(one, to, x[rows], grid[rows], out[rows])
            return result
        log_p_x_0 = as_log_probabilities(log_p_x_0, "log_p_x_0", self.mask_class)
        x_t = as_grid_of(log_p_x_0, x_t, "x_t")
        check_grid(x_t, "x_t", self.mask_class)
        step = _index(at, log_p_x_0)
        if previous_timestep is not None:
            s = self._leads_to(at, previous_timestep)
            step = self._law.step_to(at, s, log_p_x_0.device)
        classes, mask, total = formulas.posterior(self._law, log_p_x_0, x_t, step)
        check_drawable(total, mask, "log_p_x_0")
        return torch.cat((classes, mask), 1)

    def log_Q_t_transitioning_to_known_class(
        self, *, t: int | Tensor, x_t: Tensor, log_onehot_x_t: Tensor, cumulative: bool
    ) -> Tensor:
        """The row of the transition matrix of eq. 7 that leads to each pixel's observed class, in
        logarithms.

        Parameters
        ----------
        t : int, integer tensor of one element, or integer tensor of shape (B,)
            0 … T - 1, and -1 when `cumulative`, for clean data.
        x_t : torch.Tensor of any integer dtype, shape (B, N)
            Classes 0 … K.
        log_onehot_x_t : torch.Tensor of float16, bfloat16, float32 or float64, shape (B, K + 1, N)
            Logarithms of one-hot vectors of `x_t`: 0 and log 1e-30.
        cumulative : bool
            Whether from clean data to t, or the single step from t - 1 to t.

        Returns
        -------
        torch.Tensor
            When `cumulative`, log q(x_t | x_0 = j) for the K classes j that clean data can have,
            shape (B, K, N); else log q(x_t | x_{t-1} = j) for the K + 1 classes, shape (B, K + 1,
            N), its last row that of `log_onehot_x_t`. float64 when `log_onehot_x_t` is float64,
            else float32.

        Raises
        ------
        TypeError, ValueError
            As in `step`.
        """
        cumulative = bool(cumulative)
        at, onehot, grid = self._arguments(
            t, -cumulative, log_onehot_x_t, "log_onehot_x_t", x_t, "x_t"
        )
        # The native module has no rows for clean data.
        is_clean = -1 in at if isinstance(at, list) else isinstance(at, int) and at == -1
        if onehot is not None and grid is not None and not is_clean:
            out, result = _empty(onehot, self.num_embed - cumulative)
            for rows, one in by_row(at, len(onehot), "t"):
                self._chain.log_transition_rows(
                    one, cumulative, grid[rows], onehot[rows], out[rows]
                )
            return result
        log_onehot_x_t = as_log_probabilities(log_onehot_x_t, "log_onehot_x_t", self.num_embed)
        x_t = as_grid_of(log_onehot_x_t, x_t, "x_t")
        check_grid(x_t, "x_t", self.mask_class)
        at = _index(at, log_onehot_x_t)
        return formulas.log_transition_rows(self._law, x_t, log_onehot_x_t, at, cumulative)

    def apply_cumulative_transitions(self, q: Tensor, t: int | Tensor) -> Tensor:
        """Carry a distribution over classes from clean data to t: log(ᾱ_t e^q + β̄_t), and log γ̄_t
        for the mask.

        That is exact for a normalised `q`.

        Parameters
        ----------
        q : torch.Tensor of float16, bfloat16, float32 or float64, shape (B, K, N)
            Log-probabilities.
        t : int, integer tensor of one element, or integer tensor of shape (B,)
            -1 … T - 1; -1 stands for clean data.

        Returns
        -------
        torch.Tensor, shape (B, K + 1, N)
            float64 when `q` is float64, else float32.

        Raises
        ------
        TypeError, ValueError
            As in `step`.
        """
        at, array, _ = self._arguments(t, -1, q, "q")
        if array is not None:
            out, result = _empty(array, self.num_embed)
            for rows, one in by_row(at, len(array), "t"):
                self._chain.apply_cumulative_transitions(one, array[rows], out[rows])
            return result
        q = as_log_probabilities(q, "q", self.mask_class)
        return formulas.apply_cumulative_transitions(self._law, q, _index(at, q))

    def _arguments(
        self, t: Any, first: int, x: Any, x_name: str, grid: Any = None, grid_name: str = ""
    ) -> tuple[Any, np.ndarray | None, np.ndarray | None]:
        """t, and x and the grid in their memory: None where torch has to compute."""
        if traced():
            return t, None, None
        t = as_timesteps(t, "t", first, self._chain.num_timesteps - 1, rows_of(x, t))
        if not self._follow_tables():
            return t, None, None
        if isinstance(x, Tensor) and (
            (x.requires_grad and torch.is_grad_enabled()) or unpack_dual(x).tangent is not None
        ):
            return t, None, None
        array = numpy_view(x, x_name)
        if array is not None and array.ndim != 3:
            raise ValueError(
                f"{x_name} must have the 3 axes (batch, classes, pixels), not shape {array.shape}"
            )
        if array is not None:
            with_mask = x_name == "log_onehot_x_t"
            check_classes(array, self.mask_class + with_mask, x_name, with_mask)
        return t, array, numpy_view(grid, grid_name) if grid_name else None

    def __delattr__(self, name: str) -> None:
        super().__delattr__(name)
        if name in _NAMES:
            self._note_own_parts()

    def _leads_to(self, t: int | list[int], given: Any) -> int | list[int]:
        """Where a posterior leads: to t - 1 unless given."""
        if given is not None:
            return leads_to(self._chain, t, given)
        return t - 1 if isinstance(t, int) else [one - 1 for one in t]

    def _reads(self, sample: Any, t: int | list[int], s: int | list[int]) -> bool:
        """Whether a step from t to s reads the sample, which must then be given."""
        reads = self._law.reads_sample(t, s)
        if reads and s == -1:
            check_given(sample)
        return reads

    def _note_own_parts(self) -> None:
        own = vars(self)
        has_transitions = any(part.__name__ in own for part in _OVERRIDABLE[1:])
        own.update(_has_own_posterior="q_posterior" in own, _has_own_transitions=has_transitions)

    def _is_plain(self) -> bool:
        """Whether a step is the native module's: nothing is overridden and no table replaced."""
        cls, counter, seen = type(self), self._counter, self._seen
        return (
            cls.q_posterior is _OVERRIDABLE[0]
            and cls.log_Q_t_transitioning_to_known_class is _OVERRIDABLE[1]
            and cls.apply_cumulative_transitions is _OVERRIDABLE[2]
            and not self._has_own_posterior
            and not self._has_own_transitions
            # The usual answer of `_follow_tables` without a call, which costs 1 % with cold caches.
            and (
                self._has_own_tables
                if counter is not None
                and seen is not None
                and (is_compiling() or counter._version == seen[1])
                else self._follow_tables()
            )
        )

    def _overrides_transitions(self) -> bool:
        cls = type(self)
        return (
            cls.log_Q_t_transitioning_to_known_class is not _OVERRIDABLE[1]
            or cls.apply_cumulative_transitions is not _OVERRIDABLE[2]
            or self._has_own_transitions
        )


# As they are here, to know when somebody has put another in the place of one, on the class too.
_OVERRIDABLE = (
    Transitions.q_posterior,
    Transitions.log_Q_t_transitioning_to_known_class,
    Transitions.apply_cumulative_transitions,
)
_NAMES = frozenset(part.__name__ for part in _OVERRIDABLE)


def _index(t: Any, like: Tensor) -> int | Tensor:
    """t for the torch formulas, once its number is checked."""
    if isinstance(t, list):
        by_row(t, len(like), "t")
    return index(t, like)


def _empty(like: np.ndarray, classes: int) -> tuple[np.ndarray, Tensor]:
    dtype = torch.float64 if like.dtype == np.float64 else torch.float32
    result = torch.empty((like.shape[0], classes, like.shape[2]), dtype=dtype, device="cpu")
    return result.numpy(), result
