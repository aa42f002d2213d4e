"""Makes a step by each method with the installed package, whose version the argument says. Prints
NumPy's version and the tokens, which are the same wherever this runs.
"""

import sys

import numpy as np

import vqdiffusion

CLASSES, PIXELS = 6, 8

if vqdiffusion.__version__ != sys.argv[1]:
    sys.exit(f"vqdiffusion {vqdiffusion.__version__} is installed, not {sys.argv[1]}")

truth = np.arange(PIXELS)[None] % CLASSES
certain = np.where(np.arange(CLASSES)[None, :, None] == truth[:, None], 0, -70).astype(np.float32)
likely = certain / 64
said = []
for method in "inverse_cdf", "gumbel":
    scheduler = vqdiffusion.VQDiffusionScheduler(CLASSES + 1, sampling_method=method)
    rng = np.random.default_rng(7)
    masked = np.full((1, PIXELS), CLASSES)
    last = scheduler.step(certain, 0, masked, rng).prev_sample
    if not np.array_equal(last, truth):
        sys.exit(f"{method}: the last step drew {last.tolist()}, and only {truth.tolist()} can be")
    middle = scheduler.step(likely, 2, masked, rng).prev_sample
    said.append("".join(map(str, middle[0])))
print(np.__version__, *said)
