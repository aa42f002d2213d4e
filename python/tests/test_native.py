"""Arrays that the native module refuses, by name, with what was expected and what came."""

import datetime
import re
import sys

import numpy as np
import pytest
import views
from native_calls import (
    EVERY_ARRAY, EVERY_OUTPUT, EVERY_TENSOR, FUNCTIONS, LISTS, OPTIONAL, B, K, N, T, arguments,
    call,
)  # fmt: skip
from native_checks import assert_refused, results


LONG_DOUBLE = np.longdouble if np.dtype(np.longdouble).itemsize > 8 else np.complex128


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


@pytest.mark.parametrize("function", ["step_gumbel", "guided_step_gumbel", "gumbel_noised"])
def test_uniforms_of_classes_are_of_no_smaller_type(function):
    named = arguments(function)
    named["uniforms"] = named["uniforms"].astype(np.float16)
    match = "^uniforms must be float32 or float64"
    assert_refused(function, named, TypeError, match)


@pytest.mark.parametrize(
    "value", [None, 3, "text", [[1, 2]], object()], ids=lambda value: type(value).__name__
)
@pytest.mark.parametrize("function, name", EVERY_ARRAY)
def test_objects_without_a_buffer(function, name, value):
    if name == "log_p_uncond" and function.startswith("guided_step") and value is None:
        assert (
            call(function, arguments(function) | {name: None}) is None
        )  # there is no guidance then
    elif (function, name) in OPTIONAL and value is None:
        assert call(function, arguments(function) | {name: None}) is None
    elif name == "sample" and value is None:
        assert_refused(function, arguments(function) | {name: None}, ValueError, "^sample ")
    else:
        draws = name == "uniforms" and function.endswith("step_gumbel")
        kinds = " or a BitGenerator of numpy.random" if draws else ""
        kind = type(value).__name__
        match = rf"^{name} must be an array with the buffer protocol{kinds}, not {kind}$"
        assert_refused(function, arguments(function) | {name: value}, TypeError, match)


CLASSES = [
    (function, name)
    for function, name in EVERY_TENSOR
    if name in ("x_t", "x", "sample", "original_samples")
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
    upper = K - 1 if (function, name) == ("loss", "x_0") else K
    match = rf"^{name} must hold classes 0 \.\.\. {upper}, not {value} as at \[1, 3\]$"
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


@pytest.mark.parametrize("function, name", EVERY_ARRAY)
def test_number_of_axes(function, name):
    named = arguments(function)
    for shape in (), (1, 1, 1, 1):
        bad = np.zeros(shape, named[name].dtype)
        match = rf"^{name} must have shape \(.+\), not {re.escape(str(shape))}$"
        assert_refused(function, named | {name: bad}, ValueError, match)
    bad = named[name][None] if named[name].ndim < 3 else named[name][0]
    # A model output of three axes is that of all pixels: the other shapes are then wrong.
    all_pixels = (function, name) == ("complete_inverse_cdf", "model_output")
    blamed = "prev_sample" if all_pixels else name
    assert_refused(function, named | {name: bad.copy()}, ValueError, rf"^{blamed} must have ")


@pytest.mark.parametrize(
    "function, name", [pair for pair in EVERY_ARRAY if pair[0] != "check_model_output"]
)
def test_number_of_elements(function, name):
    named = arguments(function)
    for axis in range(named[name].ndim):
        if (function, name, axis) in (("row_uniforms", "out", 1), ("token_scores", "logits", 1)):
            continue  # any number may be drawn, or there be of classes
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
        named | {name: views.read_only(named[name])},
        ValueError,
        rf"^{name} must be writable, but it is read-only$",
    )
    for layout in views.backwards, views.spread, np.asfortranarray:
        other = layout(named[name])
        if (function, name) == ("loss", "gradient"):  # of any strides
            expected = results(function, arguments(function))[name]
            np.testing.assert_array_equal(results(function, named | {name: other})[name], expected)
        elif not other.flags.c_contiguous:
            assert_refused(
                function, named | {name: other}, ValueError, rf"^{name} must be .*contiguous"
            )


@pytest.mark.parametrize(
    "function, name",
    [pair for pair in EVERY_ARRAY if pair not in [*EVERY_TENSOR, *LISTS, ("loss", "loss")]],
)
def test_tables_must_be_contiguous_and_aligned(function, name):
    for layout in views.spread, views.backwards, views.unaligned:
        named = arguments(function)
        named[name] = layout(named[name])
        assert_refused(function, named, ValueError, rf"^{name} must be contiguous and aligned$")


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
    elif function == "token_scores":
        assert_refused(function, named | {"temperature": -1}, ValueError, "^temperature must be ")
    elif function == "check_model_output":
        bad = named["model_output"].copy()
        bad[1, 2, 3] = np.nan
        assert_refused(
            function,
            named | {"model_output": bad},
            ValueError,
            r"^model_output must .* at \[1, 2, 3\]$",
        )
    elif function == "loss":
        for name in "timesteps", "previous_timesteps":
            wrong = named | {name: np.array([T, 4])}
            assert_refused(function, wrong, ValueError, rf"^{name} must be in .*, not {T}$")
    elif "out" in named:
        assert_refused(
            function,
            named | {"out": named["out"][:-1].copy()},
            ValueError,
            "^out must have shape ",
        )
    else:
        assert_refused(function, named | {"num_classes": 0}, ValueError, "^num_classes must be ")
