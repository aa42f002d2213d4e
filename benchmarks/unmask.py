"""Times steps with `unmask` beside one read of the columns that may be revealed, by turns.

    python benchmarks/unmask.py [THREADS]

Half of the pixels, anywhere, are masked; the step reveals a tenth of them. "torch.sum" sums an
array that holds the masked columns alone, side by side. "torch.sum, all" sums the whole model
output: with the classes outer nearly every line of memory has a masked pixel, so that no step reads
less. Figures are medians of CPU seconds, which other processes disturb least, on several threads of
the clock, and the ratio to "torch.sum". Before the clock starts the results are compared with
formulas of NumPy in float64.
"""

import random
import statistics
import sys
import time

import numpy as np
import torch

import vqdiffusion

SHAPES = [(4, 4096, 1024), (1, 1024, 4096)]  # (batch, classes, pixels)
ORDERS = ("random", "purity", "margin", "entropy", "confidence")
ROUNDS = 31
STEP = {"timestep": 50, "previous_timestep": 45}


def key(by, log_p, token):
    """What a pixel is chosen by, for each of (M, K) columns."""
    p = np.exp(log_p.astype(np.float64))
    second, first = np.partition(p, -2)[:, -2:].T
    return {
        "purity": lambda: np.log(first),
        "margin": lambda: np.log(first - second),
        "entropy": lambda: (p * log_p).sum(1),
        "confidence": lambda: np.log(p[np.arange(len(p)), token]),
    }[by]()


def check(out, by, columns, masked, sample):
    """Where scores are kept they are those of the formula, and the largest were chosen."""
    if by == "random":
        assert (sample[out.revealed] == columns.shape[1]).all()
        return
    token = out.prev_sample[masked]
    for row in range(len(sample)):
        scores = out.scores[row][masked[row]]
        chosen = out.revealed[row][masked[row]]
        assert scores[chosen].min() >= scores[~chosen].max()
    some = np.flatnonzero(out.revealed[masked])[:200]
    expected, found = key(by, columns[some], token[some]), out.scores[masked][some]
    if by == "purity":  # less the largest of the row, here of what the first row holds
        expected, found = expected - expected[0], found - found[0]
        first = np.flatnonzero(masked.reshape(-1))[some] < sample.shape[1]
        expected, found = expected[first], found[first]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def contestants(shape, inner, rng):
    batch, classes, pixels = shape
    logits = rng.normal(0, 2, shape).astype(np.float32)
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    sample = np.where(rng.random((batch, pixels)) < 0.5, classes, 0)
    masked = sample == classes
    columns = np.ascontiguousarray(log_p.transpose(0, 2, 1)[masked])
    if inner:
        log_p = np.ascontiguousarray(log_p.transpose(0, 2, 1)).transpose(0, 2, 1)
    some, everything = torch.from_numpy(columns), torch.from_numpy(log_p)
    scheduler = vqdiffusion.VQDiffusionScheduler(classes + 1)

    def step(by):
        generator = np.random.Generator(np.random.PCG64(3))
        unmask = vqdiffusion.Unmask(by=by)
        return scheduler.step(log_p, sample=sample, generator=generator, unmask=unmask, **STEP)

    for by in ORDERS:
        check(step(by), by, columns, masked, sample)
    bases = {"torch.sum": some.sum, "torch.sum, all": everything.sum}
    return bases | {by: lambda by=by: step(by) for by in ORDERS}


def medians(functions, clock):
    """Of calls by turns, each from caches that something else has filled."""
    times = {name: [] for name in functions}
    order, shuffle = list(functions.items()), random.Random(0).shuffle
    other = torch.ones(1 << 25)
    for _ in range(ROUNDS):
        shuffle(order)
        for name, function in order:
            other.add_(1)
            start = clock()
            function()
            times[name].append(clock() - start)
    return {name: statistics.median(each) for name, each in times.items()}


def main(threads=1):
    torch.set_num_threads(threads)
    vqdiffusion.set_num_threads(threads)
    clock = time.process_time if threads == 1 else time.perf_counter
    rng = np.random.default_rng(0)
    for shape in SHAPES:
        for inner in (False, True):
            found = medians(contestants(shape, inner, rng), clock)
            base = found["torch.sum"]
            print(f"{shape}, classes {'inner' if inner else 'outer'}, {threads} thread(s)")
            for name, seconds in found.items():
                print(f"  {name:16}{1e3 * seconds:9.2f} ms{seconds / base:8.2f}", flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
