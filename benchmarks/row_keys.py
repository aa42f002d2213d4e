"""Times a step with RowKeys beside one with a single generator and one with a generator for each
row, by turns in one process.

    python benchmarks/row_keys.py [ROWS] [CALLS]

By default 1024 rows of 17 classes and 64 pixels. Prints the medians in milliseconds and how many
times the step with a single generator they are.
"""

import sys

import numpy as np

import vqdiffusion
from timing import by_turns
from vqdiffusion import RowKeys, VQDiffusionScheduler

CLASSES, PIXELS, T = 17, 64, 50


def contestants(method, rows):
    """Steps from the same grid that draw in several ways."""
    scheduler = VQDiffusionScheduler(CLASSES + 1, sampling_method=method)
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(rows, CLASSES, PIXELS)).astype(np.float32)
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    sample = rng.integers(0, CLASSES + 1, (rows, PIXELS))
    generators = {
        "one generator": rng,
        "RowKeys": RowKeys(0, range(rows)),
        "a generator for each row": [np.random.default_rng(row) for row in range(rows)],
    }
    return {
        name: lambda generator=generator: scheduler.step(log_p, T, sample, generator)
        for name, generator in generators.items()
    }


def main(rows=1024, calls=400):
    print(f"{rows} rows of {CLASSES} x {PIXELS}, t = {T}")
    for method in "inverse_cdf", "gumbel":
        for threads in 1, 0:
            vqdiffusion.set_num_threads(threads)
            times = by_turns(contestants(method, rows), seconds=60, most=calls, written=0)
            single = times["one generator"]["ms"]
            said = ", ".join(
                f"{name} {each['ms']:.3f} ({each['ms'] / single:.2f})"
                for name, each in times.items()
            )
            print(f"{method}, {f'{threads} thread' if threads else 'all cores'}: {said} ms")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
