"""The native module in isolated subinterpreters, each with a GIL of its own. NumPy cannot be loaded
there, so arrays of the standard library are passed.
"""

import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from vqdiffusion import _native

# Run in each subinterpreter: a chain whose tokens are counted, from the whole model output and by a
# plan.
STEPS = """
from array import array
from importlib.machinery import ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_loader

loader = ExtensionFileLoader({name!r}, {path!r})
native = module_from_spec(spec_from_loader({name!r}, loader))
loader.exec_module(native)

K, N, T = 4, 300, 10
alpha = array("d", [0.9 - 0.08 * t for t in range(T)])
gamma = array("d", [0.05 + 0.09 * t for t in range(T)])
schedule = K, alpha, gamma
log_p = array("f", [-1 - (k + n) % 3 for k in range(K) for n in range(N)])
log_p = memoryview(log_p).cast("B").cast("f", (1, K, N))
uniforms = array("d", [(37 * n % 300) / 300 for n in range(N)])
uniforms = memoryview(uniforms).cast("B").cast("d", (1, N))
noise = array("f", [(97 * i % 1511) / 1511 for i in range((K + 1) * N)])
noise = memoryview(noise).cast("B").cast("f", (1, K + 1, N))


drawn = []
for repeat in range(50):
    sample = memoryview(array("q", [K] * N)).cast("B").cast("q", (1, N))
    for t in range(T - 1, 0, -1):
        out = memoryview(bytearray(8 * N)).cast("q", (1, N))
        native.step(*schedule, t, t - 1, log_p, sample, "inverse_cdf", uniforms, out)
        native.step(*schedule, t, t - 1, log_p, out, "gumbel", noise, sample)
    drawn.append(sample.tolist())
assert all(one == drawn[0] for one in drawn)
try:
    native.step(*schedule, T, 0, log_p, sample, "gumbel", noise, sample)
except ValueError as error:
    assert str(error).startswith("timestep must be in 0 ... 9, not 10")
else:
    raise AssertionError
with open({result!r}, "w") as file:
    file.write(str(drawn[0]))
"""

# Four at once, each in a thread of its own.
PROGRAM = """
import sys
import threading

if sys.version_info >= (3, 13):
    import _interpreters as interpreters
else:
    import _xxsubinterpreters as interpreters

failures = []


def run(i):
    interpreter = interpreters.create()  # isolated
    try:
        failure = interpreters.run_string(interpreter, open(sys.argv[1 + i]).read())
    except Exception as error:
        failure = error
    if failure is not None:
        failures.append(failure)
    interpreters.destroy(interpreter)


threads = [threading.Thread(target=run, args=(i,)) for i in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
if failures:
    sys.exit(f"{failures}")
"""


def find_python(version):
    """An interpreter of this version with the module that makes subinterpreters, on PATH or among
    those of pyenv.
    """
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    found = [shutil.which(f"python{version}")]
    found += sorted(pyenv.glob(f"versions/{version}.*/bin/python{version}"), reverse=True)
    module = "_interpreters" if version == "3.13" else "_xxsubinterpreters"
    for python in filter(None, found):
        try:
            if (
                subprocess.run(
                    [python, "-c", f"import {module}"], capture_output=True, timeout=60
                ).returncode
                == 0
            ):
                return python
        except (OSError, subprocess.TimeoutExpired):
            pass
    return None


@pytest.mark.parametrize("version", ["3.12", "3.13"])
def test_isolated_subinterpreters(version, tmp_path):
    stable = ".abi3." in _native._module.__file__
    python = (
        find_python(version)
        if stable or sys.version_info[:2] == tuple(map(int, version.split(".")))
        else None
    )
    if python is None:
        pytest.skip(f"there is no Python {version} that the module can be loaded into")
    programs, results = [], []
    for i in range(4):
        results.append(tmp_path / f"result{i}")
        programs.append(tmp_path / f"steps{i}.py")
        values = {"name": _native._module.__name__.split(".")[-1], "path": _native._module.__file__}
        programs[i].write_text(STEPS.format(**values, result=str(results[i])))
    (tmp_path / "program.py").write_text(textwrap.dedent(PROGRAM))
    command = [python, str(tmp_path / "program.py"), *map(str, programs)]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout
    tokens = {result.read_text() for result in results}
    assert len(tokens) == 1 and re.fullmatch(r"\[\[[0-4, ]+\]\]", tokens.pop())
