"""Every step calls what is overridden, beside diffusers' class with the same override."""

import copy
import pickle

import pytest
import torch
from diffusers_case import Ours, Reference, generator, random_classes, random_log_p
from tiny_pipeline import CLASSES, STEPS, pipeline

from vqdiffusion.diffusers import VQDiffusionPipeline, use_in
from vqdiffusion.torch import torch_step
from vqdiffusion.torch.guidance import guide, truncate

K, N, T = 12, 40, 20


def colder(cls):
    """The posterior at another temperature."""

    class Colder(cls):
        def q_posterior(self, log_p_x_0, x_t, t):
            return super().q_posterior(log_p_x_0, x_t, t) * 1.5

    return Colder


def reluctant(cls):
    """Transitions that start from class 2 less often."""

    class Reluctant(cls):
        def log_Q_t_transitioning_to_known_class(self, *, t, x_t, log_onehot_x_t, cumulative):
            rows = super().log_Q_t_transitioning_to_known_class(
                t=t, x_t=x_t, log_onehot_x_t=log_onehot_x_t, cumulative=cumulative
            )
            return (
                rows
                if cumulative
                else rows - 2.0 * (torch.arange(self.num_embed) == 2).view(1, -1, 1)
            )

    return Reluctant


def bolder(cls):
    """Flatter predictions and fewer masks, by the tables as diffusers' own code indexes them."""

    class Bolder(cls):
        def apply_cumulative_transitions(self, q, t):
            a, b, c = self.log_cumprod_at[t], self.log_cumprod_bt[t], self.log_cumprod_ct[t]
            return torch.cat(
                ((0.5 * q + a).logaddexp(b), (c - 3).expand(q.shape[0], 1, q.shape[2])), 1
            )

    return Bolder


def unmasking(cls):
    """No row for the mask."""

    class Unmasking(cls):
        def q_posterior(self, log_p_x_0, x_t, t):
            return super().q_posterior(log_p_x_0, x_t, t)[:, :-1]

    return Unmasking


OVERRIDES = [colder, reluctant, bolder, unmasking]


@pytest.fixture(params=OVERRIDES, ids=lambda override: override.__name__)
def override(request):
    return request.param


@pytest.fixture
def case():
    return random_log_p(3, K, N), random_classes(3, K, N)


@pytest.mark.parametrize("t", [0, 1, 7, T - 1, torch.tensor(7)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_a_step_calls_the_override(override, case, t, dtype):
    reference, ours, plain = (cls(K + 1, T) for cls in (override(Reference), override(Ours), Ours))
    log_p, x = case[0].to(dtype), case[1]
    one, other = generator(5), generator(5)
    changed = False
    for _ in range(5):
        before = other.get_state()
        expected = reference.step(log_p, t, x, one).prev_sample
        tokens = ours.step(log_p, t, x, other).prev_sample
        assert torch.equal(tokens, expected) and torch.equal(one.get_state(), other.get_state())
        assert tokens.dtype == torch.int64 and tokens.is_contiguous()
        changed |= not torch.equal(
            plain.step(log_p, t, x, generator(5).set_state(before)).prev_sample, expected
        )
    assert changed or t == 0


def on_the_object(scheduler):
    theirs = scheduler.q_posterior
    scheduler.q_posterior = lambda log_p_x_0, x_t, t: theirs(log_p_x_0, x_t, t) * 1.5
    return scheduler


def test_a_function_put_on_an_object(case):
    reference, ours = on_the_object(Reference(K + 1, T)), on_the_object(Ours(K + 1, T))
    for t in (1, 7, T - 1):
        expected = reference.step(case[0], t, case[1], generator(t)).prev_sample
        assert torch.equal(ours.step(case[0], t, case[1], generator(t)).prev_sample, expected)
    del ours.q_posterior
    plain = Ours(K + 1, T).step(case[0], 7, case[1], generator(7)).prev_sample
    assert torch.equal(ours.step(case[0], 7, case[1], generator(7)).prev_sample, plain)


@pytest.mark.parametrize(
    "name", ["q_posterior", "log_Q_t_transitioning_to_known_class", "apply_cumulative_transitions"]
)
def test_a_function_put_on_the_class_itself(case, monkeypatch, name):
    calls = []
    ours, original = Ours(K + 1, T), getattr(Ours, name)
    monkeypatch.setattr(
        Ours, name, lambda *args, **kwargs: calls.append(kwargs) or original(*args, **kwargs)
    )
    ours.step(case[0], 7, case[1])
    assert len(calls) == (2 if name.startswith("log_Q") else 1)


def test_the_arguments_that_overrides_get(case, monkeypatch):
    """They are those that diffusers passes, by the same keywords."""
    seen = []
    names = ("q_posterior", "log_Q_t_transitioning_to_known_class", "apply_cumulative_transitions")
    for cls in (Reference, Ours):
        for name in names:

            def recording(self, *args, _original=getattr(cls, name), _name=name, **kwargs):
                seen.append((_name, args, kwargs))
                return _original(self, *args, **kwargs)

            monkeypatch.setattr(cls, name, recording)
    for t in (7, torch.tensor(7)):
        lists = []
        for cls in (Reference, Ours):
            seen.clear()
            cls(K + 1, T).step(case[0], t, case[1])
            lists.append(list(seen))
        theirs, ours = lists
        assert [name for name, _, _ in ours] == [name for name, _, _ in theirs]
        for (_, args, kwargs), (_, other_args, other_kwargs) in zip(theirs, ours):
            assert len(args) == len(other_args) and kwargs.keys() == other_kwargs.keys()
            for mine, other in (
                *zip(other_args, args),
                *((other_kwargs[key], kwargs[key]) for key in kwargs),
            ):
                assert type(mine) is type(other)
                if isinstance(mine, torch.Tensor):
                    torch.testing.assert_close(mine, other, atol=2e-5, rtol=1e-5)
                else:
                    assert mine == other


@pytest.mark.parametrize(
    "cls", [pipeline.__defaults__[0], VQDiffusionPipeline], ids=["stock pipeline", "our pipeline"]
)
@pytest.mark.parametrize("rate", [1.0, 0.8])
def test_a_pipeline_calls_the_override(override, cls, rate):
    chains = []
    for scheduler, kind in ((override(Reference), pipeline.__defaults__[0]), (override(Ours), cls)):
        pipe, chain = pipeline(kind), []
        pipe.scheduler = scheduler(CLASSES + 1, STEPS)
        pipe(
            "the cat",
            num_inference_steps=STEPS,
            truncation_rate=rate,
            generator=generator(3),
            output_type="np",
            callback=lambda i, t, latents: chain.append(latents.clone()),
        )
        chains.append(torch.stack(chain))
    assert torch.equal(*chains)


def test_guided_steps_call_it(override, case):
    ours, uncond, (cond, x) = override(Ours)(K + 1, T), random_log_p(3, K, N), case
    log_p = truncate(guide(uncond, cond, 3.0), 0.9, -70.0)
    for t in (0, 7):
        tokens = ours.guided_step(
            uncond, cond, t, x, generator(1), guidance_scale=3.0, truncation_rate=0.9
        ).prev_sample
        assert torch.equal(
            tokens, override(Reference)(K + 1, T).step(log_p, t, x, generator(1)).prev_sample
        )


@pytest.mark.parametrize("t", [0, 7, torch.tensor([0, 7, 19]), [19, 1, 7]], ids=str)
def test_the_other_sampler_draws_from_it_too(override, t):
    """One uniform for each pixel, on an even grid: every class as often as its probability says."""
    pixels = 4000
    ours = override(Ours)(K + 1, T, sampling_method="inverse_cdf")
    log_p = random_log_p(3, K, 1).expand(3, K, pixels)
    x = torch.tensor([[3], [K], [5]]).expand(3, pixels)
    used, alone = generator(5), generator(5)
    tokens = ours.step(log_p, t, x, used).prev_sample
    torch.rand(3, pixels, generator=alone, dtype=torch.float64)
    assert torch.equal(used.get_state(), alone.get_state())

    grid = ((torch.arange(pixels, dtype=torch.float64) + 0.5) / pixels).expand(3, pixels)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch_step, "pixel_uniforms", lambda *args: grid)
        tokens = ours.step(log_p, t, x).prev_sample
    for row in range(3):
        one = t if isinstance(t, int) else int(t[row])
        column = log_p[row : row + 1, :, :1]
        log_q = column if one == 0 else ours.q_posterior(column, x[row : row + 1, :1], one)
        shares = log_q[0, :, 0].double().softmax(0) * pixels
        counts = torch.bincount(tokens[row], minlength=len(shares))
        assert len(counts) == len(shares) and (counts - shares).abs().max() < 1.001


@pytest.mark.parametrize(
    "t", [[0, 7, 19], torch.tensor([0, 7, 19]).view(3, 1, 1)], ids=["list", "tensor"]
)
def test_several_timesteps(override, case, t):
    """An override that indexes tables with them gets a shape that goes with its arguments."""
    ours, (log_p, x) = override(Ours)(K + 1, T), case
    tokens = ours.step(log_p, t, x, [generator(seed) for seed in range(3)]).prev_sample
    for row, one in enumerate((0, 7, 19)):
        alone = ours.step(log_p[row : row + 1], one, x[row : row + 1], generator(row)).prev_sample
        # A row without a mask draws none for it where it is alone.
        assert override is unmasking or torch.equal(tokens[row : row + 1], alone)
    assert override is not unmasking or tokens.max() < K


def test_the_posterior_composed_of_the_parts_has_the_class_s_own_values(case):
    class Same(Ours):
        def apply_cumulative_transitions(self, q, t):
            return super().apply_cumulative_transitions(q, t)

    log_p, x = case
    for t in (0, 1, 7, T - 1):
        torch.testing.assert_close(
            Same(K + 1, T).q_posterior(log_p, x, t),
            Ours(K + 1, T).q_posterior(log_p, x, t),
            atol=2e-5,
            rtol=1e-5,
        )


def test_gradients_flow_through_the_parts(case):
    log_p, x = case
    gradients = []
    for cls in (Reference, Ours):
        leaf = log_p.clone().requires_grad_()
        reluctant(cls)(K + 1, T).q_posterior(leaf, x, 7).logsumexp(1).square().sum().backward()
        gradients.append(leaf.grad)
    torch.testing.assert_close(*gradients, atol=1e-5, rtol=1e-5)


def test_no_plan_without_the_class_s_own_posterior(override, case):
    arguments = {
        "num_vec_classes": K + 1,
        "num_train_timesteps": T,
        "sampling_method": "inverse_cdf",
    }
    ours, plain, x = override(Ours)(**arguments), Ours(**arguments), case[1]
    with pytest.raises(ValueError, match="plan needs the class's own q_posterior"):
        ours.plan(7, x)
    with pytest.raises(ValueError, match="plan needs the class's own q_posterior"):
        ours.step(case[0], 7, x, plan=plain.plan(7, x))


def closed(q):
    q = q.clone()
    q[1, :, 2] = -torch.inf
    return q


@pytest.mark.parametrize(
    "error, match, returns",
    [
        (
            TypeError,
            "q_posterior of Bad must return a tensor, not builtins.NoneType",
            lambda q: None,
        ),
        (
            TypeError,
            "q_posterior of Bad must return a tensor of a floating dtype",
            lambda q: q.long(),
        ),
        (
            ValueError,
            r"q_posterior of Bad must return a tensor of shape \(3, 13, 40\), not",
            lambda q: q[:, :3],
        ),
        (ValueError, "what q_posterior of Bad returns must not hold NaN", lambda q: q * torch.nan),
        (ValueError, "column of only -inf.* at row 1, pixel 2", closed),
    ],
)
def test_what_an_override_must_not_return(case, error, match, returns):
    class Bad(Ours):
        def q_posterior(self, log_p_x_0, x_t, t):
            return returns(super().q_posterior(log_p_x_0, x_t, t))

    seed = generator(3)
    before = seed.get_state()
    with pytest.raises(error, match=match):
        Bad(K + 1, T).step(case[0], 7, case[1], seed)
    assert torch.equal(seed.get_state(), before)


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.int32])
def test_samples_of_other_dtypes(override, case, dtype):
    """The override gets int64, the only type that diffusers takes."""
    ours, (log_p, x) = override(Ours)(K + 1, T), case
    expected = ours.step(log_p, 7, x, generator(1)).prev_sample
    for sample in (x.to(dtype), x.to(dtype).numpy(), x.tolist()):
        assert torch.equal(ours.step(log_p, 7, sample, generator(1)).prev_sample, expected)
        out = ours.q_posterior(log_p, sample, 7)
        assert torch.equal(out, ours.q_posterior(log_p, x, 7))


@pytest.mark.parametrize("bad", ["nan", "class", "shape", "dtype"])
def test_bad_input_is_named_as_the_caller_wrote_it(override, case, bad):
    ours, (log_p, x) = override(Ours)(K + 1, T), (one.clone() for one in case)
    if bad == "nan":
        log_p[1, 2, 3] = torch.nan
    elif bad == "class":
        x[1, 2] = K + 1
    elif bad == "shape":
        x = x[:, 1:]
    else:
        x = x.float()
    for call in (
        lambda: ours.step(log_p, 7, x),
        lambda: ours.step(log_p, 7, x, [generator(1)] * 3),
    ):
        before = torch.get_rng_state()
        with pytest.raises(
            (ValueError, TypeError), match="model_output" if bad == "nan" else "sample"
        ):
            call()
        assert torch.equal(torch.get_rng_state(), before)


class Kept(Ours):
    def q_posterior(self, log_p_x_0, x_t, t):
        return super().q_posterior(log_p_x_0, x_t, t) * 1.5


def test_copies_keep_the_override(case):
    ours = Kept(K + 1, T)
    expected = ours.step(case[0], 7, case[1], generator(1)).prev_sample
    for other in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        assert torch.equal(other.step(case[0], 7, case[1], generator(1)).prev_sample, expected)


def test_a_pipeline_converted_in_place_keeps_the_override(override):
    for scheduler in (
        override(Reference)(CLASSES + 1, STEPS),
        on_the_object(Reference(CLASSES + 1, STEPS)),
    ):
        pipe = pipeline()
        pipe.scheduler = scheduler
        assert (
            use_in(pipe) is pipe
            and type(pipe) is VQDiffusionPipeline
            and pipe.scheduler is scheduler
        )


@pytest.mark.parametrize("method", ["gumbel", "inverse_cdf"])
def test_an_override_of_an_absorbing_chain_may_mask_again(method):
    """What an override says of unmasked pixels stands; only the last step carries them over."""
    ends = dict(alpha_cum_start=1 - 2**-10, gamma_cum_start=2**-10)
    ends |= dict(alpha_cum_end=0.125, gamma_cum_end=0.875)
    scheduler = Ours(9, 10, **ends, sampling_method=method)
    x_t = torch.tensor([[0, 8, 8, 3, 2, 8]])
    log_p = torch.randn(1, 8, 6).log_softmax(1)

    def masked(log_p_x_0, x_t, t):
        out = torch.full((1, 9, 6), -torch.inf)
        out[:, 8] = 0
        return out

    scheduler.q_posterior = masked
    assert (scheduler.step(log_p, 5, x_t).prev_sample == 8).all()
    last = scheduler.step(log_p, 0, x_t).prev_sample
    assert torch.equal(last[x_t < 8], x_t[x_t < 8]) and (last < 8).all()


def test_a_guided_step_passes_on_only_what_is_used(override, case):
    class Old(override(Ours)):
        def step(self, model_output, timestep, sample, generator=None, return_dict=True):
            return super().step(model_output, timestep, sample, generator, return_dict)

    given = case[0], case[0], 7, case[1]
    found, expected = (one(K + 1, T).guided_step(*given, generator(1)) for one in Old.mro()[:2])
    assert torch.equal(found.prev_sample, expected.prev_sample)
