"""How arguments of a constructor enter the configuration, as in diffusers' `register_to_config`."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from ..constructor import LATER_DEFAULTS

# No arguments of diffusers' class.
_OWN = frozenset(("sampling_method", *LATER_DEFAULTS))


def notes_defaults(init: Callable[..., None]) -> Callable[..., None]:
    """Decorates an `__init__` that registers its arguments once it has checked them.

    Keywords that begin with an underscore go to the configuration alone. Arguments that are not
    passed are noted there under "_use_default_values". Nothing is noted where only our own options
    are not passed: files of diffusers do not name it.
    """
    names = list(inspect.signature(init).parameters)[1:]

    @functools.wraps(init)
    def wrapper(self: Any, *args: Any, **kwargs: Any) -> None:
        private = {name: kwargs.pop(name) for name in list(kwargs) if name.startswith("_")}
        init(self, *args, **kwargs)
        passed = {*names[: len(args)], *kwargs}
        defaults = [name for name in names if name not in passed]
        if not _OWN.issuperset(defaults):
            private["_use_default_values"] = defaults
        self.register_to_config(**private)

    return wrapper


def without_false_defaults(config: dict[str, Any], init: Callable[..., None]) -> dict[str, Any]:
    """`config` noting only such arguments of `init` as defaults that have their default value.

    diffusers counts arguments that were passed by position among the defaults.
    """
    noted, parameters = config.get("_use_default_values"), inspect.signature(init).parameters
    if not noted:
        return config
    kept = [
        name
        for name in noted
        if name not in parameters or config.get(name) == parameters[name].default
    ]
    return {**config, "_use_default_values": kept}
