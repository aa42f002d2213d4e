"""Tensors that equal their argument and lie in memory in another way, as views.py has arrays."""

import torch


def turned(x, one=-1, other=-2):
    """Two axes change places in memory: of (B, K, N) its classes lie side by side."""
    return x.transpose(one, other).contiguous().transpose(one, other)


def spaced(x):
    """Every second element along the last axis; those between are the same numbers negated."""
    return torch.stack((-x, x), dim=-1)[..., 1]


def within(x):
    """The middle rows of a larger batch."""
    return torch.cat([x[:1], x, x])[1 : 1 + len(x)]


def negated_later(x):
    """The memory holds -x, and torch negates what it reads there: no place for the native module.

    Float32 or float64.
    """
    view = torch.complex(torch.zeros_like(x), -x).conj().imag
    assert view.is_neg()
    return view
