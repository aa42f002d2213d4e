"""What known tokens cost and save: `step` with `known=` beside the same without, by turns.

Run as `python known.py [THREADS]`: milliseconds at 1 x 4096 classes x 1024 pixels, each call from
caches that something else has filled.
"""

import sys

import numpy as np
import torch
from timing import by_turns

import vqdiffusion

CLASSES, PIXELS = 4096, 1024


def known_tokens(x_0, rng):
    """Nothing; nothing, said by an array; nine pixels in ten, as nine rows in ten and anywhere."""
    block, anywhere = np.arange(PIXELS) < 0.9 * PIXELS, rng.random(PIXELS) < 0.9
    return {
        "without": None,
        "all -1": np.full_like(x_0, -1),
        "90 % in a block": np.where(block, x_0, -1),
        "90 % anywhere": np.where(anywhere, x_0, -1),
    }


def main(threads=1):
    vqdiffusion.set_num_threads(int(threads))
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    outer = rng.normal(size=(1, CLASSES, PIXELS)).astype(np.float32)
    outer -= np.log(np.exp(outer).sum(1, keepdims=True))
    inner = np.ascontiguousarray(outer.transpose(0, 2, 1)).transpose(0, 2, 1)
    x_0 = rng.integers(0, CLASSES, (1, PIXELS))
    known = known_tokens(x_0, rng)
    print(f"{'':34}", *(f"{name:>16}" for name in known))
    for method in ("inverse_cdf", "gumbel"):
        scheduler = vqdiffusion.VQDiffusionScheduler(CLASSES + 1, sampling_method=method)
        for t in (0, 50):
            x_t = scheduler.add_noise(x_0, t, 1)
            for layout, log_p in (("outer", outer), ("inner", inner)):

                def call(tokens, log_p=log_p, t=t, x_t=x_t, scheduler=scheduler):
                    # A Generator of NumPy's is fast to make; each call draws the same.
                    generator = np.random.Generator(np.random.PCG64(3))
                    scheduler.step(log_p, t, x_t, generator, known=tokens)

                calls = {name: lambda one=one: call(one) for name, one in known.items()}
                times = by_turns(calls, seconds=2, most=101)
                label = f"{method}, t = {t}, classes {layout}"
                print(f"{label:34}", *(f"{times[name]['ms']:16.3f}" for name in known), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
