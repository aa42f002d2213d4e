"""The inputs of accuracy.py, the same for the package and for the formulas beside it."""

import numpy as np

RNG_SEED = 8
TIMES = [1, 10, 50, 90, 99]
LOSS_TIMES = [1, 7, 50, 90, 99]
GUIDANCE_SCALE = 5.0
# Distances between a rate and the mass before a class.
DISTANCES = np.geomspace(1e-10, 1e-4, 61)


def log_softmax(logits):
    logits = logits - logits.max(0)
    return logits - np.log(np.exp(logits).sum(0))


def of_functions(dtype):
    """Arguments of exp and of log."""
    rng = np.random.default_rng(RNG_SEED)
    reach = 87.3 if dtype == np.float32 else 708.0
    x = rng.uniform(-reach, reach, 20_000).astype(dtype)
    near = 1 + rng.choice([-1, 1], 5000) * np.exp(rng.uniform(-16, -1, 5000))
    positive = np.concatenate([np.exp(rng.uniform(-reach, reach, 15_000)), near])
    return x, positive.astype(dtype)


def of_posterior(classes, columns, dtype):
    """log p (K, columns) from nearly flat to peaked, and what each pixel shows: the mask, the
    likeliest class, another."""
    rng = np.random.default_rng([RNG_SEED, classes])
    logits = rng.normal(size=(classes, columns)) * rng.uniform(0.3, 6, columns)
    log_p = np.maximum(log_softmax(logits), -70).astype(dtype)
    x = [classes, log_p[:, 1 % columns].argmax(), 3]
    return log_p, np.array([x[n % 3] for n in range(columns)])


def of_loss(classes, pixels, dtype):
    """Logits (T, K, N) that lean towards x_0, x_0 and x_t (T, N)."""
    rng = np.random.default_rng([RNG_SEED, classes, 1])
    rows = len(LOSS_TIMES)
    x_0 = rng.integers(0, classes, (rows, pixels))
    x_t = np.where(rng.random((rows, pixels)) < 0.5, classes, x_0)
    x_t[:, 0] = (x_0[:, 0] + 1) % classes
    z = rng.normal(0, 3, (rows, classes, pixels))
    np.put_along_axis(z, x_0[:, None], z.max(1, keepdims=True) + 1.0, 1)
    return z.astype(dtype), x_0, x_t


def of_truncation(classes, columns):
    """log p (K, columns), a class of each column, and the rates (columns, 2, distances) at which it
    is to be dropped, since as much mass less a distance lies before it, and kept."""
    rng = np.random.default_rng([RNG_SEED, classes, 2])
    logits = rng.normal(size=(classes, columns)) * rng.uniform(0.3, 2, columns)
    log_p = log_softmax(logits).astype(np.float32)
    order = np.argsort(-log_p, axis=0, kind="stable")
    p = np.exp(np.take_along_axis(log_p, order, axis=0).astype(np.longdouble))
    before = np.cumsum(p, axis=0) - p
    place = (before < rng.uniform(0.5, 0.95, columns)).sum(0)
    chosen = order[place, np.arange(columns)]
    mass = before[place, np.arange(columns)]
    rates = mass[:, None, None] + np.stack([-DISTANCES, DISTANCES])
    return log_p, chosen, mass, rates.astype(np.float64)


FUNCTIONS = [np.float32, np.float64]
POSTERIORS = [(16, 24, np.float32), (4096, 3, np.float32), (16, 24, np.float64)]
LOSSES = [(16, 12, np.float32), (16, 12, np.float64)]
TRUNCATIONS = [(100, 40), (4096, 20)]
GUIDANCES = [(16, 24, np.float32), (4096, 3, np.float32)]
