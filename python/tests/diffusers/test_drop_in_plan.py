"""`plan` of the drop-in: tokens and generators of a step without one, natively and by torch."""

import copy
import pickle

import pytest
import torch
from diffusers_case import Ours, generator, random_classes, random_log_p
from tensor_views import negated_later

from vqdiffusion import StepPlan

T = 20
T_OF_ROWS = (0, 1, 7, T - 1, [19, 0, 7], torch.tensor([0, 0, 0]))


def columns(model_output, plan):
    """The needed columns as a model makes them: one row of K for each needed pixel, turned."""
    return model_output.transpose(1, 2)[plan.needed].T


@pytest.fixture(params=["native", "torch"])
def way(request):
    """Numbers of 16 bits as torch's default make the torch formulas compute a whole step."""
    if request.param == "torch":
        torch.set_default_dtype(torch.bfloat16)
    return request.param


@pytest.mark.parametrize("t", T_OF_ROWS, ids=str)
@pytest.mark.parametrize("classes, pixels", [(1, 3), (12, 90), (300, 64)])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_a_planned_step_is_the_step(way, t, classes, pixels, dtype):
    ours = Ours(classes + 1, T, sampling_method="inverse_cdf")
    log_p = random_log_p(3, classes, pixels).to(dtype)
    x = random_classes(3, classes, pixels, dtype=torch.int16)
    one, other, before = generator(5), generator(5), torch.get_rng_state()
    for _ in range(2):
        expected = ours.step(log_p, t, x, one).prev_sample
        plan = ours.plan(t, x, other)
        assert torch.equal(one.get_state(), other.get_state())
        given = columns(log_p, plan)
        assert given.shape == (classes, int(plan.needed.sum())) and plan.needed.dtype == torch.bool
        for model_output in (log_p, given, given.contiguous()):
            tokens = ours.step(model_output, t, x, plan=plan).prev_sample
            assert (
                tokens.dtype == torch.int64
                and tokens.is_contiguous()
                and torch.equal(tokens, expected)
            )
    assert torch.equal(one.get_state(), other.get_state()) and torch.equal(
        torch.get_rng_state(), before
    )


@pytest.mark.parametrize("t", T_OF_ROWS, ids=str)
def test_columns_by_the_torch_formulas(t):
    ours = Ours(71, T, sampling_method="inverse_cdf")
    log_p, x = random_log_p(3, 70, 90), random_classes(3, 70, 90)
    plan = ours.plan(t, x, generator(1))
    given = negated_later(columns(log_p, plan))
    tokens = ours.step(given, t, x, plan=plan).prev_sample
    assert torch.equal(tokens, ours.step(log_p, t, x, generator(1)).prev_sample)
    for value in (torch.nan, torch.inf):
        bad = columns(log_p, plan).clone()
        bad[3, 2] = value
        with pytest.raises(ValueError, match="model_output must not hold NaN.* in column 2"):
            ours.step(negated_later(bad), t, x, plan=plan)


@pytest.mark.parametrize("t", [0, 7, [19, 0, 7]], ids=str)
def test_lists_of_generators_and_the_global_one(t):
    ours = Ours(13, T, sampling_method="inverse_cdf")
    log_p, x = random_log_p(3, 12, 90), random_classes(3, 12, 90)
    ones, others = ([generator(seed) for seed in (1, 2, 3)] for _ in range(2))
    expected = ours.step(log_p, t, x, ones).prev_sample
    plan = ours.plan(t, x, others)
    assert torch.equal(ours.step(columns(log_p, plan), t, x, plan=plan).prev_sample, expected)
    assert all(torch.equal(a.get_state(), b.get_state()) for a, b in zip(ones, others))
    torch.manual_seed(3)
    expected, after = ours.step(log_p, t, x).prev_sample, torch.get_rng_state()
    torch.manual_seed(3)
    plan = ours.plan(t, x)
    assert torch.equal(torch.get_rng_state(), after)
    assert torch.equal(ours.step(columns(log_p, plan), t, x, plan=plan).prev_sample, expected)


@pytest.fixture
def case():
    return (
        Ours(6, T, sampling_method="inverse_cdf"),
        random_log_p(2, 5, 300),
        random_classes(2, 5, 300),
    )


def test_a_plan_may_be_used_again_and_stored(case):
    ours, log_p, x = case
    expected = ours.step(log_p, 7, x, generator(1)).prev_sample
    plan = ours.plan(7, x, generator(1))
    x_before = x.clone()
    x.zero_()
    for one in (plan, plan, copy.deepcopy(plan), pickle.loads(pickle.dumps(plan))):
        assert isinstance(one, StepPlan)
        for other in (ours, copy.deepcopy(ours)):
            tokens = other.step(
                columns(log_p, one), torch.tensor(7), x_before, plan=one, return_dict=False
            )[0]
            assert torch.equal(tokens, expected)


def test_steps_that_were_not_planned(case):
    ours, log_p, x = case
    plan, other_x = ours.plan(7, x, generator(1)), x.clone()
    other_x[1, 299] = (other_x[1, 299] + 1) % 6
    given = columns(log_p, plan)
    for match, call in {
        "generator must be None where a plan": lambda: ours.step(
            given, 7, x, generator(1), plan=plan
        ),
        "plan must be for timestep 8, but": lambda: ours.step(given, 8, x, plan=plan),
        r"plan must be for timestep \[7, 8\]": lambda: ours.step(given, [7, 8], x, plan=plan),
        "plan must be for the sample": lambda: ours.step(given, 7, other_x, plan=plan),
        "plan must be for the sample that": lambda: ours.step(given, 7, x[:1], plan=plan),
        "plan must come from a scheduler": lambda: Ours(7, T, sampling_method="inverse_cdf").step(
            given, 7, x, plan=plan
        ),
        r"must have shape \(5, \d+\), not": lambda: ours.step(given[:, 1:], 7, x, plan=plan),
        "must have K = 5 classes, not 4 .* needed": lambda: ours.step(given[1:], 7, x, plan=plan),
        r"must have shape \(batch, classes, pixels\) as planned": lambda: ours.step(
            log_p[:1], 7, x, plan=plan
        ),
        r"must have shape \(batch, classes, pixels\) as": lambda: ours.step(
            log_p[0, 0], 7, x, plan=plan
        ),
        "must be None with sampling_method 'gumbel'": lambda: Ours(6, T).step(
            log_p, 7, x, plan=plan
        ),
        "plan needs sampling_method 'inverse_cdf'": lambda: Ours(6, T).plan(7, x),
    }.items():
        state = torch.get_rng_state()
        with pytest.raises(ValueError, match=match):
            call()
        assert torch.equal(torch.get_rng_state(), state)
    with pytest.raises(TypeError, match="model_output must be float16"):
        ours.step(given.long(), 7, x, plan=plan)


@pytest.mark.parametrize(
    "error, match, t, make",
    [
        (ValueError, "timestep", T, lambda x: x),
        (ValueError, "timestep", [1, 2, 3], lambda x: x),
        (TypeError, "timestep", 1.5, lambda x: x),
        (TypeError, "sample", 7, lambda x: None),
        (ValueError, "sample", 7, lambda x: x[0]),
        (TypeError, "sample", 7, lambda x: x.float()),
        (ValueError, "sample", 7, lambda x: x + 1),
    ],
)
def test_what_cannot_be_planned(case, error, match, t, make):
    ours, _, x = case
    for seeds in (generator(3), [generator(4), generator(5)]):
        used = seeds if isinstance(seeds, list) else [seeds]
        before = [one.get_state() for one in used]
        with pytest.raises(error, match=match):
            ours.plan(t, make(x), seeds)
        assert all(torch.equal(one.get_state(), state) for one, state in zip(used, before))
    with pytest.raises(ValueError, match="one for each of 2 batch rows"):
        ours.plan(7, x, [generator(1)])


@pytest.mark.parametrize("t", [0, 7, [0, 7]], ids=str)
def test_meta_tensors(case, t):
    ours = case[0]
    ours.set_timesteps(T, device="meta")
    x = torch.empty(2, 6, device="meta", dtype=torch.int64)
    plan = ours.plan(t, x)
    assert plan.needed.shape == (2, 6) and plan.needed.is_meta and plan.needed.dtype == torch.bool
    out = ours.step(torch.empty(2, 5, 6, device="meta"), t, x, plan=plan).prev_sample
    assert out.shape == (2, 6) and out.is_meta
