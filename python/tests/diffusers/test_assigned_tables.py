"""Tables that are replaced or edited take effect; attributes that could not are refused."""

import copy
import math
import pickle

import numpy as np
import pytest
import torch
from diffusers_case import (
    TABLES, Ours, both, generator, is_native, log_onehot, random_classes, random_log_p, same_cells,
)  # fmt: skip
from tiny_pipeline import CLASSES, STEPS, pipeline

from vqdiffusion.torch import formulas as torch_formulas
from vqdiffusion.diffusers import VQDiffusionPipeline, use_in

K, N, T = 12, 60, 20


def cosine(classes=K, steps=T, share=0.9):
    """The six tables of a cosine schedule, `share` of what is lost going to the mask."""
    u = np.arange(1, steps + 1) / steps
    alpha = np.append(1.0, 1e-5 + (1 - 1e-5) * np.cos(math.pi / 2 * u))
    gamma = share * (1 - alpha)
    single_alpha, single_gamma = alpha[1:] / alpha[:-1], 1 - (1 - gamma[1:]) / (1 - gamma[:-1])
    beta, single_beta = (1 - alpha - gamma) / classes, (1 - single_alpha - single_gamma) / classes
    beta, single_beta = (
        np.where(one > 1e-12, one, 0) for one in (beta, single_beta)
    )  # less is rounding
    with np.errstate(divide="ignore"):
        tables = [np.log(one) for one in (single_alpha, single_beta, single_gamma)]
        tables += [np.log(np.roll(one, -1)) for one in (alpha, beta, gamma)]
    return dict(zip(TABLES, (torch.from_numpy(one).float() for one in tables)))


def assign(scheduler, tables):
    for name, table in tables.items():
        setattr(scheduler, name, table)
    return scheduler


@pytest.fixture
def pair():
    return tuple(assign(one, cosine()) for one in both(K, T))


@pytest.fixture
def case():
    return random_log_p(3, K, N), random_classes(3, K, N)


def test_steps_have_the_tokens_of_the_reference(pair, case):
    (reference, ours), plain, (log_p, x) = pair, Ours(K + 1, T), case
    for t in range(T):
        one, other = generator(t), generator(t)
        expected = reference.step(log_p, t, x, one).prev_sample
        assert torch.equal(ours.step(log_p, t, x, other).prev_sample, expected)
        assert torch.equal(one.get_state(), other.get_state())
    changed = [
        not torch.equal(*(s.step(log_p, t, x, generator(t)).prev_sample for s in (plain, ours)))
        for t in (7, 9)
    ]
    assert any(changed)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_the_other_functions_have_the_values_of_the_reference(pair, case, dtype):
    (reference, ours), x = pair, case[1]
    log_p = case[0].to(dtype)
    onehot = log_onehot(x, K + 1)
    for t in range(T):
        calls = [
            lambda s: s.q_posterior(log_p, x, t),
            lambda s: s.apply_cumulative_transitions(log_p.float(), t - 1),
            *(
                lambda s, c=c: s.log_Q_t_transitioning_to_known_class(
                    t=t, x_t=x, log_onehot_x_t=onehot, cumulative=c
                )
                for c in (False, True)
            ),
        ]
        for call in calls:
            ours_, theirs = call(ours), call(reference)
            same_cells(ours_.to(theirs.dtype), theirs)


@pytest.mark.parametrize("name", TABLES)
def test_each_table_alone(case, name):
    """They need not fit each other."""
    log_p, x = case
    reference, ours = (assign(one, {name: cosine()[name]}) for one in both(K, T))
    for t in (1, 7, T - 1):
        same_cells(ours.q_posterior(log_p, x, t), reference.q_posterior(log_p, x, t))
        expected = reference.step(log_p, t, x, generator(t)).prev_sample
        assert torch.equal(ours.step(log_p, t, x, generator(t)).prev_sample, expected)


@pytest.mark.parametrize("log_b", [-60.0, -69.0, -75.0])
def test_a_beta_near_the_logarithm_that_stands_for_zero(case, log_b):
    log_p, x = case
    tables = cosine()
    for name in ("log_bt", "log_cumprod_bt"):
        tables[name] = torch.where(tables[name].isneginf(), -torch.inf, log_b)
    reference, ours = (assign(one, tables) for one in both(K, T))
    for t in (1, 7, T - 1):
        same_cells(ours.q_posterior(log_p, x, t), reference.q_posterior(log_p, x, t), absolute=1e-4)


EDITS = {
    "all of it": lambda table, new: table.copy_(new),
    "an element": lambda table, new: table.__setitem__(7, new[7]),
    "through a view": lambda table, new: table[3:].copy_(new[3:]),
}


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_edits_in_place_take_effect(case, name, edit):
    (reference, ours), (log_p, x) = both(K, T), case
    ours.step(log_p, 7, x)
    for one in (reference, ours):
        edit(getattr(one, name), cosine()[name])
    for t in (6, 7, 8):
        same_cells(ours.q_posterior(log_p, x, t), reference.q_posterior(log_p, x, t))


def test_edits_under_inference_mode(case):
    log_p, x = case
    with torch.inference_mode():
        (reference, ours), tables = both(K, T), cosine()
        plain = ours.q_posterior(log_p, x, 7)
        for one in (reference, ours):
            one.log_at.copy_(tables["log_at"])
            one.log_bt = tables["log_bt"].clone()
        same_cells(ours.q_posterior(log_p, x, 7), reference.q_posterior(log_p, x, 7))
        for one in (reference, ours):
            one.log_bt.add_(-1.0)  # of a tensor whose edits torch does not count
        same_cells(ours.q_posterior(log_p, x, 7), reference.q_posterior(log_p, x, 7))
        assert (ours.q_posterior(log_p, x, 7) - plain).abs().max() > 0.1


def test_the_constructor_s_values_bring_the_native_module_back(case):
    log_p, x = case
    ours, plain = assign(Ours(K + 1, T), cosine()), Ours(K + 1, T)
    assert not torch.equal(ours.q_posterior(log_p, x, 7), plain.q_posterior(log_p, x, 7))
    assign(ours, {name: getattr(plain, name).clone() for name in TABLES})
    assert is_native(ours)
    assert torch.equal(ours.q_posterior(log_p, x, 7), plain.q_posterior(log_p, x, 7))


def test_the_native_module_is_used_until_a_table_is_another(case, monkeypatch):
    log_p, x = case
    calls, original = [], torch_formulas.posterior
    monkeypatch.setattr(
        torch_formulas, "posterior", lambda *args: calls.append(args) or original(*args)
    )
    ours = Ours(K + 1, T)
    for change in (
        lambda: None,
        lambda: ours.set_timesteps(5),
        lambda: ours.set_timesteps(T, device="cpu"),
        lambda: ours.set_timesteps(T, device="meta"),
        lambda: assign(ours, {name: getattr(Ours(K + 1, T), name) for name in TABLES}),
    ):
        change()
        ours.step(log_p, 7, x)
        ours.q_posterior(log_p, x, 7)
        assert not calls
    ours.log_at = cosine()["log_at"]
    ours.step(log_p, 7, x)
    assert calls


def test_tables_that_are_moved_stay_assigned(pair, case):
    (reference, ours), (log_p, x) = pair, case
    expected = reference.step(log_p, 7, x, generator(1)).prev_sample
    for device in (None, "cpu", torch.device("cpu")):
        ours.set_timesteps(10, device=device)
        assert torch.equal(ours.step(log_p, 7, x, generator(1)).prev_sample, expected)
    ours.set_timesteps(10, device="meta")
    assert {getattr(ours, name).device.type for name in TABLES} == {"meta"}
    out = ours.step(log_p.to("meta"), 7, x.to("meta")).prev_sample
    assert out.is_meta and out.shape == (3, N)
    assign(ours, cosine())  # on the CPU again
    assert torch.equal(ours.step(log_p, 7, x, generator(1)).prev_sample, expected)
    assert ours.step(log_p.to("meta"), 7, x.to("meta")).prev_sample.is_meta


def test_copies_keep_them(pair, case, tmp_path):
    (reference, ours), (log_p, x) = pair, case
    for edit in (lambda: None, lambda: ours.log_ct.mul_(1.5)):
        edit()  # not looked at before the copies are made
        torch.save(ours, tmp_path / "scheduler.pt")
        copies = [
            copy.deepcopy(ours),
            copy.copy(ours),
            pickle.loads(pickle.dumps(ours)),
            torch.load(tmp_path / "scheduler.pt", weights_only=False),
        ]
        reference.log_ct = ours.log_ct
        expected = reference.step(log_p, 7, x, generator(1)).prev_sample
        for other in copies:
            assert all(torch.equal(getattr(other, name), getattr(ours, name)) for name in TABLES)
            assert torch.equal(other.step(log_p, 7, x, generator(1)).prev_sample, expected)
    other = copy.deepcopy(ours)
    other.log_ct.mul_(1.5)
    assert not torch.equal(other.q_posterior(log_p, x, 7), ours.q_posterior(log_p, x, 7))


def test_edits_of_a_copy_take_effect(case):
    for make in (copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s))):
        (reference, ours), (log_p, x) = both(K, T), case
        ours = make(ours)
        for one in (reference, ours):
            one.log_cumprod_ct[:-1].mul_(0.5)
        same_cells(ours.q_posterior(log_p, x, 7), reference.q_posterior(log_p, x, 7))


def test_a_pipeline_uses_them():
    chains = []
    stock = pipeline.__defaults__[0]
    for scheduler, kind in zip(both(CLASSES, STEPS), (stock, stock)):
        pipes = [kind] if scheduler.__class__ is not Ours else [kind, VQDiffusionPipeline]
        for cls in pipes:
            pipe, chain = pipeline(cls), []
            pipe.scheduler = assign(scheduler, cosine(CLASSES, STEPS))
            pipe(
                "the cat",
                num_inference_steps=STEPS,
                truncation_rate=0.9,
                generator=generator(3),
                output_type="np",
                callback=lambda i, t, latents: chain.append(latents.clone()),
            )
            chains.append(torch.stack(chain))
    assert len(chains) == 3 and all(torch.equal(chains[0], one) for one in chains[1:])


def test_a_pipeline_converted_in_place_takes_them_over():
    pipe, expected = pipeline(), pipeline()
    for name in ("log_at", "log_cumprod_ct"):
        for one in (pipe, expected):
            setattr(one.scheduler, name, cosine(CLASSES, STEPS)[name])
    assert not is_native(use_in(pipe).scheduler)
    arguments = {"prompt": "the cat", "num_inference_steps": STEPS, "output_type": "np"}
    images = [one(**arguments, generator=generator(3)).images for one in (pipe, expected)]
    assert (images[0] == images[1]).all()
    assert is_native(use_in(pipeline()).scheduler)
    for steps in (12, 20, 100):  # with NaN and 1e-17 by rounding
        pipe = pipeline()
        pipe.scheduler = both(CLASSES, steps, 0.97, 0.01, 1 - 0.97, 1 - 0.01)[0]
        assert is_native(use_in(pipe).scheduler)
    assert pipe.scheduler.log_bt.isneginf().all()


def test_gradients_of_the_tables_and_of_the_model_output(case):
    log_p, x = case
    gradients = []
    for scheduler in both(K, T):
        tables = {name: table.clone().requires_grad_() for name, table in cosine().items()}
        assign(scheduler, tables)
        leaf = log_p.clone().requires_grad_()
        for _ in range(2):  # each call has a graph of its own
            scheduler.q_posterior(leaf, x, 7).logsumexp(1).sum().backward()
        gradients.append([leaf.grad, *(tables[name].grad[7] for name in TABLES)])
        if isinstance(scheduler, Ours):
            copy.deepcopy(scheduler)
    for theirs, ours in zip(*gradients):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


def test_absorbing_tables_carry_unmasked_pixels_over(case):
    tables = cosine(share=1.0)
    assert all(tables[name].isneginf().all() for name in ("log_bt", "log_cumprod_bt"))
    for method in ("gumbel", "inverse_cdf"):
        ours, log_p, x = assign(Ours(K + 1, T, sampling_method=method), tables), *case
        for t in (T - 1, 7, 0, [0, 7, 3]):
            tokens = ours.step(log_p, t, x).prev_sample
            assert torch.equal(tokens[x != K], x[x != K])
        assert ours.step(log_p, 0, x).prev_sample.max() < K


@pytest.mark.parametrize("t", [0, 7, [0, 7, 19]], ids=str)
def test_one_uniform_for_each_pixel_draws_by_them(t):
    pixels, x = 4000, torch.tensor([[3], [K], [5]]).expand(3, 4000)
    ours = assign(Ours(K + 1, T, sampling_method="inverse_cdf"), cosine())
    reference = assign(both(K, T)[0], cosine())
    log_p = random_log_p(3, K, 1).expand(3, K, pixels)
    tokens = ours.step(log_p, t, x, generator(1)).prev_sample
    for row in range(3):
        one = t if isinstance(t, int) else t[row]
        column = log_p[row : row + 1, :, :1]
        log_q = column if one == 0 else reference.q_posterior(column, x[row : row + 1, :1], one)
        shares = log_q[0, :, 0].double().softmax(0) * pixels
        counts = torch.bincount(tokens[row], minlength=len(shares))
        assert ((counts - shares).abs() < 6 * shares.clamp(min=1).sqrt() + 1).all()


def test_no_plan_by_other_tables(case):
    ours = assign(Ours(K + 1, T, sampling_method="inverse_cdf"), cosine())
    with pytest.raises(ValueError, match="plan needs .* the constructor's tables"):
        ours.plan(7, case[1])


def test_noise_by_them(pair):
    """The forward process follows the tables, too."""
    ours = pair[1]
    x_0 = torch.arange(K).repeat(1, 4000)
    for t in (0, 7, T - 1):
        shares = (ours.add_noise(x_0, t, generator(t)) == K).double().mean()
        expected = ours.log_cumprod_ct[t].double().exp()
        assert (
            abs(shares - expected) < 6 * math.sqrt(expected * (1 - expected) / x_0.numel()) + 1e-9
        )


def test_compiled(pair, case):
    (reference, ours), (log_p, x) = pair, case
    compiled = torch.compile(ours.q_posterior, fullgraph=True, backend="eager")
    same_cells(compiled(log_p, x, 7), reference.q_posterior(log_p, x, 7))
    changed = {name: table.clone() for name, table in cosine(share=0.5).items()}
    for one in (reference, ours):
        assign(one, changed)
    same_cells(compiled(log_p, x, 7), reference.q_posterior(log_p, x, 7))


def by_numpy(table):
    table.numpy()[...] -= 4


@pytest.mark.parametrize("edit", [lambda table: table.data.sub_(4), by_numpy])
def test_edits_that_torch_does_not_count_are_seen_by_the_next_set_timesteps(edit):
    scheduler = Ours(9, 10)
    log_p, x_t = torch.randn(1, 8, 30).log_softmax(1), torch.full((1, 30), 8)
    before = scheduler.q_posterior(log_p, x_t, 5)
    edit(scheduler.log_ct)
    scheduler.set_timesteps(10)
    assert not torch.allclose(scheduler.q_posterior(log_p, x_t, 5), before)
