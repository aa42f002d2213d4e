"""The training loss on tensors, by the native module and by the torch formula, against its
definition under autograd.
"""

import math

import loss_case
import numpy as np
import pytest
import torch
from loss_case import PAIRS, TABLES
from torch_loss_case import both_ways, call, case, gradient_of, scheduler_of
from torch_loss_truth import bound

DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
OPTIONS = {"auxiliary_weight": 1e-2, "mask_weight": (1.0, 0.5)}


def assert_equal(result, name, z, x_0, x_t, pairs=PAIRS, **options):
    """Loss and gradient within 1e-6, the gradient of half types within their rounding."""
    exact = z.detach().double().requires_grad_()
    loss, per_row = bound(name, exact, x_0, x_t, pairs, **options)
    truth = gradient_of(loss, exact)
    dtype = torch.float64 if z.dtype == torch.float64 else torch.float32
    assert result.loss.dtype == result.per_row.dtype == dtype and result.loss.shape == ()
    assert not result.per_row.requires_grad
    torch.testing.assert_close(result.loss.double(), loss, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(result.per_row.double(), per_row, rtol=1e-6, atol=1e-9)
    gradient = gradient_of(result.loss, z)
    assert gradient.dtype == z.dtype
    rounding = torch.finfo(z.dtype).eps / 2 if z.dtype.itemsize == 2 else 0.0
    smallest = torch.finfo(z.dtype).smallest_normal * rounding
    limit = rounding * truth.abs() + 1e-6 * truth.abs().max() + smallest + 1e-14
    assert ((gradient.double() - truth).abs() <= limit).all()


@both_ways
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("classes", [1, 2, 17, 100, 4096])
@pytest.mark.parametrize("name", TABLES)
def test_agrees_with_bayes(name, classes, dtype, way):
    z, x_0, x_t = case(classes, name, dtype, pixels=19 if classes < 1000 else 3)
    result = call(scheduler_of(name, classes, way), z, x_0, x_t, **OPTIONS)
    assert_equal(result, name, z, x_0, x_t, **OPTIONS)


@both_ways
def test_options(way):
    z, x_0, x_t = case(9)
    rng = torch.Generator().manual_seed(3)
    options = {
        "probability": 0.01 + 0.9 * torch.rand(len(PAIRS), generator=rng, dtype=torch.float64),
        "mask_weight": (0.3, 2),
        "auxiliary_weight": 0.7,
        "adaptive_auxiliary": False,
        "pixel_weights": torch.rand(x_0.shape, generator=rng, dtype=torch.float64).round(
            decimals=1
        ),
    }
    result = call(scheduler_of("default", 9, way), z, x_0, x_t, **options)
    assert_equal(result, "default", z, x_0, x_t, **options)
    half = options | {"pixel_weights": (options["pixel_weights"] > 0.5).bfloat16()}
    same = options | {"pixel_weights": (options["pixel_weights"] > 0.5).double()}
    a, b = (call(scheduler_of("default", 9, way), z, x_0, x_t, **one) for one in (half, same))
    assert a.loss == b.loss


@both_ways
def test_defaults(way):
    z, x_0, x_t = case(9, pairs=[(60, 59)] * 3)
    scheduler = scheduler_of("default", 9, way)
    expected = call(scheduler, z, x_0, x_t, [(60, 59)] * 3, probability=0.01)
    for t in 60, torch.tensor(60), torch.tensor([60]), torch.tensor([60] * 3, dtype=torch.int32):
        assert scheduler.loss(z, x_0, x_t, t).loss == expected.loss
    scheduler.set_timesteps(10)
    assert scheduler.loss(z, x_0, x_t, 60).loss == expected.loss


def test_equals_the_numpy_class():
    z, x_0, x_t = case(70, "heavy", torch.float32)
    result = call(scheduler_of("heavy", 70), z, x_0, x_t)
    arrays = (one.detach().numpy() for one in (z, x_0, x_t))
    expected = loss_case.call(loss_case.scheduler_of("heavy", 70), *arrays, PAIRS)
    assert result.loss.item() == np.float32(expected.loss)
    np.testing.assert_array_equal(gradient_of(result.loss, z), expected.gradient)


@both_ways
def test_gradcheck(way):
    z, x_0, x_t = case(4, pixels=6)
    scheduler = scheduler_of("heavy", 4, way)
    assert torch.autograd.gradcheck(lambda z: call(scheduler, z, x_0, x_t, **OPTIONS).loss, z)


@both_ways
@pytest.mark.parametrize("name", TABLES)
def test_extreme_logits(name, way):
    """-inf and ±1e4: the gradient is right and finite."""
    z, x_0, x_t = case(40, name, torch.float32, sharpness=1.0)
    rng = torch.Generator().manual_seed(5)
    u = torch.rand(z.shape, generator=rng)
    z = torch.where(u < 0.2, -1e4, torch.where(u > 0.98, 1e4, z)).detach().requires_grad_()
    scheduler = scheduler_of(name, 40, way)
    result = call(scheduler, z, x_0, x_t)
    assert_equal(result, name, z, x_0, x_t)
    gradient = gradient_of(call(scheduler, z, x_0, x_t).loss, z)
    lowest = torch.where(z == -1e4, -math.inf, z).detach().requires_grad_()
    same = gradient_of(call(scheduler, lowest, x_0, x_t).loss, lowest)
    assert same.isfinite().all()
    torch.testing.assert_close(same, gradient, rtol=0, atol=1e-6 * gradient.abs().max().item())


@both_ways
def test_small_divergences_keep_their_digits(way):
    """Where replaced pixels outnumber those that still show their class, q and p nearly agree."""
    pairs = [(99, 98)]
    z, x_0, x_t = case(1000, "uniform", pairs=pairs, pixels=40, sharpness=0.1)
    x_t = (x_0 + 1) % 1000
    result = call(scheduler_of("uniform", 1000, way), z, x_0, x_t, pairs)
    _, per_row = bound("uniform", z, x_0, x_t, pairs)
    torch.testing.assert_close(result.per_row, per_row.detach(), rtol=1e-9, atol=0)


@both_ways
def test_a_loss_is_differentiated_once(way):
    z, x_0, x_t = case(9)
    scheduler = scheduler_of("default", 9, way)
    loss = call(scheduler, z, x_0, x_t).loss
    gradient = gradient_of(call(scheduler, z, x_0, x_t).loss, z)
    torch.testing.assert_close(gradient_of(3 * call(scheduler, z, x_0, x_t).loss, z), 3 * gradient)
    loss.backward(retain_graph=True)
    loss.backward()
    torch.testing.assert_close(z.grad, 2 * gradient)
    (first,) = torch.autograd.grad(call(scheduler, z, x_0, x_t).loss, z, create_graph=True)
    with pytest.raises(RuntimeError, match="^the gradient of loss cannot be differentiated"):
        (first.sum() + z.sum()).backward()


@both_ways
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_without_a_gradient(mode, way):
    z, x_0, x_t = case(9)
    scheduler = scheduler_of("default", 9, way)
    expected = call(scheduler, z, x_0, x_t, **OPTIONS)
    with mode():
        result = call(scheduler, z, x_0, x_t, **OPTIONS)
    assert result.loss == expected.loss and not result.loss.requires_grad
    assert torch.equal(result.per_row, expected.per_row)
    assert not call(scheduler, z.detach(), x_0, x_t).loss.requires_grad


@both_ways
def test_forward_mode_has_no_formula(way):
    z, x_0, x_t = case(4)
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(z.detach(), torch.ones_like(z))
        with pytest.raises((RuntimeError, NotImplementedError), match="jvp"):
            call(scheduler_of("default", 4, way), dual, x_0, x_t)


@both_ways
def test_layouts(way):
    z, x_0, x_t = case(70, dtype=torch.float32, pixels=33)
    scheduler = scheduler_of("default", 70, way)
    expected = call(scheduler, z, x_0, x_t)
    gradient = gradient_of(expected.loss, z)
    for view in (
        lambda one: one.mT.contiguous().mT,
        lambda one: one.permute(2, 0, 1).contiguous().permute(1, 2, 0),
        lambda one: one.repeat_interleave(2, 1).repeat_interleave(2, 2)[:, ::2, ::2],
    ):
        other = view(z.detach()).requires_grad_()
        result = call(scheduler, other, x_0, x_t)
        torch.testing.assert_close(result.loss, expected.loss, rtol=1e-6, atol=0)
        of_other = gradient_of(result.loss, other)
        torch.testing.assert_close(of_other, gradient, rtol=0, atol=1e-6 * gradient.abs().max())


def test_the_gradient_lies_as_the_logits_do():
    z, x_0, x_t = case(70, dtype=torch.float32, pixels=33)
    other = z.detach().mT.contiguous().mT.requires_grad_()
    gradient = gradient_of(call(scheduler_of("default", 70), other, x_0, x_t).loss, other)
    assert gradient.stride() == other.stride()


@both_ways
def test_empty(way):
    scheduler = scheduler_of("default", 4, way)
    for shape in (0, 4, 3), (2, 4, 0), (0, 4, 0):
        grid = torch.zeros(shape[0], shape[2], dtype=torch.int64)
        z = torch.zeros(shape, requires_grad=True)
        result = scheduler.loss(z, grid, grid, 3)
        assert result.loss == 0 and result.per_row.tolist() == [0] * shape[0]
        assert gradient_of(result.loss, z).shape == shape


def test_a_model_learns():
    """Logits that are parameters come to give x_0 all probability."""
    scheduler = scheduler_of("default", 5)
    rng = torch.Generator().manual_seed(0)
    x_0 = torch.randint(0, 5, (64, 8), generator=rng)
    z = torch.zeros(64, 5, 8, requires_grad=True)
    optimizer = torch.optim.Adam([z], lr=0.1)
    for _ in range(200):
        t = torch.randint(0, 100, (64,), generator=rng)
        x_t = scheduler.add_noise(x_0, t, rng)
        optimizer.zero_grad()
        scheduler.loss(z, x_0, x_t, t).loss.backward()
        optimizer.step()
    assert torch.equal(z.argmax(1), x_0) and z.softmax(1).amax(1).min() > 0.9
