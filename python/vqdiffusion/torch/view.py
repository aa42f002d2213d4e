"""How the native module reaches the elements of torch tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.compiler import is_compiling
from torch.jit import is_tracing

from ..arguments import as_array

# torch has no public names for these.
_is_functional = getattr(torch, "_is_functional_tensor", lambda tensor: False)
_dispatch_modes = getattr(torch._C, "_len_torch_dispatch_stack", lambda: 0)
_is_included = getattr(torch._C, "_dispatch_tls_is_dispatch_key_included", lambda key: False)
_PRE_DISPATCH = getattr(getattr(torch._C, "DispatchKey", None), "PreDispatch", None)  # as in export
_BFLOAT16 = np.dtype([("bfloat16", "u2")])  # how the native module is told: NumPy has no bfloat16


def numpy_view(value: Any, name: str) -> npt.NDArray[Any] | None:
    """The elements of a tensor or an array in the memory where they are, or None for a tensor whose
    memory is out of reach, being on another device or standing for something else, as under vmap,
    functionalize and torch.compile.

    Under a TorchDispatchMode, such as that of `make_fx`, all memory is: the mode is to see what is
    computed.
    """
    if traced() or _dispatch_modes() or _is_included(_PRE_DISPATCH):
        return None
    return numpy_view_of(value, name)


def numpy_view_of(value: Any, name: str) -> npt.NDArray[Any] | None:
    """`numpy_view` where another tensor of the same call has shown that torch records nothing."""
    if not isinstance(value, Tensor):
        return as_array(value, name)
    if _is_functional(value):  # would show memory that means nothing
        return None
    try:
        return value.numpy()
    except (RuntimeError, TypeError):
        pass
    try:
        value = value.detach()
        if value.dtype is torch.bfloat16:
            return value.view(torch.int16).numpy().view(_BFLOAT16)
        return value.numpy()
    except (RuntimeError, TypeError):
        return None


def copied(value: Any) -> Any:
    """A tensor's numbers as an array, from any device; anything else as it is."""
    if not isinstance(value, Tensor):
        return value
    value = value.detach().cpu()
    return np.asarray(value.float() if value.dtype is torch.bfloat16 else value)


def traced() -> bool:
    """Whether torch is recording what is done, so that values must stay symbols."""
    return is_compiling() or is_tracing()
