"""Arrays that equal their argument and lie in memory in another way.

The memory around the elements has all bits set: NaN in floats, -1 in signed integers. Whoever reads
it finds bad input there.
"""

import numpy as np


def turned(x):
    """The last two axes change places in memory: (B, K, N) with its classes side by side."""
    return np.ascontiguousarray(x.swapaxes(-1, -2)).swapaxes(-1, -2)


def ordered(x, axes):
    """The axes lie in memory in this order, the last one side by side."""
    return np.ascontiguousarray(x.transpose(axes)).transpose(np.argsort(axes))


def padded(x, axis=-1, step=1, offset=0):
    """Along one axis the elements are `step` apart, behind `offset` others.

    A negative step runs backwards through memory; with a step of 1 and an offset the other axes are
    as far apart as in a slice of a larger array.
    """
    shape = list(x.shape)
    shape[axis] = shape[axis] * abs(step) + offset
    memory = np.full(x.itemsize * int(np.prod(shape)), 255, np.uint8).view(x.dtype).reshape(shape)
    along = np.moveaxis(memory, axis, 0)[offset :: abs(step)]
    view = np.moveaxis(along if step > 0 else along[::-1], 0, axis)
    view[...] = x
    return view


def backwards(x, axis=-1):
    """The elements along one axis lie in memory in falling order."""
    return padded(x, axis, -1)


def spread(x):
    """Every second element along every axis."""
    memory = np.full(x.nbytes << x.ndim, 255, np.uint8).view(x.dtype)
    view = memory.reshape([2 * length for length in x.shape])[x.ndim * (np.s_[::2],)]
    view[...] = x
    return view


def unaligned(x):
    """One byte behind an address that fits the elements."""
    view = np.full(x.nbytes + 1, 255, np.uint8)[1:].view(x.dtype).reshape(x.shape)
    view[...] = x
    return view


def read_only(x):
    x = x.copy()
    x.flags.writeable = False
    return x


def one_on(x):
    """One element behind where memory begins, which fits the elements and no vector of them."""
    view = np.empty(x.size + 1, x.dtype)[1:].reshape(x.shape)
    view[...] = x
    return view
