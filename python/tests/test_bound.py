"""The bound of the likelihood, for models that are exact, sure, wrong or none."""

import numpy as np
import pytest
from chain_case import CLASSES, exact_denoiser, pair_law, scheduler_of

from vqdiffusion import VQDiffusionScheduler


def test_the_bound_of_an_exact_denoiser(rng):
    """It exceeds the entropy by little, and by more for fewer steps; a row alone may lie below."""
    scheduler = VQDiffusionScheduler(CLASSES + 1, timestep_spacing="trailing")
    law = pair_law()
    entropy = -(law * np.log(law)).sum()
    x_0 = np.stack(np.divmod(rng.choice(CLASSES**2, 4000, p=law.ravel()), CLASSES), axis=1)
    bounds = {}
    for steps in (100, 25, 10):
        scheduler.set_timesteps(steps)
        rows = scheduler.likelihood_bound(
            lambda x_t, t: exact_denoiser(scheduler, x_t, t), x_0, rng
        )
        assert rows.shape == (4000,) and rows.dtype == np.float64
        bounds[steps], error = rows.mean(), rows.std() / np.sqrt(4000)
        assert bounds[steps] > entropy - 5 * error
    assert bounds[10] > bounds[25] > bounds[100] - 5 * error
    assert bounds[100] == pytest.approx(entropy, abs=0.05)


def test_the_bound_asks_nothing_of_what_is_revealed():
    """Without replacement, a model that contradicts the pixels that show a class loses nothing."""
    scheduler, x_0 = scheduler_of("absorbing", 4), np.full((1, 500), 2)
    bounds = []
    for wrong in (1, 2):

        def model(x_t, t, wrong=wrong):
            p = np.full((1, 4, 500), 0.1)
            p[:, 2] = 0.7
            shows = x_t[0] < 4
            p[0][:, shows] = 0.1
            p[0, wrong, shows] = 0.7
            return np.log(p)

        bounds.append(scheduler.likelihood_bound(model, x_0, 3)[0])
    assert bounds[0] == pytest.approx(bounds[1], rel=1e-9)


def test_the_prior_term_of_the_default_schedule():
    scheduler, pixels = VQDiffusionScheduler(4097, timestep_spacing="trailing"), 100
    scheduler.set_timesteps(1)
    sure = np.full((1, 4096, pixels), -np.inf, np.float32)
    sure[:, 7] = 0
    bound = scheduler.likelihood_bound(lambda x_t, t: sure, np.full((1, pixels), 7), 1)
    assert bound[0] / pixels == pytest.approx(7.16e-5, abs=5e-8)


def test_the_prior_term_where_pixels_are_replaced():
    """KL of q(x_0 | x_-1) and the prior of the last timestep, class by class: the model is sure of
    all else.
    """
    scheduler = VQDiffusionScheduler(
        4, alphas_cumprod=[0.6, 0.3], gammas_cumprod=[0.1, 0.4], timestep_spacing="leading"
    )
    scheduler.set_timesteps(1)
    sure = np.full((1, 3, 5), -np.inf)
    sure[:, 2] = 0
    bound = scheduler.likelihood_bound(lambda x_t, t: sure, np.full((1, 5), 2), 1)
    noised, prior = np.array([0.1, 0.1, 0.7, 0.1]), np.array([0.2, 0.2, 0.2, 0.4])
    assert bound[0] / 5 == pytest.approx((noised * np.log(noised / prior)).sum(), rel=1e-12)


def test_bounds_that_are_none(rng):
    gammas = np.array([0.2, 0.6, 1.0])
    scheduler = VQDiffusionScheduler(
        4, alphas_cumprod=1 - gammas, gammas_cumprod=gammas, timestep_spacing="leading"
    )
    flat, x_0 = np.zeros((2, 3, 5)), np.zeros((2, 5), int)
    state = rng.bit_generator.state
    scheduler.set_timesteps(2)
    with pytest.raises(ValueError, match="^likelihood_bound is infinite: .* timestep 1, .* 0.6 of"):
        scheduler.likelihood_bound(lambda x_t, t: flat, x_0, rng)
    scheduler.set_timesteps(3)
    with pytest.raises(ValueError, match="^x_0 must hold classes from 0 to 2, not 0 to 3$"):
        scheduler.likelihood_bound(lambda x_t, t: flat, x_0 + [0, 0, 0, 0, 3], rng)
    with pytest.raises(ValueError, match="^what model returns must have K = 3 classes, not 4"):
        scheduler.likelihood_bound(lambda x_t, t: np.zeros((2, 4, 5)), x_0, rng)
    for number in (np.nan, -np.inf):  # at the last step alone

        def model(x_t, t, number=number):
            return np.full((2, 3, 5), number if t == 0 else 0.0)

        with pytest.raises(ValueError, match="^what model returns must "):
            scheduler.likelihood_bound(model, x_0, rng)
    with pytest.raises(ZeroDivisionError):
        scheduler.likelihood_bound(lambda x_t, t: 1 / 0, x_0, rng)
    assert rng.bit_generator.state == state
    assert scheduler.likelihood_bound(lambda x_t, t: flat, x_0, rng).shape == (2,)


@pytest.mark.parametrize(
    "timesteps, message",
    [
        ([99, 50, 3], "from 99 one leads to 98, and timesteps has 50"),
        ([1], "from 1 one leads to 0"),
    ],
)
def test_no_bound_along_timesteps_that_steps_do_not_follow(rng, timesteps, message):
    scheduler = VQDiffusionScheduler(4)
    scheduler.set_timesteps(timesteps=timesteps)
    state = rng.bit_generator.state
    with pytest.raises(ValueError, match=message):
        scheduler.likelihood_bound(lambda x_t, t: np.zeros((2, 3, 5)), np.zeros((2, 5), int), rng)
    assert rng.bit_generator.state == state


@pytest.mark.parametrize("shape", [(1, 3, 5), (2, 3, 1), (2, 3, 10)])
def test_a_model_must_return_what_fits_at_the_last_step_too(rng, shape):
    scheduler = VQDiffusionScheduler(4, timestep_spacing="trailing")
    scheduler.set_timesteps(1)
    with pytest.raises(ValueError, match="^what model returns must have shape .2, 3, 5., not "):
        scheduler.likelihood_bound(lambda x_t, t: np.zeros(shape), np.zeros((2, 5), int), rng)


def test_a_posterior_of_the_paper_s_chain_need_not_know_of_strides():
    class Old(VQDiffusionScheduler):
        def q_posterior(self, log_p_x_0, x_t, t):
            return super().q_posterior(log_p_x_0, x_t, t)

    model, x_0 = lambda x_t, t: np.zeros((2, 3, 5)), np.zeros((2, 5), int)
    found = Old(4).likelihood_bound(model, x_0, 3)
    assert np.array_equal(found, VQDiffusionScheduler(4).likelihood_bound(model, x_0, 3))
