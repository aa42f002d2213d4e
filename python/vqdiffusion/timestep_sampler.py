"""Importance sampling of the timesteps that a model is trained on."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import starmap
from typing import Any, SupportsIndex

import numpy as np
import numpy.typing as npt

from .arguments import MOST_TIMESTEPS, as_array, as_int, as_timesteps
from .generators import OneGenerator, States, draw_uniforms

# A timestep's share of what is drawn is known once its loss has been seen more often than this.
_FEW = 10


class TimestepSampler:
    """Draws the timesteps of training rows, those with large losses more often.

    At first every timestep is as probable as any other. When each of them has been seen more than
    ten times, the probability of t is proportional to √(history_t + 1e-10) + 1e-4, where
    `history_t` follows the squares of the losses L_t; t = 0 gets that of t = 1. Dividing the loss
    of each row by its probability, as `loss` does, leaves the expectation what it was:

        t, probability = sampler.sample(len(x_0), generator)
        x_t = scheduler.add_noise(x_0, t, generator)
        result = scheduler.loss(model(x_t, t), x_0, x_t, t, probability=probability)
        sampler.update(t, result.per_row)

    A sampler belongs to one process. For several that train one model, gather the timesteps and
    `per_row` of all of them after each step, in the same order, and have every process update its
    sampler with all: the samplers then stay equal. Draw from a generator of its own in each.

    Parameters
    ----------
    num_train_timesteps : int
        T, at least 2.

    Attributes
    ----------
    history : numpy.ndarray of float64, shape (T,)
        Of L_t²: each new one counts a tenth.
    counts : numpy.ndarray of int64, shape (T,)
        How often the loss of a timestep has been given.

    Raises
    ------
    TypeError, ValueError
        If `num_train_timesteps` is not an integer or out of range.
    """

    history: npt.NDArray[np.float64]
    counts: npt.NDArray[np.int64]

    def __init__(self, num_train_timesteps: SupportsIndex) -> None:
        steps = as_int(num_train_timesteps, "num_train_timesteps", 2, MOST_TIMESTEPS)
        self.history = np.zeros(steps)
        self.counts = np.zeros(steps, np.int64)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self.history)})"

    def probabilities(self) -> npt.NDArray[np.float64]:
        """The probability of each timestep, shape (T,)."""
        steps = len(self.history)
        if not (self.counts > _FEW).all():
            return np.full(steps, 1 / steps)
        weights = np.sqrt(self.history + 1e-10) + 1e-4
        weights[0] = weights[1]
        probabilities: npt.NDArray[np.float64] = weights / weights.sum()
        return probabilities

    def sample(
        self, n: SupportsIndex, generator: OneGenerator = None
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """Draw timesteps, independent of each other.

        Parameters
        ----------
        n : int
            How many.
        generator : None, int, SeedSequence, BitGenerator, Generator or RandomState
            As in `VQDiffusionScheduler.step`; n float64 uniforms are drawn.

        Returns
        -------
        timesteps : numpy.ndarray of int64, shape (n,)
        probability : numpy.ndarray of float64, shape (n,)
            With which each of them was drawn.

        Raises
        ------
        TypeError, ValueError
            If `n` is not an integer or negative, or `generator` none of its kinds.
        """
        number = as_int(n, "n", 0)
        if isinstance(generator, (list, tuple)):
            raise TypeError("generator must be a single one, not a list")
        states: States = []
        put_back = starmap(setattr, states)
        try:
            return self._of_uniforms(draw_uniforms(generator, (1, number), states)[0])
        except BaseException:
            list(put_back)
            raise

    def _of_uniforms(
        self, uniforms: npt.NDArray[np.float64]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """For each uniform the first t whose cumulative probability exceeds it."""
        p = self.probabilities()
        cumulative = np.cumsum(p)
        timesteps = np.searchsorted(cumulative, uniforms * cumulative[-1], side="right")
        # A uniform close to 1 may round up to all of the probability.
        timesteps = np.minimum(timesteps, len(p) - 1)
        return timesteps, p[timesteps]

    def update(self, timesteps: SupportsIndex | npt.ArrayLike, per_row: npt.ArrayLike) -> None:
        """Note the losses of some rows: history_t becomes 0.1 L_t² + 0.9 history_t. Of rows with
        the same t the last one decides.

        Parameters
        ----------
        timesteps : int, or array of any integer dtype, shape (n,)
            t of each row.
        per_row : array of real numbers, shape (n,)
            L_t of each row, as `VQDiffusionScheduler.loss` returns them.

        Raises
        ------
        TypeError
            If the timesteps are no integers or the losses no real numbers.
        ValueError
            If shapes disagree, a timestep is out of range, or a loss is negative, NaN or infinite.
            Nothing is noted then.
        """
        losses = as_array(per_row, "per_row")
        if losses.dtype.kind not in "iuf":
            raise TypeError(f"per_row must be of real numbers, not dtype {losses.dtype}")
        if losses.ndim != 1:
            raise ValueError(f"per_row must have one entry for each row, not shape {losses.shape}")
        losses = losses.astype(np.float64)
        t = as_timesteps(timesteps, "timesteps", len(losses), len(self.history) - 1)
        with np.errstate(over="ignore"):
            bad = ~((losses >= 0) & (losses**2 < np.inf))
        if bad.any():
            raise ValueError(
                "per_row must hold losses of at least 0 with finite squares, not "
                f"{losses[bad][0]} as at "
                f"{[int(bad.argmax())]}"
            )
        last = dict(zip(t.tolist(), losses.tolist(), strict=True))
        at = np.fromiter(last, np.int64, len(last))
        squares = np.fromiter(last.values(), np.float64, len(last)) ** 2
        self.history[at] = 0.1 * squares + 0.9 * self.history[at]
        np.add.at(self.counts, t, 1)

    def state_dict(self) -> dict[str, Any]:
        """All that the sampler knows: copies of `history` and `counts` by these names."""
        return {"history": self.history.copy(), "counts": self.counts.copy()}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over what `state_dict` of a sampler with the same T has returned.

        Raises
        ------
        TypeError, ValueError
            If an entry is missing, of another length, of no number or negative. The sampler is then
            as it was.
        """
        if not isinstance(state_dict, Mapping) or set(state_dict) != {"history", "counts"}:
            given = sorted(map(str, state_dict)) if isinstance(state_dict, Mapping) else state_dict
            raise ValueError(f"state_dict must have the entries history and counts, not {given!r}")
        loaded: dict[str, npt.NDArray[Any]] = {}
        for name, kinds, dtype in (("history", "iuf", np.float64), ("counts", "iu", np.int64)):
            array = as_array(state_dict[name], name)
            if array.dtype.kind not in kinds:
                wanted = "integers" if name == "counts" else "real numbers"
                raise TypeError(f"{name} must be of {wanted}, not dtype {array.dtype}")
            if array.shape != self.history.shape:
                raise ValueError(
                    f"{name} must have shape {self.history.shape}, as of {len(self.history)} "
                    f"timesteps, not {array.shape}"
                )
            if not ((array >= 0) & (array < np.inf)).all():
                raise ValueError(f"{name} must hold finite numbers of at least 0")
            loaded[name] = array.astype(dtype)
        self.history, self.counts = loaded["history"], loaded["counts"]
