"""Arguments of native functions that are numbers."""

import numpy as np
import pytest
from native_calls import FUNCTIONS, arguments, call
from native_checks import assert_refused


EVERY_INTEGER = [
    (function, name)
    for function in FUNCTIONS
    for name in ("num_classes", "num_timesteps", "t", "s", "seed", "draw", "num_threads")
    if name in arguments(function)
]


@pytest.mark.parametrize("function, name", EVERY_INTEGER)
def test_integers(function, name):
    named = arguments(function)

    class Index:
        def __index__(self):
            return int(named[name])

    class Broken:
        def __index__(self):
            raise ZeroDivisionError("its own")

    call(function, arguments(function) | {name: Index()})
    call(function, arguments(function) | {name: np.int16(named[name])})
    assert_refused(function, named | {name: Broken()}, ZeroDivisionError, "^its own$")
    for value in 1.0, "1", None, np.float32(1):
        assert_refused(
            function,
            named | {name: value},
            TypeError,
            rf"^{name} must be an integer, not {type(value).__name__}$",
        )
    limits, largest = "that fits into 64 bits", 2**63 - 1
    if name in ("seed", "draw"):
        limits, largest = r"from 0 to 2\*\*64 - 1", 2**64 - 1
        call(function, arguments(function) | {name: largest})
    for value in largest + 1, -(2**63) - 1, 10**5000:
        assert_refused(
            function, named | {name: value}, ValueError, rf"^{name} must be an integer {limits}$"
        )


@pytest.mark.parametrize(
    "function", [function for function in FUNCTIONS if "num_threads" in arguments(function)]
)
def test_num_threads_range(function):
    for value in -1, 2**31:
        named = arguments(function) | {"num_threads": value}
        assert_refused(
            function,
            named,
            ValueError,
            rf"^num_threads must be between 0 and 2147483647, not {value}$",
        )


EVERY_REAL = [
    (function, name)
    for function in FUNCTIONS
    for name in ("start", "end", "scale", "rate", "floor")
    if name in arguments(function)
]


@pytest.mark.parametrize("function, name", EVERY_REAL)
def test_real_numbers(function, name):
    call(function, arguments(function) | {name: np.float32(0.5)})
    call(function, arguments(function) | {name: 1})
    named = arguments(function)
    for value in "0.5", None, 1j:
        match = rf"^{name} must be a real number, not {type(value).__name__}$"
        assert_refused(function, named | {name: value}, TypeError, match)
    assert_refused(
        function,
        named | {name: 10**400},
        ValueError,
        rf"^{name} must be a real number that fits into 64 bits$",
    )
    assert_refused(function, named | {name: np.nan}, ValueError, rf"{name} must be ")


def test_truth_of_cumulative():
    class Broken:
        def __bool__(self):
            raise ZeroDivisionError("its own")

    assert_refused(
        "log_transition_rows",
        arguments("log_transition_rows") | {"cumulative": Broken()},
        ZeroDivisionError,
        "^its own$",
    )


@pytest.mark.parametrize("least", [-1, -8, -(2**63)])
def test_ids_of_rows_are_not_negative(least):
    named = arguments("row_uniforms") | {"ids": np.array([5, least])}
    assert_refused("row_uniforms", named, ValueError, f"^ids must be at least 0, not {least}$")


def test_numbers_in_messages_have_the_digits_that_tell_them_from_others():
    named = arguments("add_noise")
    named["uniforms"][1, 2] = 1 + 2**-52
    assert_refused("add_noise", named, ValueError, r"^uniforms .*, not 1\.0000000000000002$")
