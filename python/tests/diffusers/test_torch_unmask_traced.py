"""Steps that reveal masked pixels where torch records or values cannot be seen, options that are
tensors, bad input, and results.
"""

import itertools
import pickle

import numpy as np
import pytest
import torch
import vqdiffusion
from diffusers_case import Ours, generator, random_classes
from torch.func import vmap
from torch.fx.experimental.proxy_tensor import make_fx
from unmask_laws import K as LAW_CLASSES
from unmask_laws import N as LAW_PIXELS
from unmask_laws import chain, choices, draws, order_law

from vqdiffusion import RowKeys, Unmask
from vqdiffusion.diffusers import VQDiffusionRevealOutput, VQDiffusionSchedulerOutput
from vqdiffusion.torch import VQDiffusionScheduler, reveal_formula, steps

K, B, N = 11, 3, 40
AT = {"previous_timestep": 20}
CHOICES = [
    Unmask(),
    Unmask(by="random"),
    Unmask(by="confidence", temperature=1, prior_weight=1, count=[1, 2, 3]),
    Unmask(by="purity", threshold=0.3, positions=np.arange(N) % 2 > 0),
    Unmask(by="entropy", entropy_bound=2),
]


@pytest.fixture
def case():
    log_p = (2 * torch.randn(B, K, N)).log_softmax(1)
    return log_p, random_classes(B, K, N, 0.6)


@pytest.mark.parametrize("unmask", CHOICES, ids=lambda unmask: unmask.by)
@pytest.mark.parametrize("method", ["gumbel", "inverse_cdf"])
def test_on_another_device(case, method, unmask):
    scheduler = VQDiffusionScheduler(K + 1, sampling_method=method)
    log_p, x = (one.to("meta") for one in case)
    for given in (AT, {"previous_timestep": -1}, {**AT, "known": x}):
        out = scheduler.step(log_p, 60, x, unmask=unmask, **given)
        assert all(one.is_meta and one.shape == (B, N) for one in out.to_tuple())
        out = scheduler.guided_step(log_p, log_p, 60, x, unmask=unmask, **given)
        assert all(one.is_meta and one.shape == (B, N) for one in out.to_tuple())
    assert scheduler.plan(60, x, unmask=unmask, **AT).needed.is_meta
    with pytest.raises(ValueError, match="^known must be on meta, not on cpu"):
        scheduler.step(log_p, 60, x, known=case[1], unmask=unmask)
    with pytest.raises(ValueError, match="^sample must be on meta "):
        scheduler.step(log_p, 60, case[1], unmask=unmask)


def test_options_that_are_tensors(case, monkeypatch):
    log_p, x = case
    positions, count = torch.rand(B, N) < 0.6, torch.tensor([3, 0, 9])
    scheduler = VQDiffusionScheduler(K + 1)
    expected = scheduler.step(
        log_p, 60, x, unmask=Unmask(positions=positions.numpy(), count=count.numpy())
    )
    unmask = Unmask(positions=positions, count=count)
    assert isinstance(unmask.positions, np.ndarray)
    positions[:] = False
    for computed in ("native", "torch"):
        if computed == "torch":
            monkeypatch.setattr(steps, "numpy_view", lambda *args: None)
        out = scheduler.step(log_p, 60, x, unmask=unmask)
        assert torch.equal(out.revealed, expected.revealed)
    out = scheduler.step(log_p, 60, x, unmask=Unmask(count=torch.tensor(2)))
    assert (out.revealed.sum(1) == 2).all()
    on_device = [one.to("meta") for one in (log_p, x)]
    for given in (
        {"positions": positions.to("meta"), "count": count.to("meta")},
        {"count": torch.tensor(3, device="meta")},
        {"positions": positions[0].to("meta")},
    ):
        unmask = Unmask(**given)
        assert scheduler.step(on_device[0], 60, on_device[1], unmask=unmask).revealed.is_meta
        assert scheduler.plan(60, on_device[1], unmask=unmask).needed.is_meta
        arrays = vqdiffusion.VQDiffusionScheduler(K + 1)
        with pytest.raises(TypeError, match="^(positions|count) could not be read as an array"):
            arrays.step(log_p.numpy(), 60, x.numpy(), unmask=unmask)
    for error, message, given in (
        (TypeError, "^positions must be of bool, not dtype torch.int64", {"positions": x}),
        (TypeError, "^count must be an integer or integers, not .*float32", {"count": log_p[0, 0]}),
        (ValueError, "^positions must have the axes", {"positions": torch.ones(1, 1, 1) > 0}),
        (ValueError, "^count must have the 1 axis", {"count": x}),
    ):
        given = {name: value.to("meta") for name, value in given.items()}
        with pytest.raises(error, match=message):
            Unmask(**given)
    unmask = Unmask(positions=torch.ones(7, device="meta") > 0)
    with pytest.raises(ValueError, match=rf"^positions must have shape \({N},\) or .* not \(7,\)"):
        scheduler.step(on_device[0], 60, on_device[1], unmask=unmask)


@pytest.mark.parametrize("unmask", CHOICES, ids=lambda unmask: unmask.by)
def test_vmap(case, unmask):
    scheduler, (log_p, x) = VQDiffusionScheduler(K + 1), case
    out = vmap(
        lambda a, b: scheduler.step(a, 60, b, unmask=unmask, **AT).to_tuple(),
        randomness="different",
    )(log_p.expand(4, B, K, N), x.expand(4, B, N))
    tokens, revealed, _ = out
    assert torch.equal(tokens[~revealed], x.expand(4, B, N)[~revealed])
    assert (tokens[revealed] < K).all() and revealed.any() and (tokens != tokens[:1]).any()
    # Only the random numbers are vmap's.
    tokens = vmap(
        lambda _: scheduler.step(log_p, 60, x, unmask=unmask, **AT).prev_sample,
        randomness="different",
    )(torch.zeros(20))
    assert tokens.shape == (20, B, N) and (tokens != tokens[:1]).any()


def test_vmap_over_the_options(case):
    scheduler, (log_p, x) = VQDiffusionScheduler(K + 1), case
    positions, count = torch.rand(4, B, N) < 0.5, torch.tensor([[1, 2, 3]] * 4)
    revealed = vmap(
        lambda where, many: scheduler.step(
            log_p, 60, x, unmask=Unmask(positions=where, count=many)
        ).revealed,
        randomness="different",
    )(positions, count)
    may = positions & (x == K)
    assert not (revealed & ~may).any()
    assert torch.equal(revealed.sum(2), may.sum(2).minimum(count))


@pytest.mark.parametrize("unmask", CHOICES, ids=lambda unmask: unmask.by)
def test_compiled_and_traced(case, unmask):
    scheduler, (log_p, x) = VQDiffusionScheduler(K + 1), case

    def function(log_p, x):
        return scheduler.step(log_p, 60, x, unmask=unmask, return_dict=False, **AT)[0]

    graph = make_fx(function)(*case)
    torch.manual_seed(5)
    x = torch.where(torch.rand(B, N) < 0.5, K, torch.randint(0, K, (B, N)))
    for_any_shape = torch.compile(function, backend="eager", dynamic=True)
    for traced in (torch.compile(function, backend="eager", dynamic=False), for_any_shape, graph):
        torch.manual_seed(3)
        expected = function(log_p, x)
        torch.manual_seed(3)
        assert torch.equal(traced(log_p, x), expected)


def test_numbers_in_order_of_every_row_by_keys_on_every_way(case, monkeypatch):
    """What the keys give the class for arrays, for any part of the rows."""
    log_p, x = case
    keys, unmask = RowKeys(7, range(B)), Unmask(by="random", temperature=2)
    scheduler = VQDiffusionScheduler(K + 1)
    whole = scheduler.step(log_p, 60, x, keys, unmask=unmask, **AT)
    monkeypatch.setattr(steps, "numpy_view", lambda *args: None)
    for row in range(B):
        part = slice(row, row + 1)
        alone = scheduler.step(log_p[part], 60, x[part], keys[part], unmask=unmask, **AT)
        assert torch.equal(alone.prev_sample, whole.prev_sample[part])


# By the enumeration of unmask_laws.py.
@pytest.mark.parametrize("by", ["random", "purity", "margin", "entropy", "confidence"])
@pytest.mark.parametrize("calls", [4, 2])
def test_formulas_end_in_the_law_of_the_order(by, calls):
    unmask, count = Unmask(by=by), LAW_PIXELS // calls

    def outcomes(call, state, p):
        shares, each = zip(*((share, drawn) for share, drawn in draws(state, p) if share > 0))
        below = np.concatenate((np.zeros((1, LAW_PIXELS)), p.cumsum(0)))
        uniforms = torch.zeros(len(each), LAW_PIXELS, dtype=torch.float64)
        for row, drawn in enumerate(each):
            for pixel, k in drawn.items():
                uniforms[row, pixel] = (below[k, pixel] + below[k + 1, pixel]) / 2
        x = torch.from_numpy(p).log().expand(len(each), LAW_CLASSES, LAW_PIXELS)
        may = (torch.tensor(state) == LAW_CLASSES).expand(len(each), LAW_PIXELS)
        order = torch.full_like(uniforms, 0.5)
        counts = torch.full((len(each),), count)
        needed = reveal_formula.needed(unmask, may, counts, order)
        result = reveal_formula.reveal(x, uniforms, order, needed, counts, unmask)
        after = torch.where(result.revealed, result.tokens, torch.tensor(state))
        for row, (share, drawn) in enumerate(zip(shares, each)):
            if by == "random":
                for chance, pixels in choices(dict.fromkeys(drawn, 0.0), count, 1):
                    found = [drawn[i] if i in pixels else state[i] for i in range(LAW_PIXELS)]
                    yield share * chance, tuple(found)
                continue
            assert all(after[row, i] in (k, LAW_CLASSES) for i, k in drawn.items())
            yield share, tuple(after[row].tolist())

    law = chain(outcomes, calls)
    np.testing.assert_allclose(law, order_law(by, 0.0, calls), atol=1e-12)


def test_choices_with_noise_are_in_proportion():
    """χ² of drawing two of four without replacement, by the formulas."""
    from chi_square import chi_square_p_value

    rows = 40_000
    p = torch.tensor([[0.9, 0.6, 0.37, 0.334], [0.06, 0.3, 0.33, 0.333], [0.04, 0.1, 0.3, 0.333]])
    x = (p / p.sum(0)).double().log().expand(rows, 3, 4)
    for by in ("purity", "margin", "entropy"):
        unmask = Unmask(by=by, temperature=1)
        u, order = torch.rand(2, rows, 4, dtype=torch.float64)
        may, counts = torch.ones(rows, 4, dtype=torch.bool), torch.full((rows,), 2)
        out = reveal_formula.reveal(x, u, order, may, counts, unmask)
        probability = dict.fromkeys(itertools.combinations(range(4), 2), 0.0)
        for share, pair in choices(dict(enumerate(out.scores[0].tolist())), 2, 1):
            probability[tuple(sorted(pair))] += share
        pairs = out.revealed.nonzero()[:, 1].view(rows, 2).tolist()
        counts = [pairs.count(list(pair)) for pair in probability]
        assert chi_square_p_value(counts, list(probability.values())) > 1e-4, by


@pytest.mark.parametrize("way", ["native", "torch"])
@pytest.mark.parametrize("kind", [VQDiffusionScheduler, Ours])
def test_refused_with_the_sentences_of_the_numpy_class(case, monkeypatch, kind, way):
    if way == "torch":
        monkeypatch.setattr(steps, "numpy_view", lambda *args: None)
    log_p, x = case
    ours, used = kind(K + 1), generator(3)
    arrays, before = vqdiffusion.VQDiffusionScheduler(K + 1), used.get_state()
    for given in (
        {"unmask": "margin"},
        {"unmask": Unmask(), "remask": 0.1},
        {"unmask": Unmask(), "remask": "much"},
        {"unmask": Unmask(positions=np.ones(3, bool))},
        {"unmask": Unmask(positions=np.ones((1, N), bool))},
        {"unmask": Unmask(count=[1])},
    ):
        with pytest.raises((TypeError, ValueError)) as expected:
            arrays.step(log_p.numpy(), 60, x.numpy(), **given)
        calls = [lambda: ours.step(log_p, 60, x, used, **given)]
        calls += [lambda: ours.guided_step(log_p, log_p, 60, x, used, **given)]
        calls += [lambda: ours.plan(60, x, used, **given)]
        for call in calls:
            with pytest.raises(expected.type) as found:
                call()
            assert str(found.value) == str(expected.value)
    unmask = Unmask()
    for message, grid, t in (
        ("^sample must have shape", x[:, 1:], 60),
        ("^sample must have shape", torch.cat((x, x)), torch.tensor([60, 50, 40])),
        ("^sample must hold classes", torch.where(x == K, K + 1, x), 60),
        ("^timestep must be one timestep, or one for each", x, torch.tensor([60, 50])),
    ):
        with pytest.raises(ValueError, match=message):
            ours.step(log_p, t, grid, used, unmask=unmask)
    with pytest.raises(TypeError, match="^sample (must be an array|could not be read)"):
        ours.step(log_p, 60, None, used, unmask=unmask)
    no_mask = {"alphas_cumprod": np.linspace(0.9, 0.1, 100), "gammas_cumprod": np.zeros(100)}
    uniform = VQDiffusionScheduler(K + 1, **no_mask)
    with pytest.raises(ValueError, match="the schedule masks nothing"):
        uniform.step(log_p, 60, x, used, unmask=unmask)
    out = uniform.step(log_p, 60, x.clamp(max=K - 1), generator(1), unmask=unmask)
    assert torch.equal(out.prev_sample, x.clamp(max=K - 1))
    out = uniform.step(log_p, 0, x, generator(1), unmask=unmask)
    assert torch.equal(out.revealed, x == K)
    assert torch.equal(used.get_state(), before)
    plan = ours.plan(60, x, generator(1), unmask=unmask)
    for given in ({"unmask": Unmask()}, {"remask": 0.01}):
        with pytest.raises(ValueError, match="^unmask and remask must be those of the plan"):
            ours.step(log_p, 60, x, plan=plan, **given)
    assert torch.equal(
        ours.step(log_p, 60, x, plan=plan, unmask=unmask).revealed,
        ours.step(log_p, 60, x, generator(1), unmask=unmask).revealed,
    )
    with pytest.raises(ValueError, match="^plan must be for the sample that is passed"):
        ours.step(log_p, 60, x.flip(1), plan=plan)
    with pytest.raises(ValueError, match="^model_output for the needed|^model_output must"):
        ours.step(log_p[0], 60, x, plan=plan)


def test_results(case):
    log_p, x = case
    for kind, output in (
        (VQDiffusionScheduler, vqdiffusion.torch.VQDiffusionSchedulerOutput),
        (Ours, VQDiffusionRevealOutput),
    ):
        scheduler = kind(K + 1)
        out = scheduler.step(log_p, 60, x, generator(1), unmask=Unmask(), **AT)
        assert type(out) is output and list(out.keys()) == ["prev_sample", "revealed", "scores"]
        assert out[1] is out["revealed"] is out.revealed and len(out.to_tuple()) == 3
        again = pickle.loads(pickle.dumps(out))
        assert type(again) is output and torch.equal(again.revealed, out.revealed)
        (tokens,) = scheduler.step(
            log_p, 60, x, generator(1), unmask=Unmask(), return_dict=False, **AT
        )
        assert torch.equal(tokens, out.prev_sample)
    assert isinstance(out, VQDiffusionSchedulerOutput)
    assert type(Ours(K + 1).step(log_p, 60, x)) is VQDiffusionSchedulerOutput
