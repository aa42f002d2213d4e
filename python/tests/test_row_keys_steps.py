"""Steps with RowKeys: the uniforms by definition, the same tokens however rows are divided."""

import numpy as np
import pytest
from reference import row_uniforms

import vqdiffusion
from vqdiffusion import RowKeys, VQDiffusionScheduler

METHODS = "inverse_cdf", "gumbel"
K, B, N = 6, 12, 21


def scheduler(method="inverse_cdf"):
    return VQDiffusionScheduler(K + 1, sampling_method=method)


def model_output(batch=B, seed=0):
    logits = np.random.default_rng(seed).normal(size=(batch, K, N)).astype(np.float32)
    return logits - np.log(np.exp(logits).sum(1, keepdims=True))


def sample(batch=B, seed=1):
    return np.random.default_rng(seed).integers(0, K + 1, (batch, N))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("t", [99, 50, 1, 0])
def test_step_draws_with_the_uniforms_by_definition(method, t):
    s, x, x_t, ids = scheduler(method), model_output(), sample(), np.arange(B) * 7
    found = s.step(x, t, x_t, RowKeys(3, ids, 2)).prev_sample
    prev_sample = np.empty((B, N), np.int64)
    if method == "gumbel":
        noise = row_uniforms(3, ids, t, 2, (K + (t > 0), N), np.float32)
    else:
        noise = row_uniforms(3, ids, t, 2, N)
    s._chain.step(t, t - 1, x, x_t, noise, prev_sample)
    np.testing.assert_array_equal(found, prev_sample)


def run_chain(method, keys, batch, seed=0):
    """A short chain of a model whose rows are independent: it looks at one row's id alone."""
    s = scheduler(method)
    x_t = np.full((len(batch), N), K)
    for t in (99, 80, 60, 40, 20, 3, 2, 1, 0):
        x = model_output(B, seed=t)[batch]
        x_t = s.step(x, t, x_t, keys).prev_sample
    return x_t


@pytest.mark.parametrize("method", METHODS)
def test_division_into_batches_changes_no_token(method, rng, num_threads_restored):
    keys = RowKeys(11, range(100, 100 + B))
    whole = run_chain(method, keys, np.arange(B))
    assert len(np.unique(whole, axis=0)) == B
    for number in 1, 3:
        vqdiffusion.set_num_threads(number)
        for parts in 1, 2, 5, B:
            order = rng.permutation(B)
            for rows in np.array_split(order, parts):
                np.testing.assert_array_equal(run_chain(method, keys[rows], rows), whole[rows])


@pytest.mark.parametrize("method", METHODS)
def test_guided_step(method):
    s, cond, uncond, x_t = scheduler(method), model_output(), model_output(seed=9), sample()
    keys = RowKeys(1, range(B))
    for t in 70, 0:
        found = s.guided_step(uncond, cond, t, x_t, keys, truncation_rate=0.9).prev_sample
        log_p = vqdiffusion.truncate(vqdiffusion.guide(uncond, cond, 5.0), 0.9, -70)
        np.testing.assert_array_equal(found, s.step(log_p, t, x_t, keys).prev_sample)


def test_plan():
    s, x, x_t, keys = scheduler(), model_output(), sample(), RowKeys(1, range(B))
    for t in 70, 0:
        plan = s.plan(t, x_t, keys)
        np.testing.assert_array_equal(plan.uniforms, row_uniforms(1, range(B), t, 0, N))
        found = s.step(x, t, x_t, plan=plan).prev_sample
        np.testing.assert_array_equal(found, s.step(x, t, x_t, keys).prev_sample)


def test_forward_process():
    s, x_0, keys = scheduler(), sample(), RowKeys(1, range(B), 3)
    timesteps = np.arange(B) * 8
    found = s.add_noise(x_0, timesteps, keys)
    for row, t in enumerate(timesteps):
        one = s.add_noise(x_0[row : row + 1], int(t), keys[[row]])
        np.testing.assert_array_equal(found[row : row + 1], one)
    expected = np.empty((B, N), np.int64)
    s._chain.add_noise(-1, x_0, timesteps, row_uniforms(1, range(B), timesteps, 3, N), expected)
    np.testing.assert_array_equal(found, expected)


def test_the_noisy_end_draws_at_a_timestep_of_its_own():
    s = VQDiffusionScheduler(K + 1, gamma_cum_end=0.5)
    found = s.sample_prior((B, N), RowKeys(1, range(B)))
    u = row_uniforms(1, range(B), 100, 0, N)
    np.testing.assert_array_equal(found == K, u < 0.5)
    np.testing.assert_array_equal(found[u >= 0.5], ((u[u >= 0.5] - 0.5) * 2 * K).astype(int))


@pytest.mark.parametrize("method", METHODS)
def test_overridden_posterior_draws_at_the_same_timestep(method):
    class Subclass(VQDiffusionScheduler):
        def q_posterior(self, log_p_x_0, x_t, t):
            return super().q_posterior(log_p_x_0, x_t, t)

    x, x_t, keys = model_output(), sample(), RowKeys(1, range(B))
    s = Subclass(K + 1, sampling_method=method)
    numbers = []
    chain = type(s._chain)
    original = chain.step

    def spy(self, t, before, x, grid, noise, *rest):
        numbers.append(np.array(noise))
        return original(self, t, before, x, grid, noise, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chain, "step", spy)
        s.step(x, 60, x_t, keys)
        s.guided_step(None, x, 60, x_t, keys)
    shape, dtype = ((K + 1, N), np.float32) if method == "gumbel" else (N, np.float64)
    assert len(numbers) == 2
    for noise in numbers:
        np.testing.assert_array_equal(noise, row_uniforms(1, range(B), 60, 0, shape, dtype))


@pytest.mark.parametrize("method", METHODS)
def test_a_step_that_failed_is_repeated(method):
    s, x, x_t, keys = scheduler(method), model_output(), sample(), RowKeys(1, range(B))
    bad = x.copy()
    bad[:, 0] = np.nan
    with pytest.raises(ValueError, match="^model_output must hold finite"):
        s.step(bad, 50, x_t, keys)
    first = s.step(x, 50, x_t, keys).prev_sample
    np.testing.assert_array_equal(s.step(x, 50, x_t, keys).prev_sample, first)


@pytest.mark.parametrize("method", METHODS)
def test_empty_grids(method):
    s = scheduler(method)
    none = s.step(np.zeros((0, K, N)), 5, np.zeros((0, N), int), RowKeys(1, []))
    assert none.prev_sample.shape == (0, N)
    narrow = s.step(np.zeros((2, K, 0)), 5, np.zeros((2, 0), int), RowKeys(1, [1, 2]))
    assert narrow.prev_sample.shape == (2, 0)


@pytest.mark.parametrize("method", METHODS)
def test_keys_of_another_number_are_refused(method):
    s, x, x_t, keys = scheduler(method), model_output(), sample(), RowKeys(1, range(B - 1))
    match = f"^generator as RowKeys must have one id for each batch row, not {B - 1} for {B} rows$"
    calls = [lambda: s.step(x, 5, x_t, keys), lambda: s.guided_step(None, x, 5, x_t, keys)]
    calls += [lambda: s.add_noise(x_t, 5, keys)]
    calls += [lambda: s.plan(5, x_t, keys)] * (method == "inverse_cdf")
    for each in calls:
        with pytest.raises(ValueError, match=match):
            each()


def test_keys_are_refused_where_they_do_not_fit():
    s, x, x_t, keys = scheduler(), model_output(), sample(), RowKeys(1, range(B))
    with pytest.raises(TypeError, match="^generator must not be RowKeys in a list"):
        s.step(x, 5, x_t, [keys] * B)
    with pytest.raises(TypeError, match="^generator must not be RowKeys in a list"):
        vqdiffusion.gumbel_noised(x, keys)  # at no timestep
    with pytest.raises(ValueError, match="^generator must be None where a plan is given"):
        s.step(x, 5, x_t, keys, plan=s.plan(5, x_t, keys))
