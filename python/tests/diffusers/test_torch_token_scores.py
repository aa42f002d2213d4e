"""`token_scores` on torch tensors: natively where memory is at hand, else in torch."""

import numpy as np
import pytest
import tensor_views
import torch

import vqdiffusion
from vqdiffusion.torch import TokenScores, token_scores

DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
NUMBERS = TokenScores._fields[1:]


def case(dtype=torch.float32, classes=40):
    random = torch.Generator().manual_seed(classes)
    logits = 4 * torch.randn(2, classes, 35, generator=random, dtype=torch.float64) + 5
    logits[:, 3] = -torch.inf
    return logits.to(dtype), torch.rand(2, 35, generator=random, dtype=torch.float64)


def by_formulas(logits, uniforms=None, temperature=1.0):
    """What torch computes where it records."""
    return token_scores(logits.detach().clone().requires_grad_(), uniforms, temperature)


def assert_same(found, expected, tolerance=1e-6):
    assert torch.equal(found.token, expected.token)
    for name in NUMBERS:
        a, b = (getattr(scores, name).detach() for scores in (found, expected))
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("classes", [40, 1100])
@pytest.mark.parametrize("turned", [False, True])
def test_native_and_formulas_agree(dtype, classes, turned):
    logits, uniforms = case(dtype, classes)
    if turned:
        logits = tensor_views.turned(logits)
    wide = torch.promote_types(dtype, torch.float32)
    numpy = vqdiffusion.token_scores(logits.to(wide).numpy(), uniforms.numpy(), 0.7)
    native = token_scores(logits, uniforms, 0.7)
    assert isinstance(native, TokenScores) and native.entropy.dtype == wide
    for name, value in zip(native._fields, native):
        np.testing.assert_array_equal(value.numpy(), getattr(numpy, name), err_msg=name)
    assert_same(by_formulas(logits, uniforms, 0.7), native, 1e-12 if wide == torch.double else 2e-6)
    for drawn in ((), (uniforms, 0)):
        assert_same(by_formulas(logits, *drawn), token_scores(logits, *drawn), 2e-6)
        assert torch.equal(token_scores(logits, *drawn).token, logits.argmax(1))


def test_gradients():
    logits, uniforms = case(torch.float64, 12)
    logits = logits.requires_grad_()
    scores = token_scores(logits, uniforms)
    for name in NUMBERS:
        (gradient,) = torch.autograd.grad(getattr(scores, name).sum(), logits, retain_graph=True)
        assert gradient.isfinite().all() and gradient.abs().sum() > 0
    entropy = torch.distributions.Categorical(logits=logits.transpose(1, 2)[..., 4:]).entropy()
    (expected,) = torch.autograd.grad(entropy.sum(), logits)
    found = token_scores(logits[:, 4:]).entropy.sum()
    torch.testing.assert_close(torch.autograd.grad(found, logits)[0], expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_compile(dtype):
    """In one graph: the native module is out of reach of torch.compile, and must not be tried."""
    logits, uniforms = case(dtype)
    compiled = torch.compile(token_scores, fullgraph=True)
    assert_same(compiled(logits, uniforms, 0.7), token_scores(logits, uniforms, 0.7), 2e-6)


def test_vmap():
    logits, uniforms = case()
    found = torch.func.vmap(lambda x, u: token_scores(x[None], u[None], 0.7))(logits, uniforms)
    expected = token_scores(logits, uniforms, 0.7)
    assert_same(TokenScores(*(one.squeeze(1) for one in found)), expected, 2e-6)


def test_on_another_device():
    logits, uniforms = (one.to("meta") for one in case())
    for scores in (token_scores(logits), token_scores(logits, uniforms)):
        assert all(one.shape == (2, 35) and one.device.type == "meta" for one in scores)


def test_language_model_layout():
    """Logits (B, N, K) by `transpose`, which copies nothing."""
    logits, uniforms = case(classes=1500)
    inner = logits.transpose(1, 2).contiguous()
    assert torch.equal(
        token_scores(inner.transpose(1, 2), uniforms).token, token_scores(logits, uniforms).token
    )


@pytest.mark.parametrize("recorded", [False, True])
def test_refusals(recorded):
    logits, uniforms = case()
    logits.requires_grad_(recorded)
    with pytest.raises(ValueError, match="^temperature must be a finite number from 0 on, not -1"):
        token_scores(logits, uniforms, -1)
    with pytest.raises(TypeError, match="^uniforms must be float"):
        token_scores(logits, uniforms.half())
    with pytest.raises(ValueError, match=r"^uniforms must have shape \(2, 35\), not \(2, 34\)"):
        token_scores(logits, uniforms[:, 1:])
    with pytest.raises(ValueError, match=r"^uniforms must be in \[0, 1\), not 1"):
        token_scores(logits, torch.ones_like(uniforms))
    for wrong in (torch.nan, torch.inf):
        bad = logits.detach().clone()
        bad[1, 7, 30] = wrong
        with pytest.raises(ValueError, match="^logits must"):
            token_scores(bad.requires_grad_(recorded), uniforms)
    with pytest.raises(ValueError, match="^logits must"):
        token_scores(torch.full((1, 3, 2), -torch.inf, requires_grad=recorded))
    with pytest.raises(TypeError, match="^logits must be"):
        token_scores(torch.zeros(1, 3, 2, dtype=torch.int64))
