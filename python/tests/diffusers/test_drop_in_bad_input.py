"""Where the reference is wrong or silent: a clear error, or what was meant. Each beside what the
reference does.
"""

import numpy as np
import pytest
import torch
from diffusers_case import Ours, Reference, generator, random_classes, random_log_p

K, N, T = 5, 6, 20


@pytest.fixture
def ours():
    return Ours(K + 1, T)


@pytest.fixture(params=["native", "torch"])
def case(request):
    """Valid input, for each of the two ways in which it is computed."""
    log_p, x = random_log_p(2, K, N), random_classes(2, K, N)
    if request.param == "torch":
        torch.set_default_dtype(torch.bfloat16)  # for step
        log_p.requires_grad_()  # for the others
    return log_p, x


def every_call(ours, log_p, t, x):
    onehot = torch.zeros(len(log_p), K + 1, log_p.shape[2]) if log_p.ndim == 3 else torch.zeros(1)
    if log_p.requires_grad:
        onehot.requires_grad_()
    return [
        lambda: ours.step(log_p, t, x),
        lambda: ours.q_posterior(log_p, x, t),
        lambda: ours.log_Q_t_transitioning_to_known_class(
            t=t, x_t=x, log_onehot_x_t=onehot, cumulative=True
        ),
        lambda: ours.apply_cumulative_transitions(log_p, t),
    ]


@pytest.mark.parametrize(
    "t", [-2, -T, T, 1000, torch.tensor(-2), torch.tensor(T), 2**70, [7, T], torch.tensor([-2, 7])]
)
def test_timesteps_outside_the_schedule(ours, case, t):
    for call in every_call(ours, case[0], t, case[1]):
        with pytest.raises(ValueError, match="must be from"):
            call()


def test_minus_one_is_clean_data_where_the_reference_has_it_so(ours, case):
    """Its other calls use the last entries of tables that have none for clean data."""
    step, posterior, rows, apply = every_call(ours, case[0], -1, case[1])
    assert apply().shape == (2, K + 1, N) and rows().shape == (2, K, N)
    onehot = torch.zeros(2, K + 1, N)
    for call in (
        step,
        posterior,
        lambda: ours.log_Q_t_transitioning_to_known_class(
            t=-1, x_t=case[1], log_onehot_x_t=onehot, cumulative=False
        ),
        lambda: ours.add_noise(case[1], -1),
    ):
        with pytest.raises(ValueError, match="must be from 0 to 19, not -1"):
            call()


@pytest.mark.parametrize(
    "t",
    [1.0, 0.5, True, "7", None, np.True_, np.float32(3), torch.tensor(3.0), torch.tensor(True), 1j],
)
def test_timesteps_that_are_no_integers(ours, case, t):
    for call in every_call(ours, case[0], t, case[1]):
        with pytest.raises(TypeError, match="must be an integer"):
            call()


@pytest.mark.parametrize(
    "t", [[7, 7, 7], torch.tensor([7, 7, 7]), np.array([1, 2, 3]), [], torch.tensor([], dtype=int)]
)
def test_the_wrong_number_of_timesteps(ours, case, t):
    for call in every_call(ours, case[0], t, case[1]):
        with pytest.raises(ValueError, match="one for each of 2 batch rows"):
            call()


@pytest.mark.parametrize("steps", [0, -3, T + 1, 10**20])
def test_set_timesteps_out_of_range(ours, steps):
    with pytest.raises(ValueError, match="num_inference_steps"):
        ours.set_timesteps(steps)
    assert ours.num_inference_steps is None and len(ours.timesteps) == T


@pytest.mark.parametrize("steps", [2.5, True, "10", 10.0])
def test_set_timesteps_takes_integers(ours, steps):
    with pytest.raises(TypeError, match="num_inference_steps"):
        ours.set_timesteps(steps)
    assert ours.num_inference_steps is None


def test_set_timesteps_takes_all_kinds_of_integers(ours):
    for steps in (np.int64(7), torch.tensor(7), 7):
        ours.set_timesteps(steps)
        assert ours.num_inference_steps == 7 and type(ours.num_inference_steps) is int


@pytest.mark.parametrize(
    "arguments",
    [
        {"num_vec_classes": 1},
        {"num_vec_classes": 0},
        {"num_vec_classes": -4},
        {"num_train_timesteps": 1},
        {"num_train_timesteps": 0},
        {"alpha_cum_start": 1.5},
        {"alpha_cum_start": -0.1},
        {"alpha_cum_end": float("nan")},
        {"gamma_cum_start": float("nan")},
        {"gamma_cum_end": float("inf")},
        {"alpha_cum_start": 0.9, "gamma_cum_start": 0.2},
        {"alpha_cum_start": 0.1, "alpha_cum_end": 0.5},
        {"gamma_cum_start": 0.5, "gamma_cum_end": 0.1},
    ],
    ids=str,
)
def test_schedules_that_are_no_chain(arguments):
    with pytest.raises(ValueError):
        Ours(**{"num_vec_classes": K + 1, **arguments})


@pytest.mark.parametrize(
    "arguments",
    [{"num_vec_classes": 5.0}, {"num_train_timesteps": True}, {"alpha_cum_end": "1"}],
    ids=str,
)
def test_arguments_of_the_wrong_type(arguments):
    with pytest.raises(TypeError, match=next(iter(arguments))):
        Ours(**{"num_vec_classes": K + 1, **arguments})


def test_a_schedule_without_exchange_of_classes_works():
    """ᾱ + γ̄ = 1: the reference's tables hold NaN through rounding, and it samples token 0
    everywhere.
    """
    ends = {
        "alpha_cum_start": 0.97,
        "alpha_cum_end": 0.01,
        "gamma_cum_start": 1 - 0.97,
        "gamma_cum_end": 1 - 0.01,
    }
    reference, ours = Reference(K + 1, T, **ends), Ours(K + 1, T, **ends)
    assert reference.log_cumprod_bt.isnan().any() and reference.log_bt.isnan().any()
    assert not any(
        getattr(ours, name).isnan().any()
        for name in ("log_bt", "log_cumprod_bt", "log_at", "log_ct")
    )
    log_p = random_log_p(2, K, 400)
    x = torch.full((2, 400), K)
    for t in range(T - 1, -1, -1):
        previous, x = x, ours.step(log_p, t, x, generator(t)).prev_sample
        if t:
            kept = previous != K
            assert torch.equal(x[kept], previous[kept])  # a class once shown stays
    assert x.max() < K and len(x.unique()) == K


def test_the_mask_row_is_refused_at_the_last_step(ours, case):
    """K + 1 rows at t = 0: the reference could return the mask."""
    log_p = torch.cat((case[0], torch.zeros(2, 1, N)), 1)
    for t in (0, 7):
        with pytest.raises(ValueError, match="model_output"):
            ours.step(log_p, t, case[1])


@pytest.mark.parametrize(
    "shape_of_log_p, shape_of_x",
    [
        ((1, K, N), (2, N)),
        ((2, K, N), (1, N)),
        ((2, 1, N), (2, N)),
        ((2, K, 1), (2, N)),
        ((2, K, N), (2, 1)),
        ((2, K, N), (N,)),
        ((2, K, N), (2, N, 1)),
        ((2, K, 2, 3), (2, N)),
        ((K, N), (N,)),
        ((2, K - 1, N), (2, N)),
        ((2, K, N), (2, N + 1)),
    ],
)
def test_nothing_is_broadcast(ours, case, shape_of_log_p, shape_of_x):
    log_p = torch.zeros(shape_of_log_p, requires_grad=case[0].requires_grad)
    x = torch.zeros(shape_of_x, dtype=torch.int64)
    with pytest.raises(ValueError):
        ours.step(log_p, 7, x)
    with pytest.raises(ValueError):
        ours.q_posterior(log_p, x, 7)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("t", [0, 7])
def test_nan_and_infinity(ours, case, value, t):
    log_p, x = case[0].detach().clone(), case[1]
    log_p[1, 3, 2] = value
    with pytest.raises(ValueError, match="model_output.*(NaN|inf)"):
        ours.step(log_p, t, x)
    with pytest.raises(ValueError, match="log_p_x_0.*(NaN|inf)"):
        ours.q_posterior(log_p.requires_grad_(case[0].requires_grad), x, t)


@pytest.mark.parametrize("t", [0, 7])
def test_a_column_without_mass(ours, case, t):
    """The reference samples token 0."""
    log_p, x = case[0].detach().clone(), case[1]
    log_p[1, :, 2] = -torch.inf
    with pytest.raises(ValueError, match="model_output"):
        ours.step(log_p, t, x)
    with pytest.raises(ValueError, match="log_p_x_0"):
        ours.q_posterior(log_p.requires_grad_(case[0].requires_grad), x, t)


@pytest.mark.parametrize("wrong", [-1, K + 1, 2**40, -(2**40)])
def test_classes_out_of_range(ours, case, wrong):
    log_p, x = case
    x = x.clone()
    x[1, 2] = wrong
    with pytest.raises(ValueError, match="sample"):
        ours.step(log_p, 7, x)
    with pytest.raises(ValueError, match="x_t"):
        ours.q_posterior(log_p, x, 7)


def test_a_mask_where_the_schedule_masks_nothing(case):
    ours, (log_p, x) = Ours(K + 1, T, gamma_cum_start=0.0, gamma_cum_end=0.0), case
    with pytest.raises(ValueError, match="mask"):
        ours.step(log_p, 7, torch.full_like(x, K))
    with pytest.raises(ValueError, match="mask"):
        ours.q_posterior(log_p, torch.full_like(x, K), 7)
    assert ours.step(log_p, 7, x.clamp(max=K - 1)).prev_sample.max() < K


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex64, torch.float8_e4m3fn])
def test_model_outputs_of_other_dtypes(ours, dtype):
    log_p, x = random_log_p(2, K, N).to(dtype), random_classes(2, K, N)
    for call in (ours.step, lambda a, t, b: ours.q_posterior(a, b, t)):
        with pytest.raises(TypeError, match="float16"):
            call(log_p, 7, x)


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.bool, torch.complex64, torch.bfloat16, torch.float8_e4m3fn]
)
def test_samples_of_other_dtypes(ours, case, dtype):
    log_p, x = case
    with pytest.raises(TypeError, match="integer"):
        ours.step(log_p, 7, x.to(dtype))
    with pytest.raises(TypeError, match="integer"):
        ours.q_posterior(log_p, x.to(dtype), 7)


def test_a_missing_sample(ours, case):
    for t in (7, [7, 0]):
        with pytest.raises(TypeError, match="sample must be an array, not None"):
            ours.step(case[0], t, None)


@pytest.mark.parametrize("nonsense", [None, "text", object(), [[1, "a"]]])
def test_model_outputs_that_are_no_arrays(ours, case, nonsense):
    with pytest.raises((TypeError, ValueError), match="model_output"):
        ours.step(nonsense, 7, case[1])


def test_tensors_on_two_devices(ours, case):
    log_p, x = case
    for a, b in ((log_p.to("meta"), x), (log_p, x.to("meta"))):
        with pytest.raises(ValueError, match="sample must be on"):
            ours.step(a, 7, b)
        with pytest.raises(ValueError, match="x_t must be on"):
            ours.q_posterior(a, b, 7)
