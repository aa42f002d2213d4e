"""Calls the functions of the native module with arguments that are wrong in every way that Python
can express, and prints how many calls returned and how many raised. Nothing crashes; after an
exception no output has been written; what a call has drawn are classes. The arguments are the seed,
the number of calls, and the seconds after which no more are made.
"""

import array
import ctypes
import faulthandler
import math
import sys
import time
import warnings

import numpy as np
from hostile_values import ERRORS, SAID, LyingFloat, LyingIndex, LyingInt, Refused
from native_calls import FUNCTIONS, OUTPUTS, K, arguments, native, positional

# What the module raises, and what the hostile numbers do.
EXPECTED = TypeError, ValueError, OverflowError, BufferError, *ERRORS
DRAWN = {"step_gumbel", "step_inverse_cdf", "complete_inverse_cdf", "guided_step_gumbel"}
DRAWN |= {"guided_step_inverse_cdf", "add_noise", "token_scores"}
TYPES = ["b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", ">f4", ">i8"]
TYPES += ["M8[s]", "m8[s]", "S3", "U2", "O", "V5", [("bfloat16", "u2")], [("a", "f4")]]
INTEGERS = [-1, 0, 1, 2, 5, 6, 10, 255, 2**31, -(2**31), 2**63 - 1, -(2**63), 2**64, 2**200]
NUMBERS = [math.nan, math.inf, -math.inf, -0.0, 1e308, -1e308, 5e-324, 0.5, 1.0, 2.0, -1.0, 1e-6]
THINGS = [None, True, "x", b"12345678", bytearray(64), (), [], {}, object(), 1j, ..., slice(None)]
THINGS += [int, np.float32(0.5), np.int64(3), np.zeros(()), memoryview(b""), array.array("d", [1])]
EXTREMES = [np.nan, np.inf, -np.inf, 0, -0.0, 1, -1, 2**31, -(2**63), 3e38, -1e308, 5e-324, 77]


def retyped(rng, good):
    return good.astype(TYPES[rng.integers(len(TYPES))])


def reshaped(rng, good):
    """Of another number of axes, or with an axis of another length."""
    kind, axis = rng.integers(8), int(rng.integers(good.ndim))
    if kind == 0:
        return good[None]
    if kind == 1:
        return good.reshape(-1)
    if kind == 2:
        return np.zeros((2,) * int(rng.integers(4, 20)), good.dtype)
    if kind == 3:
        return np.take(good, range(good.shape[axis] - 1), axis)
    if kind == 4:
        return np.concatenate([good, good], axis)
    if kind == 5:
        return np.take(good, [], axis)
    if kind == 6:  # a length that no memory has, beside an empty axis
        shape = [2**40, *good.shape[1:]]
        shape[-1] = 0
        return np.empty(shape, good.dtype)
    return good.T


def laid_out(rng, good):
    """The same elements elsewhere in memory."""
    kind = rng.integers(7)
    if kind == 0:
        return good[::-1]
    if kind == 1:
        return np.broadcast_to(good[..., :1], good.shape)
    if kind == 2:
        memory = np.empty(good.nbytes + 1, np.uint8)[1:]
        unaligned = memory.view(good.dtype).reshape(good.shape)
        unaligned[...] = good
        return unaligned
    if kind == 3:
        return np.asfortranarray(good)
    if kind == 4:
        good = good.copy()
        good.flags.writeable = False
        return good
    if kind == 5:
        return np.lib.stride_tricks.as_strided(good, good.shape, (0,) * good.ndim)
    return np.repeat(good, 2, -1)[..., ::2]


def revalued(rng, good):
    """With a few extreme elements."""
    wrong = good.copy()
    value = EXTREMES[rng.integers(len(EXTREMES))]
    where = rng.random(good.shape) < (1 if rng.random() < 0.3 else 0.1)
    wrong[where] = np.asarray(value).astype(good.dtype)
    return wrong


def exported(rng, good):
    """Another object with the same buffer, or a part of it."""
    kind = rng.integers(6)
    good = np.ascontiguousarray(good)
    if good.dtype.char not in "bBhHiIlLqQfd?":
        return good.tobytes()
    if kind == 0:
        return memoryview(good)
    if kind == 1 and good.size:
        return memoryview(good).cast("B")
    if kind == 2:
        return bytearray(good.tobytes())
    if kind == 3:
        return good.tobytes()
    if kind == 4 and good.dtype.char != "?":
        return array.array(good.dtype.char, good.tobytes())
    return (ctypes.c_double * good.size)(*range(good.size))


def wrong_array(rng, good):
    changes = retyped, reshaped, laid_out, revalued, revalued, exported
    for _ in range(rng.integers(1, 3)):
        if not isinstance(good, np.ndarray) or good.ndim == 0 or max(good.shape) > 10**6:
            break
        try:
            with np.errstate(all="ignore"):
                good = changes[rng.integers(len(changes))](rng, good)
        except (TypeError, ValueError, OverflowError, RuntimeError):
            pass  # NumPy has no such array
    return good


def wrong_number(rng, good):
    kind = rng.integers(6)
    if kind < 2:
        return INTEGERS[rng.integers(len(INTEGERS))]
    if kind == 2:
        return NUMBERS[rng.integers(len(NUMBERS))]
    if kind == 3 and isinstance(good, int):
        return LyingInt(good)
    if kind == 4:
        return LyingIndex(rng, [good, 0, 1, -1, 2**70, None, "1"], ERRORS)
    return LyingFloat(good if isinstance(good, float) else 0.5)


def wrong_value(rng, function, name, good):
    if rng.random() < 0.1:
        return THINGS[rng.integers(len(THINGS))]
    if name == "uniforms" and function.endswith("gumbel") and rng.random() < 0.4:
        engine = rng.integers(0, 2**32, 625, dtype=np.uint32)
        engine[-1] = rng.choice([0, 1, 623, 624, 625, 2**32 - 1])
        return engine if rng.random() < 0.5 else wrong_array(rng, engine)
    if isinstance(good, np.ndarray):
        return wrong_array(rng, good)
    return wrong_number(rng, good)


def unmasking(rng, shape):
    """The argument `unmask` of a step: a tuple, of anything."""
    parts = [int(rng.integers(0, 8)), int(rng.integers(-1, 4)), float(rng.choice(NUMBERS)), 0.5]
    parts += [0.0, None, None, rng.random(shape), None, None]
    for _ in range(rng.integers(3)):
        parts[rng.integers(len(parts))] = THINGS[rng.integers(len(THINGS))]
    return tuple(parts[: rng.choice([len(parts), len(parts), rng.integers(len(parts))])])


def check_unchanged(function, arrays, before):
    for name, value in arrays.items():
        if bytes(value.tobytes()) != before[name]:
            raise AssertionError(f"{function} failed and has written {name}")


def check_drawn(function, named):
    drawn = named[OUTPUTS[function][0]]
    if type(drawn) is not np.ndarray or drawn.dtype != np.int64 or drawn.size == 0:
        return
    most = named.get("num_classes")
    if function == "token_scores":
        most = named["logits"].shape[1] - 1 if isinstance(named["logits"], np.ndarray) else K - 1
    if type(most) is int and (drawn.min() < 0 or drawn.max() > most):
        raise AssertionError(f"{function} has drawn {drawn}")


def one_call(rng, function):
    """Calls it with one to three wrong arguments; whether it returned."""
    named = arguments(function, int(rng.integers(8)))
    for name in rng.permutation(list(named))[: rng.integers(1, 4)]:
        named[name] = wrong_value(rng, function, name, named[name])
    values = positional(function, named)
    if len(values) > 10 and rng.random() < 0.1:
        values[-1 - int(rng.integers(2))] = unmasking(rng, (2, 7))
    if rng.random() < 0.02:
        values = values[: rng.integers(len(values))] if rng.random() < 0.5 else [*values, None]
    arrays = {name: value for name, value in named.items() if isinstance(value, np.ndarray)}
    before = {name: value.tobytes() for name, value in arrays.items()}
    try:
        native(function)(*values)
    except EXPECTED as error:
        if type(error) in (RuntimeError, IndexError, Refused) and SAID not in str(error):
            raise
        check_unchanged(function, arrays, before)
        return False
    inputs = {name: value for name, value in arrays.items() if name not in OUTPUTS[function]}
    inputs.pop("uniforms", None)  # an engine moves
    outputs = [named[name] for name in OUTPUTS[function]]
    apart = {
        name: value
        for name, value in inputs.items()
        if not any(isinstance(o, np.ndarray) and np.may_share_memory(value, o) for o in outputs)
    }
    check_unchanged(function, apart, before)
    if function in DRAWN:
        check_drawn(function, named)
    return True


def main(seed, calls, seconds=math.inf):
    rng = np.random.default_rng(seed)
    returned = raised = 0
    end = time.monotonic() + seconds
    while returned + raised < calls and time.monotonic() < end:
        for function in FUNCTIONS:
            if one_call(rng, function):
                returned += 1
            else:
                raised += 1
    print(returned, raised)


if __name__ == "__main__":
    faulthandler.enable()
    warnings.simplefilter("ignore")
    main(*map(int, sys.argv[1:]))
