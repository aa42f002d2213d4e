"""What a step of several timesteps costs: beside a single step between the same levels of noise,
by turns.

Run as `python strides.py [THREADS]`: milliseconds at 1 x 4096 classes x 1024 pixels, each call from
caches that something else has filled. The tokens of both are checked to be equal.
"""

import sys

import numpy as np
from timing import by_turns

import vqdiffusion

CLASSES, PIXELS, STRIDE, STEPS = 4096, 1024, 4, 100


def both_chains(method):
    """A chain along every fourth timestep, and one of those levels alone, each by t and s."""
    tables = vqdiffusion.schedules.linear(STEPS)
    strided = vqdiffusion.VQDiffusionScheduler(
        CLASSES + 1, sampling_method=method, timestep_spacing="trailing"
    )
    strided.set_timesteps(STEPS // STRIDE)
    single = vqdiffusion.VQDiffusionScheduler(
        CLASSES + 1,
        sampling_method=method,
        alphas_cumprod=tables[0][STRIDE - 1 :: STRIDE],
        gammas_cumprod=tables[1][STRIDE - 1 :: STRIDE],
    )
    return strided, single


def main(threads=1):
    vqdiffusion.set_num_threads(int(threads))
    rng = np.random.default_rng(0)
    outer = rng.normal(size=(1, CLASSES, PIXELS)).astype(np.float32)
    outer -= np.log(np.exp(outer).sum(1, keepdims=True))
    inner = np.ascontiguousarray(outer.transpose(0, 2, 1)).transpose(0, 2, 1)
    x_0 = rng.integers(0, CLASSES, (1, PIXELS))
    for method in ("inverse_cdf", "gumbel"):
        strided, single = both_chains(method)
        for step in (12, 24, 0):
            x_t = single.add_noise(x_0, step, 1)
            for layout, log_p in (("outer", outer), ("inner", inner)):

                def call(scheduler, t, log_p=log_p, x_t=x_t):
                    generator = np.random.Generator(np.random.PCG64(3))
                    return scheduler.step(log_p, t, x_t, generator).prev_sample

                t = STRIDE * (step + 1) - 1
                calls = {
                    "strided": lambda t=t: call(strided, t),
                    "single": lambda step=step: call(single, step),
                }
                np.testing.assert_array_equal(calls["strided"](), calls["single"]())
                times = by_turns(calls, seconds=2, most=101)
                a, b = (times[name]["ms"] for name in calls)
                label = f"{method}, from {t}, classes {layout}"
                print(f"{label:34}{a:8.3f} ms strided, {b:8.3f} single: {a / b:.2f}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
