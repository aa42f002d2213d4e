"""The variational bound of a chain on torch tensors."""

from __future__ import annotations

from collections.abc import Callable
from itertools import starmap

import torch
from torch import Generator, Tensor

from ..bound import check_returned, prior_term, steps_to_clean_data
from ..row_keys import RowKeys
from .arguments import as_generators, as_grid, as_log_probabilities, check_drawable, check_grid
from .forward_process import ForwardProcess
from .noise import States, remember
from .transitions import Transitions


class LikelihoodBound(Transitions, ForwardProcess):
    """The method of a scheduler that judges a model."""

    def likelihood_bound(
        self,
        model: Callable[[Tensor, int], Tensor],
        x_0: Tensor,
        generator: Generator | list[Generator] | RowKeys | None = None,
    ) -> Tensor:
        """An upper bound of -log p(x_0) of the chain along `timesteps`, in nats, by one draw of
        each x_t, as `vqdiffusion.VQDiffusionScheduler.likelihood_bound`.

        Parameters
        ----------
        model : callable
            Called as `model(x_t, t)` with an int64 tensor (B, N) and an int; returns
            log-probabilities of the clean classes, shape (B, K, N), which are normalised here.
        x_0 : torch.Tensor of any integer dtype, shape (B, N)
            Classes 0 … K - 1.
        generator : torch.Generator, list of them, RowKeys, or None
            As in `step`; B * N uniforms of float64 are drawn for each timestep.

        Returns
        -------
        torch.Tensor of float64, shape (B,)
            Nats for each row; divided by N log 2, bits per pixel. Differentiable: outside of
            `torch.no_grad()` it keeps the graphs of all timesteps.

        Raises
        ------
        TypeError, ValueError
            As in `vqdiffusion.VQDiffusionScheduler.likelihood_bound`.
        """
        chain, clean = self._chain, as_grid(x_0, "x_0").long()
        check_grid(clean, "x_0", chain.num_classes - 1)
        source = as_generators(generator, len(clean), 0)
        steps = steps_to_clean_data(chain)
        if not self._follow_tables():
            raise ValueError(
                "likelihood_bound needs the tables of the constructor, not assigned ones: make a "
                "scheduler with alphas_cumprod and gammas_cumprod"
            )
        prior = clean.shape[1] * prior_term(chain)
        total = torch.full((len(clean),), prior, dtype=torch.float64, device=clean.device)
        states: States = []
        put_back = starmap(Generator.set_state, states)
        try:
            remember(source, clean.device, states)
            for t, s in steps:
                x_t = self.add_noise(clean, t, generator)
                log_p = as_log_probabilities(model(x_t, t), "what model returns", chain.num_classes)
                check_returned(log_p.shape, clean.shape, chain.num_classes)
                total_p = log_p.detach().logsumexp(1, keepdim=True)
                check_drawable(total_p, None, "what model returns")
                total = total + self._step_term(log_p, clean, x_t, t, s)
            return total
        except BaseException:
            list(put_back)
            raise

    def _step_term(self, log_p: Tensor, clean: Tensor, x_t: Tensor, t: int, s: int) -> Tensor:
        """The term of a step from t to s in nats, (B,)."""
        log_p = log_p.double().log_softmax(1)
        if s < 0:
            nats = -log_p.gather(1, clean.unsqueeze(1)).squeeze(1)
            # Where nothing is replaced by another class, what is shown is what was.
            return nats.masked_fill(self._chain.shows_clean(x_t, t), 0).sum(1)
        onehot = torch.full_like(log_p, -torch.inf).scatter(1, clean.unsqueeze(1), 0)
        # Overrides for the paper's chain need not know of strides.
        stride = {} if s == t - 1 else {"previous_timestep": s}
        truth, guess = (self.q_posterior(one, x_t, t, **stride) for one in (onehot, log_p))
        q = truth.exp()
        return torch.where(q > 0, q * (truth - guess), 0).sum((1, 2))
