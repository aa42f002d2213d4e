"""What the schedulers on arrays and on tensors share: the noise schedule, where a step leads, what
a last step is, the ways to draw, and on how many threads.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from copy import copy
from typing import Any

import numpy as np
import numpy.typing as npt

from . import _native, threads
from .arguments import as_array, as_int
from .schedules import alpha_schedules, gamma_schedules
from .spacing import visited

TABLES = ("log_at", "log_bt", "log_ct", "log_cumprod_at", "log_cumprod_bt", "log_cumprod_ct")

Array = npt.NDArray[Any]
Table = npt.NDArray[np.float64]
# The unconditional output or None, then guidance_scale and a `Truncation`.
Guidance = tuple[Array | None, float, float, float, int, float]


class Chain:
    """A noise schedule and the steps back along it.

    Its methods fill arrays of the caller by the native module, which checks them. A timestep is an
    int that the caller has checked.

    Parameters
    ----------
    num_classes : int
        K, without the mask, whose index it is.
    alpha_cumulative, gamma_cumulative : numpy.ndarray of float64, shape (T,)
        ᾱ_t and γ̄_t. In float64, as the noise is defined: the float32 attributes `log_at` … are
        for readers, and too coarse to compute with.
    sampling_method : {"inverse_cdf", "gumbel"}
    timestep_spacing : {"reference", "trailing", "linspace", "leading"}

    Attributes
    ----------
    num_timesteps : int
        T.
    timesteps : numpy.ndarray of int64
        The timesteps that are visited, falling.
    is_gumbel : bool
        Whether `sampling_method` is "gumbel".

    Raises
    ------
    ValueError
        If the tables describe no Markov chain.
    """

    def __init__(
        self,
        num_classes: int,
        alpha_cumulative: Table,
        gamma_cumulative: Table,
        sampling_method: str,
        timestep_spacing: str = "reference",
    ) -> None:
        self.num_classes = num_classes
        self.num_timesteps = len(alpha_cumulative)
        self.sampling_method = sampling_method
        self.is_gumbel = sampling_method == "gumbel"
        for table in (alpha_cumulative, gamma_cumulative):
            table.flags.writeable = False
        # What native functions take.
        self.schedule = num_classes, alpha_cumulative, gamma_cumulative
        _native.schedule_check(*self.schedule)
        # A byte of 1 for each t where β̄_t = 0: no class can have been replaced by another.
        self._log_beta = self.logs()["log_cumprod_bt"]
        self._is_absorbing = np.isneginf(self._log_beta).tobytes()
        self.timestep_spacing = timestep_spacing
        self._visit(visited("reference", self.num_timesteps, self.num_timesteps))

    def _visit(self, timesteps: npt.NDArray[np.int64]) -> None:
        self.timesteps = timesteps
        # Where the steps from them lead. None: each to t - 1.
        self._previous: dict[int, int] | None = None
        if self.timestep_spacing != "reference" and len(timesteps) < self.num_timesteps:
            one_by_one = timesteps.tolist()
            self._previous = dict(zip(one_by_one, [*one_by_one[1:], -1], strict=True))

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Chain:
        """The chain of checked arguments of the constructor."""
        steps = config["num_train_timesteps"]
        if config["alphas_cumprod"] is not None:
            alpha, gamma = np.array(config["alphas_cumprod"]), np.array(config["gammas_cumprod"])
        else:
            start, end = config["alpha_cum_start"], config["alpha_cum_end"]
            alpha = alpha_schedules(steps, start, end)[1][:steps]
            start, end = config["gamma_cum_start"], config["gamma_cum_end"]
            gamma = gamma_schedules(steps, start, end)[1][:steps]
        classes, method = config["num_vec_classes"] - 1, config["sampling_method"]
        try:
            return cls(classes, alpha, gamma, method, config["timestep_spacing"])
        except ValueError as error:
            if config["alphas_cumprod"] is None:
                raise
            raise ValueError(_of_tables(str(error))) from None

    def visiting(self, num_inference_steps: Any, timesteps: Any) -> Chain:
        """The chain along other timesteps: by number, spread by `timestep_spacing`, or by list.

        Raises TypeError or ValueError unless one of the two is given, in its range.
        """
        if (num_inference_steps is None) == (timesteps is None):
            raise ValueError("set_timesteps needs one of num_inference_steps and timesteps")
        if timesteps is None:
            steps = as_int(num_inference_steps, "num_inference_steps", 1, self.num_timesteps)
            chosen = visited(self.timestep_spacing, steps, self.num_timesteps)
        else:
            chosen = self._checked(as_array(timesteps, "timesteps"))
        chain = copy(self)
        chain._visit(chosen)
        return chain

    def _checked(self, timesteps: Array) -> npt.NDArray[np.int64]:
        last = self.num_timesteps - 1
        if timesteps.ndim != 1 or not len(timesteps):
            raise ValueError(
                f"timesteps must be a list of at least one timestep, not of shape {timesteps.shape}"
            )
        if timesteps.dtype.kind not in "iu":
            raise TypeError(f"timesteps must hold integers, not {timesteps.dtype}")
        low, high = int(timesteps.min()), int(timesteps.max())
        if low < 0 or high > last:
            raise ValueError(f"timesteps must be from 0 to {last}, not {low} to {high}")
        chosen = timesteps.astype(np.int64)
        rising = np.flatnonzero(np.diff(chosen) >= 0)
        if rising.size:
            at = int(rising[0])
            raise ValueError(
                f"timesteps must fall strictly, but {chosen[at]} is followed by {chosen[at + 1]}"
            )
        return chosen

    def drawing_as_given(self, num_classes: int) -> Chain:
        """A chain whose step from 0 draws from any log-probabilities as they are."""
        # β̄_0 > 0, so that the step to clean data does not read the sample.
        return Chain(num_classes, np.array([0.5]), np.array([0.25]), self.sampling_method)

    def has_schedule_of(self, other: Chain) -> bool:
        """Whether both have the same classes and the same noise."""
        return other is self or (
            self.num_classes == other.num_classes
            and np.array_equal(self.schedule[1], other.schedule[1])
            and np.array_equal(self.schedule[2], other.schedule[2])
        )

    def logs(self) -> dict[str, Table]:
        """The tables `log_at` … by name, in float64."""
        logs = {name: np.empty(self.num_timesteps + ("cumprod" in name)) for name in TABLES}
        _native.schedule_logs(*self.schedule, *logs.values())
        return logs

    def previous(self, t: int, given: Any = None) -> int:
        """The timestep s that a step from t leads to, unless another is given; -1 is clean data.

        Raises TypeError or ValueError where the one given is not below t, or t is not visited.
        """
        if given is not None:
            to = as_int(given, "previous_timestep", -1, self.num_timesteps - 1)
            if to >= t:
                raise ValueError(f"previous_timestep must be below the timestep, {t}, not {to}")
            return to
        if self._previous is None:
            return t - 1
        s = self._previous.get(t)
        if s is None:
            near = sorted(sorted(self._previous, key=lambda one: abs(one - t))[:2], reverse=True)
            raise ValueError(
                f"timestep must be one that set_timesteps chose, such as "
                f"{' or '.join(map(str, near))}, not {t}; or pass previous_timestep"
            )
        return s

    def strides(self) -> tuple[list[int], list[int]]:
        """The visited timesteps that do not lead to t - 1, and where they lead."""
        pairs = (self._previous or {}).items()
        longer = [(t, s) for t, s in pairs if s != t - 1]
        return [t for t, _ in longer], [s for _, s in longer]

    def reads_sample(self, t: int, s: int) -> bool:
        """Whether a step from t to s reads the sample. One to clean data does so only where
        β̄_t = 0: pixels that show a class keep it.
        """
        return s >= 0 or self._is_absorbing[t] == 1

    def replaced(self, t: int) -> float:
        """β̄_t, the probability that a pixel shows any one other class than the clean one."""
        return math.exp(float(self._log_beta[t]))

    def shows_clean(self, x_t: Any, t: int) -> Any:
        """Where a pixel shows its clean class for sure, of bool: none is replaced up to t."""
        return (x_t != self.num_classes) & (self._is_absorbing[t] == 1)

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
        known: Array | None = None,
        remask: float = 0.0,
        unmask: tuple[Any, ...] | None = None,
    ) -> None:
        """Draw x_s from p(x_s | x_t), eq. 11; at s = -1 that is the model output itself.

        `noise` is what the sampling method takes. With `guidance`, `model_output` is the
        conditional one. `known` holds the classes that pixels are given, and -1. `unmask` is what
        the native module takes; `noise` is then one uniform for each pixel.
        """
        _native.step(
            *self.schedule,
            t,
            s,
            model_output,
            sample,
            self.sampling_method if unmask is None else "inverse_cdf",
            noise,
            prev_sample,
            guidance,
            known,
            remask,
            unmask,
            threads._num_threads,
        )

    def plan(
        self,
        t: int,
        s: int,
        sample: Array | None,
        uniforms: Array,
        needed: Array,
        known: Array | None = None,
        remask: float = 0.0,
        unmask: tuple[Any, ...] | None = None,
    ) -> None:
        """Find the columns of the model output that `step` needs with these uniforms."""
        _native.plan(
            *self.schedule,
            t,
            s,
            sample,
            uniforms,
            needed,
            known,
            remask,
            unmask,
            threads._num_threads,
        )

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

    def loss(
        self,
        logits: Array,
        x_0: Array,
        x_t: Array,
        t: npt.NDArray[np.int64],
        s: npt.NDArray[np.int64],
        weights: tuple[float, float, float, bool],
        probability: Table | None,
        pixel_weights: Table | None,
        per_row: Table,
        gradient: Array | None,
    ) -> float:
        """The training loss; its part of each row and its gradient into the last two arrays.

        `weights` are those of masked pixels and of others, λ, and whether that is adaptive.
        """
        loss = np.empty(1)
        _native.loss(
            *self.schedule,
            logits,
            x_0,
            x_t,
            t,
            s,
            *weights[:3],
            weights[3],
            probability,
            pixel_weights,
            loss,
            per_row,
            gradient,
            threads._num_threads,
        )
        return loss.item()

    def apply_cumulative_transitions(self, t: int, q: Array, out: Array) -> None:
        """Carry a distribution over classes from clean data to t."""
        _native.apply_cumulative_transitions(*self.schedule, t, q, out, threads._num_threads)

    def add_noise(self, s: int, x_s: Array, timesteps: Array, uniforms: Array, out: Array) -> None:
        """Draw x_t from q(x_t | x_s), with a timestep t for each row."""
        number = threads._num_threads
        _native.add_noise(*self.schedule, s, x_s, timesteps, uniforms, out, number)

    def prior(self, uniforms: Array) -> npt.NDArray[np.int64]:
        """The mask where a uniform is below γ̄_{T-1}, else one of the classes, all alike."""
        gamma = self.schedule[2][-1]
        of_class = (uniforms - gamma) * (self.num_classes / (1 - gamma)) if gamma < 1 else uniforms
        classes = np.clip(of_class, 0, self.num_classes - 1).astype(np.int64)
        return np.where(uniforms < gamma, self.num_classes, classes)


def _of_tables(message: str) -> str:
    """What the native module says of its arguments, in the constructor's names."""
    for native, name in (
        ("alpha_cumulative", "alphas_cumprod"),
        ("gamma_cumulative", "gammas_cumprod"),
        ("schedule:", "alphas_cumprod and gammas_cumprod:"),
    ):
        message = message.replace(native, name)
    return message
