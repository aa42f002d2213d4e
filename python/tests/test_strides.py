"""Chains along any timesteps: where steps lead, their posterior, noise from any timestep."""

import copy
import pickle

import numpy as np
import pytest
from chain_case import TABLES, T, scheduler_of
from scipy import stats

from vqdiffusion import VQDiffusionScheduler


def matrices(name, classes):
    """Q̄_s for s = -1 … T - 1, each (from, to) with the mask last, as products of single steps."""
    product, before, found = np.eye(classes + 1), (1.0, 0.0), [np.eye(classes + 1)]
    for alpha_bar, gamma_bar in zip(*TABLES[name]):
        alpha = alpha_bar / before[0]
        gamma = 1 - (1 - gamma_bar) / (1 - before[1])
        single = np.full((classes + 1, classes + 1), max(0.0, (1 - alpha - gamma) / classes))
        single[:classes, :classes] += alpha * np.eye(classes)
        single[:, classes], single[classes] = gamma, 0
        single[classes, classes] = 1
        product, before = product @ single, (alpha_bar, gamma_bar)
        found.append(product)
    return found


def between(earlier, later):
    """Q_{t|s} from Q̄_s and Q̄_t = Q̄_s Q_{t|s}."""
    return np.linalg.solve(earlier, later)


@pytest.mark.parametrize("classes", [1, 2, 7, 64])
@pytest.mark.parametrize("name", TABLES)
def test_the_posterior_of_every_stride_is_bayes(rng, name, classes):
    scheduler, marginals = scheduler_of(name, classes), matrices(name, classes)
    log_p = rng.normal(size=(1, classes, classes + 1))
    log_p -= np.log(np.exp(log_p).sum(1, keepdims=True))
    p = np.exp(log_p)
    x_t = np.arange(classes + 1)[None]
    for t in range(T):
        for s in range(-1, t):
            clean_to_s, clean_to_t = marginals[s + 1], marginals[t + 1]
            single = between(clean_to_s, clean_to_t)
            expected = np.zeros((classes + 1, classes + 1))
            for x in range(classes + 1):
                if clean_to_t[:classes, x].min() < 1e-13:
                    # Pixels that are carried over, and masks where nothing is masked.
                    expected[:, x] = np.eye(classes + 1)[x] if x < classes else np.nan
                    continue
                weight = p[0, :, x] / clean_to_t[:classes, x]
                expected[:, x] = single[:, x] * (weight @ clean_to_s[:classes])
            known = ~np.isnan(expected).any(0)
            for dtype, close in ((np.float64, 1e-9), (np.float32, 1e-5)):
                columns, shown = log_p[:, :, known].astype(dtype), x_t[:, known]
                log_q = scheduler.q_posterior(columns, shown, t, previous_timestep=s)
                assert log_q.dtype == dtype
                np.testing.assert_allclose(np.exp(log_q[0]), expected[:, known], rtol=0, atol=close)


@pytest.mark.parametrize("name", TABLES)
def test_transitions_chain(name):
    """Chapman and Kolmogorov: the forward process through a timestep between is the direct one."""
    marginals = matrices(name, 5)
    for s, u, t in ((-1, 3, 9), (2, 3, 11), (0, 5, 6)):
        parts = between(marginals[s + 1], marginals[u + 1]) @ between(
            marginals[u + 1], marginals[t + 1]
        )
        np.testing.assert_allclose(parts, between(marginals[s + 1], marginals[t + 1]), atol=1e-12)


@pytest.mark.parametrize("method", ["inverse_cdf", "gumbel"])
@pytest.mark.parametrize("name", TABLES)
def test_strided_steps_draw_from_the_posterior(name, method):
    """Chi-square of 40 cases, each with a false alarm in 10^5 runs."""
    classes, draws = 4, 100_000
    scheduler = scheduler_of(name, classes, sampling_method=method)
    rng = np.random.default_rng(1)
    column = rng.normal(size=classes)
    column -= np.log(np.exp(column).sum())
    log_p = np.broadcast_to(column[None, :, None], (1, classes, draws))
    for t, s in ((11, 5), (7, 0), (3, -1), (11, -1), (5, 2)):
        for shown in (classes, 1):
            if shown == classes and scheduler.log_cumprod_ct[t] == -np.inf:
                continue
            x_t = np.full((1, draws), shown)
            drawn = scheduler.step(log_p, t, x_t, rng, previous_timestep=s).prev_sample
            log_q = scheduler.q_posterior(log_p[:, :, :1], x_t[:, :1], t, previous_timestep=s)
            if s < 0 and not TABLES[name][0][t] + TABLES[name][1][t] == 1:
                log_q = np.append(column, -np.inf)[None, :, None]  # the model output itself
            expected = np.exp(log_q[0, :, 0]) * draws
            found = np.bincount(drawn[0], minlength=classes + 1)
            possible = expected > 1e-9
            assert not found[~possible].any()
            if possible.sum() > 1:
                assert (
                    stats.chisquare(
                        found[possible], expected[possible] * draws / expected[possible].sum()
                    ).pvalue
                    > 1e-5
                )


VISITED = {
    "trailing": [99, 89, 79, 69, 59, 49, 39, 29, 19, 9],
    "linspace": [99, 88, 77, 66, 55, 44, 33, 22, 11, 0],
    "leading": [90, 80, 70, 60, 50, 40, 30, 20, 10, 0],
    "reference": [9, 8, 7, 6, 5, 4, 3, 2, 1, 0],
}


@pytest.mark.parametrize("spacing", VISITED)
def test_timesteps_of_a_spacing(spacing):
    scheduler = VQDiffusionScheduler(5, timestep_spacing=spacing)
    np.testing.assert_array_equal(scheduler.timesteps, np.arange(100)[::-1])
    assert scheduler.num_inference_steps is None and scheduler.previous_timestep(40) == 39
    scheduler.set_timesteps(10)
    assert scheduler.timesteps.dtype == np.int64 and scheduler.num_inference_steps == 10
    assert scheduler.timesteps.tolist() == VISITED[spacing]
    if spacing == "reference":
        assert [scheduler.previous_timestep(t) for t in (99, 9, 0)] == [98, 8, -1]
    else:
        following = [scheduler.previous_timestep(t) for t in scheduler.timesteps]
        assert following == [*VISITED[spacing][1:], -1]
    for steps in (1, 3, 25, 99, 100):
        scheduler.set_timesteps(steps)
        timesteps = scheduler.timesteps
        assert len(timesteps) == steps and (np.diff(timesteps) < 0).all()
        assert timesteps[-1] >= 0 and timesteps[0] < 100
        if spacing in ("trailing", "linspace"):
            assert timesteps[0] == 99
    for other in (copy.deepcopy(scheduler), pickle.loads(pickle.dumps(scheduler))):
        assert other.timesteps.tolist() == scheduler.timesteps.tolist()
        assert other.previous_timestep(50) == scheduler.previous_timestep(50)


def test_previous_timestep_is_below_the_timestep():
    log_p, x, scheduler = np.zeros((1, 4, 2)), np.zeros((1, 2), int), VQDiffusionScheduler(5)
    match = "^previous_timestep must be below the timestep, 50, not 50$"
    with pytest.raises(ValueError, match=match):
        scheduler.step(log_p, 50, x, previous_timestep=50)
    with pytest.raises(ValueError, match=match):
        scheduler.q_posterior(log_p, x, 50, previous_timestep=50)


def test_timesteps_are_rounded():
    rounded = {"trailing": [99, 66, 32], "linspace": [99, 50, 0], "leading": [66, 33, 0]}
    for spacing, expected in rounded.items():
        scheduler = VQDiffusionScheduler(5, timestep_spacing=spacing)
        scheduler.set_timesteps(3)
        assert scheduler.timesteps.tolist() == expected


def test_overrides_are_told_of_strides(rng):
    seen = []

    class Told(VQDiffusionScheduler):
        def q_posterior(self, log_p_x_0, x_t, t, **given):
            seen.append((t, given))
            return super().q_posterior(log_p_x_0, x_t, t, **given)

    told, log_p, x = Told(5, 12), np.zeros((1, 4, 3)), np.full((1, 3), 4)
    for s in (6, 2, -1):
        drawn = told.step(log_p, 7, x, 1, previous_timestep=s).prev_sample
        plain = VQDiffusionScheduler(5, 12).step(log_p, 7, x, 1, previous_timestep=s).prev_sample
        assert drawn.shape == plain.shape
    assert seen == [(7, {}), (7, {"previous_timestep": 2})]


def test_timesteps_given():
    scheduler = VQDiffusionScheduler(5, timestep_spacing="trailing")
    scheduler.set_timesteps(timesteps=[98, 40, np.int16(7)])
    assert scheduler.timesteps.tolist() == [98, 40, 7] and scheduler.num_inference_steps == 3
    assert [scheduler.previous_timestep(t) for t in (98, 40, 7)] == [40, 7, -1]
    again = pickle.loads(pickle.dumps(scheduler))
    assert again.previous_timestep(98) == 40
    reference = VQDiffusionScheduler(5)
    reference.set_timesteps(timesteps=[98, 40])
    assert reference.previous_timestep(98) == 97


WRONG_TIMESTEPS = {
    "^set_timesteps needs one of num_inference_steps and timesteps$": {},
    "^set_timesteps needs one of": {"num_inference_steps": 5, "timesteps": [3]},
    "^timesteps must fall strictly, but 4 is followed by 4$": {"timesteps": [9, 4, 4]},
    "^timesteps must fall strictly, but 3 is followed by 8$": {"timesteps": [9, 3, 8]},
    "^timesteps must be from 0 to 99, not -1 to 3$": {"timesteps": [3, -1]},
    "^timesteps must be from 0 to 99, not 3 to 100$": {"timesteps": [100, 3]},
    r"^timesteps must be a list of at least one timestep, .* \(0,\)$": {"timesteps": []},
    r"^timesteps must be a list of .* \(1, 2\)$": {"timesteps": [[3, 2]]},
}


@pytest.mark.parametrize("message", WRONG_TIMESTEPS)
def test_timesteps_that_make_no_chain(message):
    scheduler = VQDiffusionScheduler(5, timestep_spacing="trailing")
    scheduler.set_timesteps(4)
    with pytest.raises(ValueError, match=message):
        scheduler.set_timesteps(**WRONG_TIMESTEPS[message])
    with pytest.raises(TypeError, match="^timesteps must hold integers, not float64$"):
        scheduler.set_timesteps(timesteps=[3.0])
    assert scheduler.timesteps.tolist() == [99, 74, 49, 24]


def test_steps_that_lead_nowhere(rng):
    scheduler = VQDiffusionScheduler(5, timestep_spacing="trailing")
    scheduler.set_timesteps(10)
    log_p, x = np.zeros((1, 4, 3)), np.full((1, 3), 4)
    state = rng.bit_generator.state
    calls = (
        lambda t, **given: scheduler.step(log_p, t, x, rng, **given),
        lambda t, **given: scheduler.plan(t, x, rng, **given),
        lambda t, **given: scheduler.guided_step(None, log_p, t, x, rng, **given),
    )
    for call in calls:
        with pytest.raises(ValueError, match="^timestep must be one .* such as 59 or 49, not 53;"):
            call(53)
        for s in (53, 99, -2):
            limit = "from -1 to 99" if s < 0 else "below the timestep, 53"
            with pytest.raises(ValueError, match=f"^previous_timestep must be {limit}, not {s}$"):
                call(53, previous_timestep=s)
        with pytest.raises(TypeError, match="^previous_timestep must be an integer"):
            call(53, previous_timestep=1.5)
    assert rng.bit_generator.state == state
    scheduler.step(log_p, 53, x, rng, previous_timestep=0)
    plan = scheduler.plan(59, x, rng)
    assert (plan.timestep, plan.previous_timestep) == (59, 49)
    with pytest.raises(ValueError, match="^plan must be for a step to timestep 48, but was made"):
        scheduler.step(log_p, 59, x, plan=plan, previous_timestep=48)


WRONG_TABLES = {
    "^alphas_cumprod and gammas_cumprod must be given together": {"alphas_cumprod": [0.5]},
    "^alphas_cumprod and gammas_cumprod must be given together: ": {"gammas_cumprod": [0.5]},
    "^gammas_cumprod must have the length of alphas_cumprod, 2, not 1$": {
        "alphas_cumprod": [0.5, 0.1],
        "gammas_cumprod": [0.2],
    },
    "^num_train_timesteps must be the length of alphas_cumprod beside it, 2, or left out, not 3$": {
        "num_train_timesteps": 3,
        "alphas_cumprod": [0.5, 0.1],
        "gammas_cumprod": [0.2, 0.3],
    },
    "^alphas_cumprod and gammas_cumprod: no valid noise .* falls at timestep 1": {
        "alphas_cumprod": [0.5, 0.1],
        "gammas_cumprod": [0.4, 0.3],
    },
    "^alphas_cumprod must be .*nan": {
        "alphas_cumprod": [0.5, np.nan],
        "gammas_cumprod": [0.4, 0.5],
    },
    r"^alphas_cumprod must hold one number for each of 1 to 10000000 timesteps, not shape \(0,\)": {
        "alphas_cumprod": np.empty(0),
        "gammas_cumprod": np.empty(0),
    },
    "^timestep_spacing must be one of reference, trailing, linspace, leading, not 'even'$": {
        "timestep_spacing": "even"
    },
}


@pytest.mark.parametrize("message", WRONG_TABLES)
def test_tables_that_make_no_chain(message):
    with pytest.raises(ValueError, match=message):
        VQDiffusionScheduler(5, **WRONG_TABLES[message])


@pytest.mark.parametrize("kind", [np.asarray, list, tuple])
def test_tables_come_back_bit_for_bit(tmp_path, kind):
    alphas, gammas = (kind(one / 3) for one in TABLES["mixed"])
    scheduler = VQDiffusionScheduler(
        5, alphas_cumprod=alphas, gammas_cumprod=gammas, timestep_spacing="linspace"
    )
    assert scheduler.config.num_train_timesteps == T == len(scheduler.log_at)
    scheduler.save_pretrained(tmp_path)
    for other in (
        VQDiffusionScheduler.from_pretrained(tmp_path),
        VQDiffusionScheduler.from_config(scheduler.config),
        pickle.loads(pickle.dumps(scheduler)),
    ):
        assert {**other.config, **scheduler.config} == dict(other.config)
        assert other.config.alphas_cumprod == tuple(map(float, alphas))
        assert other.config.gammas_cumprod == tuple(map(float, gammas))
        np.testing.assert_array_equal(other.log_cumprod_bt, scheduler.log_cumprod_bt)
    plain = VQDiffusionScheduler(5).to_json_string()
    assert "cumprod" not in plain and "spacing" not in plain


def test_add_noise_from_a_timestep(rng):
    """Chi-square with a false alarm in 10^5 runs, for 8 cases."""
    draws, classes = 100_000, 4
    for name in TABLES:
        scheduler, marginals = scheduler_of(name, classes), matrices(name, classes)
        for s, t in ((3, 9), (-1, 5)):
            x_t = scheduler.add_noise(np.full((1, draws), 2), t, rng, from_timestep=s)
            expected = between(marginals[s + 1], marginals[t + 1])[2]
            found = np.bincount(x_t[0], minlength=classes + 1)
            possible = expected > 1e-9
            assert not found[~possible].any()
            assert stats.chisquare(found[possible], expected[possible] * draws).pvalue > 1e-5
        same = rng.integers(0, classes + 1, (2, 50))
        np.testing.assert_array_equal(scheduler.add_noise(same, 7, rng, from_timestep=7), same)
    state = rng.bit_generator.state
    with pytest.raises(ValueError, match="^timesteps must be in 8 .* not 3$"):
        scheduler.add_noise(same, [9, 3], rng, from_timestep=8)
    with pytest.raises(ValueError, match="^from_timestep must be from -1 to 11, not 12$"):
        scheduler.add_noise(same, 7, rng, from_timestep=12)
    assert rng.bit_generator.state == state


@pytest.mark.parametrize("name", TABLES)
def test_the_noisy_end(rng, name):
    """Chi-square with a false alarm in 10^5 runs, for 4 cases."""
    scheduler, masked = scheduler_of(name, 4), TABLES[name][1][-1]
    found = np.bincount(scheduler.sample_prior((10, 20_000), rng).ravel(), minlength=5)
    expected = np.array([*[(1 - masked) / 4] * 4, masked]) * 200_000
    assert (found[expected == 0] == 0).all()
    found, expected = found[expected > 0], expected[expected > 0]
    assert stats.chisquare(found, expected).pvalue > 1e-5
    for shape in ((3,), 5, (2, 3, 4)):
        with pytest.raises(ValueError, match=r"^shape must be \(batch, pixels\), not"):
            scheduler.sample_prior(shape, rng)
