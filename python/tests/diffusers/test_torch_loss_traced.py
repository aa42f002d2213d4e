"""The training loss where torch records or transforms what is done: autocast, functorch, the
compiler, tables of the user's own, devices without values.
"""

import pytest
import torch
from loss_case import PAIRS
from torch_loss_case import both_ways, call, case, gradient_of, scheduler_of

T = torch.tensor([t for t, _ in PAIRS])


def close(a, b):
    a, b = a.detach(), b.detach()
    torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-6 * float(b.abs().max()))


@both_ways
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_autocast(dtype, way):
    z, x_0, x_t = case(33, dtype=dtype)
    scheduler = scheduler_of("heavy", 33, way)
    expected = call(scheduler, z, x_0, x_t)
    with torch.autocast("cpu", torch.bfloat16):
        result = call(scheduler, z, x_0, x_t)
    assert result.loss.dtype == torch.float32
    close(result.loss, expected.loss)
    close(gradient_of(result.loss, z), gradient_of(expected.loss, z))


def test_vmap():
    """Over models: logits of a further axis, and timesteps and grids of their own."""
    parts = [case(17, dtype=torch.float64, seed=seed) for seed in range(3)]
    z, x_0, x_t = (torch.stack([part[i].detach() for part in parts]) for i in range(3))
    scheduler = scheduler_of("default", 17)
    t = torch.stack([T, T.flip(0), T])

    def loss(z, x_0, x_t, t):
        return scheduler.loss(z, x_0, x_t, t).loss

    for all_t, axis in (t, 0), (T, None):
        axes = (0, 0, 0, axis)
        losses = torch.func.vmap(loss, axes)(z, x_0, x_t, all_t)
        gradients = torch.func.vmap(torch.func.grad(loss), axes)(z, x_0, x_t, all_t)
        for i in range(3):
            one = z[i].clone().requires_grad_()
            expected = loss(one, x_0[i], x_t[i], t[i] if axis == 0 else T)
            close(losses[i], expected.detach())
            close(gradients[i], gradient_of(expected, one))


@pytest.mark.skipif(
    torch.__version__ < "2.4", reason="torch 2.3 reads no tensor that torch.func.grad has wrapped"
)
def test_functional_gradient():
    z, x_0, x_t = case(17)
    scheduler = scheduler_of("default", 17)
    gradient = torch.func.grad(lambda z: call(scheduler, z, x_0, x_t).loss)(z.detach())
    close(gradient, gradient_of(call(scheduler, z, x_0, x_t).loss, z))


@pytest.mark.skipif(
    torch.__version__ < "2.4", reason="torch 2.3 compiles no functions with a setup_context"
)
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_compiled(backend, dtype):
    z, x_0, x_t = case(17, dtype=dtype)
    scheduler = scheduler_of("heavy", 17)

    def loss(z, x_0, x_t, t, weights):
        # As of a model: the loss's gradient is scaled and goes on.
        return (
            2
            * scheduler.loss(
                1.5 * z,
                x_0,
                x_t,
                t,
                mask_weight=(1, 0.5),
                auxiliary_weight=0.1,
                pixel_weights=weights,
            ).loss
        )

    weights = torch.rand(x_0.shape, generator=torch.Generator().manual_seed(1))
    torch._dynamo.reset()
    result = torch.compile(loss, backend=backend, fullgraph=True)(z, x_0, x_t, T, weights)
    expected = loss(z, x_0, x_t, T, weights)
    close(result, expected)
    atol = 1e-6 if dtype == torch.float32 else 2e-2
    gradient = gradient_of(expected, z)
    scale = float(gradient.abs().max())
    torch.testing.assert_close(gradient_of(result, z), gradient, rtol=0, atol=atol * scale)


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # of the compiler
def test_strides_break_a_graph():
    z, x_0, x_t = case(17)
    scheduler = scheduler_of("heavy", 17)
    torch._dynamo.reset()
    compiled = torch.compile(
        lambda z: 2 * scheduler.loss(z, x_0, x_t, T, previous_timesteps=-1).loss, backend="eager"
    )
    close(compiled(z), 2 * scheduler.loss(z, x_0, x_t, T, previous_timesteps=-1).loss)


def test_tables_of_the_users_own():
    """Replaced tables count, as in a step, and lead to t - 1 alone."""
    z, x_0, x_t = case(17)
    scheduler, other = scheduler_of("default", 17), scheduler_of("heavy", 17)
    for name in "log_at", "log_bt", "log_ct", "log_cumprod_at", "log_cumprod_bt", "log_cumprod_ct":
        setattr(scheduler, name, getattr(other, name).double())
    result, expected = (one.loss(z, x_0, x_t, T) for one in (scheduler, other))
    torch.testing.assert_close(result.loss, expected.loss, rtol=1e-3, atol=0)
    with pytest.raises(ValueError, match="^previous_timestep must be t - 1 where the tables"):
        call(scheduler, z, x_0, x_t)


def test_meta():
    scheduler = scheduler_of("default", 5)
    scheduler.set_timesteps(100, "meta")
    z = torch.zeros(2, 5, 3, device="meta", requires_grad=True)
    grid = torch.zeros(2, 3, dtype=torch.int64, device="meta")
    result = scheduler.loss(z, grid, grid, 7)
    assert result.loss.device.type == "meta" and result.per_row.shape == (2,)
    assert gradient_of(result.loss, z).shape == z.shape


def test_unreachable_masks_are_found_by_both():
    z, x_0, x_t = case(17, "uniform")
    x_t[2, 3] = 17
    for way in "native", "formula":
        with pytest.raises(ValueError, match="mask"):
            call(scheduler_of("uniform", 17, way), z, x_0, x_t)


def test_the_formula_needs_two_tensors_of_the_size_of_the_logits():
    """Counted by torch's own record of allocations, above what is there."""
    shape = 2, 4096, 64
    size = 4 * 2 * 4096 * 64
    scheduler = scheduler_of("default", 4096, "formula")
    z, x_0, x_t = case(4096, dtype=torch.float32, pairs=PAIRS[:2], pixels=64)
    assert tuple(z.shape) == shape
    with torch.profiler.profile(profile_memory=True) as record:
        scheduler.loss(z, x_0, x_t, T[:2]).loss.backward()
    live = peak = 0
    for event in record.profiler.kineto_results.events():
        if event.name() == "[memory]":
            live += event.nbytes()
            peak = max(peak, live)
    assert peak <= 2.05 * size
