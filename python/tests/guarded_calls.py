"""Calls every native function with arrays that end where a page begins that nobody may touch, in
every layout: prints how many calls there were. A read or a write behind an array ends the process.
"""

import ctypes
import mmap

import numpy as np
from native_calls import EVERY_ARRAY, EVERY_OUTPUT, FUNCTIONS, arguments, array_names, call

LIBC = ctypes.CDLL(None, use_errno=True)
kept = []


def guarded(array):
    """A copy of a C-contiguous array, right before such a page."""
    size = -(-max(array.nbytes, 1) // mmap.PAGESIZE) * mmap.PAGESIZE
    memory = mmap.mmap(-1, size + mmap.PAGESIZE)
    kept.append(memory)
    everything = np.frombuffer(memory, np.uint8)
    address = ctypes.c_void_p(everything.ctypes.data + size)
    if LIBC.mprotect(address, ctypes.c_size_t(mmap.PAGESIZE), 0) != 0:
        raise OSError(ctypes.get_errno())
    copy = everything[size - array.nbytes : size].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def turned(array):
    """Guarded, and the second of its axes is the last in memory."""
    return guarded(np.ascontiguousarray(array.swapaxes(1, -1))).swapaxes(1, -1)


def larger(function):
    """Arguments of 21 classes and 35 pixels: ragged blocks and groups of sixteen behind whole
    ones.
    """
    named = arguments(function)
    for name, value in named.items():
        if isinstance(value, np.ndarray) and value.ndim > 1 and function != "step_coefficients":
            if value.ndim == 3 or name == "model_output":
                axis = value.ndim - 2
                extra = [value.take([0], axis)] * 16
                value = np.concatenate([*extra, value], axis)
            named[name] = np.tile(value, 5)
    if "num_classes" in named and function not in ("alpha_schedules", "gamma_schedules"):
        named["num_classes"] += 16
    return named


def main():
    calls = 0
    for function in FUNCTIONS:
        for make in (arguments, larger):
            for name in array_names(function):
                named = make(function)
                layouts = [guarded]
                if named[name].ndim == 3 and (function, name) not in EVERY_OUTPUT:
                    layouts.append(turned)
                for layout in layouts:
                    call(function, named | {name: layout(named[name])})
                    calls += 1
    assert calls >= 2 * len(EVERY_ARRAY)
    print(calls)


if __name__ == "__main__":
    main()
