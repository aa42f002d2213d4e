"""A step that is drawn in two parts: the uniforms first, the model output afterwards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ._chain import Chain
from .unmask import Unmask


@dataclass(frozen=True, eq=False)
class StepPlan:
    """What a scheduler's `plan` gives and its `step` takes: which pixels the coming step needs the
    model output of.

    Arrays are NumPy's or torch's, as the scheduler's are. A plan holds no resources; it may be
    kept, and used again for the same tokens.

    Attributes
    ----------
    needed : array of bool, shape (B, N)
        Where the model output is needed; `hidden[plan.needed]` are those pixels of an array (B, N,
        D), row by row.
    timestep : int, or a list of one for each batch row
        t.
    previous_timestep : int, or a list of one for each batch row
        Where the step leads.
    sample : array of an integer dtype, shape (B, N)
        A copy of x_t.
    uniforms : array of float64, shape (B, N)
        What the step draws with.
    known : array of an integer dtype, shape (B, N), or None
        A copy of the known tokens.
    unmask : Unmask or None
    remask : float
    """

    needed: Any
    timestep: int | list[int]
    previous_timestep: int | list[int]
    sample: Any = field(repr=False)
    uniforms: Any = field(repr=False)
    _chain: Chain = field(repr=False)
    known: Any = field(default=None, repr=False)
    unmask: Unmask | None = None
    remask: float = 0.0
    _order_uniforms: Any = field(default=None, repr=False)

    def options(self, unmask: Unmask | None, remask: float) -> tuple[Unmask | None, float]:
        """`unmask` and `remask` of the plan; refuses those of a step that are others."""
        if (unmask is not None and unmask is not self.unmask) or remask not in (0, self.remask):
            raise ValueError("unmask and remask must be those of the plan, or not given")
        return self.unmask, self.remask

    def check(
        self,
        chain: Chain,
        timestep: int | list[int],
        previous_timestep: int | list[int],
        generator: Any,
        same_sample: Callable[[], bool],
        same_known: bool = True,
    ) -> None:
        """Refuses a step that is not the one planned.

        `same_sample` tells whether the sample is that of the plan, or plays no part; `same_known`,
        whether the known tokens are, or none are passed.

        Raises
        ------
        ValueError
            If the schedule, a timestep, the sample or what is known is another, or a generator is
            given.
        """
        if generator is not None:
            raise ValueError(
                "generator must be None where a plan is given: the plan has drawn the random "
                "numbers"
            )
        if timestep != self.timestep:
            raise ValueError(
                f"plan must be for timestep {timestep}, but was made for timestep {self.timestep}"
            )
        if previous_timestep != self.previous_timestep:
            raise ValueError(
                f"plan must be for a step to timestep {previous_timestep}, but was made for one to "
                f"{self.previous_timestep}"
            )
        if not chain.has_schedule_of(self._chain):
            raise ValueError(
                "plan must come from a scheduler with the same classes and noise, but its were "
                "others"
            )
        if not same_sample():
            raise ValueError("plan must be for the sample that is passed, but was made for another")
        if not same_known:
            raise ValueError(
                "known must be None or that of the plan, which was made for other known tokens"
            )
