"""`check_finite` of the drop-in."""

import pytest
import torch
from diffusers_case import Ours, generator, random_log_p
from tensor_views import turned

K, N, T = 5, 60, 20


@pytest.fixture(params=["native", "torch"])
def case(request):
    if request.param == "torch":
        torch.set_default_dtype(torch.bfloat16)
    return random_log_p(2, K, N).float(), torch.full((2, N), K)


@pytest.mark.parametrize("t", [0, T - 1, [0, T - 1]], ids=str)
@pytest.mark.parametrize("method", ["gumbel", "inverse_cdf"])
def test_bad_columns_are_refused_wherever_they_are(case, method, t):
    (log_p, x), ours = case, Ours(K + 1, T, sampling_method=method)
    one, other = generator(3), generator(3)
    expected = ours.step(log_p, t, x, one).prev_sample
    assert torch.equal(ours.step(log_p, t, x, other, check_finite=True).prev_sample, expected)
    for value, classes in ((torch.nan, 2), (torch.inf, 4), (-torch.inf, slice(None))):
        for pixel in range(0, N, 7):
            bad = log_p.clone()
            bad[1, classes, pixel] = value
            for given in (bad, bad.bfloat16(), turned(bad)):
                with pytest.raises(ValueError, match=rf"model_output must .*\b{pixel}\b"):
                    ours.step(given, t, x, other, check_finite=True)
    assert torch.equal(one.get_state(), other.get_state())


def test_natively_what_is_not_read_goes_unseen_without_it():
    log_p, x = random_log_p(2, K, N), torch.full((2, N), K)
    ours = Ours(K + 1, T, sampling_method="inverse_cdf")
    plan = ours.plan(T - 1, x, generator(1))
    holes = torch.where(plan.needed.unsqueeze(1), log_p, torch.nan)
    expected = ours.step(log_p, T - 1, x, generator(1)).prev_sample
    assert torch.equal(ours.step(holes, T - 1, x, generator(1)).prev_sample, expected)
    assert torch.equal(ours.step(holes, T - 1, x, plan=plan).prev_sample, expected)
    for options in ({"generator": generator(1)}, {"plan": plan}):
        with pytest.raises(ValueError, match="model_output"):
            ours.step(holes, T - 1, x, check_finite=True, **options)
