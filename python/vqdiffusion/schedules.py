"""The noise schedules, as tables."""

from .linear_schedules import alpha_schedules, gamma_schedules

__all__ = ["alpha_schedules", "gamma_schedules"]
