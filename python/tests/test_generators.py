"""Where the random numbers come from: every kind of generator, one for each row, and what a failed
call leaves.
"""

import subprocess
import sys

import numpy as np
import pytest
from numpy.random import (
    MT19937,
    PCG64,
    SFC64,
    Generator,
    Philox,
    RandomState,
    SeedSequence,
    default_rng,
)
from reference import random_classes, random_log_p

import vqdiffusion
from vqdiffusion import VQDiffusionScheduler

METHODS = ["inverse_cdf", "gumbel"]
CLASSES, BATCH, PIXELS = 5, 3, 40


@pytest.fixture
def inputs(rng):
    return random_log_p(rng, BATCH, CLASSES, PIXELS), random_classes(rng, BATCH, CLASSES, PIXELS)


def state(generator):
    bit_generator = getattr(generator, "bit_generator", None) or getattr(
        generator, "_bit_generator", generator
    )
    return str(bit_generator.state)


def draws(method, t):
    """Shape and dtype of the uniforms that the documentation promises."""
    return (
        ((BATCH, CLASSES + (t > 0), PIXELS), np.float32)
        if method == "gumbel"
        else ((BATCH, PIXELS), np.float64)
    )


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("t", [0, 60])
def test_every_kind_draws_the_same_numbers(inputs, method, t):
    scheduler = VQDiffusionScheduler(CLASSES + 1, sampling_method=method)
    expected = scheduler.step(inputs[0], t, inputs[1], default_rng(12)).prev_sample
    kinds = [12, np.int16(12), SeedSequence(12), PCG64(12), Generator(PCG64(12))]
    for kind in kinds:
        np.testing.assert_array_equal(
            scheduler.step(inputs[0], t, inputs[1], kind).prev_sample, expected
        )
    for seed in kinds[:3]:  # a seed stands for a new generator at every call
        np.testing.assert_array_equal(
            scheduler.step(inputs[0], t, inputs[1], seed).prev_sample, expected
        )
    assert kinds[2].n_children_spawned == 0
    for generator in kinds[3:]:  # a generator goes on
        assert (scheduler.step(inputs[0], t, inputs[1], generator).prev_sample != expected).any()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("t", [0, 60])
@pytest.mark.parametrize("make", [PCG64, MT19937, Philox, SFC64, RandomState, default_rng])
def test_a_generator_advances_by_the_documented_draws(inputs, method, t, make):
    scheduler = VQDiffusionScheduler(CLASSES + 1, sampling_method=method)
    ours, twin = make(3), make(3)
    shape, dtype = draws(method, t)
    for _ in range(2):
        scheduler.step(inputs[0], t, inputs[1], ours)
        Generator(
            getattr(twin, "bit_generator", None) or getattr(twin, "_bit_generator", twin)
        ).random(shape, dtype)
        assert state(ours) == state(twin)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("t", [0, 60])
def test_a_row_does_not_depend_on_its_neighbours(inputs, method, t):
    scheduler = VQDiffusionScheduler(CLASSES + 1, sampling_method=method)
    log_p, x_t = inputs
    generators = [default_rng(1), PCG64(2), 3]
    together = scheduler.step(log_p, t, x_t, generators).prev_sample
    alone = [default_rng(1), PCG64(2), 3]
    for row in range(BATCH):
        one = scheduler.step(log_p[row : row + 1], t, x_t[row : row + 1], alone[row]).prev_sample
        np.testing.assert_array_equal(together[row], one[0])
    assert [state(g) for g in generators[:2]] == [state(g) for g in alone[:2]]
    reversed_rows = scheduler.step(
        log_p[::-1], t, x_t[::-1], (3, PCG64(2), default_rng(1))
    ).prev_sample
    np.testing.assert_array_equal(reversed_rows, together[::-1])


@pytest.mark.parametrize("method", METHODS)
def test_one_generator_for_several_rows_goes_on_from_row_to_row(inputs, method):
    scheduler = VQDiffusionScheduler(CLASSES + 1, sampling_method=method)
    one = default_rng(4)
    np.testing.assert_array_equal(
        scheduler.step(inputs[0], 60, inputs[1], [one] * BATCH).prev_sample,
        scheduler.step(inputs[0], 60, inputs[1], default_rng(4)).prev_sample,
    )


def test_none_draws_afresh_and_leaves_the_global_generator_alone():
    scheduler = VQDiffusionScheduler(CLASSES + 1)
    before = str(np.random.get_state())
    flat = np.zeros(
        (BATCH, CLASSES, PIXELS)
    )  # 120 pixels of five classes are equal by chance with probability 5 ** -120
    for generator in (None, [None] * BATCH):
        first, second = (scheduler.step(flat, 0, None, generator).prev_sample for _ in range(2))
        assert (first != second).any()
    assert str(np.random.get_state()) == before


FORK = """
import os
import numpy as np
from vqdiffusion import VQDiffusionScheduler
scheduler = VQDiffusionScheduler(1001)
draw = lambda: scheduler.step(np.zeros((1, 1000, 20)), 0, None).prev_sample.tolist()
draw()
if child := os.fork():
    os.waitpid(child, 0)
print(draw(), flush=True)
"""


def test_a_forked_child_draws_other_numbers():
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORK], capture_output=True, text=True, check=True
    )
    childs, parents = run.stdout.splitlines()
    assert childs != parents


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("make", [default_rng, PCG64, MT19937, RandomState])
def test_a_failed_call_puts_the_generators_back(inputs, method, make):
    scheduler = VQDiffusionScheduler(CLASSES + 1, sampling_method=method)
    log_p, x_t = inputs
    bad = x_t.copy()
    bad[-1, -1] = CLASSES + 1
    generators = [make(1), make(2), make(3)]
    generators[2] = generators[0]
    if make is default_rng:
        generators[0].random(dtype=np.float32)  # leaves half of a 64-bit number for the next draw
    before = [state(g) for g in generators]
    calls = [
        lambda g: scheduler.step(log_p, 60, bad, g),
        lambda g: scheduler.step(log_p[:, 1:], 60, x_t, g),
        lambda g: scheduler.step(log_p, 60, x_t.astype(float), g),
        lambda g: scheduler.add_noise(bad, 60, g),
        lambda g: vqdiffusion.gumbel_noised(np.full_like(log_p, np.nan), g),
    ]
    for call in calls:
        for generator in (generators[0], generators):
            with pytest.raises((ValueError, TypeError)):
                call(generator)
            assert [state(g) for g in generators] == before


@pytest.mark.parametrize(
    "generator",
    [1.5, True, np.True_, "7", np.random, object(), np.arange(3), {1: 2}, iter([1, 2, 3])],
    ids=lambda generator: type(generator).__name__,
)
def test_other_objects_are_refused(inputs, generator):
    scheduler = VQDiffusionScheduler(CLASSES + 1)
    for call in (
        lambda: scheduler.step(inputs[0], 60, inputs[1], generator),
        lambda: scheduler.step(inputs[0], 60, inputs[1], [1, 2, generator]),
        lambda: scheduler.add_noise(inputs[1], 60, generator),
        lambda: vqdiffusion.gumbel_noised(inputs[0], generator),
    ):
        with pytest.raises(TypeError, match="generator must be None, an int, a SeedSequence"):
            call()


def test_a_list_within_a_list_is_refused(inputs):
    with pytest.raises(TypeError, match="generator must be"):
        VQDiffusionScheduler(CLASSES + 1).step(inputs[0], 60, inputs[1], [1, 2, [3]])


@pytest.mark.parametrize("generators", [[], [1, 2], (1, 2, 3, 4)])
def test_a_list_of_another_length_is_refused(inputs, generators):
    with pytest.raises(ValueError, match="generator as a list must hold one for each batch row"):
        VQDiffusionScheduler(CLASSES + 1).step(inputs[0], 60, inputs[1], generators)


def test_a_negative_seed_is_refused(inputs):
    with pytest.raises(ValueError, match="generator as a seed must not be negative, not -1"):
        VQDiffusionScheduler(CLASSES + 1).step(inputs[0], 60, inputs[1], -1)
