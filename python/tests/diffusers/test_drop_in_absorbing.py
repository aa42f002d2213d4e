"""As test_absorbing.py, for the class of diffusers: natively, and by the torch formulas where the
default dtype is float16.
"""

import pytest
import torch
from diffusers_case import Ours, generator

METHODS = ["inverse_cdf", "gumbel"]
WAYS = [(method, way) for method in METHODS for way in ("step", "guided", "each row")]
WAYS += [("inverse_cdf", "planned"), ("inverse_cdf", "columns")]


def absorbing(classes, method):
    ends = {
        "alpha_cum_start": 0.95,
        "alpha_cum_end": 0.001,
        "gamma_cum_start": 0.05,
        "gamma_cum_end": 0.999,
    }
    return Ours(classes + 1, 16, **ends, sampling_method=method)


def random_log_p(batch, classes, pixels):
    return (2 * torch.randn(batch, classes, pixels, dtype=torch.float32)).log_softmax(1)


def one_step(scheduler, way, log_p, t, sample, random):
    if way == "step":
        return scheduler.step(log_p, t, sample, random).prev_sample
    if way == "each row":
        return scheduler.step(log_p, [t] * len(sample), sample, random).prev_sample
    if way == "guided":
        return scheduler.guided_step(
            log_p, 1.5 * log_p, t, sample, random, truncation_rate=0.95
        ).prev_sample
    plan = scheduler.plan(t, sample, random)
    assert bool((sample[plan.needed] == scheduler.mask_class).all())
    columns = log_p.transpose(1, 2)[plan.needed].T if way == "columns" else log_p
    return scheduler.step(columns, t, sample, plan=plan).prev_sample


@pytest.mark.parametrize("default", [torch.float32, torch.float16])
@pytest.mark.parametrize("method, way", WAYS)
def test_no_token_changes_once_revealed(method, way, default):
    torch.set_default_dtype(default)
    scheduler = absorbing(5, method)
    log_p, random = random_log_p(4, 5, 10_000), generator(3)
    sample = torch.full((4, 10_000), scheduler.mask_class)
    for t in scheduler.timesteps.tolist():
        drawn = one_step(scheduler, way, log_p, t, sample, random)
        shown = sample != scheduler.mask_class
        assert torch.equal(drawn[shown], sample[shown])
        assert bool((drawn[~shown] != scheduler.mask_class).any())
        sample = drawn
    assert bool((sample < 5).all())


@pytest.mark.parametrize("default", [torch.float32, torch.float16])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("classes", [1, 5, 1100])
def test_masked_pixels_are_drawn_from_the_model_output(classes, method, default):
    """With the uniforms of a step over masked pixels alone, as many as ever; from 1024 classes on
    by lists.
    """
    torch.set_default_dtype(default)
    scheduler = absorbing(classes, method)
    log_p = random_log_p(2, classes, 37)
    masked = torch.full((2, 37), classes)
    sample = torch.where(torch.rand(2, 37) < 0.5, masked, torch.randint(0, classes, (2, 37)))
    one, other, plain = generator(5), generator(5), generator(5)
    drawn = scheduler.step(log_p, 0, sample, one).prev_sample
    expected = scheduler.step(log_p, 0, masked, other).prev_sample
    assert torch.equal(drawn, torch.where(sample == classes, expected, sample))
    if method == "gumbel":
        torch.rand(2, classes, 37, generator=plain)
    else:
        torch.rand(2, 37, generator=plain, dtype=torch.float64)
    assert torch.equal(one.get_state(), plain.get_state()) and torch.equal(
        other.get_state(), plain.get_state()
    )


@pytest.mark.parametrize("default", [torch.float32, torch.float16])
@pytest.mark.parametrize("method", METHODS)
def test_rows_at_the_last_step_beside_others(method, default):
    torch.set_default_dtype(default)
    scheduler = absorbing(5, method)
    log_p = random_log_p(3, 5, 40)
    sample = torch.randint(0, 6, (3, 40))
    generators = [generator(seed) for seed in range(3)]
    drawn = scheduler.step(log_p, [0, 7, 0], sample, generators).prev_sample
    for row, t in enumerate([0, 7, 0]):
        alone = scheduler.step(
            log_p[row : row + 1], t, sample[row : row + 1], generator(row)
        ).prev_sample
        assert torch.equal(drawn[row], alone[0])
    shown = sample < 5
    assert torch.equal(drawn[shown], sample[shown])
    if method == "inverse_cdf":
        plan = scheduler.plan([0, 7, 0], sample, [generator(seed) for seed in range(3)])
        columns = log_p.transpose(1, 2)[plan.needed].T
        assert torch.equal(scheduler.step(columns, [0, 7, 0], sample, plan=plan).prev_sample, drawn)


def test_torch_draws_what_the_native_module_does():
    scheduler = absorbing(5, "inverse_cdf")
    log_p, sample = random_log_p(2, 5, 400), torch.randint(0, 6, (2, 400))
    native = scheduler.step(log_p, 0, sample, generator(1)).prev_sample
    torch.set_default_dtype(torch.float16)
    assert torch.equal(scheduler.step(log_p, 0, sample, generator(1)).prev_sample, native)


@pytest.mark.parametrize("default", [torch.float32, torch.float16])
@pytest.mark.parametrize("method", METHODS)
def test_the_sample_is_read(method, default):
    torch.set_default_dtype(default)
    scheduler = absorbing(5, method)
    log_p, random = random_log_p(2, 5, 7), generator(3)
    good = torch.full((2, 7), 5)
    state = random.get_state()
    for bad in (None, good + 1, good[:1], -good):
        for call in (
            lambda: scheduler.step(log_p, 0, bad, random),  # noqa: B023
            lambda: scheduler.guided_step(log_p, log_p, 0, bad, random),  # noqa: B023
        ):
            with pytest.raises(ValueError, match="^sample must "):
                call()
    assert torch.equal(random.get_state(), state)
    if method == "inverse_cdf":
        plan = scheduler.plan(0, good, generator(3))
        with pytest.raises(ValueError, match="plan must be for the sample"):
            scheduler.step(log_p, 0, good - 1, plan=plan)


@pytest.mark.parametrize("default", [torch.float32, torch.float16])
@pytest.mark.parametrize("method", METHODS)
def test_a_schedule_that_begins_clean(method, default):
    """ᾱ_0 = 1: what pixels show at t = 0 is clean already. One that is masked all the same is
    drawn.
    """
    torch.set_default_dtype(default)
    scheduler = Ours(6, 10, 1.0, 1e-5, 0.0, 0.99, sampling_method=method)
    log_p, sample = random_log_p(2, 5, 70), torch.randint(0, 6, (2, 70))
    for t in (0, [0, 0]):
        drawn = scheduler.step(log_p, t, sample, generator(1)).prev_sample
        assert torch.equal(drawn[sample < 5], sample[sample < 5]) and bool((drawn < 5).all())


def test_compiled_and_vmapped():
    scheduler = absorbing(5, "gumbel")
    log_p, sample = random_log_p(3, 5, 40), torch.randint(0, 6, (3, 40))

    def step(x, x_t):
        return scheduler.step(x.unsqueeze(0), 0, x_t.unsqueeze(0)).prev_sample[0]

    drawn = torch.func.vmap(step, randomness="different")(log_p, sample)
    compiled = torch.compile(lambda x, x_t: scheduler.step(x, 0, x_t).prev_sample, backend="eager")(
        log_p, sample
    )
    for tokens in (drawn, compiled):
        assert torch.equal(tokens[sample < 5], sample[sample < 5]) and bool((tokens < 5).all())
