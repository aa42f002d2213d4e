"""What a chain with known tokens draws from: three pixels, enumerated, and thousands of chains.

The distances are of this law; another one has others of the same order.
"""

import itertools

import numpy as np
import pytest

from vqdiffusion import VQDiffusionScheduler, index_to_log_onehot

METHODS = ["inverse_cdf", "gumbel"]

# Three pixels of two classes that are equal with probability 0.9, else independent.
LAW = 0.1 / 8 * np.ones((2, 2, 2))
LAW[0, 0, 0] += 0.45
LAW[1, 1, 1] += 0.45
CONDITIONAL = LAW[0] / LAW[0].sum()
STATES = np.array(list(itertools.product(range(3), repeat=3)))


def seen(scheduler, t):
    """q(x_t | x_0) of each pixel of each state, (27, 2, 3)."""
    onehot = index_to_log_onehot(STATES, 3).astype(np.float64)
    return np.exp(
        scheduler.log_Q_t_transitioning_to_known_class(
            t=t, x_t=STATES, log_onehot_x_t=onehot, cumulative=True
        )
    )


def exact_denoiser(scheduler, t):
    """log p(x_0 | x_t) of each pixel, given each state at t: (27, 2, 3)."""
    joint = np.einsum("abc,na,nb,nc->nabc", LAW, *seen(scheduler, t).transpose(2, 0, 1))
    joint /= joint.sum((1, 2, 3), keepdims=True)
    with np.errstate(divide="ignore"):
        return np.log(np.stack([joint.sum((2, 3)), joint.sum((1, 3)), joint.sum((1, 2))], axis=2))


def back(scheduler, t, s):
    """The law of each pixel at s, given each state at t: (27, 3, 3)."""
    log_p = exact_denoiser(scheduler, t)
    if s < 0:
        return np.concatenate((np.exp(log_p), np.zeros((27, 1, 3))), axis=1)
    return np.exp(scheduler.q_posterior(log_p, STATES, t, previous_timestep=s))


def noised(scheduler, t, s):
    """q(x_t | x_s) of a pixel, (3, 3): q(x_t | x_0) is it after q(x_s | x_0)."""
    later, earlier = (
        np.exp(scheduler.apply_cumulative_transitions(np.log(np.eye(2) + 1e-300)[..., None], at))
        for at in (t, s)
    )
    clean_to = [
        np.vstack((one[..., 0], np.eye(3)[2:]))  # the mask stays
        for one in (later, earlier)
    ]
    return np.linalg.solve(clean_to[1], clean_to[0])


def total_variation(steps, *, renoised=False, resamplings=0, **schedule):
    """Between the law of two pixels given the first and what a chain that knows it ends in.

    With `renoised` the model sees the first pixel at the noise of the step; a resampling noises
    what a step has drawn back to where it came from, and steps again.
    """
    scheduler = VQDiffusionScheduler(3, timestep_spacing="trailing", **schedule)
    scheduler.set_timesteps(steps)
    law = np.zeros((3, 3))
    law[2, 2] = 1
    for t in scheduler.timesteps.tolist():
        s = scheduler.previous_timestep(t)
        first = noised(scheduler, t, -1)[0] if renoised else np.eye(3)[0]
        q = back(scheduler, t, s)

        def stepped(law, first=first, q=q):
            weights = np.einsum("a,bc->abc", first, law).ravel()
            return np.einsum("n,nb,nc->bc", weights, q[:, :, 1], q[:, :, 2])

        law = stepped(law)
        for _ in range(resamplings if s >= 0 else 0):
            up = noised(scheduler, t, s)
            law = stepped(up.T @ law @ up)
    return np.abs(law[:2, :2] - CONDITIONAL).sum() / 2


def test_known_pixels_stay_clean():
    """To noise them to the level of the step, as image inpainting does, spoils the samples, and
    resampling mends little of it.
    """
    assert total_variation(100) == pytest.approx(0.0011, abs=5e-5)
    assert total_variation(100, renoised=True) == pytest.approx(0.3004, abs=5e-5)
    mended = total_variation(25, renoised=True, resamplings=10)
    assert mended == pytest.approx(0.0640, abs=5e-5)


def test_resampling_helps_where_much_is_replaced():
    """At γ̄_T = 0.9 a start from masks is not the noisy end of the chain."""
    given = {"steps": 25, "gamma_cum_end": 0.9}
    assert total_variation(**given) == pytest.approx(0.0648, abs=5e-5)
    assert total_variation(**given, resamplings=5) == pytest.approx(0.0118, abs=5e-5)


def drawn(scheduler, rows, rng, resamplings=0):
    """Chains that know the first pixel, by `step` and `add_noise`: the other two, (rows, 2)."""
    known = np.broadcast_to(np.array([0, -1, -1]), (rows, 3))
    x = np.where(known >= 0, known, 2)
    places = np.array([9, 3, 1])
    for t in scheduler.timesteps.tolist():
        s, log_p = scheduler.previous_timestep(t), exact_denoiser(scheduler, t)
        x = scheduler.step(log_p[x @ places], t, x, rng, known=known).prev_sample
        for _ in range(resamplings if s >= 0 else 0):
            noisy = scheduler.add_noise(x, t, rng, from_timestep=s)
            x = np.where(known >= 0, known, noisy)
            x = scheduler.step(log_p[x @ places], t, x, rng, known=known).prev_sample
        assert (x[:, 0] == 0).all()
    return x[:, 1:]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "steps, resamplings, gamma, distance", [(100, 0, 0.99999, 0.0011), (25, 5, 0.9, 0.0118)]
)
def test_chains_with_a_known_pixel(method, steps, resamplings, gamma, distance):
    """Chains end in the conditional law, up to what the enumeration says."""
    scheduler = VQDiffusionScheduler(
        3, gamma_cum_end=gamma, timestep_spacing="trailing", sampling_method=method
    )
    scheduler.set_timesteps(steps)
    rows = 40_000 if method == "inverse_cdf" else 10_000
    x = drawn(scheduler, rows, np.random.default_rng(1), resamplings)
    found = np.bincount(x[:, 0] * 2 + x[:, 1], minlength=4) / rows
    # Five standard deviations beside the distance.
    assert np.abs(found - CONDITIONAL.ravel()).max() < distance + 5 * 0.5 / np.sqrt(rows)


def test_strength():
    """A chain may begin at any visited timestep from noised data: pairs keep their law."""
    scheduler = VQDiffusionScheduler(3, timestep_spacing="trailing")
    scheduler.set_timesteps(50)
    rng, rows, places = np.random.default_rng(2), 40_000, np.array([9, 3, 1])
    x_0 = STATES[rng.choice(27, rows, p=np.pad(LAW, ((0, 1),) * 3).ravel())]
    visited = scheduler.timesteps.tolist()
    begin = len(visited) // 2  # strength 0.5
    x = scheduler.add_noise(x_0, visited[begin], rng)
    for t in visited[begin:]:
        x = scheduler.step(exact_denoiser(scheduler, t)[x @ places], t, x, rng).prev_sample
    found = np.bincount(x @ np.array([4, 2, 1]), minlength=8) / rows
    assert np.abs(found - LAW.ravel()).max() < 0.002 + 5 * 0.5 / np.sqrt(rows)
    assert 0.1 < (x != x_0).any(1).mean() < 0.3  # not the same; anew more than half would be
