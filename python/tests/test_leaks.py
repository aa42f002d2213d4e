"""The memory of a process does not grow with the calls of the native module, of which most fail."""

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
        for named in good:
            for each in [named, *broken(function, named)]:
                yield native(function), tuple(positional(function, each))


def resident():
    return os.sysconf("SC_PAGESIZE") * int(Path("/proc/self/statm").read_text().split()[1])


def main():
    """Prints how many calls there were, how many failed, and how many bytes memory has grown."""
    calls = list(every_call())

    def run(rounds):
        failed = 0
        for _ in range(rounds):
            for function, values in calls:
                try:
                    function(*values)
                except ValueError:
                    failed += 1
        return failed

    rounds = -(-CALLS // len(calls))
    run(rounds // 10)
    before = resident()
    failed = run(rounds)
    print(rounds * len(calls), failed, resident() - before)


def test_memory_does_not_grow():
    command = [sys.executable, __file__]
    result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    calls, failed, growth = map(int, result.stdout.split())
    assert calls >= CALLS and failed > 0.6 * calls
    assert growth <= LIMIT


if __name__ == "__main__":
    main()
