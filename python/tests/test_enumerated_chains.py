"""Chains of two pixels with an exact denoiser, by enumeration: what fewer steps cost."""

import numpy as np
import pytest
from chain_case import CLASSES, exact_denoiser, pair_law

from vqdiffusion import VQDiffusionScheduler


def total_variation(spacing, steps):
    """Between the law of the data and what the chain ends in, by enumeration."""
    scheduler = VQDiffusionScheduler(CLASSES + 1, timestep_spacing=spacing)
    scheduler.set_timesteps(steps)
    states = np.stack(np.divmod(np.arange((CLASSES + 1) ** 2), CLASSES + 1), axis=1)
    law = np.zeros((CLASSES + 1) ** 2)
    law[-1] = 1
    for t in scheduler.timesteps.tolist():
        log_p, s = exact_denoiser(scheduler, states, t), scheduler.previous_timestep(t)
        if s < 0:
            q = np.concatenate((np.exp(log_p), np.zeros((len(states), 1, 2))), axis=1)
        else:
            q = np.exp(scheduler.q_posterior(log_p, states, t, previous_timestep=s))
        law = law @ (q[:, :, None, 0] * q[:, None, :, 1]).reshape(len(states), -1)
    law = law.reshape(CLASSES + 1, CLASSES + 1)[:CLASSES, :CLASSES]
    return np.abs(law - pair_law()).sum() / 2


@pytest.mark.parametrize(
    ("spacing", "steps", "expected"),
    [
        ("trailing", 100, 0.0080),
        ("trailing", 25, 0.0316),
        ("trailing", 10, 0.0788),
        ("linspace", 25, 0.0330),
        ("linspace", 10, 0.0875),
    ],
)
def test_what_fewer_steps_cost(spacing, steps, expected):
    assert total_variation(spacing, steps) == pytest.approx(expected, abs=5e-5)


def expected_bound(classes, steps):
    """E[likelihood_bound] over the data and all x_t, with what the bound says of each state."""
    scheduler = VQDiffusionScheduler(classes + 1, timestep_spacing="trailing")
    scheduler.set_timesteps(steps)
    x_0 = np.stack(np.divmod(np.arange(classes**2), classes), axis=1)
    states = np.stack(np.divmod(np.arange((classes + 1) ** 2), classes + 1), axis=1)
    weight, nats = pair_law(classes).ravel(), 0.0
    sure = np.log(np.eye(classes)[x_0].transpose(0, 2, 1) + 1e-300)
    gamma = scheduler.config.gamma_cum_end
    prior = np.append(np.full(classes, (1 - gamma) / classes), gamma)
    for t in scheduler.timesteps.tolist():
        s = scheduler.previous_timestep(t)
        seen = np.exp(scheduler.apply_cumulative_transitions(sure, t))  # (K², K + 1, 2)
        if t == scheduler.timesteps[0]:
            nats += weight @ (seen * np.log(seen / prior[:, None])).sum((1, 2))
        of_state = seen[:, states[:, 0], 0] * seen[:, states[:, 1], 1]
        guess = exact_denoiser(scheduler, states, t)
        if s < 0:
            each = -(guess[:, x_0[:, 0], 0] + guess[:, x_0[:, 1], 1]).T
        else:
            drawn = scheduler.q_posterior(guess, states, t, previous_timestep=s)
            each = np.empty(of_state.shape)
            for row in range(classes**2):
                clean = np.broadcast_to(sure[row], (len(states), classes, 2))
                truth = scheduler.q_posterior(clean, states, t, previous_timestep=s)
                each[row] = (np.exp(truth) * np.maximum(truth - drawn, -700)).sum((1, 2))
        nats += weight @ (of_state * each).sum(1)
    return nats


@pytest.mark.parametrize(("steps", "expected"), [(100, 1.7456), (25, 1.7767)])
def test_what_fewer_steps_cost_in_nats(steps, expected):
    law = pair_law(4)
    assert -(law * np.log(law)).sum() == pytest.approx(1.7351, abs=5e-5)
    assert expected_bound(4, steps) == pytest.approx(expected, abs=5e-5)
