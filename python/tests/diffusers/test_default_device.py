"""Whatever torch's default device is, a scheduler and what it computes on CPU tensors stay on the
CPU, as with diffusers.
"""

import numpy as np
import pytest
import torch
from diffusers_case import TABLES, Ours, Reference, generator, random_classes, random_log_p

from vqdiffusion.torch.guidance import guide, truncate

K, N, T = 5, 6, 20


@pytest.fixture(params=["block", "set"])
def meta_by_default(request):
    """Entered where a test calls it."""
    if request.param == "block":
        device = torch.device("meta")
        yield device.__enter__
        device.__exit__(None, None, None)
    else:
        yield lambda: torch.set_default_device("meta")
        torch.set_default_device(None)


def test_a_scheduler_is_built_on_the_cpu(meta_by_default):
    meta_by_default()
    for cls in (Reference, Ours):
        scheduler = cls(K + 1, T)
        if cls is Ours:  # the reference's tables are where torch puts them
            assert {getattr(scheduler, name).device.type for name in TABLES} == {"cpu"}
        assert scheduler.timesteps.device.type == "cpu"
        scheduler.set_timesteps(7)
        assert scheduler.timesteps.device.type == "cpu" and scheduler.timesteps.tolist() == [
            6,
            5,
            4,
            3,
            2,
            1,
            0,
        ]


@pytest.mark.parametrize("method", ["gumbel", "inverse_cdf"])
@pytest.mark.parametrize("path", ["native", "torch", "numpy"])
def test_the_same_results(meta_by_default, path, method):
    log_p, x = random_log_p(2, K, N), random_classes(2, K, N)
    onehot = torch.cat((log_p, log_p[:, :1]), 1)
    if path == "torch":
        torch.set_default_dtype(torch.bfloat16)
        log_p.requires_grad_()
        onehot.requires_grad_()
    elif path == "numpy":
        log_p, x, onehot = log_p.numpy(), x.numpy(), onehot.numpy()

    def results():
        s = Ours(K + 1, T, sampling_method=method)
        out = [s.step(log_p, t, x, generator(1)).prev_sample for t in (0, 7, [0, 7])]
        out += [s.step(log_p, 7, x, [generator(1), generator(2)]).prev_sample]
        out += [s.guided_step(log_p, log_p, 7, x, generator(1)).prev_sample]
        out += [s.q_posterior(log_p, x, t) for t in (0, 7, [0, 7])]
        out += [
            s.apply_cumulative_transitions(log_p, 7),
            guide(log_p, log_p, 3.0),
            truncate(log_p, 0.9),
        ]
        out += [
            s.log_Q_t_transitioning_to_known_class(
                t=7, x_t=x, log_onehot_x_t=onehot, cumulative=True
            )
        ]
        if method == "inverse_cdf":
            plan = s.plan(7, x, generator(1))
            columns = log_p.transpose(0, 2, 1) if path == "numpy" else log_p.transpose(1, 2)
            needed = columns[plan.needed.numpy() if path == "numpy" else plan.needed].T
            out += [plan.needed, plan.uniforms, s.step(needed, 7, x, plan=plan).prev_sample]
        return out

    expected = results()
    meta_by_default()
    for one, other in zip(results(), expected):
        assert one.device.type == "cpu" and one.dtype == other.dtype
        np.testing.assert_array_equal(one.detach().numpy(), other.detach().numpy())


def test_a_large_step_draws_with_the_engine(meta_by_default):
    log_p, x = random_log_p(1, 300, 333), random_classes(1, 300, 333)
    expected = Ours(301, T).step(log_p, 7, x, generator(1)).prev_sample
    meta_by_default()
    torch.testing.assert_close(Ours(301, T).step(log_p, 7, x, generator(1)).prev_sample, expected)


def test_a_compiled_posterior(meta_by_default):
    scheduler, log_p, x = Ours(K + 1, T), random_log_p(2, K, N), random_classes(2, K, N)
    t = torch.tensor(7)
    torch._dynamo.reset()
    compiled = torch.compile(scheduler.q_posterior, fullgraph=True, backend="eager")
    expected = scheduler.q_posterior(log_p, x, 7)
    meta_by_default()
    for one in (7, t):
        torch.testing.assert_close(compiled(log_p, x, one), expected, atol=2e-5, rtol=1e-5)
