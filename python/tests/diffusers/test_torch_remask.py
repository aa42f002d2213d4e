"""Steps on tensors that mask pixels again: natively and by the torch formulas, beside the NumPy
class.
"""

import numpy as np
import pytest
import torch
import vqdiffusion
from chain_case import TABLES
from diffusers_case import Ours, generator, random_classes, random_log_p
from test_remask import MASKING, STEPS, coefficients, largest, posterior

from vqdiffusion import RowKeys
from vqdiffusion.torch import VQDiffusionScheduler, formulas, guided_steps, inverse_cdf, planned
from vqdiffusion.torch import steps as steps_module

K, B, N = 5, 3, 60
KEYS = RowKeys(7, range(B))
METHODS = ["inverse_cdf", "gumbel"]
SHARES = [0.3, 1.0]


@pytest.fixture(params=["native", "torch"])
def way(request, monkeypatch):
    """Which of the two computes."""
    if request.param == "torch":
        for module in (guided_steps, planned, steps_module):
            monkeypatch.setattr(module, "numpy_view", lambda *args: None)
    return request.param


@pytest.fixture
def case():
    return random_log_p(B, K, N, dtype=torch.float64), random_classes(B, K, N)


def scheduler_of(name, method="inverse_cdf", kind=VQDiffusionScheduler):
    alphas, gammas = TABLES[name]
    return kind(K + 1, alphas_cumprod=alphas, gammas_cumprod=gammas, sampling_method=method)


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", MASKING)
def test_the_numpy_class_draws_the_same(case, way, name, method, share):
    log_p, x = case
    ours, arrays = (
        scheduler_of(name, method),
        scheduler_of(name, method, vqdiffusion.VQDiffusionScheduler),
    )
    known = torch.where(torch.rand(B, N) < 0.2, 2, -1)
    masked_again = 0
    for t, s in STEPS:
        given = {"previous_timestep": s, "remask": share * largest(name, t, s)}
        expected = arrays.step(log_p.numpy(), t, x.numpy(), KEYS, known=known.numpy(), **given)
        found = ours.step(log_p, t, x, KEYS, known=known, **given).prev_sample
        np.testing.assert_array_equal(found, expected.prev_sample)
        masked_again += int((found[x < K] == K).sum())
    assert masked_again > 100


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("name", MASKING)
def test_formulas_have_the_law_of_the_coefficients(name, share):
    """The posterior, and the inversion at an even grid of uniforms."""
    law, pixels = scheduler_of(name)._law, 1 << 12
    p = np.random.default_rng(1).dirichlet(np.ones(K))
    x = torch.from_numpy(np.log(p))[None, :, None]
    u = (torch.arange(pixels, dtype=torch.float64)[None] + 0.5) / pixels
    for t, s in ((11, 5), (8, 5), (5, 4), (1, 0)):
        sigma = share * largest(name, t, s)
        c = coefficients(name, K, t, s, sigma)
        for step in (law.step_to(t, s, "cpu", sigma), law.step_to([t], [s], "cpu", sigma)):
            for shown in range(K + 1):
                expected = posterior(c, K, p, shown)
                classes, mask, _ = formulas.posterior(law, x, torch.tensor([[shown]]), step)
                found = torch.cat((classes, mask), 1)[0, :, 0].exp()
                np.testing.assert_allclose(found, expected, atol=1e-12)
                grid = torch.full((1, pixels), shown)
                drawn = inverse_cdf.inverse_cdf(law, x.expand(1, K, pixels), grid, step, u)
                counts = np.bincount(drawn[0], minlength=K + 1)
                assert np.abs(counts - pixels * expected).max() < 3  # a class lies in two runs


def test_the_plain_step_is_that_of_before(case, way):
    log_p, x = case
    for method in METHODS:
        for name in MASKING:
            scheduler = scheduler_of(name, method)
            plain = scheduler.step(log_p, 8, x, generator(1)).prev_sample
            given = scheduler.step(log_p, 8, x, generator(1), remask=0.0).prev_sample
            assert torch.equal(plain, given)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", MASKING)
def test_a_timestep_for_each_row(case, way, name, method):
    log_p, x = case
    scheduler = scheduler_of(name, method)
    t, s = torch.tensor([8, 11, 6]), torch.tensor([5, 2, 3])
    sigma = min(largest(name, *pair) for pair in zip(t.tolist(), s.tolist()))
    out = scheduler.step(log_p, t, x, KEYS, previous_timestep=s, remask=sigma).prev_sample
    for row in range(B):
        at = {"previous_timestep": int(s[row]), "remask": sigma}
        whole = scheduler.step(log_p, int(t[row]), x, KEYS, **at).prev_sample
        assert torch.equal(out[row], whole[row])
    single = t - 1
    sigma = min(largest(name, one, one - 1) for one in t.tolist())
    out = scheduler.step(log_p, t, x, KEYS, remask=sigma).prev_sample
    expected = scheduler.step(log_p, t, x, KEYS, previous_timestep=single, remask=sigma)
    assert torch.equal(out, expected.prev_sample) and (out[x < K] == K).any()


def test_planned_and_guided_steps_give_the_same(case, way):
    log_p, x = case
    known = torch.where(torch.rand(B, N) < 0.2, 2, -1)
    for name in MASKING:
        scheduler = scheduler_of(name)
        for t, s in ((8, 5), (torch.tensor([8, 11, 6]), torch.tensor([5, 2, 3]))):
            given = {"previous_timestep": s, "remask": 0.02, "known": known}
            expected = scheduler.step(log_p, t, x, generator(5), **given).prev_sample
            plan = scheduler.plan(t, x, generator(5), **given)
            assert plan.remask == 0.02
            columns = log_p.transpose(1, 2)[plan.needed].T
            for output in (log_p, columns):
                out = scheduler.step(output, t, x, plan=plan, previous_timestep=s)
                assert torch.equal(out.prev_sample, expected)
            with pytest.raises(ValueError, match="^unmask and remask must be those of the plan"):
                scheduler.step(columns, t, x, plan=plan, previous_timestep=s, remask=0.01)
            truncation = {"truncation_rate": np.inf, "floor": -np.inf}
            guided = scheduler.guided_step(
                None, log_p, t, x, generator(5), **truncation, **given
            ).prev_sample
            assert torch.equal(guided, expected)


@pytest.mark.parametrize("method", METHODS)
def test_where_torch_records_and_on_another_device(case, method):
    log_p, x = case
    scheduler = scheduler_of("mixed", method)
    given = {"previous_timestep": 5, "remask": 0.1, "return_dict": False}
    meta = [one.to("meta") for one in case]
    assert scheduler.step(meta[0], 8, meta[1], **given)[0].is_meta
    if method == "inverse_cdf":
        assert scheduler.plan(8, meta[1], previous_timestep=5, remask=0.1).needed.is_meta

    def function(log_p, x):
        return scheduler.step(log_p, 8, x, **given)[0]

    many = torch.func.vmap(function, randomness="different")(
        log_p.expand(9, B, K, N), x.expand(9, B, N)
    )
    assert (many != many[:1]).any() and (many[x.expand_as(many) < K] == K).any()
    # Only the random numbers are vmap's.
    many = torch.func.vmap(lambda _: function(log_p, x), randomness="different")(torch.zeros(9))
    assert (many != many[:1]).any() and (many[x.expand_as(many) < K] == K).any()


@pytest.mark.skipif(torch.__version__ < "2.4", reason="torch 2.3 cannot compare methods in graphs")
@pytest.mark.parametrize("method", METHODS)
def test_compiled(case, method):
    scheduler = scheduler_of("mixed", method)

    def function(log_p, x):
        return scheduler.step(log_p, 8, x, previous_timestep=5, remask=0.1, return_dict=False)[0]

    torch.manual_seed(3)
    expected = function(*case)
    torch.manual_seed(3)
    assert torch.equal(torch.compile(function, backend="eager")(*case), expected)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", [VQDiffusionScheduler, Ours])
def test_refused_with_the_sentences_of_the_numpy_class(case, way, kind, method):
    log_p, x = case
    ours = scheduler_of("mixed", method, kind)
    arrays = scheduler_of("mixed", method, vqdiffusion.VQDiffusionScheduler)
    used, top = generator(3), largest("mixed", 8, 5)
    before = used.get_state()
    ours.step(log_p, 8, x, generator(1), previous_timestep=5, remask=top)
    for s, remask in (
        (5, np.nextafter(top, 2)),
        (5, -0.1),
        (5, np.nan),
        (5, np.inf),
        (-1, 0.1),
        (5, "much"),
        (5, True),
    ):
        given = {"previous_timestep": s, "remask": remask}
        with pytest.raises((TypeError, ValueError)) as expected:
            arrays.step(log_p.numpy(), 8, x.numpy(), **given)
        calls = [lambda: ours.step(log_p, 8, x, used, **given)]
        calls += [lambda: ours.guided_step(log_p, log_p, 8, x, used, **given)]
        calls += [lambda: ours.plan(8, x, used, **given)] * (method == "inverse_cdf")
        for call in calls:
            with pytest.raises(expected.type) as found:
                call()
            assert str(found.value) == str(expected.value)
    t, s = torch.tensor([8, 11, 6]), torch.tensor([5, -1, 3])
    with pytest.raises(ValueError, match="^remask must be a probability from 0 to 0, .*step -1"):
        ours.step(log_p, t, x, used, previous_timestep=s, remask=0.1)
    assert torch.equal(used.get_state(), before)


def test_overridden_posteriors_and_replaced_tables_take_none(case):
    class Own(VQDiffusionScheduler):
        def q_posterior(self, *arguments, **named):
            return super().q_posterior(*arguments, **named)

    log_p, x = case
    replaced = VQDiffusionScheduler(K + 1)
    replaced.log_cumprod_ct = replaced.log_cumprod_ct - 0.1
    for scheduler in (Own(K + 1), replaced):
        used = generator(3)
        match = "^remask must be 0 where the scheduler's posterior is overridden, not 0.1$"
        if scheduler is replaced:
            match = "^remask must be 0 where the scheduler's tables are replaced, not 0.1$"
        with pytest.raises(ValueError, match=match):
            scheduler.step(log_p, 50, x, used, remask=0.1)
        with pytest.raises(ValueError, match=match):
            scheduler.guided_step(log_p, log_p, 50, x, used, remask=0.1)
        assert torch.equal(used.get_state(), generator(3).get_state())
