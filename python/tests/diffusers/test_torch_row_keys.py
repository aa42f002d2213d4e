"""RowKeys in the class for tensors: the uniforms of the class for arrays, in every way a step is
computed.
"""

import numpy as np
import pytest
import torch
from reference import row_uniforms

import vqdiffusion
import vqdiffusion.torch as ours
from vqdiffusion import RowKeys

METHODS = "inverse_cdf", "gumbel"
K, B, N = 6, 8, 700  # B * (K + 1) * N numbers are so many that engines would be continued
KEYS = RowKeys(5, range(30, 30 + B), 1)
TIMESTEPS = [99, 50, 1, 0, 3, 0, 70, 20]


def scheduler(method="inverse_cdf"):
    return ours.VQDiffusionScheduler(K + 1, sampling_method=method)


def model_output(batch=B, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(batch, K, N, generator=generator, dtype=torch.float64)
    return logits.log_softmax(1).to(dtype)


def sample(batch=B):
    return torch.from_numpy(np.random.default_rng(1).integers(0, K + 1, (batch, N)))


def arrays_step(method, x, t, x_t, keys=KEYS):
    """The same step by the class for arrays."""
    s = vqdiffusion.VQDiffusionScheduler(K + 1, sampling_method=method)
    return s.step(x.detach().numpy(), t, x_t.numpy(), keys).prev_sample


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("t", [99, 50, 1, 0])
def test_tokens_are_those_of_the_class_for_arrays(method, t):
    x, x_t = model_output(), sample()
    found = scheduler(method).step(x, t, x_t, KEYS).prev_sample
    np.testing.assert_array_equal(found, arrays_step(method, x, t, x_t))


@pytest.mark.parametrize("method", METHODS)
def test_a_timestep_for_each_row(method):
    x, x_t = model_output(), sample()
    found = scheduler(method).step(x, torch.tensor(TIMESTEPS), x_t, KEYS).prev_sample
    for row, t in enumerate(TIMESTEPS):
        part = slice(row, row + 1)
        expected = arrays_step(method, x[part], t, x_t[part], KEYS[part])
        np.testing.assert_array_equal(found[part], expected)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("t", [50, 0, TIMESTEPS], ids=str)
def test_torch_formulas_draw_the_same_numbers(method, t, monkeypatch):
    """As on an accelerator; rounding may turn ties, of which these seeds have none."""
    x, x_t = model_output(dtype=torch.float64), sample()
    t = torch.tensor(t) if isinstance(t, list) else t
    expected = scheduler(method).step(x, t, x_t, KEYS).prev_sample
    monkeypatch.setattr("vqdiffusion.torch.steps.numpy_view", lambda *_: None)
    found = scheduler(method).step(x, t, x_t, KEYS).prev_sample
    assert torch.equal(found, expected)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("t", [50, 0, TIMESTEPS], ids=str)
def test_overridden_posteriors_draw_the_same_numbers(method, t):
    class Subclass(ours.VQDiffusionScheduler):
        def q_posterior(self, log_p_x_0, x_t, t):
            return super().q_posterior(log_p_x_0, x_t, t)

    s, x, x_t, drawn = Subclass(K + 1, sampling_method=method), model_output(), sample(), []
    t = torch.tensor(t) if isinstance(t, list) else t
    original = RowKeys.uniforms

    def spy(*arguments):
        drawn.append(original(*arguments))
        return drawn[-1].copy()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RowKeys, "uniforms", spy)
        s.step(x, t, x_t, KEYS)
    at = t.tolist() if isinstance(t, torch.Tensor) else t
    shape, dtype = ((K + (at != 0), N), np.float32) if method == "gumbel" else (N, np.float64)
    (numbers,) = drawn
    np.testing.assert_array_equal(numbers, row_uniforms(5, KEYS.ids, at, 1, shape, dtype))


@pytest.mark.parametrize("method", METHODS)
def test_guided_step(method):
    s, uncond, cond, x_t = scheduler(method), model_output(seed=3), model_output(), sample()
    arrays = vqdiffusion.VQDiffusionScheduler(K + 1, sampling_method=method)
    for t in 50, 0:
        found = s.guided_step(uncond, cond, t, x_t, KEYS).prev_sample
        given = uncond.numpy(), cond.numpy(), t, x_t.numpy(), KEYS
        np.testing.assert_array_equal(found, arrays.guided_step(*given).prev_sample)


def test_plan():
    s, x, x_t = scheduler(), model_output(), sample()
    for t in 50, 0, torch.tensor(TIMESTEPS):
        plan = s.plan(t, x_t, KEYS)
        expected = s.step(x, t, x_t, KEYS).prev_sample
        assert torch.equal(s.step(x, t, x_t, plan=plan).prev_sample, expected)
        columns = x.permute(0, 2, 1)[plan.needed].T
        assert torch.equal(s.step(columns, t, x_t, plan=plan).prev_sample, expected)


def test_forward_process(monkeypatch):
    s, x_0 = scheduler(), sample()
    arrays = vqdiffusion.VQDiffusionScheduler(K + 1)
    expected = arrays.add_noise(x_0.numpy(), np.array(TIMESTEPS), KEYS)
    np.testing.assert_array_equal(s.add_noise(x_0, torch.tensor(TIMESTEPS), KEYS), expected)
    monkeypatch.setattr("vqdiffusion.torch.transitions.numpy_view", lambda *_: None)
    np.testing.assert_array_equal(s.add_noise(x_0, torch.tensor(TIMESTEPS), KEYS), expected)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_default_dtype_of_torch_changes_no_number(dtype):
    """Gumbel noise of keys is float32 whatever torch.rand gives."""
    x, x_t = model_output(), sample()
    expected = scheduler("gumbel").step(x, 50, x_t, KEYS).prev_sample
    before = torch.get_default_dtype()
    try:
        torch.set_default_dtype(dtype)
        found = scheduler("gumbel").step(x, 50, x_t, KEYS).prev_sample
    finally:
        torch.set_default_dtype(before)
    assert (found != expected).float().mean() < 1e-3  # the torch formulas round in another way


@pytest.mark.parametrize("method", METHODS)
def test_global_generator_is_left_alone(method):
    x, x_t = model_output(), sample()
    before = torch.get_rng_state()
    scheduler(method).step(x, 50, x_t, KEYS)
    scheduler(method).step(x.requires_grad_(), 50, x_t, KEYS)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("method", METHODS)
def test_meta_tensors(method):
    x, x_t = model_output().to("meta"), sample().to("meta")
    found = scheduler(method).step(x, 50, x_t, KEYS).prev_sample
    assert found.device.type == "meta" and found.shape == (B, N)


@pytest.mark.parametrize("method", METHODS)
def test_vmap(method):
    """Each element of the batch that vmap makes is a batch of its own, with the same keys."""
    x, x_t = torch.stack([model_output(), model_output(seed=1)]), sample()
    found = torch.vmap(lambda one: scheduler(method).step(one, 50, x_t, KEYS).prev_sample)(x)
    for one, tokens in zip(x, found, strict=True):
        expected = arrays_step(method, one, 50, x_t)
        assert (tokens.numpy() != expected).mean() < 1e-3


@pytest.mark.skipif(
    torch.__version__ < "2.4", reason="to its compiler every method is overridden"
)  # and an overridden posterior draws other tokens of the same law
@pytest.mark.filterwarnings("ignore:.*Dynamo does not know how to trace:UserWarning")
@pytest.mark.parametrize("method", METHODS)
def test_compiled(method):
    """The keys are a break in the graph, as a torch.Generator is."""
    s, x, x_t = scheduler(method), model_output(), sample()

    def step(x, x_t):
        return s.step(x, 50, x_t, KEYS, return_dict=False)[0]

    found = torch.compile(step, backend="eager")(x, x_t)
    assert (found.numpy() != arrays_step(method, x, 50, x_t)).mean() < 1e-3


@pytest.mark.parametrize("method", METHODS)
def test_keys_of_another_number_are_refused(method):
    s, x, x_t, keys = scheduler(method), model_output(), sample(), KEYS[:-1]
    match = f"^generator as RowKeys must have one id for each batch row, not {B - 1} for {B} rows$"
    calls = [lambda: s.step(x, 5, x_t, keys), lambda: s.guided_step(None, x, 5, x_t, keys)]
    calls += [lambda: s.add_noise(x_t, 5, keys)]
    calls += [lambda: s.plan(5, x_t, keys)] * (method == "inverse_cdf")
    for each in calls:
        with pytest.raises(ValueError, match=match):
            each()
    with pytest.raises(TypeError, match="^generator as a list must hold torch.Generators"):
        s.step(x, 5, x_t, [KEYS] * B)
    with pytest.raises(TypeError, match="^generator must be None, .*, a list of them or RowKeys"):
        s.step(x, 5, x_t, 7)
