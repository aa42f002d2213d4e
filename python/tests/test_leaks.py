"""The memory of a process, its open files and the references to arguments do not grow with the
calls of the native module, of which most fail. As a script this prints how many.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from native_calls import FUNCTIONS, OUTPUTS, arguments, native, positional

CALLS = 100_000
LIMIT = 256 << 10  # bytes


def wide(function):
    """Arguments of a good call, of more pixels: a block of scratch is some hundred bytes then."""
    named = arguments(function)
    for name, value in named.items():
        if isinstance(value, np.ndarray) and value.ndim > 1 and function != "step_coefficients":
            named[name] = np.tile(value, 16)
    return named


def from_an_engine(function):
    """As `wide`, of so many classes that those which can win are listed."""
    named = wide(function)
    named["num_classes"] = 70
    for name in named:
        if name.startswith(("model_output", "log_p")):
            named[name] = np.repeat(named[name], 14, axis=1)
    return named | {"uniforms": np.arange(625, dtype=np.uint32) % 624}


def broken(function, named):
    """The same calls with one thing wrong, where it is found last."""
    for name, value in named.items():
        if isinstance(value, np.ndarray):
            yield named | {name: value.astype(np.complex64)}
            yield named | {name: value[..., None, None, None]}
        elif value is not None:
            yield named | {name: object()}
        if name in OUTPUTS[function]:
            yield named | {name: value[..., 1:].copy()}
        elif name in ("t", "s", "num_timesteps", "num_classes"):
            yield named | {name: -5}
        elif name in ("start", "truncation_rate", "rate", "scale", "guidance_scale", "floor"):
            yield named | {name: float("nan")}
        elif isinstance(value, np.ndarray) and value.dtype != np.uint32:
            if value.ndim > 1:
                yield named | {name: value[..., 1:].copy()}
            wrong = value.copy()
            wrong[(-1,) * wrong.ndim] = np.nan if wrong.dtype.kind == "f" else 10**6
            yield named | {name: wrong}
            if wrong.ndim > 1 and wrong.dtype.kind == "f":
                wrong = value.copy()
                wrong[(-1,) * wrong.ndim] = np.inf
                yield named | {name: wrong}
                wrong = value.copy()
                wrong[..., -1] = -np.inf
                yield named | {name: wrong}


def every_call():
    """Pairs of a function and its arguments, in order."""
    for function in FUNCTIONS:
        good = [wide(function)]
        if function.endswith("step_gumbel"):
            good.append(from_an_engine(function))
            good.append(wide(function) | {"uniforms": np.random.PCG64(1)})
        for named in good:
            for each in [named, *broken(function, named)]:
                yield native(function), tuple(positional(function, each))


def resident():
    return os.sysconf("SC_PAGESIZE") * int(Path("/proc/self/statm").read_text().split()[1])


def descriptors():
    return len(os.listdir("/proc/self/fd"))


def failed(function, values):
    try:
        function(*values)
    except (TypeError, ValueError):
        return True
    return False


def main():
    """Prints how many calls there were, how many failed, by how many bytes memory has grown, and by
    how many the number of open files.
    """
    calls = list(every_call())

    def run(rounds):
        return sum(failed(function, values) for _ in range(rounds) for function, values in calls)

    rounds = -(-CALLS // len(calls))
    run(rounds // 10)
    before, files = resident(), descriptors()
    failures = run(rounds)
    print(f"calls: {rounds * len(calls)}")
    print(f"failed: {failures}")
    print(f"bytes grown: {resident() - before}")
    print(f"descriptors more: {descriptors() - files}")


def test_memory_and_descriptors_do_not_grow():
    command = [sys.executable, __file__]
    result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    calls, failures, growth, files = (
        int(line.split(": ")[1]) for line in result.stdout.splitlines()
    )
    assert calls >= CALLS and failures > 0.8 * calls
    assert growth <= LIMIT and files == 0


def references(values):
    """To those that nobody else may hold, unlike small numbers and None."""
    own = [value for value in values if isinstance(value, (np.ndarray, np.random.BitGenerator))]
    return [sys.getrefcount(value) for value in own]


def test_references_to_arguments_do_not_grow():
    for function, values in every_call():
        before = references(values)
        failed(function, values)
        assert references(values) == before, (function, values)


def test_what_an_index_returns_is_let_go():
    class Index:
        number = 2**70  # beyond what the function takes

        def __index__(self):
            return self.number

    named = arguments("row_uniforms") | {"seed": Index()}
    before = sys.getrefcount(Index.number)
    assert failed(native("row_uniforms"), positional("row_uniforms", named))
    after = sys.getrefcount(Index.number)
    assert after == before


if __name__ == "__main__":
    main()
