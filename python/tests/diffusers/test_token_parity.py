"""Seed for seed, the tokens of the reference: over two million sampled pixels, drawn at each CPU
level by several numbers of threads, and every difference a proven near-tie.

Both compute the same scores in float32 by different routes, so that two scores closer than their
rounding errors may come out in either order. That is the only difference there may be, in fewer
than one pixel in a million.
"""

import math

import torch
from cpu_levels import LEVELS, at_level
from diffusers_case import Ours, Reference, generator, random_classes, random_log_p
from tensor_views import spaced, turned

from vqdiffusion import set_num_threads

STEPS = 100
THREADS = (1, 2, 3, 8)
# classes, batch, pixels, timesteps
SHAPES = [
    (1, 2, 1009, (0, 1, 50, 99)),
    (2, 3, 10007, (0, 1, 2, 50, 98, 99)),
    (3, 97, 1031, (0, 1, 3, 77, 99)),
    (17, 64, 1024, (0, 1, 10, 30, 50, 70, 90, 99)),
    (100, 4, 4096, (0, 1, 2, 25, 75, 99)),
    (256, 2, 4096, (0, 1, 20, 60)),
    (1024, 1, 1024, (0, 1, 40, 80)),
    (4096, 1, 1024, (0, 1, 55, 99)),
]


def exact_gap(reference, log_p, t, x, noise, row, pixel, tokens):
    """By how much the first token's score exceeds the second's, and what roundings may add."""
    log_p, x = log_p[row : row + 1, :, pixel : pixel + 1], x[row : row + 1, pixel : pixel + 1]
    exact = (
        Ours.from_config(reference.config).q_posterior(log_p.double(), x, t)
        if t
        else log_p.double()
    )
    noise = -torch.log(-torch.log(noise[row, :, pixel].double() + 1e-30) + 1e-30)
    scores = exact[0, :, 0] + noise
    first, second = tokens
    # The reference adds up some eight float32 logarithms, each of which may reach the size of log
    # 1e-30.
    rounding = 8 * 2**-24 * max(abs(math.log(1e-30)), scores[[first, second]].abs().max().item())
    return (scores[first] - scores[second]).item(), rounding


def drawn(config, seed, *arguments):
    """The tokens of a step at each CPU level, the same for any number of threads, with the
    generator's state."""
    for level in LEVELS:
        with at_level(level):
            found = drawn_by_threads(Ours.from_config(config), seed, *arguments)
        yield level, found


def drawn_by_threads(ours, seed, *arguments):
    results = []
    for number in THREADS:
        set_num_threads(number)
        numbers = generator(seed)
        results.append((ours.step(*arguments, numbers).prev_sample, numbers.get_state()))
    for tokens, state in results[1:]:
        assert torch.equal(tokens, results[0][0]) and torch.equal(state, results[0][1])
    return results[0]


def test_tokens_are_those_of_the_reference(num_threads_restored):
    dtypes = [torch.float32, torch.float32, torch.float16, torch.bfloat16, torch.float64]
    different, pixels, seed = dict.fromkeys(LEVELS, 0), 0, 0
    for classes, batch, width, timesteps in SHAPES:
        reference = Reference(classes + 1, STEPS)
        for t in timesteps:
            for repeat in range(2):
                seed += 1
                log_p = random_log_p(
                    batch, classes, width, (0.3, 3, 12)[seed % 3], dtypes[seed % 5]
                )
                log_p = (torch.clone, turned, spaced)[seed % 3](log_p)
                x = random_classes(batch, classes, width, (0, 0.5, 1)[seed % 3])
                numbers = generator(seed)
                expected = reference.step(log_p, t, x, numbers).prev_sample
                pixels += x.numel()
                for level, (tokens, state) in drawn(reference.config, seed, log_p, t, x):
                    assert torch.equal(numbers.get_state(), state)
                    for row, pixel in (tokens != expected).nonzero().tolist():
                        different[level] += 1
                        shape = batch, classes + (t > 0), width
                        noise = torch.rand(shape, generator=generator(seed))
                        pair = expected[row, pixel].item(), tokens[row, pixel].item()
                        gap, rounding = exact_gap(reference, log_p, t, x, noise, row, pixel, pair)
                        assert abs(gap) < rounding, (level, classes, t, row, pixel, pair, gap)
    assert pixels > 2_000_000
    assert max(different.values()) <= pixels / 1_000_000


def test_chains_are_those_of_the_reference(num_threads_restored):
    """Each step samples what the step before has made: a difference anywhere would grow."""
    for classes, batch, width in ((16, 64, 64), (64, 16, 256), (512, 2, 256)):
        reference = Reference(classes + 1, 25)
        weights = torch.randn(classes, classes + 1) * 2
        expected = chain(reference, weights, batch, width)
        for level in LEVELS:
            with at_level(level):
                ours = Ours.from_config(reference.config)
                for number in THREADS:
                    set_num_threads(number)
                    assert torch.equal(chain(ours, weights, batch, width), expected)


def chain(scheduler, weights, batch, width):
    """The last sample of a chain whose denoiser is a stand-in that depends on the neighbours, so
    that errors would spread."""
    classes = len(weights)
    seed, x = generator(classes), torch.full((batch, width), classes)
    scheduler.set_timesteps(25)
    for t in scheduler.timesteps:
        logits = (weights[:, x] + weights[:, x.roll(1, 1)]).transpose(0, 1)
        x = scheduler.step(logits.log_softmax(1).clamp(min=-70), t, x, seed).prev_sample
    return x
