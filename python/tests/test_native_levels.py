"""CPU levels: which there are, which one is loaded, and that all give the same."""

import os
from pathlib import Path

import numpy as np
import pytest
from cpu_levels import LEVELS, at_level
from native_calls import OUTPUTS, arguments
from native_checks import results, run_python

from vqdiffusion import _native


def test_supported_cpus_agree_with_the_kernel():
    flags = set(Path("/proc/cpuinfo").read_text().split())
    if os.uname().machine == "aarch64":
        assert _native.supported_cpus() == ("aarch64",)
        return
    v3 = {"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave", "sse4_2", "popcnt"}
    v4 = v3 | {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}
    expected = ["x86-64"] + ["x86-64-v3"] * (v3 <= flags) + ["x86-64-v4"] * (v4 <= flags)
    assert _native.supported_cpus() == tuple(expected)


def test_the_lowest_and_the_highest_level_of_this_machine_are_built():
    """And those between by `make`, which sets the variable for builds and for tests."""
    assert {_native.supported_cpus()[0], _native.supported_cpus()[-1]} <= set(LEVELS)
    if os.environ.get("VQDIFFUSION_BUILD_CPUS") == "all":
        assert tuple(LEVELS) == _native.supported_cpus()


def test_the_highest_level_is_the_default():
    environment = {"VQDIFFUSION_CPU": ""}
    assert run_python("from vqdiffusion import _native; print(_native.cpu)", **environment) == (
        0,
        _native.supported_cpus()[-1] + "\n",
        "",
    )


@pytest.mark.parametrize("level", LEVELS)
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


def test_levels_in_one_process():
    before = _native.cpu
    for level in LEVELS:
        with at_level(level):
            assert _native.cpu == level
    assert _native.cpu == before


def test_unknown_level():
    code, _, error = run_python("import vqdiffusion", VQDIFFUSION_CPU="pentium")
    assert code == 1
    assert error.endswith(
        f"ImportError: VQDIFFUSION_CPU must be one of {', '.join(LEVELS)}, which are built and run "
        "on this machine, not 'pentium'. With VQDIFFUSION_BUILD_CPUS=all, pip builds every level.\n"
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
    sentence = (
        f"VQDIFFUSION_CPU must be one of {lowest}, which are built and run on this machine, "
        "not 'x86-64-v3'. With VQDIFFUSION_BUILD_CPUS=all, pip builds every level."
    )
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
