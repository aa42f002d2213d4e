"""The functions of the native module have the parameters that the stub says."""

import ast
import inspect
from pathlib import Path

import numpy as np
import pytest
from native_calls import FUNCTIONS, OUTPUTS, arguments, native, positional
from native_checks import results

import vqdiffusion
from vqdiffusion import _native


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
