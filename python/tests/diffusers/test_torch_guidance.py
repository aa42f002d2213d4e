"""`guide` and `truncate` on torch tensors: natively where memory is at hand, else in torch."""

import numpy as np
import pytest
import tensor_views
import torch

import vqdiffusion.torch

DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


def log_probabilities(seed, dtype=torch.float32):
    random = torch.Generator().manual_seed(seed)
    return torch.log_softmax(
        4 * torch.randn(2, 40, 35, generator=random, dtype=torch.float64), dim=1
    ).to(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("turned", [False, True])
def test_native(dtype, turned):
    uncond, cond = log_probabilities(0, dtype), log_probabilities(1, dtype)
    if turned:
        uncond = tensor_views.turned(uncond)
    wide = torch.promote_types(dtype, torch.float32)
    expected = (uncond.to(wide) + 2.5 * (cond.to(wide) - uncond.to(wide))).log_softmax(1)
    guided = vqdiffusion.torch.guide(uncond, cond, 2.5)
    assert guided.dtype == wide
    torch.testing.assert_close(guided, expected, rtol=1e-6, atol=1e-5)
    kept = vqdiffusion.torch.truncate(uncond, 0.8, -70)
    np.testing.assert_array_equal(
        kept.numpy(), vqdiffusion.truncate(uncond.to(wide).numpy(), 0.8, -70)
    )


def test_by_torch_where_autograd_records():
    uncond, cond = log_probabilities(0, torch.float64), log_probabilities(1, torch.float64)
    plain = vqdiffusion.torch.truncate(vqdiffusion.torch.guide(uncond, cond, 2.5), 0.8, -70)
    cond.requires_grad_()
    recorded = vqdiffusion.torch.truncate(vqdiffusion.torch.guide(uncond, cond, 2.5), 0.8, -70)
    torch.testing.assert_close(recorded.detach(), plain, rtol=1e-12, atol=1e-12)
    recorded.sum().backward()
    assert cond.grad.isfinite().all() and cond.grad.abs().sum() > 0


def test_on_another_device():
    uncond = log_probabilities(0).to("meta")
    assert vqdiffusion.torch.guide(uncond, uncond, 2.0).shape == uncond.shape
    assert vqdiffusion.torch.truncate(uncond, 0.8).shape == uncond.shape


@pytest.mark.parametrize("dtype", DTYPES)
def test_compile(dtype):
    """In one graph: the native module is out of reach of torch.compile, and must not be tried."""
    uncond, cond = log_probabilities(0, dtype), log_probabilities(1, dtype)

    def guided(u, c):
        return vqdiffusion.torch.truncate(vqdiffusion.torch.guide(u, c, 2.5), 0.8, -70)

    torch.testing.assert_close(
        torch.compile(guided, fullgraph=True)(uncond, cond), guided(uncond, cond)
    )


def test_vmap():
    uncond, cond = (log_probabilities(seed).repeat(3, 1, 1, 1) for seed in (0, 1))
    guided = torch.func.vmap(
        lambda u, c: vqdiffusion.torch.truncate(vqdiffusion.torch.guide(u, c, 2.5), 0.8, -70)
    )(uncond, cond)
    expected = vqdiffusion.torch.truncate(
        vqdiffusion.torch.guide(uncond[0], cond[0], 2.5), 0.8, -70
    )
    torch.testing.assert_close(guided, expected.expand(3, -1, -1, -1))


@pytest.mark.parametrize("scale", [-1.0, 0.0, 0.5, 1.0, 2.5])
def test_impossible_classes_stay_so_and_have_finite_gradients(scale):
    uncond, cond = log_probabilities(0), log_probabilities(1)
    uncond[0, 1, 0] = cond[0, 2, 1] = uncond[0, 3, 2] = cond[0, 3, 2] = -torch.inf
    plain = vqdiffusion.torch.guide(uncond, cond, scale)
    leaves = uncond.requires_grad_(), cond.requires_grad_()
    recorded = vqdiffusion.torch.guide(*leaves, scale)
    torch.testing.assert_close(recorded.detach(), plain)
    assert plain.isneginf().sum() == 3
    vqdiffusion.torch.truncate(recorded, 0.8, -70).sum().backward()
    assert all(leaf.grad.isfinite().all() for leaf in leaves)


def test_arrays_beside_tensors():
    uncond, cond = log_probabilities(0), log_probabilities(1)
    expected = vqdiffusion.torch.guide(uncond, cond, 2.5)
    for recorded in (False, True):
        uncond.requires_grad_(recorded)
        for pair in ((uncond, cond.numpy()), (cond.numpy(), uncond)):
            guided = vqdiffusion.torch.guide(*pair, 2.5 if pair[0] is uncond else -1.5)
            torch.testing.assert_close(guided.detach(), expected)


def spoilt(x, value, where=(1, slice(None), 4)):
    x = x.detach().clone()
    x[where] = value
    return x


GUIDE_ERRORS = {
    "dtype": (TypeError, "log_p_cond", lambda x: vqdiffusion.torch.guide(x, x.double(), 2)),
    "integers": (
        TypeError,
        "float16, bfloat16",
        lambda x: vqdiffusion.torch.guide(x.detach().long(), x, 2),
    ),
    "shape": (
        ValueError,
        "log_p_cond must have shape",
        lambda x: vqdiffusion.torch.guide(x, x[:, :, :1], 2),
    ),
    "axes": (
        ValueError,
        "log_p_uncond must have the 3 axes",
        lambda x: vqdiffusion.torch.guide(x[0], x[0], 2),
    ),
    "scale": (ValueError, "scale", lambda x: vqdiffusion.torch.guide(x, x, torch.inf)),
    "a NaN": (
        ValueError,
        "log_p_cond.*NaN",
        lambda x: vqdiffusion.torch.guide(x, spoilt(x, torch.nan, (1, 3, 4)), 2),
    ),
    "+inf": (
        ValueError,
        "log_p_uncond.*inf",
        lambda x: vqdiffusion.torch.guide(spoilt(x, torch.inf, (1, 3, 4)), x, 2),
    ),
    "no mass": (ValueError, "-inf", lambda x: vqdiffusion.torch.guide(spoilt(x, -torch.inf), x, 2)),
    "no common class": (
        ValueError,
        "-inf",
        lambda x: vqdiffusion.torch.guide(
            spoilt(x, -torch.inf, (0, slice(0, 20))),
            spoilt(x, -torch.inf, (0, slice(20, None))) + 0 * x,
            2,
        ),
    ),
    "truncated axes": (
        ValueError,
        "log_p must have the 3 axes",
        lambda x: vqdiffusion.torch.truncate(x[0], 0.5),
    ),
    "truncated NaN": (
        ValueError,
        "log_p.*NaN",
        lambda x: vqdiffusion.torch.truncate(x + torch.nan, 0.5),
    ),
    "truncated without mass": (
        ValueError,
        "-inf",
        lambda x: vqdiffusion.torch.truncate(x - torch.inf, 0.5),
    ),
    "rate": (ValueError, "rate", lambda x: vqdiffusion.torch.truncate(x, torch.nan)),
    "floor": (ValueError, "floor", lambda x: vqdiffusion.torch.truncate(x, 0.5, torch.nan)),
}


@pytest.mark.parametrize("recorded", [False, True])
@pytest.mark.parametrize("error, words, call", GUIDE_ERRORS.values(), ids=GUIDE_ERRORS)
def test_errors(recorded, error, words, call):
    """The same whether the native functions compute or torch does."""
    with pytest.raises(error, match=words):
        call(log_probabilities(0).requires_grad_(recorded))


@pytest.mark.parametrize(
    "options",
    [{"top_k": 3}, {"top_k": 100}, {"temperature": 0.6}, {"top_k": 7, "temperature": 3.0}],
    ids=str,
)
@pytest.mark.parametrize("rate", [0.0, 0.8, torch.inf])
def test_by_count_and_temperature(options, rate):
    """Natively as NumPy's, and where autograd records by the formulas."""
    log_p = log_probabilities(0, torch.float64)
    native = vqdiffusion.torch.truncate(log_p, rate, -70, **options)
    numpy = vqdiffusion.truncate(log_p.numpy(), rate, -70, **options)
    np.testing.assert_array_equal(native.numpy(), numpy)
    recorded = vqdiffusion.torch.truncate(log_p.clone().requires_grad_(), rate, -70, **options)
    torch.testing.assert_close(recorded.detach(), native, rtol=1e-12, atol=1e-12)
    if rate == torch.inf and "top_k" in options:  # all of the k
        for given in (log_p, log_p.clone().requires_grad_()):
            torch.testing.assert_close(
                vqdiffusion.torch.truncate(given, 1, -70, **options), native, rtol=0, atol=1e-12
            )


def test_compile_by_count_and_temperature():
    log_p = log_probabilities(0)

    def truncated(x):
        return vqdiffusion.torch.truncate(x, 0.8, -70, top_k=7, temperature=0.6)

    torch.testing.assert_close(torch.compile(truncated, fullgraph=True)(log_p), truncated(log_p))
