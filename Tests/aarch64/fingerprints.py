"""Prints a fingerprint of each result of the package, one a line, for two machines to compare."""

import hashlib
from collections.abc import Iterator

import numpy as np

from vqdiffusion import VQDiffusionScheduler, gumbel_noised, guide, token_scores, truncate

BATCH, CLASSES, PIXELS = 2, 131, 77
TYPES = np.float16, np.float32, np.float64


def numbers(seed, dtype):
    """Log-probabilities but for a constant, by arithmetic that rounds equally everywhere."""
    uniforms = np.random.default_rng(seed).random((BATCH, CLASSES, PIXELS))
    return (-12 * uniforms).astype(dtype)


def steps(dtype, method) -> Iterator[tuple[str, np.ndarray]]:
    scheduler = VQDiffusionScheduler(CLASSES + 1, sampling_method=method)
    rng = np.random.default_rng(7)
    sample = np.full((BATCH, PIXELS), CLASSES)
    known = np.where(np.arange(PIXELS) % 9 == 0, 5, -1) * np.ones((BATCH, 1), np.int64)
    for t in scheduler.timesteps:
        sample = scheduler.step(numbers(int(t), dtype), t, sample, rng).prev_sample
        yield f"step {t}", sample
        if t % 10 == 4:
            yield f"posterior {t}", scheduler.q_posterior(numbers(int(t), dtype), sample, t)
    for t in 99, 40, 3:
        sample = scheduler.add_noise(np.full((BATCH, PIXELS), 17), t, rng)
        outputs = numbers(t, dtype), numbers(t + 1, dtype)
        for options in {}, {"truncation_rate": 0.86}, {"top_k": 9, "temperature": 0.7}:
            drawn = scheduler.guided_step(*outputs, t, sample, rng, **options).prev_sample
            yield f"guided step {t} {options}", drawn
        drawn = scheduler.step(outputs[0], t, sample, rng, known=known).prev_sample
        yield f"known {t}", drawn


def results() -> Iterator[tuple[str, np.ndarray]]:
    for dtype in TYPES:
        name = np.dtype(dtype).name
        for method in "gumbel", "inverse_cdf":
            for label, array in steps(dtype, method):
                yield f"{name} {method} {label}", array
        log_p, other = numbers(1, dtype), numbers(2, dtype)
        yield f"{name} guide", guide(log_p, other, 5.0)
        yield f"{name} truncate", truncate(log_p, 0.86)
        yield f"{name} gumbel_noised", gumbel_noised(log_p, np.random.default_rng(3))
        scores = token_scores(log_p, np.random.default_rng(4).random((BATCH, PIXELS)), 0.9)
        for field, array in scores._asdict().items():
            yield f"{name} scores {field}", array
        if dtype is not np.float16:
            x_0 = np.random.default_rng(5).integers(0, CLASSES, (BATCH, PIXELS))
            scheduler = VQDiffusionScheduler(CLASSES + 1)
            x_t = scheduler.add_noise(x_0, 60, np.random.default_rng(6))
            loss = scheduler.loss(log_p, x_0, x_t, 60, auxiliary_weight=0.01)
            yield f"{name} loss", np.asarray(loss.loss)
            yield f"{name} gradient", loss.gradient


for label, array in results():
    digest = hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:16]
    print(f"{digest} {array.dtype} {array.shape} {label}")
