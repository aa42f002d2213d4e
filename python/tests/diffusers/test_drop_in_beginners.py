"""Mistakes with the drop-in that gave wrong samples, or an error that did not help."""

import math

import pytest
import torch
from tensor_views import turned

import vqdiffusion.torch
from vqdiffusion import checks
from vqdiffusion.diffusers import VQDiffusionScheduler

METHODS = ["gumbel", "inverse_cdf"]
CLASSES, BATCH, PIXELS = 40, 2, 7
X = torch.full((BATCH, PIXELS), CLASSES)
P = torch.randn(
    BATCH, CLASSES, PIXELS, dtype=torch.float64, generator=torch.Generator().manual_seed(5)
).softmax(1)


@pytest.fixture(autouse=True)
def not_yet_warned(monkeypatch):
    monkeypatch.setattr(checks, "_warned", False)


def calls(method, x):
    scheduler = VQDiffusionScheduler(CLASSES + 1, sampling_method=method)
    return {
        "model_output": lambda: scheduler.step(x, 50, X),
        "log_p_cond": lambda: scheduler.guided_step(None, x, 50, X, floor=-math.inf),
    }


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("name", ["model_output", "log_p_cond"])
def test_probabilities_warn_once(method, dtype, name):
    for x in (
        P.to(dtype),
        P.detach().to(dtype, copy=True).requires_grad_(),
        turned(P).to(dtype),
    ):
        checks._warned = False
        call = calls(method, x)[name]
        with pytest.warns(
            UserWarning, match=f"^{name} must hold log-probabilities, but its first column"
        ) as seen:
            call()
        assert len(seen) == 1 and seen[0].filename == __file__
        call()  # where a warning is an error


@pytest.mark.parametrize("method", METHODS)
def test_probabilities_warn_where_torch_computes(monkeypatch, method):
    monkeypatch.setattr(torch, "get_default_dtype", lambda: torch.float16)
    with pytest.warns(UserWarning, match="^model_output must hold log-probabilities"):
        calls(method, P.float())["model_output"]()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("method", METHODS)
def test_logarithms_and_logits_do_not_warn(method, dtype):
    for x in (P.log(), 0 * P, P - P.mean(), torch.randn(P.shape)):
        for call in calls(method, x.to(dtype)).values():
            call()
    assert not checks._warned


@pytest.mark.parametrize("by_torch", [False, True])
@pytest.mark.parametrize(
    "shape, message",
    [
        (
            (BATCH, CLASSES + 1, PIXELS),
            r"must have K = 40 classes, not 41: num_vec_classes counts the mask \(",
        ),
        ((BATCH, PIXELS, CLASSES), r"must have K = 40 classes, not 7: transposed\? \("),
    ],
)
@pytest.mark.parametrize("method", METHODS)
def test_the_number_of_classes_is_explained(shape, message, method, by_torch):
    scheduler = VQDiffusionScheduler(CLASSES + 1, sampling_method=method)
    x, grid = (
        torch.full(shape, -1.0, requires_grad=by_torch),
        torch.zeros(shape[::2], dtype=torch.int64),
    )
    if by_torch:
        x, grid = x.to("meta"), grid.to("meta")
    for name, call in {
        "model_output": lambda: scheduler.step(x, 50, grid),
        "log_p_x_0": lambda: scheduler.q_posterior(x, grid, 50),
        "q": lambda: scheduler.apply_cumulative_transitions(x, 50),
    }.items():
        with pytest.raises(ValueError, match=f"^{name} {message}"):
            call()
    if not by_torch:
        with pytest.raises(ValueError, match=f"^log_p_cond {message}"):
            scheduler.guided_step(x, x, 50, grid)


@pytest.mark.parametrize("requires_grad", [False, True])
def test_the_number_of_classes_of_one_hot_vectors_is_explained(requires_grad):
    onehot = torch.zeros(BATCH, CLASSES, PIXELS, requires_grad=requires_grad)
    with pytest.raises(
        ValueError,
        match=r"^log_onehot_x_t must have K \+ 1 = 41 classes, not 40: the mask has a row",
    ):
        VQDiffusionScheduler(CLASSES + 1).log_Q_t_transitioning_to_known_class(
            t=50, x_t=X, log_onehot_x_t=onehot, cumulative=True
        )


@pytest.mark.parametrize("rate, end", [(86, r"86: 0.86\?"), (-0.1, "-0.1"), (math.nan, "nan")])
@pytest.mark.parametrize("requires_grad", [False, True])
def test_a_rate_that_is_no_share(rate, end, requires_grad):
    log_p = P.log().requires_grad_(requires_grad)
    expected = "must be a share of the probability, from 0 to 1, or math.inf for no truncation, "
    expected += f"not {end}$"
    with pytest.raises(ValueError, match=f"^rate {expected}"):
        vqdiffusion.torch.truncate(log_p, rate)
    for x in (log_p, log_p.to("meta")):
        with pytest.raises(ValueError, match=f"^truncation_rate {expected}"):
            VQDiffusionScheduler(CLASSES + 1).guided_step(None, x, 50, X, truncation_rate=rate)


@pytest.mark.parametrize("requires_grad", [False, True])
def test_an_infinite_rate_truncates_nothing(requires_grad):
    log_p = (P.log() + 5).requires_grad_(requires_grad)
    assert torch.equal(vqdiffusion.torch.truncate(log_p, math.inf), log_p)
