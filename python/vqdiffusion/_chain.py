"""What the schedulers on arrays and on tensors share: the noise schedule, where a step leads, what
a last step is, the ways to draw, and on how many threads.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from . import _native, threads
from .arguments import MOST_CLASSES, MOST_TIMESTEPS, as_float, as_int
from .schedules import alpha_schedules, gamma_schedules

SAMPLING_METHODS = ("inverse_cdf", "gumbel")
TABLES = ("log_at", "log_bt", "log_ct", "log_cumprod_at", "log_cumprod_bt", "log_cumprod_ct")

Array = npt.NDArray[Any]
Table = npt.NDArray[np.float64]
# The unconditional output or None, then guidance_scale, truncation_rate and floor.
Guidance = tuple[Array | None, float, float, float]


def checked_arguments(
    num_vec_classes: Any, num_train_timesteps: Any, sampling_method: Any, **ends: Any
) -> dict[str, Any]:
    """The arguments of a scheduler's constructor by name, with the types of a configuration.

    Raises TypeError or ValueError where one is not of its type or out of its range.
    """
    if sampling_method not in SAMPLING_METHODS:
        methods = ", ".join(SAMPLING_METHODS)
        raise ValueError(f"sampling_method must be one of {methods}, not {sampling_method!r}")
    steps = as_int(num_train_timesteps, "num_train_timesteps", 2, MOST_TIMESTEPS)
    return {
        "num_vec_classes": as_int(num_vec_classes, "num_vec_classes", 2, MOST_CLASSES + 1),
        "num_train_timesteps": steps,
        **{name: as_float(value, name) for name, value in ends.items()},
        "sampling_method": sampling_method,
    }


class Chain:
    """A noise schedule and the steps back along it.

    Its methods fill arrays of the caller by the native module, which checks them. A timestep is an
    int that the caller has checked.

    Parameters
    ----------
    num_classes : int
        K, without the mask, whose index it is.
    alpha_cumulative, gamma_cumulative : numpy.ndarray of float64, shape (T,)
        ᾱ_t and γ̄_t. In float64, as the noise is defined: the tables of the documented class are for
        readers, and too coarse to compute with.
    sampling_method : {"inverse_cdf", "gumbel"}

    Attributes
    ----------
    num_timesteps : int
        T.
    is_gumbel : bool
        Whether `sampling_method` is "gumbel".

    Raises
    ------
    ValueError
        If the tables describe no Markov chain.
    """

    def __init__(
        self, num_classes: int, alpha_cumulative: Table, gamma_cumulative: Table, method: str
    ) -> None:
        self.num_classes = num_classes
        self.num_timesteps = len(alpha_cumulative)
        self.sampling_method = method
        self.is_gumbel = method == "gumbel"
        for table in (alpha_cumulative, gamma_cumulative):
            table.flags.writeable = False
        # What native functions take.
        self.schedule = num_classes, alpha_cumulative, gamma_cumulative
        _native.schedule_check(*self.schedule)
        # A byte of 1 for each t where β̄_t = 0: no class can have been replaced by another.
        self._is_absorbing = np.isneginf(self.logs()["log_cumprod_bt"]).tobytes()

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Chain:
        """The chain of what `checked_arguments` returns."""
        steps = config["num_train_timesteps"]
        alpha = alpha_schedules(steps, config["alpha_cum_start"], config["alpha_cum_end"])
        gamma = gamma_schedules(steps, config["gamma_cum_start"], config["gamma_cum_end"])
        classes, method = config["num_vec_classes"] - 1, config["sampling_method"]
        return cls(classes, alpha[1][:steps], gamma[1][:steps], method)

    def drawing_as_given(self, num_classes: int) -> Chain:
        """A chain whose step from 0 draws from any log-probabilities as they are."""
        # Any noise will do that reaches every class.
        return Chain(num_classes, np.array([0.5]), np.array([0.25]), self.sampling_method)

    def has_schedule_of(self, other: Chain) -> bool:
        """Whether both have the same classes and the same noise."""
        return other is self or (
            self.num_classes == other.num_classes
            and np.array_equal(self.schedule[1], other.schedule[1])
            and np.array_equal(self.schedule[2], other.schedule[2])
        )

    def logs(self) -> dict[str, Table]:
        """The tables of the documented class by name, in float64."""
        logs = {name: np.empty(self.num_timesteps + ("cumprod" in name)) for name in TABLES}
        _native.schedule_logs(*self.schedule, *logs.values())
        return logs

    def previous(self, t: int) -> int:
        """The timestep s that a step from t leads to; -1 is clean data."""
        return t - 1

    def reads_sample(self, t: int, s: int) -> bool:
        """Whether a step from t to s reads the sample. One to clean data does so only where
        β̄_t = 0: pixels that show a class keep it.
        """
        return s >= 0 or self._is_absorbing[t] == 1

    def candidates(self, s: int) -> int:
        """The number of classes that a step to s chooses from: there is no mask in clean data."""
        return self.num_classes + (s >= 0)

    def step(
        self,
        t: int,
        s: int,
        model_output: Array,
        sample: Array | None,
        noise: Any,
        prev_sample: Array,
        guidance: Guidance | None = None,
    ) -> None:
        """Draw x_s from p(x_s | x_t), eq. 11; at s = -1 that is the model output itself.

        `noise` is what the sampling method takes. With `guidance`, `model_output` is the
        conditional one.
        """
        _native.step(
            *self.schedule,
            t,
            s,
            model_output,
            sample,
            self.sampling_method,
            noise,
            prev_sample,
            guidance,
            threads._num_threads,
        )

    def plan(self, t: int, s: int, sample: Array | None, uniforms: Array, needed: Array) -> None:
        """Find the columns of the model output that `step` needs with these uniforms."""
        number = threads._num_threads
        _native.plan(*self.schedule, t, s, sample, uniforms, needed, number)

    def q_posterior(self, t: int, s: int, log_p_x_0: Array, x_t: Array, out: Array) -> None:
        """log p(x_s | x_t), eq. 11."""
        number = threads._num_threads
        _native.q_posterior(*self.schedule, t, s, log_p_x_0, x_t, out, number)

    def log_transition_rows(
        self, t: int, cumulative: bool, x_t: Array, log_onehot_x_t: Array, out: Array
    ) -> None:
        """The rows of the transition matrix of eq. 7 that lead to x_t."""
        number = threads._num_threads
        _native.log_transition_rows(*self.schedule, t, cumulative, x_t, log_onehot_x_t, out, number)

    def apply_cumulative_transitions(self, t: int, q: Array, out: Array) -> None:
        """Carry a distribution over classes from clean data to t."""
        _native.apply_cumulative_transitions(*self.schedule, t, q, out, threads._num_threads)

    def q_sample(self, x_0: Array, timesteps: Array, uniforms: Array, out: Array) -> None:
        """Draw x_t from q(x_t | x_0), eq. 8, with a timestep for each row."""
        _native.q_sample(*self.schedule, x_0, timesteps, uniforms, out, threads._num_threads)
