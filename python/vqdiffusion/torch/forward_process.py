"""The forward process and its noisy end, on torch tensors."""

from __future__ import annotations

from itertools import starmap

import numpy as np
import torch
from torch import Generator, Tensor

from ..arguments import as_int
from ..row_keys import RowKeys
from . import formulas
from .arguments import as_generators, as_grid, as_timesteps, by_row, check_grid
from .noise import States, pixel_uniforms, remember
from .tables import HasTables
from .view import numpy_view, traced


class ForwardProcess(HasTables):
    """The methods of a scheduler that draw noisy samples."""

    mask_class: int

    def add_noise(
        self,
        original_samples: Tensor,
        timesteps: int | Tensor,
        generator: Generator | list[Generator] | RowKeys | None = None,
        *,
        from_timestep: int = -1,
    ) -> Tensor:
        """Draw x_t from the forward process: q(x_t | x_0), eq. 8, or q(x_t | x_s).

        A class stays with probability α + β of the transition from s to t, becomes any one other
        class with β and the mask with γ; from clean data they are ᾱ_t, β̄_t and γ̄_t.

        Parameters
        ----------
        original_samples : torch.Tensor of any integer dtype, shape (B, N)
            x_0, or x_s: classes 0 … K. A masked pixel stays masked.
        timesteps : int, integer tensor of one element, or integer tensor of shape (B,)
            t, 0 … T - 1, for all rows or one for each.
        generator : torch.Generator, list of them, RowKeys, or None
            As in `step`; B * N uniforms of float64 are drawn. RowKeys for steps from here need
            another `draw`.
        from_timestep : int
            s, from -1 for clean data to the least of `timesteps`, at which nothing changes.

        Returns
        -------
        torch.Tensor of int64, shape (B, N)
            A new contiguous tensor on the device of `original_samples`.

        Raises
        ------
        TypeError, ValueError
            As in `step`; ValueError also where a timestep is below `from_timestep`.
        """
        x_s = as_grid(original_samples, "original_samples")
        batch, pixels = x_s.shape
        last = self._chain.num_timesteps - 1
        t = as_timesteps(timesteps, "timesteps", 0, last, batch)
        by_row(t, batch, "timesteps")
        s = as_int(from_timestep, "from_timestep", -1, last)
        least = t if isinstance(t, int) else min(t, default=s)
        if least < s:
            raise ValueError(f"timesteps must be at least from_timestep, {s}, not {least}")
        generator = as_generators(generator, batch, t)
        shown = numpy_view(x_s, "original_samples") if self._follow_tables() else None
        if shown is None:
            check_grid(x_s, "original_samples", self.mask_class)
        states: States = []
        put_back = starmap(Generator.set_state, states)
        try:
            if not traced():
                remember(generator, x_s.device, states)
            u = pixel_uniforms(batch, pixels, generator, x_s.device)
            noise = None if shown is None else numpy_view(u, "uniforms")
            if noise is None or shown is None:
                beta, gamma = self._law.noise(t, s, u)
                return formulas.add_noise(self.mask_class, x_s, beta, gamma, u)
            x_t = torch.empty((batch, pixels), dtype=torch.int64, device="cpu")
            each = np.broadcast_to(np.array(t, np.int64), batch)
            self._chain.add_noise(s, shown, each, noise, x_t.numpy())
            return x_t
        except BaseException:
            list(put_back)
            raise

    def sample_prior(
        self,
        shape: tuple[int, int],
        generator: Generator | list[Generator] | RowKeys | None = None,
        *,
        device: str | torch.device | None = None,
    ) -> Tensor:
        """Draw a sample of the noisy end that a chain begins with: the mask with probability
        γ̄_{T-1}, else any class alike.

        Parameters
        ----------
        shape : tuple of two ints
            (B, N).
        generator : torch.Generator, list of them, RowKeys, or None
            As in `step`; B * N uniforms of float64 are drawn. RowKeys draw at the timestep T, which
            no step has.
        device : str or torch.device, optional
            Where the sample is to be; unless given where the generator is, or else on the CPU.

        Returns
        -------
        torch.Tensor of int64, shape (B, N)

        Raises
        ------
        TypeError, ValueError
            As in `step`.
        """
        if not isinstance(shape, (tuple, list)) or len(shape) != 2:
            raise ValueError(f"shape must be (batch, pixels), not {shape!r}")
        batch, pixels = (as_int(length, "shape", 0) for length in shape)
        generator = as_generators(generator, batch, self._chain.num_timesteps)
        one = generator[0] if isinstance(generator, list) and generator else generator
        if device is None:
            device = one.device if isinstance(one, Generator) else "cpu"
        states: States = []
        put_back = starmap(Generator.set_state, states)
        try:
            if not traced():
                remember(generator, device, states)
            u = pixel_uniforms(batch, pixels, generator, device)
            # The last of the tables, whoever has set them.
            self._follow_tables()
            gamma = self._law.logs[-1, 5].to(u).exp()
            unmasked = (u - gamma) * (self.mask_class / (1 - gamma).clamp(min=1e-300))
            classes = unmasked.clamp(0, self.mask_class - 1).long()
            return torch.where(u < gamma, self.mask_class, classes)
        except BaseException:
            list(put_back)
            raise
