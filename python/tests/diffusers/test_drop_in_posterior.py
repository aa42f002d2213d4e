"""`q_posterior` and its two parts beside the reference's, on plain CPU tensors: the native path."""

import math

import pytest
import torch
from diffusers_case import Ours, both, log_onehot, random_classes, random_log_p, same_cells
from tensor_views import turned

TIMESTEPS = (0, 1, 2, 50, 98, 99)
DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@pytest.mark.parametrize("classes", [1, 2, 17, 100, 1024])
@pytest.mark.parametrize("t", TIMESTEPS)
def test_posterior(classes, t):
    reference, ours = both(classes)
    log_p, x = random_log_p(2, classes, 37), random_classes(2, classes, 37)
    same_cells(ours.q_posterior(log_p, x, t), reference.q_posterior(log_p, x, t))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("t", TIMESTEPS)
def test_dtypes(dtype, t):
    """Up to float32 the result is float32. In float64 only ours has tables of float64."""
    reference, ours = both(17)
    log_p, x = random_log_p(2, 17, 37, dtype=dtype), random_classes(2, 17, 37)
    out = ours.q_posterior(log_p, x, t)
    assert out.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    same_cells(out, reference.q_posterior(log_p, x, t))


def test_float64_is_computed_in_float64():
    """The last row of a masked pixel is log γ̄_s/γ̄_t + log Σ p, whatever else."""
    ours, log_p, x = Ours(18), random_log_p(1, 17, 5, dtype=torch.float64), torch.full((1, 5), 17)
    gamma = [9e-6 + i / 99 * (0.99999 - 9e-6) for i in (49, 50)]
    expected = math.log(gamma[0] / gamma[1]) + log_p.logsumexp(1)
    torch.testing.assert_close(ours.q_posterior(log_p, x, 50)[:, -1], expected, atol=1e-14, rtol=0)


@pytest.mark.parametrize("t", TIMESTEPS)
def test_not_normalised(t):
    ours, log_p, x = (
        Ours(18),
        random_log_p(2, 17, 37, dtype=torch.float64),
        random_classes(2, 17, 37),
    )
    log_p = log_p - 1.5
    out = ours.q_posterior(log_p, x, t)
    reaching = out.masked_fill(
        torch.arange(18)[:, None].eq(17) & (x != 17).unsqueeze(1), -torch.inf
    )
    torch.testing.assert_close(reaching.logsumexp(1), log_p.logsumexp(1), atol=1e-9, rtol=0)
    same_cells(ours.q_posterior(log_p + 2, x, t), out + 2, absolute=1e-12, relative=1e-12)


def test_impossible_cells():
    reference, ours = both(5)
    log_p, x = random_log_p(1, 5, 3), torch.tensor([[0, 3, 5]])
    out = ours.q_posterior(log_p, x, 40)
    assert out.isfinite().all() and (out[0, 5, :2] < -40).all() and out[0, 5, 2] > -1
    at_zero = ours.q_posterior(log_p, x, 0)
    same_cells(at_zero, reference.q_posterior(log_p, x, 0))
    assert (at_zero[0, 5] == -torch.inf).all()


def test_log_zero_in_the_model_output():
    reference, ours = both(17)
    log_p, x = random_log_p(2, 17, 37), random_classes(2, 17, 37)
    log_p[log_p < -4] = -torch.inf
    for t in TIMESTEPS:
        same_cells(ours.q_posterior(log_p, x, t), reference.q_posterior(log_p, x, t))


def test_fresh_contiguous_without_grad():
    ours, log_p, x = Ours(18), random_log_p(2, 17, 37), random_classes(2, 17, 37)
    out = ours.q_posterior(turned(log_p), x, 4)
    assert out.is_contiguous() and not out.requires_grad and out.data_ptr() != log_p.data_ptr()
    with torch.no_grad():
        assert not ours.q_posterior(log_p.requires_grad_(), x, 4).requires_grad


@pytest.mark.parametrize("cumulative", [True, False])
@pytest.mark.parametrize("t", TIMESTEPS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_log_transition_rows(cumulative, t, dtype):
    reference, ours = both(17)
    x = random_classes(2, 17, 37)
    arguments = {"x_t": x, "log_onehot_x_t": log_onehot(x, 18).to(dtype), "cumulative": cumulative}
    expected = reference.log_Q_t_transitioning_to_known_class(t=torch.tensor(t), **arguments)
    out = ours.log_Q_t_transitioning_to_known_class(t=torch.tensor(t), **arguments)
    # The reference gives half precision for half precision; ours at least float32.
    assert out.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    same_cells(out, expected.to(out.dtype), absolute=2e-5 if dtype.itemsize > 2 else 0.5)
    assert out.shape[1] == 17 + (not cumulative)


@pytest.mark.parametrize("t", (-1, *TIMESTEPS))
@pytest.mark.parametrize("dtype", DTYPES)
def test_apply_cumulative_transitions(t, dtype):
    reference, ours = both(17)
    q = random_log_p(2, 17, 37, dtype=dtype)
    expected = reference.apply_cumulative_transitions(q, t)
    out = ours.apply_cumulative_transitions(q, t)
    assert out.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    same_cells(out, expected.to(out.dtype), absolute=2e-5 if dtype.itemsize > 2 else 0.5)


def test_one_timestep_per_row():
    ours = Ours(18, 50)
    log_p, x = random_log_p(4, 17, 9), random_classes(4, 17, 9)
    t = torch.tensor([49, 0, 7, 7])
    alone = [ours.q_posterior(log_p[i : i + 1], x[i : i + 1], t[i]) for i in range(4)]
    assert torch.equal(ours.q_posterior(log_p, x, t), torch.cat(alone))
    for cumulative in (True, False):
        arguments = {"x_t": x, "log_onehot_x_t": log_onehot(x, 18), "cumulative": cumulative}
        out = ours.log_Q_t_transitioning_to_known_class(t=t, **arguments)
        alone = ours.log_Q_t_transitioning_to_known_class(t=7, **arguments)
        assert torch.equal(out[2:], alone[2:]) and not torch.equal(out[0], alone[0])
    out = ours.apply_cumulative_transitions(log_p, torch.tensor([49, -1, 7, 7]))
    assert torch.equal(out[1:2], ours.apply_cumulative_transitions(log_p[1:2], -1))
    assert torch.equal(out[2:], ours.apply_cumulative_transitions(log_p[2:], 7))
