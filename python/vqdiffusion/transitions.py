"""The posterior and the transitions it is made of, on NumPy arrays."""

from __future__ import annotations

from typing import Any, SupportsIndex

import numpy as np
import numpy.typing as npt

from . import overrides
from ._chain import Chain
from .arguments import as_array, as_int, as_tensor
from .checks import check_classes

FloatArray = npt.NDArray[np.float32] | npt.NDArray[np.float64]


class Transitions:
    """The methods of a scheduler that give probabilities."""

    _chain: Chain

    def q_posterior(
        self,
        log_p_x_0: npt.ArrayLike,
        x_t: npt.ArrayLike,
        t: SupportsIndex,
        *,
        previous_timestep: SupportsIndex | None = None,
    ) -> FloatArray:
        """log p(x_s | x_t) = log Σ_{x_0} q(x_s | x_t, x_0) p(x_0 | x_t), eq. 11, for any s < t.

        Eq. 5 turns it into q(x_t | x_s) Σ_{x_0} q(x_s | x_0) p(x_0) / q(x_t | x_0). It is
        not normalised: a column sums to Σ p(x_0). Where one of the two methods below is overridden,
        it is composed from both.

        Parameters
        ----------
        log_p_x_0 : array of float16, float32 or float64, shape (B, K, N)
            As `model_output` of `step`.
        x_t : array of any integer dtype, shape (B, N)
            Classes 0 … K.
        t : int, NumPy integer or integer array of one element
            0 … T - 1.

        previous_timestep : int, optional
            s, from -1 to t - 1, and t - 1 unless given. -1 is clean data.

        Returns
        -------
        numpy.ndarray, shape (B, K + 1, N)
            float64 when `log_p_x_0` is float64, else float32. What is impossible because x_t is not
            masked (x_{t-1} masked) has log 1e-30 for the logarithm of that zero, and a finite
            value; what is impossible at t = 0 is -inf.

        Raises
        ------
        TypeError, ValueError
            As in `step`.
        """
        t = as_int(t, "t", 0, self._chain.num_timesteps - 1)
        s = t - 1 if previous_timestep is None else self._chain.previous(t, previous_timestep)
        if _parts_are_overridden(self):
            if s != t - 1:
                raise ValueError(
                    "previous_timestep must be t - 1 where the single steps that the posterior is "
                    f"composed of are overridden, not {s} at t = {t}"
                )
            return overrides.posterior_from_parts(self, log_p_x_0, x_t, t)
        log_p_x_0 = as_tensor(log_p_x_0, "log_p_x_0")
        check_classes(log_p_x_0, self._chain.num_classes, "log_p_x_0")
        x_t = as_array(x_t, "x_t")
        out = _empty(log_p_x_0, self._chain.num_classes + 1)
        self._chain.q_posterior(t, s, log_p_x_0, x_t, out)
        return out

    def log_Q_t_transitioning_to_known_class(
        self,
        *,
        t: SupportsIndex,
        x_t: npt.ArrayLike,
        log_onehot_x_t: npt.ArrayLike,
        cumulative: bool,
    ) -> FloatArray:
        """The row of the transition matrix of eq. 7 that leads to each pixel's observed class, in
        logarithms.

        Parameters
        ----------
        t : int, NumPy integer or integer array of one element
            0 … T - 1.
        x_t : array of any integer dtype, shape (B, N)
            Classes 0 … K.
        log_onehot_x_t : array of float16, float32 or float64, shape (B, K + 1, N)
            Logarithms of one-hot vectors of `x_t`, as `index_to_log_onehot` makes them.
        cumulative : bool
            Whether from clean data to t, or the single step from t - 1 to t.

        Returns
        -------
        numpy.ndarray
            When `cumulative`, log q(x_t | x_0 = j) for the K classes j that clean data can have,
            shape (B, K, N); else log q(x_t | x_{t-1} = j) for the K + 1 classes, shape (B, K + 1,
            N), its last row that of `log_onehot_x_t`. float64 when `log_onehot_x_t` is float64,
            else float32.

        Raises
        ------
        TypeError, ValueError
            As in `step`.
        """
        t = as_int(t, "t", 0, self._chain.num_timesteps - 1)
        log_onehot_x_t = as_tensor(log_onehot_x_t, "log_onehot_x_t")
        check_classes(log_onehot_x_t, self._chain.num_classes + 1, "log_onehot_x_t", with_mask=True)
        x_t = as_array(x_t, "x_t")
        cumulative = bool(cumulative)
        out = _empty(log_onehot_x_t, self._chain.num_classes + (not cumulative))
        self._chain.log_transition_rows(t, cumulative, x_t, log_onehot_x_t, out)
        return out

    def apply_cumulative_transitions(self, q: npt.ArrayLike, t: SupportsIndex) -> FloatArray:
        """Carry a distribution over classes from clean data to t: log(ᾱ_t e^q + β̄_t), and log γ̄_t
        for the mask.

        That is exact for a normalised `q`.

        Parameters
        ----------
        q : array of float16, float32 or float64, shape (B, K, N)
            Log-probabilities.
        t : int, NumPy integer or integer array of one element
            -1 … T - 1; -1 stands for clean data.

        Returns
        -------
        numpy.ndarray, shape (B, K + 1, N)
            float64 when `q` is float64, else float32.

        Raises
        ------
        TypeError, ValueError
            As in `step`.
        """
        t = as_int(t, "t", -1, self._chain.num_timesteps - 1)
        q = as_tensor(q, "q")
        check_classes(q, self._chain.num_classes, "q")
        out = _empty(q, self._chain.num_classes + 1)
        self._chain.apply_cumulative_transitions(t, q, out)
        return out


# The methods as they are here, whatever subclasses and instances make of them.
_POSTERIOR = Transitions.q_posterior
_ROWS = Transitions.log_Q_t_transitioning_to_known_class
_TRANSITIONS = Transitions.apply_cumulative_transitions


def posterior_is_overridden(scheduler: Transitions) -> bool:
    """Whether `q_posterior`, or a part of it, is another than the one here."""
    return (
        type(scheduler).q_posterior is not _POSTERIOR
        or "q_posterior" in scheduler.__dict__
        or _parts_are_overridden(scheduler)
    )


def _parts_are_overridden(scheduler: Transitions) -> bool:
    """Whether one of the two methods is overridden that the posterior is made of."""
    kind, own = type(scheduler), scheduler.__dict__
    return (
        kind.log_Q_t_transitioning_to_known_class is not _ROWS
        or kind.apply_cumulative_transitions is not _TRANSITIONS
        or "log_Q_t_transitioning_to_known_class" in own
        or "apply_cumulative_transitions" in own
    )


def _empty(like: npt.NDArray[Any], classes: int) -> FloatArray:
    shape = like.shape[0], classes, like.shape[2]
    return np.empty(shape, np.float64) if like.dtype == np.float64 else np.empty(shape, np.float32)
