"""Times two builds of the native module by turns, each call on one thread.

    python benchmarks/builds.py BEFORE.so AFTER.so [PART ...]

The files are of one CPU level, such as `_native_x86_64_v4.abi3.so` from two folders. PARTs choose
the calls whose names contain one. Prints milliseconds of CPU time, which other processes disturb
least, as the lower quartile, and their ratio; and whether the results are equal bit for bit.
"""

import argparse
import time
from importlib.machinery import ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np

CLASSES, PIXELS, T, ROUNDS = 4096, 1024, 100, 31
SCHEDULE = CLASSES, np.linspace(0.95, 0.05, T), np.linspace(0.02, 0.9, T)


def load(path):
    name = Path(path).name.partition(".")[0]
    spec = spec_from_file_location(name, path, loader=ExtensionFileLoader(name, str(path)))
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def calls(log_p, rng):
    """By name, a native function's arguments before the number of threads; outputs are arrays that
    hold nothing yet.
    """
    real = np.float64 if log_p.dtype == np.float64 else np.float32
    x = np.where(rng.random((1, PIXELS)) < 0.5, CLASSES, rng.integers(0, CLASSES, (1, PIXELS)))
    of_pixels, of_classes = rng.random((1, PIXELS)), rng.random((1, CLASSES + 1, PIXELS))
    clean, near, far = np.minimum(x, CLASSES - 1), (*SCHEDULE, 50, 49), (*SCHEDULE, 50, 10)
    guided, none = (log_p[:, ::-1], 3.0, 0.86, -70.0), (0.0, None)
    narrow = of_classes.astype(np.float32)

    def rows(count):
        return np.zeros((1, count, PIXELS), real)

    def grid(dtype=np.int64):
        return np.zeros((1, PIXELS), dtype)

    def gumbel(uniforms, guided=None):
        return "step", *near, log_p, x, "gumbel", uniforms, grid(), guided, None, *none

    def inverse(step, guided=None, unmask=None):
        known = None
        return "step", *step, log_p, x, "inverse_cdf", of_pixels, grid(), guided, known, 0.0, unmask

    margin = 3, 0, 0.0, 0.5, 0.0, None, None, rng.random((1, PIXELS)), grid(bool), grid(float)
    timestep, weights = np.array([50]), (0.7, 1.0, 0.01, True, None, of_pixels, np.zeros(1))
    return {
        "q_posterior": ("q_posterior", *near, log_p, x, rows(CLASSES + 1)),
        "gumbel": gumbel(narrow),
        "gumbel, float64 uniforms": gumbel(of_classes),
        "guided gumbel": gumbel(narrow, guided),
        "inverse_cdf": inverse(near),
        "inverse_cdf, stride of 40": inverse(far),
        "guided inverse_cdf": inverse(near, guided),
        "unmask by margin": inverse(far, unmask=margin),
        "cumulative": ("apply_cumulative_transitions", *SCHEDULE, 50, log_p, rows(CLASSES + 1)),
        "token_scores": ("token_scores", log_p, of_pixels, 0.7, grid(), *(grid(real),) * 4),
        "loss": ("loss", *SCHEDULE, log_p, clean, x, timestep, timestep - 1, *weights, np.zeros(1),
                 rows(CLASSES)),
        "guide": ("guide", log_p[:, ::-1], log_p, 3.0, rows(CLASSES)),
        "truncate": ("truncate", log_p, 0.86, -70.0, rows(CLASSES), 0, 1.0),
        "truncate, top_k": ("truncate", log_p, 0.86, -70.0, rows(CLASSES), 40, 0.8),
        "gumbel_noised": ("gumbel_noised", log_p, narrow[:, 1:], rows(CLASSES)),
    }  # fmt: skip


def arrays_in(arguments):
    """All arrays, outputs among them, copied."""
    for one in arguments:
        if isinstance(one, tuple):
            yield from arrays_in(one)
        elif isinstance(one, np.ndarray):
            yield one.copy()


def compare(modules, name, arguments):
    """Milliseconds of each module, and whether they give the same."""
    functions = [getattr(module, name) for module in modules]
    results = []
    for function in functions:
        function(*arguments, 1)
        results.append(list(arrays_in(arguments)))
    equal = all(a.tobytes() == b.tobytes() for a, b in zip(*results, strict=True))
    times = [], []
    for turn in range(ROUNDS):
        for which in (0, 1) if turn % 2 else (1, 0):
            start = time.process_time()
            functions[which](*arguments, 1)
            times[which].append(time.process_time() - start)
    return [1e3 * np.quantile(each, 0.25) for each in times], equal


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("before")
    parser.add_argument("after")
    parser.add_argument("parts", nargs="*", metavar="PART")
    given = parser.parse_args()
    modules = load(given.before), load(given.after)
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, (1, CLASSES, PIXELS))
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    single = log_p.astype(np.float32)
    inputs = {
        "float32": single,
        "float32, classes inner": np.ascontiguousarray(single.swapaxes(1, 2)).swapaxes(1, 2),
        "float16": log_p.astype(np.float16),
        "float64": log_p,
    }
    print(f"{'ms':44}{'before':>9}{'after':>9}{'ratio':>7}")
    for kind, x in inputs.items():
        for label, (name, *arguments) in calls(x, rng).items():
            label = f"{label}: {kind}"
            if given.parts and not any(part in label for part in given.parts):
                continue
            (before, after), equal = compare(modules, name, arguments)
            note = "" if equal else "  results differ"
            print(f"{label:44}{before:9.3f}{after:9.3f}{after / before:7.2f}{note}", flush=True)


if __name__ == "__main__":
    main()
