"""Arguments that lie: each stands for a good value, and says something else when it is asked.

`given` of each is the list of plain values that it has handed out. Not here: addresses in
`__array_interface__` and in capsules of DLPack that point nowhere, which no reader can check.
"""

import copy

import numpy as np


SAID = "said by a hostile argument"


class Refused(Exception):
    """What these objects raise."""


class Hostile:
    """Gives one of `values`, another at each call, or raises one of `errors`."""

    def __init__(self, rng, values, errors=(), also=()):
        self.rng, self.values, self.errors, self.also = rng, values, errors, also
        self.given = []

    def pick(self):
        for act in self.also:  # on other arguments of the same call
            act()
        if self.errors and self.rng.random() < 0.2:
            raise self.errors[self.rng.integers(len(self.errors))](SAID)
        value = self.values[self.rng.integers(len(self.values))]
        self.given.append(np.copy(value) if isinstance(value, np.ndarray) else value)
        return value

    def __repr__(self):
        raise Refused(SAID)


class LyingArray(Hostile):
    def __array__(self, dtype=None, copy=None):
        return self.pick()


class LyingAboutShape(LyingArray):
    shape, ndim, size, dtype = (10**9, 10**9), 7, -1, "no dtype"
    strides, nbytes, T, flags = (1, 1), 0, None, None

    def __len__(self):
        return -1

    def __getitem__(self, key):
        return self


class LyingInterface(Hostile):
    """The memory is real. All else may be wrong, in ways that NumPy must notice."""

    @property
    def __array_interface__(self):
        value = np.asarray(self.pick())
        told = dict(value.__array_interface__)
        wrong = [("shape", "3"), ("shape", (-1,) * value.ndim), ("typestr", "<q9"), ("version", 2)]
        wrong += [("typestr", None), ("shape", (2**62, 2**62)), ("strides", "x"), ("data", "x")]
        if self.rng.random() < 0.7:
            name, lie = wrong[self.rng.integers(len(wrong))]
            told[name] = lie
        self.kept = value
        return told


class LyingDLPack(Hostile):
    def __dlpack__(self, **options):
        value = np.asarray(self.pick())
        kind = self.rng.integers(4)
        if kind == 0:
            return object()
        capsule = value.__dlpack__()
        if kind == 1:  # a consumed one
            np.from_dlpack(Wrapped(capsule))
        return capsule

    def __dlpack_device__(self):
        devices = (1, 0), (1, 0), (1, 0), (2, 0), (1, -5), (99,), None, (2**40, 2**40)
        return devices[self.rng.integers(len(devices))]


class Wrapped:
    def __init__(self, capsule):
        self.capsule = capsule

    def __dlpack__(self, **options):
        return self.capsule

    def __dlpack_device__(self):
        return 1, 0


class LyingSequence(Hostile):
    """Of another length at each question."""

    def __len__(self):
        return int(self.rng.integers(-1, 4))

    def __getitem__(self, key):
        if self.rng.random() < 0.3:
            raise IndexError
        return self.pick()[key]


class LyingSubclass(np.ndarray):
    """Says what it likes of itself; NumPy's own functions know better."""

    shape = property(lambda self: (10**9,))
    ndim = property(lambda self: 3)
    dtype = property(lambda self: np.dtype(np.int8))
    strides = property(lambda self: (0, 0, 0))
    size = property(lambda self: 2**62)

    def __repr__(self):
        raise Refused(SAID)

    def __getitem__(self, key):
        raise Refused(SAID)

    def __array_function__(self, function, types, args, kwargs):
        raise Refused(SAID)

    def __array_ufunc__(self, *args, **kwargs):
        raise Refused(SAID)


class LyingIndex(Hostile):
    def __index__(self):
        return self.pick()

    def __float__(self):
        return float(self.pick())

    def __bool__(self):
        return bool(self.pick())


class LyingInt(int):
    """An int whose operators say something else."""

    def __index__(self):
        return 10**6

    def __int__(self):
        return -1

    def __le__(self, other):
        return True

    __ge__ = __lt__ = __gt__ = __le__


class LyingFloat(float):
    def __float__(self):
        return float("nan")

    def __le__(self, other):
        return True

    __ge__ = __lt__ = __gt__ = __eq__ = __le__
    __hash__ = float.__hash__


class LyingList(list):
    """Shows `shown` entries and says that there are `told`."""

    told = shown = 0

    def __len__(self):
        return self.told

    def __iter__(self):
        return (super(LyingList, self).__getitem__(i % 2) for i in range(self.shown))


LIARS = Hostile, LyingInt, LyingFloat, LyingList, LyingSubclass
ERRORS = Refused, ValueError, TypeError, IndexError, BufferError, RuntimeError, OverflowError


def hostile_array(rng, good, also=()):
    """Something in the place of the array `good`."""
    if rng.random() < 0.1:
        return np.array(good).view(LyingSubclass)
    kinds = LyingArray, LyingAboutShape, LyingInterface, LyingDLPack, LyingSequence
    values = [good, good.copy(), good[..., :1], good[None], good.astype(object), good.T]
    values += [good[..., ::-1], np.full_like(good, 77), np.zeros(0, good.dtype)]
    if rng.random() < 0.5:
        values = values[:2]
    else:
        rng.shuffle(values)
        values = values[:3] + [good]
    kind = kinds[rng.integers(len(kinds))]
    return kind(rng, values, ERRORS, also)


def hostile_number(rng, good, also=()):
    """Something in the place of the number `good`."""
    kind = rng.integers(4)
    if kind == 0 and isinstance(good, int):
        return LyingInt(good)
    if kind == 1:
        return LyingFloat(good)
    values = [good, good, int(good) + 1, -1, 2**70, -(2**63), float("nan"), "1", None]
    return LyingIndex(rng, values[: 2 + rng.integers(8)], ERRORS, also)


def hostile_generator(rng):
    """A list of generators that says another length than it shows."""
    result = LyingList([np.random.default_rng(1), np.random.default_rng(2)])
    result.told, result.shown = (int(number) for number in rng.integers(0, 4, 2))
    return result


def truths(value):
    """The plain values that a hostile one may be taken for."""
    if isinstance(value, Hostile):
        return value.given or value.values[:1]  # the latter where nothing has read it
    if isinstance(value, LyingInt):
        return [value + 0, value.__index__(), int(value)]
    if isinstance(value, LyingFloat):
        return [value + 0, float("nan")]
    if isinstance(value, LyingList):
        makers = np.random.default_rng(1), np.random.default_rng(2)
        return [[copy.deepcopy(makers[i % 2]) for i in range(n)] for n in (value.told, value.shown)]
    return [np.array(value, subok=False)]
