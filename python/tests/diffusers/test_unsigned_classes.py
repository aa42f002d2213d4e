"""Classes out of range are refused whatever their type, wherever torch computes: torch compares few
unsigned types."""

import pytest
import torch
from diffusers_case import Ours, generator, random_classes, random_log_p

from vqdiffusion.torch import arguments

K, N, T = 5, 6, 20
TYPES = (torch.uint8, torch.int32, torch.uint16, torch.uint32, torch.uint64)


def calls(scheduler, log_p, x):
    """What torch computes, and the name of the classes: under autograd, or with 16-bit uniforms."""
    differentiable = log_p.clone().requires_grad_()
    onehot = torch.zeros(2, K + 1, N, requires_grad=True)
    half = torch.get_default_dtype() is torch.float16
    steps = {
        "step": (lambda: scheduler.step(log_p, 7, x, generator(1)).prev_sample, "sample"),
        "guided_step": (
            lambda: scheduler.guided_step(log_p, log_p, 7, x, generator(1)).prev_sample,
            "sample",
        ),
        "step of rows": (
            lambda: scheduler.step(log_p, [7, 8], x, generator(1)).prev_sample,
            "sample",
        ),
    }
    others = {
        "q_posterior": (lambda: scheduler.q_posterior(differentiable, x, 7), "x_t"),
        "log_Q_t": (
            lambda: scheduler.log_Q_t_transitioning_to_known_class(
                t=7, x_t=x, log_onehot_x_t=onehot, cumulative=True
            ),
            "x_t",
        ),
    }
    return {**others, **(steps if half else {})}


@pytest.mark.parametrize("method", ["gumbel", "inverse_cdf"])
@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_every_path_of_torch(dtype, method):
    scheduler, log_p, x = (
        Ours(K + 1, T, sampling_method=method),
        random_log_p(2, K, N),
        random_classes(2, K, N),
    )
    torch.set_default_dtype(torch.float16)
    right = calls(scheduler, log_p, x.to(dtype))
    for name, (call, _) in calls(scheduler, log_p, x).items():
        assert torch.equal(right[name][0](), call()), name
    x[1, 2] = K + 1
    for name, (call, argument) in calls(scheduler, log_p, x.to(dtype)).items():
        with pytest.raises(
            ValueError, match=f"{argument} must hold classes from 0 to {K}, not {K + 1}"
        ):
            call()
            pytest.fail(name)


@pytest.mark.parametrize(
    ("number", "dtype"),
    [(2**63, torch.uint64), (2**64 - 1, torch.uint64), (2**32 - 1, torch.uint32), (-1, torch.int8)],
)
def test_the_message_has_the_number(number, dtype):
    grid = torch.tensor([[0, number]], dtype=dtype)
    with pytest.raises(ValueError, match=f"x_t must hold classes from 0 to 5, not {number}$"):
        Ours(K + 1, T).q_posterior(torch.zeros(1, K, 2, requires_grad=True), grid, 7)


@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_plans_of_memory_out_of_reach(dtype, monkeypatch):
    """As on an accelerator."""
    scheduler, x = Ours(K + 1, T, sampling_method="inverse_cdf"), random_classes(2, K, N)
    expected = scheduler.plan(7, x, generator(1)).needed
    monkeypatch.setattr("vqdiffusion.torch.planned.numpy_view", lambda value, name: None)
    assert torch.equal(scheduler.plan(7, x.to(dtype), generator(1)).needed, expected)
    x[1, 2] = K + 1
    with pytest.raises(ValueError, match=f"sample must hold classes from 0 to {K}, not {K + 1}"):
        scheduler.plan(7, x.to(dtype), generator(1))


def test_an_error_of_the_check_itself_is_not_swallowed(monkeypatch):
    def broken(self):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(torch.Tensor, "aminmax", broken)
    with pytest.raises(RuntimeError, match="out of memory"):
        arguments.check_grid(torch.zeros(1, 2, dtype=torch.int64), "x_t", 5)
