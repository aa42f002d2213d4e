"""Buffers that the native module takes: any strides, addresses, element types and exporters."""

import array
import ctypes

import native_calls
import numpy as np
import pytest
import views
from native_calls import (
    EVERY_ARRAY, EVERY_OUTPUT, EVERY_TENSOR, FUNCTIONS, LISTS, OUTPUTS, B, K, N, T, arguments,
    array_names, call,
)  # fmt: skip
from native_checks import results


LAYOUTS = {
    "reversed": views.backwards,
    "turned": views.turned,
    "fortran": np.asfortranarray,
    "gaps": views.spread,
    "unaligned": views.unaligned,
    "read-only": views.read_only,
    "memoryview": memoryview,
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize(
    "function, name", [pair for pair in EVERY_TENSOR if pair not in EVERY_OUTPUT]
)
def test_any_strides(function, name, layout):
    expected = results(function, arguments(function))
    named = arguments(function)
    named[name] = layout(named[name])
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
    (function, name)
    for function, name in EVERY_ARRAY
    if name in ("x_t", "sample", "original_samples", "x")
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
        unaligned = views.unaligned(named[name])
        for output, value in results(function, named | {name: unaligned}).items():
            np.testing.assert_allclose(value, expected[output], rtol=1e-5, atol=1e-5)


@pytest.fixture
def long_rows(monkeypatch):
    """Arguments larger than the pieces that are copied: 256 pixels, 16 classes."""
    monkeypatch.setattr(native_calls, "K", 70)
    monkeypatch.setattr(native_calls, "N", 600)


@pytest.mark.parametrize("layout", [np.ascontiguousarray, views.turned])
@pytest.mark.parametrize("dtype", [np.float16, BFLOAT16], ids=str)
@pytest.mark.parametrize(
    "function", [function for function in FUNCTIONS if set(FLOATS) & set(arguments(function))]
)
def test_16_bits_give_what_float32_gives(long_rows, function, dtype, layout):
    """Of the same numbers, bit for bit."""
    named = arguments(function)
    names = set(FLOATS) & set(named)
    for name in names:
        kept = (named[name].view(np.uint32) & 0xFFFF0000).view(np.float32)
        named[name] = layout(kept)
    expected = results(function, named)
    for name in names:
        named[name] = layout(of_type(np.ascontiguousarray(named[name]), dtype))
    for output, value in results(function, named).items():
        np.testing.assert_array_equal(value, expected[output])


@pytest.mark.parametrize("layout", [np.ascontiguousarray, views.turned])
@pytest.mark.parametrize("function, name", [("gumbel_noised", "logits"),
                                            ("step_gumbel", "model_output")])  # fmt: skip
def test_float32_gives_what_float64_gives(long_rows, function, name, layout):
    """Of the same numbers, bit for bit, beside uniforms in float64."""
    named = arguments(function)
    named["uniforms"] = named["uniforms"].astype(np.float64)
    if "out" in named:
        named["out"] = named["out"].astype(np.float64)
    double = named | {name: layout(named[name].astype(np.float64))}
    single = named | {name: layout(named[name])}
    for (output, value), exact in zip(
        results(function, single).items(), results(function, double).values()
    ):
        np.testing.assert_array_equal(value, exact, output)


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


TIMESTEPS = [("step_coefficients", "timesteps"), ("step_coefficients", "previous_timesteps")]


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
        if named[name].ndim > 1 or (function, name) in TIMESTEPS + LISTS:
            if empty == 0 and (function, name) != ("complete_inverse_cdf", "model_output"):
                named[name] = named[name][:0].copy()
            elif named[name].ndim > 1:
                named[name] = named[name][..., :0].copy()
    assert call(function, named) is None
