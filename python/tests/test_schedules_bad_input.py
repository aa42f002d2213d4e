"""Arguments that the schedules of `vqdiffusion.schedules` refuse."""

import math

import numpy as np
import pytest
from schedule_cases import EVERY, SHARED, named

from vqdiffusion import VQDiffusionScheduler, schedules


@pytest.mark.parametrize("case", EVERY, ids=named)
def test_wrong_numbers_of_timesteps(case):
    function, arguments, _ = case
    for wrong in (1, 0, -3, 10**7 + 1, 2**70):
        with pytest.raises(ValueError, match="num_train_timesteps must be from 2 to 10000000, not"):
            function(wrong, **arguments)
    for wrong in (None, 2.0, "7", True, math.nan):
        with pytest.raises(TypeError, match="num_train_timesteps must be an integer, not"):
            function(wrong, **arguments)


CLOSED, HALF_OPEN = r"a probability in \[0, 1\]", r"a probability in \[0, 1\)"
NOT_IN_CLOSED = (-0.25, 1 + 2**-52, 2, math.nan, math.inf)
NOT_POSITIVE = (0, -0.25, math.nan, math.inf)


@pytest.mark.parametrize(
    "function, name, wanted, values",
    [
        *((function, "mask_share", CLOSED, NOT_IN_CLOSED) for function, _, _ in SHARED),
        (schedules.linear, "alpha_cum_start", CLOSED, (-0.25, 2, math.nan, math.inf)),
        (schedules.linear, "gamma_cum_end", CLOSED, (-0.25, 2, math.nan, math.inf)),
        (schedules.log_linear, "eps", HALF_OPEN, (1, *NOT_IN_CLOSED)),
        (schedules.hybrid, "p_uniform", HALF_OPEN, (1, *NOT_IN_CLOSED)),
        (schedules.polynomial, "exponent", "positive and finite", NOT_POSITIVE),
        (schedules.geometric, "sigma_min", "positive and finite", NOT_POSITIVE),
        (schedules.geometric, "sigma_max", "positive and finite", NOT_POSITIVE),
        (schedules.geometric, "sigma_max", "above sigma_min, 0.0001", (1e-5, 1e-4)),
    ],
)
def test_wrong_values(function, name, wanted, values):
    for value in values:
        came = f"{value:g}|{float(value)}"
        with pytest.raises(ValueError, match=rf"^{name} must be {wanted}, not ({came})$"):
            function(10, **{name: value})


@pytest.mark.parametrize("wrong", ["squared", "MDLM", ""])
def test_unknown_variant(wrong):
    with pytest.raises(
        ValueError, match=f"^variant must be one of mdlm, maskgit, d3pm, not {wrong!r}$"
    ):
        schedules.cosine(10, variant=wrong)


@pytest.mark.parametrize(
    "function, name",
    [
        (schedules.linear, "alpha_cum_start"),
        (schedules.log_linear, "eps"),
        (schedules.log_linear, "mask_share"),
        (schedules.cosine, "mask_share"),
        (schedules.polynomial, "exponent"),
        (schedules.polynomial, "mask_share"),
        (schedules.geometric, "sigma_min"),
        (schedules.geometric, "sigma_max"),
        (schedules.geometric, "mask_share"),
        (schedules.hybrid, "p_uniform"),
    ],
)
def test_wrong_kinds(function, name):
    for wrong in ("0.5", True, 0.5j, [0.5]):
        with pytest.raises(TypeError, match=f"{name} must be a real number, not"):
            function(10, **{name: wrong})
    with pytest.raises(ValueError, match=f"{name} must be a single real number, not an array"):
        function(10, **{name: np.full(2, 0.5)})


@pytest.mark.parametrize("wrong", [None, 3, ["mdlm"], np.array(["mdlm", "d3pm"])])
def test_variant_of_another_kind(wrong):
    with pytest.raises(TypeError, match="variant must be a string, not"):
        schedules.cosine(10, variant=wrong)


def test_a_small_share_that_rises_is_no_rounding_error():
    """ᾱ/(1 - γ̄) doubles where both are tiny."""
    gammas = np.array([0.1, 1 - 1e-9, 1 - 1e-9])
    with pytest.raises(ValueError, match=r"rises at timestep 2"):
        VQDiffusionScheduler(4, alphas_cumprod=[0.5, 1e-10, 2e-10], gammas_cumprod=gammas)
    VQDiffusionScheduler(4, alphas_cumprod=[0.5, 1e-10, 1e-10], gammas_cumprod=gammas)
