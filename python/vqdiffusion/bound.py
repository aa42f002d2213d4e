"""The variational bound of a chain: what it costs a model to name the clean data."""

from __future__ import annotations

from collections.abc import Callable
from itertools import starmap
from typing import Any

import numpy as np
import numpy.typing as npt

from . import overrides
from ._chain import Chain
from .arguments import as_grid, as_tensor
from .checks import check_classes, warn_of_probabilities
from .forward_process import ForwardProcess
from .generators import GeneratorLike, States, as_generators, remember
from .row_keys import RowKeys
from .transitions import Transitions

Table = npt.NDArray[np.float64]


class LikelihoodBound(Transitions, ForwardProcess):
    """The method of a scheduler that judges a model."""

    def likelihood_bound(
        self,
        model: Callable[[npt.NDArray[np.int64], int], npt.ArrayLike],
        x_0: npt.ArrayLike,
        generator: GeneratorLike = None,
    ) -> Table:
        """An upper bound of -log p(x_0) of the chain along `timesteps`, in nats, by one draw of
        each x_t.

        KL(q(x_t | x_0) ‖ prior) at the first timestep, where the prior is what `sample_prior`
        draws, plus KL(q(x_s | x_t, x_0) ‖ p(x_s | x_t)) at each timestep, which at s = -1 is
        -log p(x_0 | x_t): eq. 3 of arXiv 2111.14822 for any stride. It bounds what the chain gives
        to x_0, so that a single row may lie below what the data's own distribution gives. With the
        spacing "reference" `set_timesteps(n)` is the end of the chain, T - n timesteps too late for
        a start from masks: its bound is much larger than that of n "trailing" ones.

        Parameters
        ----------
        model : callable
            Called as `model(x_t, t)` with an int64 array (B, N) and an int; returns
            log-probabilities of the clean classes, shape (B, K, N), which are normalised here.
        x_0 : array of any integer dtype, shape (B, N)
            Classes 0 … K - 1.
        generator : GeneratorLike
            As in `step`; B * N float64 uniforms are drawn for each timestep.

        Returns
        -------
        numpy.ndarray of float64, shape (B,)
            Nats for each row; divided by N log 2, bits per pixel.

        Raises
        ------
        TypeError, ValueError
            As in `add_noise` and `q_posterior`; ValueError also where the bound is infinite because
            the chain starts from masks at a timestep where pixels may still show a class, and where
            `timesteps` are no chain: a step does not lead to the next of them, or not the last one
            to clean data, which can be with the spacing "reference" alone.
        """
        chain = self._chain
        clean = as_grid(x_0, "x_0")
        if clean.dtype.kind not in "iu":
            raise TypeError(f"x_0 must be of an integer dtype, not {clean.dtype}")
        if clean.size and not (0 <= clean.min() and clean.max() < chain.num_classes):
            raise ValueError(
                f"x_0 must hold classes from 0 to {chain.num_classes - 1}, not {clean.min()} to "
                f"{clean.max()}"
            )
        steps = steps_to_clean_data(chain)
        total = np.full(len(clean), clean.shape[1] * prior_term(chain))
        # A seed stands for one generator, not for the same noise at every timestep.
        each = (
            generator if isinstance(generator, RowKeys) else as_generators(generator, clean.shape)
        )
        states: States = []
        put_back = starmap(setattr, states)
        try:
            if not isinstance(each, RowKeys):
                remember(each, states)
            for t, s in steps:
                x_t = self.add_noise(clean, t, each)
                log_p = as_tensor(model(x_t, t), "what model returns").astype(np.float64)
                check_classes(log_p, chain.num_classes, "what model returns")
                check_returned(log_p.shape, clean.shape, chain.num_classes)
                overrides.check_columns(log_p, "what model returns")
                warn_of_probabilities(log_p, "what model returns")
                total += self._step_term(log_p, clean, x_t, t, s)
            return total
        except BaseException:
            list(put_back)
            raise

    def _step_term(
        self, log_p: Table, clean: npt.NDArray[Any], x_t: npt.NDArray[np.int64], t: int, s: int
    ) -> Table:
        """The term of a step from t to s in nats, (B,)."""
        log_p = log_p - _logsumexp(log_p)
        if s < 0:
            nats = -np.take_along_axis(log_p, clean[:, None].astype(np.int64), 1)[:, 0]
            # Where nothing is replaced by another class, what is shown is what was.
            row: Table = np.where(self._chain.shows_clean(x_t, t), 0, nats).sum(1)
            return row
        classes = np.arange(log_p.shape[1])[:, None]
        with np.errstate(divide="ignore"):
            onehot = np.log((classes == clean[:, None]).astype(np.float64))
        # Overrides for the paper's chain need not know of strides.
        stride = {} if s == t - 1 else {"previous_timestep": s}
        truth, guess = (self.q_posterior(one, x_t, t, **stride) for one in (onehot, log_p))
        q = np.exp(truth)
        with np.errstate(invalid="ignore"):  # 0 log 0
            row = np.where(q > 0, q * (truth - guess), 0).sum((1, 2))
        return row


def steps_to_clean_data(chain: Chain) -> list[tuple[int, int]]:
    """The timesteps, each with the next one; -1 after the last.

    Raises ValueError where steps lead elsewhere.
    """
    timesteps = chain.timesteps.tolist()
    steps = list(zip(timesteps, [*timesteps[1:], -1], strict=True))
    for t, s in steps:
        if chain.previous(t) != s:
            after = f"timesteps has {s} after it" if s >= 0 else "it is the last of timesteps"
            raise ValueError(
                "likelihood_bound needs timesteps whose steps lead from each to the next and from "
                f"the last to -1, but from {t} one leads to {chain.previous(t)}, and {after}: make "
                "the scheduler with another timestep_spacing than 'reference'"
            )
    return steps


def check_returned(shape: tuple[int, ...], grid: tuple[int, ...], classes: int) -> None:
    """Refuses a model's output of another batch or other pixels than the grid's."""
    if (*shape[:1], *shape[2:]) != tuple(grid):
        raise ValueError(
            f"what model returns must have shape {(grid[0], classes, grid[1])}, not {tuple(shape)}"
        )


def prior_term(chain: Chain) -> float:
    """KL(q(x_t | x_0) ‖ prior) of a pixel at the first of the timesteps, in nats."""
    first = int(chain.timesteps[0])
    classes, alphas, gammas = chain.schedule
    alpha, gamma, masked = float(alphas[first]), float(gammas[first]), float(gammas[-1])
    beta = chain.replaced(first)
    if masked == 1 and gamma < 1:
        raise ValueError(
            f"likelihood_bound is infinite: the chain starts from masks alone, but at timestep "
            f"{first}, its first, only {gamma:.6g} of the pixels are masked"
        )
    of_class = (1 - masked) / classes
    terms = [(1, gamma, masked), (1, alpha + beta, of_class), (classes - 1, beta, of_class)]
    return float(sum(n * q * np.log(q / p) for n, q, p in terms if q > 0))


def _logsumexp(log_p: Table) -> Table:
    peak = log_p.max(1, keepdims=True)
    total: Table = peak + np.log(np.exp(log_p - peak).sum(1, keepdims=True))
    return total
