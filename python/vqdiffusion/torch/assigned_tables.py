"""The tables that a user has assigned to a scheduler, as the torch formulas take them.

The core cannot compute these coefficients: it takes ᾱ and γ̄ of a Markov chain, while six assigned
tables need not fit each other, may be on any device and may require gradients.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .schedule_tables import ScheduleTables, Terms, table_dtype

_LOG_IMPOSSIBLE = math.log(1e-30)


def of_tables(num_classes: int, tables: Sequence[Tensor]) -> ScheduleTables:
    """Six tables taken as they are.

    log α, log β and log γ are (T,), the cumulative ones (T + 1,), the last entry for t = -1. As in
    one-hot logarithms log 0 is log 1e-30 in q(x_t | x_0) and q(x_t | x_s), but where β̄_t = 0 an
    unmasked pixel is carried over.
    """
    device = next((table.device for table in tables if table.is_meta), tables[0].device)
    dtype = table_dtype(device)
    a, b, c, *cumulative = (table.to(device, dtype) for table in tables)
    log_a, log_b, log_c = (table[:-1] for table in cumulative)
    log_a_s, log_b_s, log_c_s = (table.roll(1)[:-1] for table in cumulative)
    linear, carries = log_b_s.isneginf(), log_b.isneginf()
    # q(x_t = k | x_s = j) and q(x_t = k | x_0 = j) of another class j.
    other = (a + _LOG_IMPOSSIBLE).logaddexp(b)
    of_other = (log_a + _LOG_IMPOSSIBLE).logaddexp(log_b)
    level_s = torch.where(linear, 0, log_b_s)
    own_weight = torch.where(carries, 0, of_other - log_a.logaddexp(log_b))

    def level_and_ratio(factor: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        level = torch.where(linear, 0, factor + level_s)
        return level, weight + log_a_s - level_s + torch.where(linear, factor, 0)

    plain = torch.zeros_like(log_c)
    masked = level_and_ratio(c - log_c, plain)
    kinds = (
        Terms(*masked, *masked, plain, log_c_s - log_c),
        Terms(
            *level_and_ratio(torch.where(carries, -torch.inf, other - of_other), plain),
            *level_and_ratio(torch.where(carries, 0, a.logaddexp(b) - of_other), own_weight),
            own_weight,
            torch.where(carries, -torch.inf, _LOG_IMPOSSIBLE + log_c_s - of_other),
        ),
    )
    from_clean = [torch.cat((one.new_zeros(1), one)) for one in (a, b, c)]
    from_clean += [one.roll(1) for one in cumulative]
    nowhere = (False,) * len(a)
    at = [nowhere if one.is_meta else tuple(one.tolist()) for one in (linear, carries)]
    terms = torch.stack([torch.stack(kind, 1) for kind in kinds], 1)
    return ScheduleTables(num_classes, terms, torch.stack(from_clean, 1), None, at[0], at[1])
