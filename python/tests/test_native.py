"""The native module by itself: buffers of every kind, refusals and what they leave behind, threads,
fork, CPU levels.
"""

import array
import ast
import ctypes
import datetime
import inspect
import mmap
import os
import re
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from native_calls import (
    EVERY_ARRAY,
    EVERY_OUTPUT,
    EVERY_TENSOR,
    FUNCTIONS,
    OUTPUTS,
    STEP_PARAMETERS,
    B,
    K,
    N,
    T,
    arguments,
    array_names,
    call,
    native,
    positional,
)

import vqdiffusion
from vqdiffusion import VQDiffusionScheduler, _native

LONG_DOUBLE = np.longdouble if np.dtype(np.longdouble).itemsize > 8 else np.complex128


def results(function, named):
    call(function, named)
    return {name: named[name].copy() for name in OUTPUTS[function]}


# ---- The stub and the module say the same
# ------------------------------------------------------------------------------------------------


def stub_functions():
    tree = ast.parse(Path(vqdiffusion.__file__).with_name("_native.pyi").read_text())
    return {node.name: node.args for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_stub_lists_the_functions():
    functions = {name for name in dir(_native) if inspect.isbuiltin(getattr(_native, name))}
    assert functions == set(stub_functions())


@pytest.mark.parametrize("function", stub_functions())
def test_stub_has_the_parameters(function):
    stub = stub_functions()[function]
    parameters = inspect.signature(getattr(_native, function)).parameters.values()
    assert [parameter.name for parameter in parameters] == [
        argument.arg for argument in stub.posonlyargs
    ]
    assert sum(parameter.default is not inspect.Parameter.empty for parameter in parameters) == len(
        stub.defaults
    )
    assert not stub.args and all(
        parameter.kind == inspect.Parameter.POSITIONAL_ONLY for parameter in parameters
    )


@pytest.mark.parametrize("function", FUNCTIONS)
def test_number_of_arguments(function):
    named, function = arguments(function), native(function)
    parameters = inspect.signature(function).parameters.values()
    least = sum(one.default is inspect.Parameter.empty for one in parameters)
    for count in least - 1, len(parameters) + 1:
        with pytest.raises(TypeError, match=rf"^{function.__name__} takes .*, not {count}$"):
            function(*[None] * count)
    with pytest.raises(TypeError, match="keyword"):
        function(**named)


@pytest.mark.parametrize(
    "function", [name for name in FUNCTIONS if "num_threads" in arguments(name)]
)
def test_num_threads_is_optional(function):
    named = arguments(function)
    expected = results(function, dict(named))
    for name in OUTPUTS[function]:
        named[name].fill(0)
    native(function)(*positional(function, named)[:-1])
    for name in OUTPUTS[function]:
        np.testing.assert_array_equal(named[name], expected[name])


# ---- Buffers that are taken
# ------------------------------------------------------------------------------------------------


def strided(value, layout):
    """The same numbers in other memory."""
    if layout == "reversed":
        return np.ascontiguousarray(value[..., ::-1])[..., ::-1]
    if layout == "turned":
        return np.ascontiguousarray(value.swapaxes(-1, -2)).swapaxes(-1, -2)
    if layout == "fortran":
        return np.asfortranarray(value)
    if layout == "gaps":
        roomy = np.full([2 * length for length in value.shape], 99, value.dtype)
        roomy[tuple(slice(None, None, 2) for _ in value.shape)] = value
        return roomy[tuple(slice(None, None, 2) for _ in value.shape)]
    if layout == "unaligned":
        return np.frombuffer(b"\0" + value.tobytes(), value.dtype, offset=1).reshape(value.shape)
    if layout == "read-only":
        value = value.copy()
        value.flags.writeable = False
        return value
    return memoryview(value)


@pytest.mark.parametrize(
    "layout", ["reversed", "turned", "fortran", "gaps", "unaligned", "read-only", "memoryview"]
)
@pytest.mark.parametrize(
    "function, name", [pair for pair in EVERY_TENSOR if pair not in EVERY_OUTPUT]
)
def test_any_strides(function, name, layout):
    expected = results(function, arguments(function))
    named = arguments(function)
    named[name] = strided(named[name], layout)
    for output, value in results(function, named).items():
        np.testing.assert_allclose(value, expected[output], rtol=1e-6)


@pytest.mark.parametrize(
    "function, name", [pair for pair in EVERY_TENSOR if pair not in EVERY_OUTPUT]
)
def test_stride_of_zero(function, name):
    named = arguments(function)
    constant = named[name][:1, ..., :1]
    named[name] = np.broadcast_to(constant, named[name].shape)
    expected = arguments(function)
    expected[name] = np.ascontiguousarray(named[name])
    expected = results(function, expected)
    for output, value in results(function, named).items():
        np.testing.assert_allclose(value, expected[output], rtol=1e-6)


@pytest.mark.parametrize("offset", [1, 4, 8, 64])
@pytest.mark.parametrize("function, name", [pair for pair in EVERY_TENSOR if pair in EVERY_OUTPUT])
def test_outputs_at_any_address(function, name, offset):
    expected = results(function, arguments(function))[name]
    memory = bytearray(offset + expected.nbytes + 64)
    out = np.frombuffer(memory, expected.dtype, expected.size, offset).reshape(expected.shape)
    call(function, arguments(function) | {name: out})
    np.testing.assert_array_equal(out, expected)
    assert not any(memory[:offset]) and not any(memory[offset + expected.nbytes :])


INTEGERS = [
    np.int8,
    np.int16,
    np.int32,
    np.int64,
    np.uint8,
    np.uint16,
    np.uint32,
    np.uint64,
    np.intc,
    np.int_,
    np.longlong,
    np.intp,
]
CLASS_ARGUMENTS = [
    (function, name) for function, name in EVERY_ARRAY if name in ("x_t", "sample", "x_0", "x")
]
FLOATS = (
    "log_p_x_0",
    "model_output",
    "q",
    "log_onehot_x_t",
    "logits",
    "log_p_uncond",
    "log_p_cond",
    "log_p",
)
BFLOAT16 = np.dtype([("bfloat16", "u2")])


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("function, name", CLASS_ARGUMENTS)
def test_any_integer_type(function, name, dtype):
    expected = results(function, arguments(function))
    named = arguments(function)
    named[name] = named[name].astype(dtype)
    for output, value in results(function, named).items():
        np.testing.assert_array_equal(value, expected[output])


@pytest.mark.parametrize("dtype", INTEGERS)
def test_signs_of_integers(dtype):
    named = arguments("index_to_log_onehot")
    limits = np.iinfo(dtype)
    for value in {int(limits.min), min(int(limits.max), 2**63 - 1)} - {0}:
        named["x"] = np.full(named["x"].shape, value, dtype)
        with pytest.raises(ValueError, match=rf"^x must .*, not {value} "):
            call("index_to_log_onehot", named)


def of_type(value, dtype):
    """The same numbers in another type, if bfloat16 can hold them."""
    if dtype == BFLOAT16:
        return (value.view(np.uint32) >> 16).astype(np.uint16).view(BFLOAT16)
    return value.astype(dtype)


@pytest.mark.parametrize("dtype", [np.float16, BFLOAT16, np.float64], ids=str)
@pytest.mark.parametrize(
    "function", [function for function in FUNCTIONS if set(FLOATS) & set(arguments(function))]
)
def test_any_floating_type(function, dtype):
    named = arguments(function)
    names = set(FLOATS) & set(named)
    for name in names:
        named[name] = (named[name].view(np.uint32) & 0xFFFF0000).view(
            np.float32
        )  # what bfloat16 can hold
    expected = results(function, named)
    for name in names:
        named[name] = of_type(named[name], dtype)
    for output in OUTPUTS[function]:
        if dtype == np.float64 and named[output].dtype == np.float32:
            named[output] = named[output].astype(np.float64)
    for output, value in results(function, named).items():
        np.testing.assert_allclose(value, expected[output], rtol=1e-5, atol=1e-5)
    for name in names:
        unaligned = strided(named[name], "unaligned")
        for output, value in results(function, named | {name: unaligned}).items():
            np.testing.assert_allclose(value, expected[output], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("code", "bBhHiIlLqQnN")
def test_format_codes(code):
    classes = arguments("index_to_log_onehot")["x"]
    size = memoryview(bytes(8)).cast(code).itemsize
    memory = classes.astype(f"i{size}").tobytes()
    named = arguments("index_to_log_onehot") | {"x": memoryview(memory).cast(code, classes.shape)}
    expected = results("index_to_log_onehot", arguments("index_to_log_onehot"))
    np.testing.assert_array_equal(results("index_to_log_onehot", named)["out"], expected["out"])


def test_other_exporters():
    expected = results("schedule_logs", arguments("schedule_logs"))["log_beta"]
    named = arguments("schedule_logs")
    named["alpha_cumulative"] = array.array("d", named["alpha_cumulative"])
    named["gamma_cumulative"] = (ctypes.c_double * T)(
        *named["gamma_cumulative"]
    )  # its format is '<d'
    named["log_beta"] = array.array("d", bytes(8 * T))
    call("schedule_logs", named)
    np.testing.assert_array_equal(named["log_beta"], expected)

    named = arguments("index_to_log_onehot")
    expected = results("index_to_log_onehot", named)["out"]
    named["x"] = (ctypes.c_int16 * N * B).from_buffer_copy(
        named["x"].astype(np.int16)
    )  # two axes, and no strides
    np.testing.assert_array_equal(results("index_to_log_onehot", named)["out"], expected)


def test_sample_may_be_none_at_timestep_zero():
    for function, rows in (
        ("step_gumbel", K), ("step_inverse_cdf", None), ("plan", None),
        ("guided_step_gumbel", K), ("guided_step_inverse_cdf", None),
    ):  # fmt: skip
        named = arguments(function) | {"t": 0, "s": -1, "sample": None}
        if rows:
            named["uniforms"] = np.ascontiguousarray(named["uniforms"][:, :rows])
        call(function, named)
        if function == "plan":
            assert named["needed"].all()
        else:
            assert named["prev_sample"].min() >= 0 and named["prev_sample"].max() < K


@pytest.mark.parametrize("empty", [0, 2])
@pytest.mark.parametrize(
    "function",
    [function for function in FUNCTIONS if any(pair[0] == function for pair in EVERY_TENSOR)],
)
def test_empty_arrays(function, empty):
    named = arguments(function)
    if function == "step_coefficients" and empty == 2:
        return  # it has no pixels
    for name in array_names(function):
        if named[name].ndim > 1 or name.endswith("timesteps"):
            if empty == 0 and (function, name) != ("complete_inverse_cdf", "model_output"):
                named[name] = named[name][:0].copy()
            elif named[name].ndim > 1:
                named[name] = named[name][..., :0].copy()
    assert call(function, named) is None


# ---- Refusals
# ------------------------------------------------------------------------------------------------


def assert_refused(function, named, error, match):
    """The call raises, writes no output and keeps no reference to an argument, nor a buffer."""
    arrays = {name: value for name, value in named.items() if isinstance(value, np.ndarray)}
    before = {name: (value.copy(), sys.getrefcount(value)) for name, value in arrays.items()}
    with pytest.raises(error, match=match) as caught:
        call(function, named)
    assert "\n" not in str(caught.value)
    del caught
    for name, value in arrays.items():
        np.testing.assert_array_equal(value, before[name][0], err_msg=name)
        assert sys.getrefcount(value) == before[name][1], name


def is_float64_only(function, name):
    return arguments(function)[name].dtype == np.float64 and arguments(function)[name].ndim == 1


@pytest.mark.parametrize(
    "dtype", [">f8", ">i4", "c8", "c16", "O", "U4", "S1", "M8[s]", "i4,f4", LONG_DOUBLE], ids=str
)
@pytest.mark.parametrize("function, name", EVERY_ARRAY)
def test_unusable_element_types(function, name, dtype):
    named = arguments(function)
    named[name] = np.zeros(named[name].shape, dtype)
    match = rf"^{name} must be .* in native byte order, not '{re.escape(str(np.dtype(dtype)))}'$"
    assert_refused(function, named, TypeError, match)


def test_sentence_on_element_types():
    named = arguments("step_gumbel")
    for name, wanted in {
        "model_output": "float16, bfloat16, float32 or float64",
        "sample": "of an integer type",
        "uniforms": "float32 or float64",
        "prev_sample": "int64",
        "alpha_cumulative": "float64",
    }.items():
        with pytest.raises(TypeError) as caught:
            call("step_gumbel", named | {name: np.zeros(named[name].shape, ">f4")})
        assert str(caught.value) == f"{name} must be {wanted} in native byte order, not '>f4'"


@pytest.mark.parametrize("function, name", EVERY_ARRAY)
def test_other_element_types(function, name):
    named = arguments(function)
    wrong = np.int16 if named[name].dtype.kind == "f" else np.float32
    named[name] = np.zeros(named[name].shape, wrong)
    assert_refused(function, named, TypeError, rf"^{name} must be ")
    named[name] = np.zeros(named[name].shape, bool if name != "needed" else np.uint8)
    assert_refused(function, named, TypeError, rf"^{name} must be ")


@pytest.mark.parametrize(
    "value", [None, 3, "text", [[1, 2]], object()], ids=lambda value: type(value).__name__
)
@pytest.mark.parametrize("function, name", EVERY_ARRAY)
def test_objects_without_a_buffer(function, name, value):
    if name == "log_p_uncond" and function.startswith("guided_step") and value is None:
        assert (
            call(function, arguments(function) | {name: None}) is None
        )  # there is no guidance then
    elif name == "sample" and value is None:
        assert_refused(function, arguments(function) | {name: None}, ValueError, "^sample ")
    else:
        draws = name == "uniforms" and function.endswith("step_gumbel")
        kinds = " or a BitGenerator of numpy.random" if draws else ""
        kind = type(value).__name__
        match = rf"^{name} must be an array with the buffer protocol{kinds}, not {kind}$"
        assert_refused(function, arguments(function) | {name: value}, TypeError, match)


CLASSES = [
    (function, name) for function, name in EVERY_TENSOR if name in ("x_t", "x", "sample", "x_0")
]


@pytest.mark.parametrize("function, name", CLASSES)
@pytest.mark.parametrize(
    "dtype, value",
    [
        (np.uint64, 2**63 - 1), (np.uint64, 2**63), (np.uint64, 2**63 + 1), (np.uint64, 2**64 - 1),
        (np.int64, 2**63 - 1), (np.int64, -(2**63)), (np.uint32, 2**32 - 1), (np.int8, -128),
    ],
)  # fmt: skip
def test_a_class_out_of_range_is_named_as_it_is(function, name, dtype, value):
    named = arguments(function)
    classes = np.zeros_like(named[name], dtype)
    classes[1, 3] = value
    match = rf"^{name} must hold classes 0 \.\.\. {K}, not {value} as at \[1, 3\]$"
    assert_refused(function, named | {name: classes}, ValueError, match)


class WithCapsule:
    """Something that is no BitGenerator, with an attribute of that name."""

    def __init__(self, capsule):
        self.capsule = capsule


@pytest.mark.parametrize("function", ["step_gumbel", "guided_step_gumbel"])
@pytest.mark.parametrize(
    "make",
    [
        lambda: np.random.PCG64(1).capsule,
        lambda: WithCapsule(3),
        lambda: WithCapsule(datetime.datetime_CAPI),
    ],
    ids=["bare capsule", "no capsule", "other capsule"],
)
def test_only_a_bit_generator_draws(function, make):
    """A capsule alone does not keep the BitGenerator alive whose memory it points to."""
    match = "^uniforms must be an array with the buffer protocol or a BitGenerator of "
    match += "numpy.random, not "
    assert_refused(function, arguments(function) | {"uniforms": make()}, TypeError, match)


class Raising:
    @property
    def capsule(self):
        raise KeyboardInterrupt


@pytest.mark.parametrize("function", ["step_gumbel", "guided_step_gumbel"])
def test_errors_of_the_attribute_are_kept(function):
    with pytest.raises(KeyboardInterrupt):
        call(function, arguments(function) | {"uniforms": Raising()})


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("function", ["step_gumbel", "guided_step_gumbel"])
def test_bit_generators_are_held_for_the_call_alone(function, fails):
    """The uniforms are those of `Generator.random`; the BitGenerator is let go of afterwards."""
    bit_generator, same = np.random.PCG64(5), np.random.Generator(np.random.PCG64(5))
    named = arguments(function)
    expected = results(function, named | {"uniforms": same.random((B, K + 1, N), np.float32)})
    bad = {"t": T} if fails else {}
    before = sys.getrefcount(bit_generator), sys.getrefcount(bit_generator.capsule)
    state = bit_generator.state
    for _ in range(100):
        bit_generator.state = state
        try:
            drawn = results(function, arguments(function) | {"uniforms": bit_generator} | bad)
        except ValueError:
            assert fails and bit_generator.state == state
        else:
            np.testing.assert_array_equal(drawn["prev_sample"], expected["prev_sample"])
    assert (sys.getrefcount(bit_generator), sys.getrefcount(bit_generator.capsule)) == before


@pytest.mark.parametrize(
    "method, error, match",
    [
        ("Gumbel", ValueError, "^method must be 'gumbel' or 'inverse_cdf', not 'Gumbel'$"),
        ("", ValueError, "^method must be 'gumbel' or 'inverse_cdf', not ''$"),
        ("\ud800", ValueError, "^method must be 'gumbel' or 'inverse_cdf', not "),
        (b"gumbel", TypeError, "^method must be a str, not bytes$"),
        (None, TypeError, "^method must be a str, not NoneType$"),
    ],
)
def test_methods(method, error, match):
    values = positional("step_gumbel", arguments("step_gumbel"))
    values[STEP_PARAMETERS.index("method")] = method
    with pytest.raises(error, match=match):
        _native.step(*values)


@pytest.mark.parametrize(
    "guidance", [(), (None, 1.0, 1.0), (None, 1.0, 1.0, -70.0, 0), [None, 1.0, 1.0, -70.0], 3]
)
def test_guidance_is_a_tuple_of_four(guidance):
    values = positional("step_gumbel", arguments("step_gumbel"))
    values[STEP_PARAMETERS.index("guidance")] = guidance
    match = r"^guidance must be None or a tuple \(log_p_uncond, guidance_scale, truncation_rate, "
    with pytest.raises(TypeError, match=match):
        _native.step(*values)


@pytest.mark.parametrize("method", ["gumbel", "inverse_cdf"])
def test_under_guidance_the_model_output_is_named_log_p_cond(method):
    """Whether the native module finds out what is wrong, or the library."""
    function = f"guided_step_{method}"
    named = arguments(function)
    short = np.zeros((B, K - 1, N), np.float32)
    for wrong, error in ((None, TypeError), (np.zeros(3), ValueError), (short, ValueError)):
        assert_refused(function, named | {"log_p_cond": wrong}, error, "^log_p_cond must ")
        function_alone = f"step_{method}"
        alone = arguments(function_alone) | {"model_output": wrong}
        assert_refused(function_alone, alone, error, "^model_output must ")


def test_step_coefficients_are_the_fields_of_the_header():
    header = Path(__file__).parents[2] / "Sources/CVQDiffusion/include/vqdiffusion.h"
    struct = re.search(
        r"typedef struct vqd_coefficients \{(.*?)\} vqd_coefficients;", header.read_text(), re.S
    )[1]
    struct = re.sub(r"/\*.*?\*/", "", struct, flags=re.S)
    fields = [name for line in re.findall(r"double (.*?);", struct) for name in line.split(", ")]
    assert _native.step_coefficient_names == tuple(fields)


def test_step_coefficients_of_one_bad_step_leave_the_others_unwritten():
    named = arguments("step_coefficients")
    for name, bad in (("timesteps", T), ("timesteps", -1), ("previous_timesteps", 1)):
        steps = named[name].copy()
        steps[-1] = bad
        assert_refused(
            "step_coefficients", named | {name: steps}, ValueError, "timestep must be in "
        )


@pytest.mark.parametrize("function, name", EVERY_ARRAY)
def test_number_of_axes(function, name):
    named = arguments(function)
    for shape in (), (1, 1, 1, 1):
        bad = np.zeros(shape, named[name].dtype)
        match = rf"^{name} must have shape \(.+\), not {re.escape(str(shape))}$"
        assert_refused(function, named | {name: bad}, ValueError, match)
    bad = named[name][None] if named[name].ndim < 3 else named[name][0]
    if (function, name) == ("complete_inverse_cdf", "model_output"):
        name = "prev_sample"  # whose shape is then another
    assert_refused(function, named | {name: bad.copy()}, ValueError, rf"^{name} must have ")


@pytest.mark.parametrize(
    "function, name", [pair for pair in EVERY_ARRAY if pair[0] != "check_model_output"]
)
def test_number_of_elements(function, name):
    named = arguments(function)
    for axis in range(named[name].ndim):
        longer = np.repeat(named[name], 2, axis)
        # Which of two arrays that disagree gets named is theirs to choose.
        assert_refused(
            function, named | {name: longer}, ValueError, r"must have shape \(.+\), not \(.+\)$"
        )


@pytest.mark.parametrize("function, name", EVERY_OUTPUT)
def test_outputs_must_be_writable_and_contiguous(function, name):
    named = arguments(function)
    assert_refused(
        function,
        named | {name: strided(named[name], "read-only")},
        ValueError,
        rf"^{name} must be writable, but it is read-only$",
    )
    for layout in "reversed", "gaps", "fortran":
        other = strided(named[name], layout)
        if not other.flags.c_contiguous:
            assert_refused(
                function, named | {name: other}, ValueError, rf"^{name} must be .*contiguous"
            )


@pytest.mark.parametrize(
    "function, name",
    [pair for pair in EVERY_ARRAY if pair not in [*EVERY_TENSOR, ("q_sample", "timesteps")]],
)
def test_tables_must_be_contiguous_and_aligned(function, name):
    for layout in "gaps", "reversed", "unaligned":
        value = strided(arguments(function)[name], layout)
        if layout == "unaligned" and (function, name) in EVERY_OUTPUT:
            value = np.frombuffer(bytearray(b"\0" + value.tobytes()), value.dtype, offset=1)
        assert_refused(
            function,
            arguments(function) | {name: value},
            ValueError,
            rf"^{name} must be contiguous and aligned$",
        )


EVERY_INTEGER = [
    (function, name)
    for function in FUNCTIONS
    for name in ("num_classes", "num_timesteps", "t", "s", "num_threads")
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
    for value in 2**63, -(2**63) - 1, 10**5000:
        assert_refused(
            function,
            named | {name: value},
            ValueError,
            rf"^{name} must be an integer that fits into 64 bits$",
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


@pytest.mark.parametrize("function", FUNCTIONS)
def test_errors_of_the_library_release_the_buffers(function):
    """Errors that come after the GIL was released, with every buffer held."""
    named = arguments(function)
    if "t" in named:
        assert_refused(function, named | {"t": T}, ValueError, "^(t|timestep) must be ")
    elif "num_timesteps" in named:
        for value in -1, -(2**63):
            assert_refused(
                function, named | {"num_timesteps": value}, ValueError, "^num_timesteps must be "
            )
    elif function == "check_model_output":
        bad = named["model_output"].copy()
        bad[1, 2, 3] = np.nan
        assert_refused(
            function,
            named | {"model_output": bad},
            ValueError,
            r"^model_output must .* at \[1, 2, 3\]$",
        )
    elif "out" in named:
        assert_refused(
            function,
            named | {"out": named["out"][:, :-1].copy()},
            ValueError,
            "^out must have shape ",
        )
    else:
        assert_refused(function, named | {"num_classes": 0}, ValueError, "^num_classes must be ")


def test_memory_can_be_resized_after_a_call():
    for dtype_is_wrong in (False, True):
        memory = bytearray(8 * T)
        named = arguments("schedule_logs")
        named["log_alpha"] = memory if dtype_is_wrong else memoryview(memory).cast("d")
        if dtype_is_wrong:
            with pytest.raises(TypeError, match="^log_alpha must be float64"):
                call("schedule_logs", named)
        else:
            call("schedule_logs", named)
            named["log_alpha"].release()
        memory.append(0)  # a BufferError while a buffer is held


def test_success_keeps_no_reference():
    for function in FUNCTIONS:
        named = arguments(function)
        arrays = [value for value in named.values() if isinstance(value, np.ndarray)]
        before = [sys.getrefcount(value) for value in arrays]
        call(function, named)
        assert [sys.getrefcount(value) for value in arrays] == before, function


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="None is not counted any more")
@pytest.mark.parametrize("function", FUNCTIONS)
def test_result_none_is_counted(function):
    named = arguments(function)
    before = sys.getrefcount(None)
    for _ in range(200):
        call(function, named)
    assert abs(sys.getrefcount(None) - before) < 100


# ---- Threads and processes
# ------------------------------------------------------------------------------------------------


def test_calls_from_several_threads_at_once():
    functions = [function for function in FUNCTIONS if OUTPUTS[function]] * 20
    expected = [
        results(function, arguments(function, seed)) for seed, function in enumerate(functions)
    ]
    with ThreadPoolExecutor(8) as pool:
        found = list(
            pool.map(
                lambda pair: results(pair[1], arguments(pair[1], pair[0])), enumerate(functions)
            )
        )
    for one, other in zip(found, expected):
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])


def test_the_gil_is_released():
    """Threads take turns here only where the one that runs lets go of the GIL, so only the call can
    let the other run.
    """
    batch, classes, pixels = 1, 512, 4096
    log_p = np.full((batch, classes, pixels), -np.log(classes), np.float32)
    out = np.empty((batch, classes + 1, pixels), np.float32)
    x_t = np.zeros((batch, pixels), np.int64)
    alpha, gamma = np.linspace(0.95, 0.05, T), np.linspace(0.02, 0.9, T)
    gate, seen = threading.Lock(), []

    def other():
        with gate:
            seen.append(True)

    gate.acquire()
    thread = threading.Thread(target=other)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1000)
    try:
        thread.start()
        gate.release()
        before = len(seen)
        for _ in range(20):
            _native.q_posterior(classes, alpha, gamma, 5, 4, log_p, x_t, out, 1)
        after = len(seen)
    finally:
        sys.setswitchinterval(interval)
    thread.join()
    assert (before, after) == (0, 1)


def run_python(code, **environment):
    """Runs a program in a fresh interpreter, outside this folder, and returns what it printed."""
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parent)} | environment,
        cwd=Path(__file__).parent, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    return result.returncode, result.stdout, result.stderr


def test_fork_after_use():
    code = """
        import os, numpy as np
        from native_calls import arguments, call
        def use():
            named = arguments("step_inverse_cdf") | {"num_threads": 4}
            call("step_inverse_cdf", named)
            return named["prev_sample"]
        expected = use()
        child = os.fork()
        if child == 0:
            os._exit(0 if np.array_equal(use(), expected) else 1)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """
    assert run_python(code) == (0, "0\n", "")


def test_memory_that_cannot_be_had():
    code = """
        import re, resource, numpy as np
        from pathlib import Path
        from vqdiffusion import _native
        x = np.zeros((1, 20_000_000), np.uint8)
        out = np.full((1, 1, 20_000_000), 7, np.float32)
        size = 1024 * int(re.search(r"VmSize:\\s*(\\d+)", Path("/proc/self/status").read_text())[1])
        resource.setrlimit(resource.RLIMIT_AS, (size + 30_000_000, -1))
        try:
            _native.index_to_log_onehot(x, 1, out)
        except MemoryError as error:
            print(error)
        print((out == 7).all())
    """
    code, output, error = run_python(code)
    assert (code, error) == (0, "")
    assert re.fullmatch(r".*no memory for \d+ bytes.*\nTrue\n", output)


# ---- CPU levels
# ------------------------------------------------------------------------------------------------


def built_levels():
    folder = Path(vqdiffusion.__file__).parent
    names = [
        path.name.split(".")[0].removeprefix("_native_") for path in folder.glob("_native_*.so")
    ]
    return sorted(
        "aarch64" if name == "aarch64" else name.replace("x86_64", "x86-64").replace("_", "-")
        for name in names
    )


THP = Path("/sys/kernel/mm/transparent_hugepage/enabled")


LARGE_PAGES = pytest.mark.skipif(
    not THP.exists() or "[never]" in THP.read_text(), reason="the kernel has no large pages to give"
)
WITH_LARGE_OUTPUTS = [
    "q_posterior",
    "log_transition_rows",
    "apply_cumulative_transitions",
    "index_to_log_onehot",
    "gumbel_noised",
    "guide",
    "truncate",
]


@LARGE_PAGES
@pytest.mark.parametrize("function", WITH_LARGE_OUTPUTS)
@pytest.mark.parametrize("classes", [1200, 900])
def test_new_memory_of_outputs_of_4_mib_comes_in_large_pages(function, classes):
    """As /proc tells of each mapping of the process. What lies around an output is none of the
    library's business.
    """
    pixels, around = 1024, 1 << 20
    size = 4 * (classes + 1) * pixels
    memory = mmap.mmap(-1, size + 2 * around, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    everything = np.frombuffer(memory, np.uint8)
    out = everything[around : around + size].view(np.float32).reshape(1, classes + 1, pixels)
    x, grid = np.full((1, classes + 1, pixels), -7.0, np.float32), np.zeros((1, pixels), np.int64)
    schedule = VQDiffusionScheduler(classes + 1)._schedule
    arguments = {
        "q_posterior": (*schedule, 9, 8, x[:, 1:], grid, out),
        "log_transition_rows": (*schedule, 9, False, grid, x, out),
        "apply_cumulative_transitions": (*schedule, 9, x[:, 1:], out),
        "index_to_log_onehot": (grid, classes + 1, out),
        "gumbel_noised": (x, np.full_like(x, 0.5), out),
        "guide": (x, x, 2.0, out),
        "truncate": (x, 2.0, -70.0, out),
    }
    getattr(_native, function)(*arguments[function])
    assert np.count_nonzero(out) >= classes * pixels
    start, end = everything.ctypes.data, everything.ctypes.data + len(everything)
    asked = [(a, b) for a, b, large in mappings() if a < end and b > start and large]
    whole = [start + around, start + around + size // mmap.PAGESIZE * mmap.PAGESIZE]
    assert [x for x, _ in asked[:1]] + [x for _, x in asked[-1:]] == (
        whole if size >= 4 << 20 else []
    )


@LARGE_PAGES
def test_memory_of_a_guided_step_with_many_classes():
    """Room for lists that stay short is no reason for large pages: some 3 MB, and 13 with them."""
    code = """
        import numpy as np
        from pathlib import Path
        from vqdiffusion import VQDiffusionScheduler
        def kilobytes(field):
            return int(Path("/proc/self/status").read_text().partition(field + ":")[2].split()[0])
        rng = np.random.default_rng(0)
        scheduler = VQDiffusionScheduler(16385, sampling_method="gumbel")
        def step(pixels):
            x = rng.normal(0, 3, (1, 16384, pixels)).astype(np.float32)
            y, grid = x[:, ::-1].copy(), np.full((1, pixels), 16384)
            Path("/proc/self/clear_refs").write_text("5")
            before = kilobytes("VmRSS")
            scheduler.guided_step(x, y, 50, grid, rng, truncation_rate=0.86)
            return kilobytes("VmHWM") - before
        step(16)
        print(step(512))
    """
    code, output, error = run_python(code)
    assert (code, error) == (0, "")
    assert int(output) < 7000


def mappings():
    """The first address, the end, and whether large pages were asked for, of every mapping of this
    process.
    """
    for text in re.split(r"\n(?=[0-9a-f]+-[0-9a-f]+ )", Path("/proc/self/smaps").read_text()):
        first, end = re.match(r"([0-9a-f]+)-([0-9a-f]+) ", text).groups()
        yield int(first, 16), int(end, 16), " hg" in text.partition("VmFlags:")[2]


def test_supported_cpus_agree_with_the_kernel():
    flags = set(Path("/proc/cpuinfo").read_text().split())
    if os.uname().machine == "aarch64":
        assert _native.supported_cpus() == ("aarch64",)
        return
    v3 = {"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave", "sse4_2", "popcnt"}
    v4 = v3 | {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}
    expected = ["x86-64"] + ["x86-64-v3"] * (v3 <= flags) + ["x86-64-v4"] * (v4 <= flags)
    assert _native.supported_cpus() == tuple(expected)


def test_every_level_of_this_machine_is_built():
    assert set(_native.supported_cpus()) <= set(built_levels())


def test_the_highest_level_is_the_default():
    environment = {"VQDIFFUSION_CPU": ""}
    assert run_python("from vqdiffusion import _native; print(_native.cpu)", **environment) == (
        0,
        _native.supported_cpus()[-1] + "\n",
        "",
    )


@pytest.mark.parametrize("level", _native.supported_cpus())
def test_every_level_gives_the_same(level, tmp_path):
    """Rounding may differ where a level has fused multiply-add; draws with these seeds do not."""
    code = """
        import numpy as np
        from native_calls import FUNCTIONS, OUTPUTS, arguments, call
        from vqdiffusion import _native
        found = {}
        for seed in range(20):
            for function in FUNCTIONS:
                named = arguments(function, seed)
                call(function, named)
                for name in OUTPUTS[function]:
                    found[f"{function} {name} {seed}"] = named[name]
        np.savez(PATH, **found)
        print(_native.cpu)
    """.replace("PATH", repr(str(tmp_path / "found.npz")))
    assert run_python(code, VQDIFFUSION_CPU=level) == (0, level + "\n", "")
    with np.load(tmp_path / "found.npz") as found:
        assert len(found) == 20 * sum(map(len, OUTPUTS.values()))
        for key, value in found.items():
            function, name, seed = key.split()
            expected = results(function, arguments(function, int(seed)))[name]
            if value.dtype == np.int64:
                np.testing.assert_array_equal(value, expected, err_msg=key)
            else:
                np.testing.assert_allclose(value, expected, rtol=2e-6, atol=2e-6, err_msg=key)


def test_unknown_level():
    code, _, error = run_python("import vqdiffusion", VQDIFFUSION_CPU="pentium")
    choices = ", ".join(_native.supported_cpus())
    assert code == 1
    assert error.endswith(
        f"ImportError: VQDIFFUSION_CPU must be one of {choices} on this machine, not 'pentium'.\n"
    )


def test_levels_that_the_machine_lacks_are_not_used():
    lowest = _native.supported_cpus()[0]
    code = f"""
        import importlib, os
        from vqdiffusion import _native, _native_{lowest.replace("-", "_")} as module
        module.supported_cpus = lambda: ({lowest!r},)
        print(importlib.reload(_native).cpu)
        os.environ["VQDIFFUSION_CPU"] = "x86-64-v3"
        try:
            importlib.reload(_native)
        except ImportError as error:
            print(error)
    """
    sentence = f"VQDIFFUSION_CPU must be one of {lowest} on this machine, not 'x86-64-v3'."
    assert run_python(code, VQDIFFUSION_CPU="") == (0, f"{lowest}\n{sentence}\n", "")


def test_package_that_is_not_built():
    code = """
        import importlib, importlib.util
        from vqdiffusion import _native
        importlib.util.find_spec = lambda name: None
        try:
            importlib.reload(_native)
        except ImportError as error:
            print(error)
    """
    assert "is not built: install the package with `pip install .`" in run_python(code)[1]
