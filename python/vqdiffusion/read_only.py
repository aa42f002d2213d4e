"""Attributes of the scheduler that cannot be assigned, since nothing would change with them."""

from __future__ import annotations

from typing import Any

_ENDS = "the constructor's alpha_cum_start, alpha_cum_end, gamma_cum_start and gamma_cum_end"
_TABLES = ("log_at", "log_bt", "log_ct", "log_cumprod_at", "log_cumprod_bt", "log_cumprod_ct")

# What every scheduler holds, and how it can be had otherwise.
ATTRIBUTES = {
    **{name: f"it follows from {_ENDS}" for name in _TABLES},
    **{
        name: "it follows from the constructor's num_vec_classes"
        for name in ("num_embed", "mask_class")
    },
    **{
        name: "call set_timesteps(num_inference_steps) or set_timesteps(timesteps=...)"
        for name in ("timesteps", "num_inference_steps")
    },
    "config": "make another scheduler with from_config(config, key=value)",
    **{name: "the scheduler's own" for name in ("_config", "_chain")},
}


def check_assignable(scheduler: Any, base: type, name: str) -> None:
    """Refuses all but public methods of `base`, and names that it lacks in its subclasses.

    Raises
    ------
    AttributeError
        With a sentence that says what to do instead.
    """
    if not (name in ATTRIBUTES or hasattr(base, name)):
        if type(scheduler) is not base:
            return
        if name in vars(scheduler)["_config"]:
            raise AttributeError(f"{name} is read-only: {ATTRIBUTES['config']}")
        raise AttributeError(
            f"{base.__name__} has no attribute {name!r} that could be set; "
            "a subclass may have attributes of its own"
        )
    if name.startswith("_") or not callable(getattr(base, name, None)):
        raise AttributeError(
            f"{name} is read-only" + (f": {ATTRIBUTES[name]}" if name in ATTRIBUTES else "")
        )
