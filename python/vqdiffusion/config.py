"""The configuration of a scheduler, saved in a `scheduler_config.json` like that of diffusers."""

from __future__ import annotations

import inspect
import json
import os
import warnings
from collections.abc import Mapping
from typing import Any, Literal, NoReturn, TypeVar, overload

import numpy as np

from .constructor import without_later_defaults
from .stored_array import restored, stored
from .whole_file import write_whole

# Keywords that loaders of this family take for a model hub. Nothing is downloaded here, so they
# have nothing to change.
_HUB_KEYWORDS = frozenset(
    ("cache_dir", "force_download", "local_dir", "local_dir_use_symlinks", "local_files_only")
    + ("proxies", "revision", "token", "user_agent")
)

Self = TypeVar("Self", bound="Configurable")


class FrozenConfig(dict[str, Any]):
    """A dict that cannot be changed, whose items are also its attributes."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"the configuration has no entry {name!r}") from None

    def _refuse(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError(
            "a scheduler's configuration is read-only; make another scheduler with "
            "from_config(config, key=value)"
        )

    __setattr__ = __delattr__ = __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __reduce__(self) -> tuple[Any, ...]:
        return FrozenConfig, (dict(self),)


class Configurable:
    """What loads and saves a class by the arguments of its `__init__`, which that leaves in
    `_config`.
    """

    config_name = "scheduler_config.json"
    _config: FrozenConfig

    @property
    def config(self) -> FrozenConfig:
        """The arguments this was made with and what else its file held, by item and by attribute;
        read-only.
        """
        return self._config

    @overload
    @classmethod
    def from_config(
        cls: type[Self],
        config: Mapping[str, Any],
        return_unused_kwargs: Literal[False] = False,
        **kwargs: Any,
    ) -> Self: ...
    @overload
    @classmethod
    def from_config(
        cls: type[Self],
        config: Mapping[str, Any],
        return_unused_kwargs: Literal[True],
        **kwargs: Any,
    ) -> tuple[Self, dict[str, Any]]: ...
    @classmethod
    def from_config(
        cls: type[Self],
        config: Mapping[str, Any],
        return_unused_kwargs: bool = False,
        **kwargs: Any,
    ) -> Self | tuple[Self, dict[str, Any]]:
        """Make a scheduler from a configuration.

        Parameters
        ----------
        config : mapping
            Such as `scheduler.config` or what `load_config` returns. Entries that are no argument
            of the class are kept in the new scheduler's `config` and are saved with it.
        return_unused_kwargs : bool
            Whether to return also a dict of the entries and keywords that are no argument of the
            class.
        **kwargs
            Arguments of the class, which go before the entries of `config`.

        Returns
        -------
        VQDiffusionScheduler, or a tuple of it and a dict

        Warns
        -----
        UserWarning
            When an entry or a keyword is no argument of the class, unless it begins with an
            underscore or is returned as unused.

        Raises
        ------
        TypeError, ValueError
            If `config` is no mapping, an argument is missing or is not acceptable.
        """
        if not isinstance(config, Mapping):
            raise TypeError(
                f"config must be a mapping, not {type(config).__name__}; from_pretrained reads a "
                "file or a folder"
            )
        # Diffusers notes there which of the other entries hold default values; nothing follows from
        # it.
        entries = {key: value for key, value in config.items() if key != "_use_default_values"}
        names = [
            name for name in inspect.signature(cls).parameters if name in entries or name in kwargs
        ]
        arguments = {name: kwargs.pop(name) if name in kwargs else entries[name] for name in names}
        extra = {key: value for key, value in entries.items() if key not in arguments}
        required = [
            name
            for name, one in inspect.signature(cls).parameters.items()
            if one.default is one.empty
        ]
        for name in required:
            if name not in arguments:
                raise ValueError(f"config must hold {name!r}, got only {sorted(map(str, config))}")
        made = cls(**arguments)

        unknown = [*extra, *([] if return_unused_kwargs else kwargs)]
        named = [str(key) for key in unknown if not str(key).startswith("_")]
        if named:
            warnings.warn(
                f"{cls.__name__} has no argument {', '.join(named)}: without effect here",
                stacklevel=2,
            )
        if "_class_name" in extra:
            extra["_class_name"] = cls.__name__
        made.__dict__["_config"] = FrozenConfig({**made._config, **extra})
        return (made, {**kwargs, **extra}) if return_unused_kwargs else made

    @classmethod
    def load_config(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str],
        return_unused_kwargs: bool = False,
        return_commit_hash: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Read a configuration file.

        Parameters
        ----------
        pretrained_model_name_or_path : str or os.PathLike
            A folder that holds `scheduler_config.json`, or a JSON file. Nothing is downloaded.
        return_unused_kwargs, return_commit_hash : bool
            Whether to return also the keywords that are not for loading, and a commit hash, which
            is None.
        **kwargs
            `subfolder` names a folder inside the folder, looked into first; keywords for a model
            hub are ignored.

        Returns
        -------
        dict, or a tuple that begins with it

        Raises
        ------
        OSError
            If there is no such folder or file, or it does not hold a JSON object.
        """
        subfolder = kwargs.pop("subfolder", None)
        unused = {key: value for key, value in kwargs.items() if key not in _HUB_KEYWORDS}
        config = _read(_find(os.fspath(pretrained_model_name_or_path), subfolder, cls.config_name))
        if not (return_unused_kwargs or return_commit_hash):
            return config
        return (
            (config,)
            + ((unused,) if return_unused_kwargs else ())
            + ((None,) if return_commit_hash else ())
        )

    @overload
    @classmethod
    def from_pretrained(
        cls: type[Self],
        pretrained_model_name_or_path: str | os.PathLike[str],
        subfolder: str | None = None,
        return_unused_kwargs: Literal[False] = False,
        **kwargs: Any,
    ) -> Self: ...
    @overload
    @classmethod
    def from_pretrained(
        cls: type[Self],
        pretrained_model_name_or_path: str | os.PathLike[str],
        subfolder: str | None = None,
        *,
        return_unused_kwargs: Literal[True],
        **kwargs: Any,
    ) -> tuple[Self, dict[str, Any]]: ...
    @classmethod
    def from_pretrained(
        cls: type[Self],
        pretrained_model_name_or_path: str | os.PathLike[str],
        subfolder: str | None = None,
        return_unused_kwargs: bool = False,
        **kwargs: Any,
    ) -> Self | tuple[Self, dict[str, Any]]:
        """Make a scheduler from the `scheduler_config.json` in a folder.

        Parameters
        ----------
        pretrained_model_name_or_path : str or os.PathLike
            A folder, or a JSON file. Nothing is downloaded.
        subfolder : str, optional
            A folder inside the folder, looked into first.
        return_unused_kwargs, **kwargs
            As in `from_config`.

        Raises
        ------
        OSError
            If there is no such folder or file, or it does not hold a JSON object.
        TypeError, ValueError
            As in `from_config`.
        """
        config, kwargs = cls.load_config(
            pretrained_model_name_or_path, return_unused_kwargs=True, subfolder=subfolder, **kwargs
        )
        return cls.from_config(config, return_unused_kwargs, **kwargs)  # type: ignore[call-overload, no-any-return]

    def save_config(
        self, save_directory: str | os.PathLike[str], push_to_hub: bool = False, **kwargs: Any
    ) -> None:
        """Write `scheduler_config.json` into a folder, which is made if need be.

        The file is written whole, or is as before when an exception is raised.

        Raises
        ------
        OSError
            If the folder cannot be made or written to.
        TypeError
            If an entry that came with the configuration cannot be written as JSON.
        ValueError
            If such an entry is nested too deeply to be written or holds itself, or `push_to_hub` is
            true: nothing is uploaded from here.
        """
        if push_to_hub:
            raise ValueError("push_to_hub must be False: this package does not talk to a model hub")
        text = self.to_json_string()
        os.makedirs(save_directory, exist_ok=True)
        write_whole(os.path.join(save_directory, self.config_name), text)

    def save_pretrained(
        self, save_directory: str | os.PathLike[str], push_to_hub: bool = False, **kwargs: Any
    ) -> None:
        """The same as `save_config`."""
        self.save_config(save_directory, push_to_hub, **kwargs)

    def to_json_string(self) -> str:
        """The configuration as the text of `scheduler_config.json`."""
        entries = {
            **without_later_defaults(self._config),
            "_class_name": type(self).__name__,
        }
        try:
            return json.dumps(entries, indent=2, sort_keys=True, default=_plain) + "\n"
        except RecursionError:
            raise ValueError(
                "an entry of the configuration is nested too deeply to be written as JSON"
            ) from None

    def __repr__(self) -> str:
        return f"{type(self).__name__} {self.to_json_string()}"

    def __getstate__(self) -> dict[str, Any]:
        return {name: stored(value) for name, value in self.__dict__.items()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update({name: restored(value) for name, value in state.items()})


def _plain(value: Any) -> Any:
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError(
        f"a configuration entry of type {type(value).__name__} cannot be written as JSON"
    )


def _find(path: str, subfolder: str | None, name: str) -> str:
    if os.path.isfile(path):
        return path
    if not os.path.isdir(path):
        raise FileNotFoundError(
            f"{path!r} is neither a folder nor a file, and nothing is downloaded from a model hub"
        )
    for folder in ([os.path.join(path, subfolder)] if subfolder is not None else []) + [path]:
        if os.path.isfile(os.path.join(folder, name)):
            return os.path.join(folder, name)
    also = f" or its {subfolder!r}" if subfolder is not None else ""
    raise FileNotFoundError(f"there is no {name} in the folder {path!r}{also}")


def _read(path: str) -> dict[str, Any]:
    with open(path, encoding="utf-8") as file:
        try:
            config = json.load(file)
        except ValueError as error:  # not JSON, or not UTF-8
            raise OSError(
                f"the configuration file {path!r} does not hold valid JSON: {error}"
            ) from error
        except RecursionError:
            raise OSError(
                f"the configuration file {path!r} is nested too deeply to be read"
            ) from None
    if not isinstance(config, dict):
        raise OSError(
            f"the configuration file {path!r} must hold a JSON object, not {type(config).__name__}"
        )
    return config
