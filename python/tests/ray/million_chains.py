"""A million chains of 16 independent pixels by the Ray Data job, and whether they have the law that
they were drawn from.

    python python/tests/ray/million_chains.py FOLDER --rows 1000000 --workers 2

The model knows the law exactly, so a chain of any stride draws from it, and the counts of classes
are multinomial.
"""

import argparse
import functools
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from scipy.stats import chi2

sys.path.insert(0, str(Path(__file__).parents[3] / "examples"))

import ray_batch  # noqa: E402
import vqdiffusion  # noqa: E402
from vqdiffusion import RowKeys, VQDiffusionScheduler  # noqa: E402

K, N, SEED = 8, 16, 20


def law():
    """Probabilities of each pixel's classes, (K, N), the smallest about 0.002."""
    logits = np.random.default_rng(1).normal(scale=1.2, size=(K, N))
    return np.exp(logits) / np.exp(logits).sum(0)


class DrawToy:
    def __init__(self, steps):
        vqdiffusion.set_num_threads(1)
        self.scheduler = VQDiffusionScheduler(K + 1, timestep_spacing="trailing")
        self.scheduler.set_timesteps(steps)
        self.log_p = {t: self.posterior(t) for t in self.scheduler.timesteps.tolist()}

    def posterior(self, t):
        """log p(x_0 = k | x_t of the pixel), (K + 1, N, K): x_t, pixel, k."""
        alpha, beta = (
            np.exp(float(log[t]))
            for log in (self.scheduler.log_cumprod_at, self.scheduler.log_cumprod_bt)
        )
        seen = np.concatenate((alpha * np.eye(K) + beta, np.ones((1, K))))
        p = seen[:, None] * law().T
        return np.log(p / p.sum(2, keepdims=True)).astype(np.float32)

    def __call__(self, batch):
        keys = RowKeys(SEED, batch["id"])
        x_t = self.scheduler.sample_prior((len(keys), N), keys)
        for t in self.scheduler.timesteps.tolist():
            log_p = self.log_p[t][x_t, np.arange(N)].swapaxes(1, 2)
            x_t = self.scheduler.step(log_p, t, x_t, keys).prev_sample
        return {"id": batch["id"], "tokens": x_t.astype(np.uint8)}


def run(folder, rows, rows_per_shard, steps, workers):
    ray_batch.run(folder, functools.partial(DrawToy, steps), rows, rows_per_shard, workers)


def statistics(folder):
    """(name, chi-square, degrees of freedom, p) of classes at each pixel, of pairs of neighbouring
    pixels, and of a pixel in rows with neighbouring ids: the last two see uniforms used twice.
    """
    table = pq.read_table(folder).sort_by("id")
    np.testing.assert_array_equal(table["id"].to_numpy(), np.arange(len(table)))
    tokens = table["tokens"].combine_chunks().flatten().to_numpy().reshape(-1, N).astype(int)
    p = law().T
    yield "classes", *chi_square(tokens, p)
    left, right = slice(0, N, 2), slice(1, N, 2)
    pairs = tokens[:, left] * K + tokens[:, right]
    yield "pixels side by side", *chi_square(pairs, products(p[left], p[right]))
    pairs = tokens[0 : len(tokens) // 2 * 2 : 2] * K + tokens[1::2]
    yield "rows side by side", *chi_square(pairs, products(p, p))


def products(left, right):
    return (left[:, :, None] * right[:, None]).reshape(len(left), -1)


def chi_square(columns, probabilities):
    """Of each column with its probabilities, added."""
    counts = np.stack(
        [np.bincount(column, minlength=probabilities.shape[1]) for column in columns.T]
    )
    expected = probabilities * len(columns)
    statistic = ((counts - expected) ** 2 / expected).sum()
    freedom = counts.size - len(counts)
    return statistic, freedom, chi2.sf(statistic, freedom)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rows-per-shard", type=int, default=10_000)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    folder = given.folder.resolve()
    ray_batch.remember_job(folder, {"rows": given.rows, "steps": given.steps})
    ray_batch.ray.cloudpickle.register_pickle_by_value(ray_batch)  # the workers cannot import it
    ray_batch.start_ray(given.workers)
    start = time.perf_counter()
    run(folder, given.rows, given.rows_per_shard, given.steps, given.workers)
    seconds = time.perf_counter() - start
    print(f"{given.rows / seconds:.0f} chains/s: {seconds:.0f} s with {given.workers} workers")
    for name, statistic, freedom, p in statistics(folder):
        print(f"{name}: chi-square {statistic:.1f}, {freedom} degrees of freedom, p = {p:.3f}")


if __name__ == "__main__":
    main()
