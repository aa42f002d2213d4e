"""The six tables of a noise schedule: attributes of a scheduler that may be replaced or edited."""

from __future__ import annotations

from operator import attrgetter
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.compiler import is_compiling

from .._chain import TABLES, Chain
from .assigned_tables import of_tables
from .schedule_tables import ScheduleTables

_edits = attrgetter("_version")
_LOG_ROUNDED = -30.0
_ROUNDING = 1e-3  # how far the logarithm of a probability of 1 may lie above 0


class HasTables:
    """Keeps `_law`, which the torch formulas compute with, in step with the six tables.

    The tables of the constructor are of float32 and too coarse to compute with; `_law` is then made
    of `_chain`, in float64. Tables with any other values are used as they are.
    """

    _chain: Chain
    _law: ScheduleTables
    _has_own_tables: bool
    # The tensors that count the edits of the tables that `_law` is of, and the number of edits.
    # None where edits go uncounted, as in inference mode, or every call needs its own graph.
    _seen: tuple[Any, ...] | None
    _counter: Tensor | None  # the one tensor that counts the edits, where there is one

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in TABLES or "_chain" not in self.__dict__:
            super().__setattr__(name, value)
            return
        _check(name, value, self._chain.num_timesteps)
        vars(self)[name] = value
        self._seen = self._counter = None
        self._follow_tables()

    def __getstate__(self) -> dict[str, Any]:
        self._look_again()
        derived = "_law", "_seen", "_counter"
        return {name: value for name, value in vars(self).items() if name not in derived}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._make_law()
        self._note_tables()

    def _make_tables(self) -> None:
        """Sets the tables of `_chain`."""
        logs = list(self._chain.logs().values())
        with torch.inference_mode(False):
            # Views of one tensor, which counts the edits of all.
            tables = torch.from_numpy(np.concatenate(logs).astype(np.float32)).split(
                [len(one) for one in logs]
            )
        vars(self).update(zip(TABLES, tables))
        self._has_own_tables = True
        self._law = ScheduleTables.of(*self._chain.schedule, logs)
        self._note_tables()

    def _look_again(self) -> None:
        """Follows the tables by their values: edits through `.data` and NumPy are not counted."""
        self._seen = self._counter = None
        self._follow_tables()

    def _move_tables(self, device: str | torch.device) -> None:
        with torch.inference_mode(False):
            vars(self).update({name: getattr(self, name).to(device) for name in TABLES})
        self._law = self._law.to(device)
        self._note_tables()

    def _take_tables(self, other: Any) -> None:
        """Takes over tables that were set on diffusers' scheduler `other` of the same arguments."""
        for name in TABLES:
            mine, theirs = getattr(self, name), getattr(other, name)
            own = theirs.to(mine.device, mine.dtype)
            # Roundings there make NaN or some 1e-17 of what is 0.
            rounded = mine.isneginf() & ~(own > _LOG_ROUNDED)
            if not torch.equal(torch.where(rounded, mine, own), mine):
                setattr(self, name, theirs)

    def _follow_tables(self) -> bool:
        """Whether the tables are those of `_chain`. Makes `_law` anew where they were changed.

        Raises TypeError or ValueError where they can be no tables.
        """
        # `__setattr__` sees whatever is assigned; what is edited in place has another count.
        seen = self._seen
        if seen is not None and (is_compiling() or sum(map(_edits, seen[0])) == seen[1]):
            return self._has_own_tables
        for name in TABLES:
            _check(name, getattr(self, name), self._chain.num_timesteps)
        own = self._are_own()
        if own is not None and not (own and self._has_own_tables):
            self._has_own_tables = own
            self._make_law()
        self._note_tables()
        return self._has_own_tables

    def _are_own(self) -> bool | None:
        """Whether the tables have the values of `_chain`; None where nobody can see them."""
        tables = [getattr(self, name) for name in TABLES]
        if any(table.dtype != torch.float32 or table.requires_grad for table in tables):
            return False
        try:
            return all(
                np.array_equal(table.cpu().numpy(), log.astype(np.float32))
                for table, log in zip(tables, list(self._chain.logs().values()))
            )
        except (RuntimeError, TypeError):  # on the meta device, or a tensor that stands for another
            return None

    def _make_law(self) -> None:
        tables = [getattr(self, name) for name in TABLES]
        if self._has_own_tables:
            law = ScheduleTables.of(*self._chain.schedule, list(self._chain.logs().values()))
            law = law.with_strides(*self._chain.strides())
            self._law = law if tables[0].device.type == "cpu" else law.to(tables[0].device)
        else:
            self._law = of_tables(self._chain.num_classes, tables)

    def _note_tables(self) -> None:
        tables = [getattr(self, name) for name in TABLES]
        if any(table.is_inference() or table.requires_grad for table in tables):
            self._seen = self._counter = None
        else:
            # A tensor and its views have one count.
            counters = list(
                {
                    id(one): one for one in (t if t._base is None else t._base for t in tables)
                }.values()
            )
            self._seen = counters, sum(map(_edits, counters))
            self._counter = counters[0] if len(counters) == 1 else None


def _check(name: str, table: Any, steps: int) -> None:
    """Refuses what cannot be the table of that name."""
    if not isinstance(table, Tensor):
        raise TypeError(
            f"{name} must be a tensor, not {type(table).__module__}.{type(table).__qualname__}"
        )
    if not table.dtype.is_floating_point:
        raise TypeError(f"{name} must be of a floating dtype, not {table.dtype}")
    length = steps + name.startswith("log_cumprod")
    if table.shape != (length,):
        raise ValueError(f"{name} must have shape ({length},), not {tuple(table.shape)}")
    try:
        wrong = (~(table <= _ROUNDING)).tolist()
    except RuntimeError:  # no values, as above
        return
    if any(wrong):
        t = wrong.index(True)
        raise ValueError(
            f"{name} must hold logarithms of probabilities, not {float(table[t])} at index {t}"
        )
