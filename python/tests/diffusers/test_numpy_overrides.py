"""Overrides of parts of the posterior: the NumPy class gives what diffusers' class gives."""

import numpy as np
import pytest
import torch
from diffusers import VQDiffusionScheduler as Reference

import vqdiffusion


def overridden(base):
    class Overridden(base):
        def log_Q_t_transitioning_to_known_class(self, *, t, x_t, log_onehot_x_t, cumulative):
            rows = super().log_Q_t_transitioning_to_known_class(
                t=t, x_t=x_t, log_onehot_x_t=log_onehot_x_t, cumulative=cumulative
            )
            return rows * (0.7 if cumulative else 0.9)

        def apply_cumulative_transitions(self, q, t):
            return super().apply_cumulative_transitions(q, t) * 1.1

    return Overridden


@pytest.mark.parametrize("t", [1, 50, 99])
def test_the_posterior_is_composed_as_in_diffusers(t):
    torch.manual_seed(t)
    log_p, x_t = torch.randn(2, 17, 30).log_softmax(1), torch.randint(0, 18, (2, 30))
    expected = overridden(Reference)(18).q_posterior(log_p, x_t, t).numpy()
    result = overridden(vqdiffusion.VQDiffusionScheduler)(18).q_posterior(
        log_p.numpy(), x_t.numpy(), t
    )
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-4)
    assert not np.allclose(expected, Reference(18).q_posterior(log_p, x_t, t).numpy(), atol=0.1)
