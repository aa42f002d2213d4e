"""The torch formulas, for autograd, vmap, torch.compile and other devices, beside the reference."""

from functools import partial

import numpy as np
import pytest
import torch
from diffusers_case import (
    Ours, both, generator, law_of, log_onehot, random_classes, random_log_p, same_cells,
)  # fmt: skip
from schedule_of import schedule_of
from torch.autograd import forward_ad
from torch.func import functionalize, grad, hessian, jacfwd, jacrev, vmap

from vqdiffusion import _native
from vqdiffusion.torch import formulas as torch_formulas
from vqdiffusion.torch import inverse_cdf as torch_inverse_cdf

K, T = 5, 20
TIMESTEPS = (0, 1, 7, T - 1)
# With ᾱ + γ̄ = 1 at the start or throughout: β̄ = 0 up to rounding, a pixel carried over.
SCHEDULES = {
    "default": {},
    "carried at first": {"alpha_cum_start": 1.0, "gamma_cum_start": 0.0},
    "absorbing": {
        "alpha_cum_start": 0.875,
        "alpha_cum_end": 0.125,
        "gamma_cum_start": 0.125,
        "gamma_cum_end": 0.875,
    },
    "masking at the end only": {"gamma_cum_start": 0.0, "gamma_cum_end": 0.5},
}


@pytest.fixture
def case():
    log_p = random_log_p(2, K, 6, dtype=torch.float64)
    return log_p, torch.tensor([[0, 5, 2, 4, 5, 1], [5, 5, 4, 0, 3, 3]])


def finite_sum(f, weights):
    def function(log_p):
        out = f(log_p)
        return (weights * torch.where(out.isfinite(), out, 0)).sum()

    return function


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_values_are_those_of_the_native_module(schedule, dtype):
    ours = Ours(K + 1, T, **schedule)
    log_p, x = random_log_p(3, K, 50, dtype=dtype), random_classes(3, K, 50)
    for t in range(T):
        x_t = (
            x if t or schedule.get("gamma_cum_start") != 0 else x.clamp(max=K - 1)
        )  # no masks where there are none
        out = ours.q_posterior(log_p.clone().requires_grad_(), x_t, t)
        assert out.requires_grad
        tight = 1e-9 if dtype == torch.float64 else 1e-5
        same_cells(out.detach(), ours.q_posterior(log_p, x_t, t), absolute=tight, relative=1e-6)


@pytest.mark.parametrize("t", TIMESTEPS)
def test_gradients_are_those_of_the_reference(case, t):
    (reference, ours), (log_p, x) = both(K, T), case
    weights = torch.randn(2, K + 1, 6, dtype=torch.float64)
    functions = [
        finite_sum(lambda z, s=s: s.q_posterior(z, x, t), weights) for s in (ours, reference)
    ]
    torch.testing.assert_close(*(grad(f)(log_p) for f in functions), atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(*(hessian(f)(log_p) for f in functions), atol=1e-6, rtol=1e-6)
    leaves = [log_p.clone().requires_grad_() for _ in functions]
    for f, leaf in zip(functions, leaves):
        f(leaf).backward()
    torch.testing.assert_close(leaves[0].grad, leaves[1].grad, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
@pytest.mark.parametrize("t", [1, 7, T - 1])
def test_derivatives_to_second_order_are_those_of_differences(case, schedule, t):
    ours, (log_p, x) = Ours(K + 1, T, **schedule), case
    finite = ours.q_posterior(log_p, x, t).isfinite()

    def function(z):
        return ours.q_posterior(z, x, t)[finite]

    z = log_p.requires_grad_()
    assert torch.autograd.gradcheck(function, (z,), check_forward_ad=True)
    assert torch.autograd.gradgradcheck(function, (z,))


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
@pytest.mark.parametrize("value", [-70.0, -torch.inf])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_derivatives_are_finite_at_log_zero(case, schedule, value, dtype):
    ours, (log_p, x) = Ours(K + 1, T, **schedule), case
    log_p = log_p.to(dtype)
    log_p[0, 0, 0] = log_p[0, 1, 0] = log_p[0, 3, 1] = log_p[1, 4, 2] = (
        value  # shown classes, and others
    )
    for t in range(1, T):
        z = log_p.clone().requires_grad_()
        out = ours.q_posterior(z, x, t)
        (first,) = torch.autograd.grad(out[out.isfinite()].sum(), z, create_graph=True)
        assert first.isfinite().all()
        (second,) = torch.autograd.grad(first.square().sum(), z, materialize_grads=True)
        assert second.isfinite().all()


def test_forward_mode(case):
    (reference, ours), (log_p, x) = both(K, T), case
    direction = torch.randn_like(log_p)
    for t in TIMESTEPS:
        tangents = []
        for scheduler in (ours, reference):
            with forward_ad.dual_level():
                out = scheduler.q_posterior(forward_ad.make_dual(log_p, direction), x, t)
                tangents.append(forward_ad.unpack_dual(out).tangent)
        finite = reference.q_posterior(log_p, x, t).isfinite()
        torch.testing.assert_close(tangents[0][finite], tangents[1][finite], atol=1e-6, rtol=1e-6)


def test_jacobians_by_reverse_and_forward_mode_agree(case):
    ours, (log_p, x) = Ours(K + 1, T), case
    for t in TIMESTEPS:
        finite = ours.q_posterior(log_p, x, t).isfinite()
        reverse, forward = (
            jacobian(lambda z: ours.q_posterior(z, x, t))(log_p) for jacobian in (jacrev, jacfwd)
        )
        torch.testing.assert_close(reverse[finite], forward[finite], atol=1e-12, rtol=1e-12)


def test_the_two_parts_have_gradients_too(case):
    (reference, ours), (log_p, x) = both(K, T), case
    onehot = log_onehot(x, K + 1)
    for cumulative in (True, False):
        jacobians = [
            jacrev(
                lambda z: s.log_Q_t_transitioning_to_known_class(
                    t=7, x_t=x, log_onehot_x_t=z, cumulative=cumulative
                )
            )(onehot)
            for s in (ours, reference)
        ]
        torch.testing.assert_close(*jacobians, atol=1e-5, rtol=1e-5)
    jacobians = [
        jacrev(lambda z: s.apply_cumulative_transitions(z, 7))(log_p) for s in (ours, reference)
    ]
    torch.testing.assert_close(*jacobians, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("cumulative", [True, False])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_transition_rows_of_masked_pixels_and_of_others(cumulative, dtype):
    ours, x = Ours(K + 1, T), random_classes(3, K, 50)
    rows = partial(ours.log_Q_t_transitioning_to_known_class, x_t=x, cumulative=cumulative)
    onehot = log_onehot(x, K + 1).to(dtype)
    masking = ours.log_cumprod_ct if cumulative else ours.log_ct
    for t in TIMESTEPS:
        out = rows(t=t, log_onehot_x_t=onehot.clone().requires_grad_())
        assert out.requires_grad
        same_cells(out.detach(), rows(t=t, log_onehot_x_t=onehot))
        of_masked = out.detach().transpose(1, 2)[x == K]
        torch.testing.assert_close(
            of_masked[:, :K], masking[t].to(out.dtype).expand(len(of_masked), K)
        )


@pytest.mark.parametrize("in_dims", [(0, 0), (0, None), (None, 0)])
def test_vmap(case, in_dims):
    ours, (log_p, x) = Ours(K + 1, T), case
    many = [torch.stack((a, a.flip(0))) if dim == 0 else a for a, dim in zip((log_p, x), in_dims)]
    for t in TIMESTEPS:
        out = vmap(lambda a, b: ours.q_posterior(a, b, t), in_dims)(*many)
        for i in range(2):
            one = [a[i] if dim == 0 else a for a, dim in zip(many, in_dims)]
            same_cells(out[i], ours.q_posterior(*one, t), absolute=1e-9)
        tokens = vmap(lambda a, b: ours.step(a, t, b).prev_sample, in_dims, randomness="different")(
            *many
        )
        assert tokens.shape == (2, *x.shape) and tokens.dtype == torch.int64


@pytest.mark.parametrize("method", ["gumbel", "inverse_cdf"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_vmap_over_nothing_draws_several_times(case, dtype, method):
    """Here the random numbers alone are vmap's."""
    ours, log_p, x = Ours(K + 1, T, sampling_method=method), case[0].to(dtype), case[1]
    for t in (0, 7):
        tokens = vmap(lambda _: ours.step(log_p, t, x).prev_sample, randomness="different")(
            torch.zeros(50)
        )
        assert tokens.shape == (50, *x.shape) and (tokens != tokens[:1]).any()


@pytest.mark.parametrize("method", ["gumbel", "inverse_cdf"])
@pytest.mark.parametrize("t", [0, 7])
def test_functionalize(case, t, method):
    """Its tensors give NumPy memory that means nothing."""
    ours, (log_p, x) = Ours(K + 1, T, sampling_method=method), case
    draw = lambda a, b: ours.step(a, t, b, torch.Generator().manual_seed(3)).prev_sample  # noqa: E731
    assert torch.equal(functionalize(draw)(log_p, x), draw(log_p, x))


def test_vmap_over_timesteps(case):
    ours, (log_p, x) = Ours(K + 1, T), case
    t, law = torch.tensor(TIMESTEPS), law_of(ours)
    out = vmap(lambda one: torch_formulas.posterior(law, log_p, x, one).classes)(t)
    for i, one in enumerate(TIMESTEPS):
        same_cells(out[i], ours.q_posterior(log_p, x, one)[:, :-1], absolute=1e-9)


def test_one_timestep_per_row(case):
    ours, (log_p, x) = Ours(K + 1, T), case
    out = ours.q_posterior(log_p.requires_grad_(), x, torch.tensor([0, 7])).detach()
    for i, t in enumerate((0, 7)):
        same_cells(
            out[i : i + 1],
            ours.q_posterior(log_p.detach()[i : i + 1], x[i : i + 1], t),
            absolute=1e-9,
        )


@pytest.mark.parametrize("classes", [1, 16, 256])
def test_gumbel_tokens_are_those_of_the_reference(classes):
    """The formulas of accelerators, on the CPU. Their roundings differ; near-ties are rare."""
    reference, ours = both(classes)
    law = law_of(ours)
    for t in (1, 30, 99):
        log_p, x = random_log_p(4, classes, 1000), random_classes(4, classes, 1000)
        expected = reference.step(log_p, t, x, generator(t)).prev_sample
        classes_part, mask, _ = torch_formulas.posterior(law, log_p, x, t)
        noise = torch.rand((4, classes + 1, 1000), generator=generator(t))
        assert torch.equal(torch_formulas.gumbel_argmax(classes_part, mask, noise), expected)


ROUNDED = {
    "alpha_cum_start": 0.97,
    "alpha_cum_end": 0.01,
    "gamma_cum_start": 1 - 0.97,
    "gamma_cum_end": 1 - 0.01,
}


@pytest.mark.parametrize(
    "schedule", [*SCHEDULES.values(), ROUNDED], ids=[*SCHEDULES, "absorbing but for roundings"]
)
@pytest.mark.parametrize("classes", [1, 2, 5, 70])
def test_inverse_cdf_has_the_tokens_of_the_native_module(schedule, classes):
    """Uniforms on an even grid meet every branch: they need the same columns and give one token."""
    ours = Ours(classes + 1, T, sampling_method="inverse_cdf", **schedule)
    tables, law = schedule_of(ours), law_of(ours)
    log_p = random_log_p(1, classes, 1, dtype=torch.float64)[0, :, 0]
    even = torch.linspace(0, 1 - 2**-53, 2000, dtype=torch.float64)
    u = torch.cat((even, torch.rand(500, dtype=torch.float64)))[None]
    x = log_p.expand(1, len(u[0]), classes).transpose(1, 2)
    for t in range(T):
        for shown in {0, classes - 1, classes}:
            if shown == classes and tables[2][t] == 0:
                continue  # nothing is masked there
            grid = torch.full(u.shape, shown)
            native = torch.empty(u.shape, dtype=torch.int64)
            arrays = x.numpy(), grid.numpy(), "inverse_cdf", u.numpy(), native.numpy()
            _native.step(*tables, t, t - 1, *arrays)
            x_t = torch_inverse_cdf.shown(law, grid, t, u)
            tokens = torch_inverse_cdf.inverse_cdf(law, x, x_t, t, u)
            assert torch.equal(tokens, native), (t, shown)
            needed = torch.empty(u.shape, dtype=torch.bool)
            _native.plan(*tables, t, t - 1, *(one.numpy() for one in (grid, u, needed)))
            decided = torch_inverse_cdf.decide(law, x_t, t, u)[1]
            assert torch.equal(decided, needed), (t, shown)


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
def test_steps_of_any_length_are_those_of_the_native_module(case, schedule):
    """By the coefficients of a single step, of one that is at hand, and of one for each row."""
    ours, (log_p, x) = Ours(K + 1, T, **schedule), case
    law, u, tables = law_of(ours), torch.rand(x.shape, dtype=torch.float64), schedule_of(ours)
    for length in (2, 3, T):
        previous = [max(t - length, -1) for t in range(T)]
        at_hand = law.with_strides(list(range(T)), previous)
        for t, s in enumerate(previous):
            if tables[2][t] == 0:
                continue  # nothing is masked there
            native, tokens = np.empty((2, K + 1, 6)), torch.empty_like(x)
            _native.q_posterior(*tables, t, s, log_p.numpy(), x.numpy(), native)
            arrays = log_p.numpy(), x.numpy(), "inverse_cdf", u.numpy(), tokens.numpy()
            _native.step(*tables, t, s, *arrays)
            # To clean data any pixel is drawn as if it were masked, but for those carried over.
            grid = x if s >= 0 or law.carries[t] else torch.full_like(x, K)
            for step in (
                law.step_to(t, s, "cpu"),
                at_hand.step_to(t, s, "cpu"),
                law.step_to([t, t], [s, s], "cpu"),
            ):
                classes, mask, _ = torch_formulas.posterior(law, log_p, x, step)
                same_cells(torch.cat((classes, mask), 1), torch.from_numpy(native), absolute=1e-9)
                drawn = torch_inverse_cdf.inverse_cdf(law, log_p, grid, step, u)
                assert torch.equal(drawn, tokens)


def test_inverse_cdf_at_its_ends():
    law = law_of(Ours(K + 1, T))
    log_p = torch.tensor([-torch.inf, 0.0, -torch.inf, -1.0, -torch.inf]).view(1, K, 1)
    for u, token in ((0.0, 1), (1 - 2**-53, 3)):
        u = torch.tensor([[u]], dtype=torch.float64)
        for t in (0, torch.tensor([0])):
            x_t = torch_inverse_cdf.shown(law, torch.tensor([[2]]), t, u)
            assert torch_inverse_cdf.inverse_cdf(law, log_p, x_t, t, u).item() == token


@pytest.mark.parametrize("method", ["gumbel", "inverse_cdf"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_meta_tensors(method, dtype):
    ours = Ours(K + 1, T, sampling_method=method)
    ours.set_timesteps(T, device="meta")
    log_p = torch.empty(2, K, 6, device="meta", dtype=dtype)
    x = torch.empty(2, 6, device="meta", dtype=torch.int64)
    for t in (0, 7, [0, 7]):
        out = ours.step(log_p, t, x).prev_sample
        assert (
            out.shape == (2, 6) and out.dtype == torch.int64 and out.is_meta and out.is_contiguous()
        )
        out = ours.q_posterior(log_p, x, t)
        assert out.shape == (2, K + 1, 6) and out.is_meta
        assert out.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)


def test_fake_tensors():
    from torch._subclasses.fake_tensor import FakeTensorMode

    ours = Ours(K + 1, T)
    with FakeTensorMode(allow_non_fake_inputs=True):
        log_p, x = torch.empty(2, K, 6), torch.empty(2, 6, dtype=torch.int64)
        assert ours.step(log_p, 7, x).prev_sample.shape == (2, 6)
        assert ours.q_posterior(log_p, x, 7).shape == (2, K + 1, 6)


def test_compile():
    """In one graph, for every timestep, as an int and as a tensor, and its gradients."""
    (reference, ours), log_p, x = both(K, T), random_log_p(2, K, 30), random_classes(2, K, 30)
    compiled = torch.compile(ours.q_posterior, fullgraph=True)
    for t in (
        5,
        6,
        7,
        8,
        9,
        10,
        11,
        12,
        13,
        14,
        0,
        torch.tensor(5),
        torch.tensor(6),
        torch.tensor(0),
    ):
        same_cells(compiled(log_p, x, t), reference.q_posterior(log_p, x, t))
    gradients = []
    for f in (compiled, reference.q_posterior):
        z = log_p.clone().requires_grad_()
        f(z, x, 7).logsumexp(1).sum().backward()
        gradients.append(z.grad)
    torch.testing.assert_close(*gradients, atol=1e-5, rtol=1e-5)


def test_compiled_step_has_the_tokens_of_the_reference():
    (reference, ours), log_p, x = both(K, T), random_log_p(2, K, 300), random_classes(2, K, 300)
    with torch._inductor.config.patch(
        fallback_random=True
    ):  # torch.rand as it is outside of torch.compile
        compiled = torch.compile(
            lambda a, t, b: ours.step(a, t, b, return_dict=False)[0], fullgraph=True
        )
        for t in (7, 8, 0):
            torch.manual_seed(t)
            expected, state = reference.step(log_p, t, x).prev_sample, torch.get_rng_state()
            torch.manual_seed(t)
            assert torch.equal(compiled(log_p, t, x), expected)
            assert torch.equal(torch.get_rng_state(), state)


def test_parameters_and_buffers_of_a_model(case):
    """A loss through the posterior trains a model: its gradient reaches the weights."""
    ours, (_, x) = Ours(K + 1, T), case
    model = torch.nn.Embedding(K + 1, K)
    log_p = model(x).transpose(1, 2).log_softmax(1)
    ours.q_posterior(log_p, x, 7).logsumexp(1).square().sum().backward()
    assert model.weight.grad.isfinite().all()
