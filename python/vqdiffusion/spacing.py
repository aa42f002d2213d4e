"""Which timesteps a chain of fewer steps visits, as `timestep_spacing` names it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

SPACINGS = ("reference", "trailing", "linspace", "leading")


def visited(spacing: str, steps: int, of: int) -> npt.NDArray[np.int64]:
    """`steps` of the timesteps 0 … of - 1, falling.

    "reference" takes the last ones of the chain, as diffusers' scheduler does. The others spread
    them: "trailing" begins at the noisy end and ends a stride above 0, "linspace" goes from end to
    end, and "leading" goes in whole strides down to 0, so that it begins below the noisy end.
    """
    left = np.arange(steps, 0, -1)  # steps that are left, in each
    if spacing == "trailing":
        return (2 * of * left + steps) // (2 * steps) - 1  # rounds of * left / steps
    if spacing == "linspace" and steps > 1:
        return (2 * (of - 1) * (left - 1) + steps - 1) // (2 * (steps - 1))
    if spacing == "linspace":
        return np.array([of - 1])
    return (left - 1) * (of // steps if spacing == "leading" else 1)
