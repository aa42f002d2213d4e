"""Schedules of every kind by their tables, and two pixels whose exact denoiser is known."""

import numpy as np

from vqdiffusion import VQDiffusionScheduler, index_to_log_onehot

T = 12
LEFT = np.linspace(1, 0.03, T + 1)[1:]
TABLES = {
    "linear": (np.linspace(0.95, 0.02, T), np.linspace(0.01, 0.9, T)),
    "absorbing": (LEFT, 1 - LEFT),
    "uniform": (LEFT, np.zeros(T)),
    "mixed": (LEFT**2, 0.7 * (1 - LEFT**2)),
}


def scheduler_of(name, classes, **arguments):
    alphas, gammas = TABLES[name]
    return VQDiffusionScheduler(
        classes + 1, alphas_cumprod=alphas, gammas_cumprod=gammas, **arguments
    )


CLASSES = 8


def pair_law(classes=CLASSES):
    """Two pixels that are equal with probability 0.9, else independent: (K, K)."""
    return 0.9 * np.eye(classes) / classes + 0.1 / classes**2


def exact_denoiser(scheduler, x_t, t):
    """log p(x_0 of each pixel | x_t of both), (B, K, 2)."""
    classes = scheduler.mask_class
    onehot = index_to_log_onehot(x_t, classes + 1).astype(np.float64)
    seen = np.exp(
        scheduler.log_Q_t_transitioning_to_known_class(
            t=t, x_t=x_t, log_onehot_x_t=onehot, cumulative=True
        )
    )
    joint = pair_law(classes)[None] * seen[:, :, None, 0] * seen[:, None, :, 1]
    joint /= joint.sum((1, 2), keepdims=True)
    return np.log(np.stack((joint.sum(2), joint.sum(1)), axis=2))
