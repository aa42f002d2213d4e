"""The native module draws with the engines of torch's generators: same uniforms and states."""

import threading
import tracemalloc

import numpy as np
import pytest
import torch
from schedule_of import schedule_of

import vqdiffusion
from vqdiffusion import _native
from vqdiffusion.diffusers import VQDiffusionScheduler
from vqdiffusion.torch import engines as module

BATCH, CLASSES, PIXELS = 2, 300, 333  # enough work for threads to be started


def inputs(batch=BATCH, classes=CLASSES, pixels=PIXELS, seed=0):
    random = torch.Generator().manual_seed(seed)
    log_p = torch.randn(batch, classes, pixels, generator=random).mul(3).log_softmax(1)
    return log_p, torch.randint(0, classes + 1, (batch, pixels), generator=random)


def given(scheduler, log_p, t, sample, uniforms):
    """The step on uniforms that were drawn before."""
    out = np.empty(sample.shape, np.int64)
    _native.step(
        *schedule_of(scheduler),
        t,
        t - 1,
        log_p.numpy(),
        sample.numpy(),
        "gumbel",
        uniforms.numpy(),
        out,
    )
    return torch.from_numpy(out)


@pytest.fixture(params=[1, 2, 3, 8])
def threads(request):
    before = vqdiffusion.get_num_threads()
    vqdiffusion.set_num_threads(request.param)
    yield request.param
    vqdiffusion.set_num_threads(before)


@pytest.mark.parametrize("drawn_before", [0, 1, 607, 623, 624, 625, 5000])
@pytest.mark.parametrize("t", [0, 1, 50, 99])
def test_same_uniforms_and_state_as_torch_rand(threads, t, drawn_before):
    scheduler = VQDiffusionScheduler(CLASSES + 1)
    log_p, sample = inputs()
    ours, theirs = torch.Generator().manual_seed(9), torch.Generator().manual_seed(9)
    for generator in ours, theirs:
        torch.rand(drawn_before, generator=generator)
    uniforms = torch.rand((BATCH, CLASSES + (t > 0), PIXELS), generator=theirs)
    prev_sample = scheduler.step(log_p, t, sample, ours).prev_sample
    assert torch.equal(prev_sample, given(scheduler, log_p, t, sample, uniforms))
    assert torch.equal(ours.get_state(), theirs.get_state())
    assert torch.equal(torch.randn(17, generator=ours), torch.randn(17, generator=theirs))


@pytest.mark.parametrize("pixels", [1, 15, 16, 17, 623, 624, 625, 1300])
def test_any_number_of_pixels(pixels):
    scheduler = VQDiffusionScheduler(6)
    log_p, sample = inputs(3, 5, pixels)
    ours, theirs = torch.Generator().manual_seed(2), torch.Generator().manual_seed(2)
    uniforms = torch.rand((3, 6, pixels), generator=theirs)
    assert torch.equal(
        scheduler.step(log_p, 40, sample, ours).prev_sample,
        given(scheduler, log_p, 40, sample, uniforms),
    )
    assert torch.equal(ours.get_state(), theirs.get_state())


def test_a_cached_normal_number_survives():
    log_p, sample = inputs()
    ours, theirs = torch.Generator().manual_seed(4), torch.Generator().manual_seed(4)
    for generator in ours, theirs:
        torch.normal(torch.zeros(1), generator=generator)
    VQDiffusionScheduler(CLASSES + 1).step(log_p, 50, sample, ours)
    torch.rand((BATCH, CLASSES + 1, PIXELS), generator=theirs)
    assert torch.equal(ours.get_state(), theirs.get_state())


def test_nothing_drawn_leaves_the_state_alone():
    for seed_only in True, False:
        generator = torch.Generator().manual_seed(1)
        if not seed_only:
            torch.rand(624, generator=generator)
        before = generator.get_state()
        VQDiffusionScheduler(6).step(
            torch.zeros(1, 5, 0), 50, torch.zeros(1, 0, dtype=torch.int64), generator
        )
        assert torch.equal(generator.get_state(), before)


def test_one_generator_for_two_rows_serves_them_in_turn():
    scheduler = VQDiffusionScheduler(CLASSES + 1)
    log_p, sample = inputs()
    twice, once = torch.Generator().manual_seed(5), torch.Generator().manual_seed(5)
    assert torch.equal(
        scheduler.step(log_p, 50, sample, [twice, twice]).prev_sample,
        scheduler.step(log_p, 50, sample, once).prev_sample,
    )
    assert torch.equal(twice.get_state(), once.get_state())


def test_timesteps_of_their_own_draw_in_turn():
    scheduler = VQDiffusionScheduler(CLASSES + 1)
    log_p, sample = inputs()
    together, apart = torch.Generator().manual_seed(5), torch.Generator().manual_seed(5)
    rows = [
        scheduler.step(log_p[i : i + 1], t, sample[i : i + 1], apart).prev_sample
        for i, t in enumerate((0, 70))
    ]
    prev_sample = scheduler.step(log_p, torch.tensor([0, 70]), sample, together).prev_sample
    assert torch.equal(prev_sample, torch.cat(rows))
    assert torch.equal(together.get_state(), apart.get_state())


def test_a_bad_row_leaves_the_generators_of_all_rows_alone():
    scheduler = VQDiffusionScheduler(CLASSES + 1)
    log_p, sample = inputs()
    log_p[1, 3, 5] = torch.nan
    generators = [torch.Generator().manual_seed(i) for i in range(BATCH)]
    before = [one.get_state() for one in generators]
    with pytest.raises(ValueError, match="model_output"):
        scheduler.step(log_p, 50, sample, generators)
    assert all(torch.equal(one.get_state(), state) for one, state in zip(generators, before))


def test_a_generator_that_fails_does_not_keep_the_lock():
    class Failing(torch.Generator):
        def get_state(self):
            raise RuntimeError("no state")

    log_p, sample = inputs()
    with pytest.raises(RuntimeError, match="no state"):
        VQDiffusionScheduler(CLASSES + 1).step(
            log_p, 50, sample, [torch.default_generator, Failing()]
        )
    assert_free(module._global_lock)


def assert_free(lock):
    """The lock is reentrant: only another thread can tell whether this one holds it."""
    taken = []
    other = threading.Thread(
        target=lambda: taken.append(lock.acquire(blocking=False)) or lock.release()
    )
    other.start()
    other.join()
    assert taken == [True]


def test_threads_never_draw_alike_from_the_global_generator():
    scheduler = VQDiffusionScheduler(CLASSES + 1)
    log_p, sample = inputs()
    steps, workers = 10, 4
    torch.manual_seed(0)
    expected = {
        scheduler.step(log_p, 50, sample).prev_sample.numpy().tobytes()
        for _ in range(steps * workers)
    }
    state = torch.get_rng_state()
    torch.manual_seed(0)
    drawn = set()

    def work():
        for _ in range(steps):
            drawn.add(scheduler.step(log_p, 50, sample).prev_sample.numpy().tobytes())

    running = [threading.Thread(target=work) for _ in range(workers)]
    for one in running:
        one.start()
    for one in running:
        one.join()
    assert drawn == expected
    assert torch.equal(torch.get_rng_state(), state)


def test_the_uniforms_are_never_stored():
    scheduler = VQDiffusionScheduler(4097)
    log_p, sample = inputs(1, 4096, 1024)
    generator = torch.Generator().manual_seed(0)
    with torch.profiler.profile(profile_memory=True) as profile:
        scheduler.step(log_p, 50, sample, generator)
    allocated = sum(max(0, event.self_cpu_memory_usage) for event in profile.key_averages())
    tracemalloc.start()
    scheduler.step(log_p, 50, sample, generator)
    python = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert allocated < 100_000 and python < 100_000
