"""The forward process and its noisy end, on NumPy arrays."""

from __future__ import annotations

from itertools import starmap
from typing import SupportsIndex

import numpy as np
import numpy.typing as npt

from ._chain import Chain
from .arguments import as_grid, as_int, as_timesteps
from .generators import GeneratorLike, States, draw_uniforms
from .row_keys import at_timesteps


class ForwardProcess:
    """The methods of a scheduler that draw noisy samples."""

    _chain: Chain

    def add_noise(
        self,
        original_samples: npt.ArrayLike,
        timesteps: SupportsIndex | npt.ArrayLike,
        generator: GeneratorLike = None,
        *,
        from_timestep: SupportsIndex = -1,
    ) -> npt.NDArray[np.int64]:
        """Draw x_t from the forward process: q(x_t | x_0), eq. 8, or q(x_t | x_s).

        A class stays with probability α + β of the transition from s to t, becomes any one other
        class with β and the mask with γ; from clean data they are ᾱ_t, β̄_t and γ̄_t.

        Parameters
        ----------
        original_samples : array of any integer dtype, shape (B, N)
            x_0, or x_s: classes 0 … K. A masked pixel stays masked.
        timesteps : int, or array of any integer dtype, shape (B,)
            One timestep t, 0 … T - 1, for all rows or one for each.
        generator : GeneratorLike
            As in `step`; B * N float64 uniforms are drawn. RowKeys for steps from here need another
            `draw`.
        from_timestep : int
            s, from -1 for clean data to the least of `timesteps`, at which nothing changes.

        Returns
        -------
        numpy.ndarray of int64, shape (B, N)
            A new array.

        Raises
        ------
        TypeError, ValueError
            As in `step`; ValueError also where a timestep is below `from_timestep`.
        """
        chain = self._chain
        x_s = as_grid(original_samples, "original_samples")
        out = np.empty(x_s.shape, np.int64)
        t = as_timesteps(timesteps, "timesteps", len(x_s), chain.num_timesteps - 1)
        s = as_int(from_timestep, "from_timestep", -1, chain.num_timesteps - 1)
        states: States = []
        put_back = starmap(setattr, states)
        try:
            u = draw_uniforms(at_timesteps(generator, t), x_s.shape, states)
            chain.add_noise(s, x_s, t, u, out)
            return out
        except BaseException:
            list(put_back)
            raise

    def sample_prior(
        self, shape: tuple[int, int], generator: GeneratorLike = None
    ) -> npt.NDArray[np.int64]:
        """Draw a sample of the noisy end that a chain begins with: the mask with probability
        γ̄_{T-1}, else any class alike.

        Parameters
        ----------
        shape : tuple of two ints
            (B, N).
        generator : GeneratorLike
            As in `step`; B * N float64 uniforms are drawn. RowKeys draw at the timestep T, which
            no step has.

        Returns
        -------
        numpy.ndarray of int64, shape (B, N)

        Raises
        ------
        TypeError, ValueError
            As in `step`.
        """
        chain = self._chain
        if not isinstance(shape, (tuple, list)) or len(shape) != 2:
            raise ValueError(f"shape must be (batch, pixels), not {shape!r}")
        batch, pixels = (as_int(length, "shape", 0) for length in shape)
        states: States = []
        put_back = starmap(setattr, states)
        try:
            at = at_timesteps(generator, chain.num_timesteps)
            return chain.prior(draw_uniforms(at, (batch, pixels), states))
        except BaseException:
            list(put_back)
            raise
