"""Writes the package's results for the inputs of inputs.py into an .npz file: one CPU level in
each process.

    VQDIFFUSION_CPU=x86-64-v3 python reliability/ours.py FILE
"""

import sys

import inputs
import numpy as np

import vqdiffusion
from vqdiffusion import VQDiffusionScheduler, _native


def results():
    found = {}
    for classes, columns, dtype in inputs.POSTERIORS:
        log_p, x = inputs.of_posterior(classes, columns, dtype)
        scheduler = VQDiffusionScheduler(classes + 1)
        for t in inputs.TIMES:
            name = f"posterior {classes} {dtype.__name__} {t}"
            found[name] = scheduler.q_posterior(log_p[None], x[None], t)[0]
    for classes, pixels, dtype in inputs.LOSSES:
        z, x_0, x_t = inputs.of_loss(classes, pixels, dtype)
        loss = VQDiffusionScheduler(classes + 1).loss(z, x_0, x_t, inputs.LOSS_TIMES)
        found[f"loss {classes} {dtype.__name__}"] = loss.per_row
        found[f"gradient {classes} {dtype.__name__}"] = loss.gradient
    for classes, columns in inputs.TRUNCATIONS:
        log_p, chosen, _, rates = inputs.of_truncation(classes, columns)
        kept = np.empty(rates.shape, bool)
        for at in np.ndindex(rates.shape):
            column = log_p[None, :, at[0], None]
            kept[at] = vqdiffusion.truncate(column, rates[at])[0, chosen[at[0]], 0] > -np.inf
        found[f"truncation {classes}"] = kept
    for classes, columns, dtype in inputs.GUIDANCES:
        log_p, _ = inputs.of_posterior(classes, columns, dtype)
        found[f"guidance {classes} {dtype.__name__}"] = vqdiffusion.guide(
            log_p[None, ::-1], log_p[None], inputs.GUIDANCE_SCALE
        )[0]
    return found


if __name__ == "__main__":
    np.savez(sys.argv[1], **results())
    print(_native.cpu)
