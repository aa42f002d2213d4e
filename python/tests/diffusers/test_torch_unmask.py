"""Steps that reveal masked pixels on tensors: natively and by the torch formulas, beside the NumPy
class.
"""

import copy
import pickle

import numpy as np
import pytest
import torch
import vqdiffusion
from diffusers_case import Ours, generator, random_classes

from vqdiffusion import RowKeys, Unmask
from vqdiffusion.torch import VQDiffusionScheduler, guided_steps, planned, steps

K, B, N = 37, 3, 50
KEYS = RowKeys(7, range(B))
ORDERS = ["random", "purity", "margin", "entropy", "confidence"]
OPTIONS = {
    "due": {},
    "noise": {"temperature": 0.7},
    "count": {"count": 7},
    "counts": {"count": [0, 3, 1000], "temperature": 1},
    "threshold": {"threshold": 0.2},
    "threshold that none exceeds": {"threshold": 1.0, "temperature": 0.5},
    "entropy bound": {"entropy_bound": 3.0},
    "prior": {"prior_weight": 1.5},
    "prior and threshold": {"prior_weight": 0.5, "threshold": 0.3},
    "block": {"positions": np.arange(N) % 3 > 0},
    "blocks": {"positions": np.arange(B * N).reshape(B, N) % 4 > 0, "count": 9},
}


@pytest.fixture(params=["native", "torch"])
def way(request, monkeypatch):
    """Which of the two computes."""
    if request.param == "torch":
        by_torch(monkeypatch)
    return request.param


def by_torch(monkeypatch):
    for module in (guided_steps, planned, steps):
        monkeypatch.setattr(module, "numpy_view", lambda *args: None)


def case(classes=K, dtype=torch.float32, pixels=N):
    log_p = (2 * torch.randn(B, classes, pixels, dtype=torch.float64)).log_softmax(1)
    return log_p.to(dtype), random_classes(B, classes, pixels, 0.6)


def arrays_step(log_p, t, x, **given):
    scheduler = vqdiffusion.VQDiffusionScheduler(log_p.shape[1] + 1)
    log_p = (log_p.float() if log_p.dtype.itemsize == 2 else log_p).numpy()
    return scheduler.step(log_p, t, x.numpy(), **given)


def same(out, expected, exact=False):
    for name in ("prev_sample", "revealed"):
        np.testing.assert_array_equal(out[name], expected[name])
    close = {"rtol": 0, "atol": 0 if exact else 1e-6}
    np.testing.assert_allclose(out.scores, expected.scores, **close)
    assert out.prev_sample.dtype == torch.int64 and out.revealed.dtype == torch.bool
    assert out.scores.dtype == torch.float64 and out.prev_sample.is_contiguous()


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("by", ORDERS)
def test_the_numpy_class_reveals_the_same(way, by, options):
    unmask = Unmask(by=by, **options)
    for classes, dtype in ((1, torch.float32), (2, torch.float64), (K, torch.float32)):
        log_p, x = case(classes, dtype)
        for t, s in ((60, 20), (60, -1), (1, 0)):
            given = {"previous_timestep": s, "unmask": unmask, "generator": KEYS}
            out = VQDiffusionScheduler(classes + 1).step(log_p, t, x, **given)
            same(out, arrays_step(log_p, t, x, **given), way == "native")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("by", ORDERS)
def test_16_bits_and_classes_that_are_neighbours(way, by, dtype):
    log_p, x = case(1500, dtype)
    log_p = log_p.transpose(1, 2).contiguous().transpose(1, 2)
    given = {"previous_timestep": 20, "unmask": Unmask(by=by, temperature=0.3), "generator": KEYS}
    out = VQDiffusionScheduler(1501).step(log_p, 60, x, **given)
    same(out, arrays_step(log_p.float(), 60, x, **given))


def test_equal_keys_take_the_lower_index_and_impossible_ones_come_last(way):
    log_p = torch.full((1, 4, 60), 0.25).log()
    log_p[:, :2, 30:] = torch.tensor([0.7, 0.1]).log()[:, None]
    log_p[:, 2:, 30:] = torch.tensor(0.1).log()
    x = torch.full((1, 60), 4)
    x[0, :3] = 1
    scheduler = VQDiffusionScheduler(5)
    for by, count, expected in (
        ("margin", 20, range(30, 50)),
        ("margin", 35, [*range(30, 60), *range(3, 8)]),  # uniform columns have the key -inf
        ("entropy", 20, range(30, 50)),
        ("purity", 40, [*range(30, 60), *range(3, 13)]),
    ):
        out = scheduler.step(log_p, 50, x, unmask=Unmask(by=by, count=count))
        assert sorted(expected) == out.revealed[0].nonzero()[:, 0].tolist(), by


@pytest.mark.parametrize("by", ORDERS)
def test_uniforms_come_in_the_documented_order(way, by):
    """First those of the classes, then those of the order, of each generator for its row."""
    log_p, x = case()
    for method in ("inverse_cdf", "gumbel"):
        scheduler = VQDiffusionScheduler(K + 1, sampling_method=method)
        for temperature in (0, 1):
            unmask = Unmask(by=by, temperature=temperature)
            has_noise = by == "random" or temperature
            one, other = generator(5), generator(5)
            out = scheduler.step(log_p, 60, x, one, previous_timestep=20, unmask=unmask)
            u, order = (
                torch.rand(B, N, generator=other, dtype=torch.float64) if drawn else None
                for drawn in (True, has_noise)
            )
            assert torch.equal(one.get_state(), other.get_state())
            chain, result = scheduler._chain, np.empty((B, N), np.int64)
            how = unmask._native((B, N), None if order is None else order.numpy())
            chain.step(60, 20, log_p.numpy(), x.numpy(), u.numpy(), result, unmask=how)
            np.testing.assert_array_equal(out.prev_sample, result)
            several = [generator(row) for row in range(B)]
            out = scheduler.step(log_p, 60, x, several, previous_timestep=20, unmask=unmask)
            for row in range(B):
                part = slice(row, row + 1)
                alone = scheduler.step(
                    log_p[part],
                    60,
                    x[part],
                    generator(row),
                    previous_timestep=20,
                    unmask=unmask,
                )
                assert torch.equal(out.prev_sample[part], alone.prev_sample)
                assert torch.equal(out.revealed[part], alone.revealed)


@pytest.mark.parametrize("options", [{}, {"count": [2, 9, 4]}, OPTIONS["blocks"]], ids=str)
def test_a_timestep_for_each_row(way, options):
    log_p, x = case()
    unmask, scheduler = Unmask(by="purity", temperature=1, **options), VQDiffusionScheduler(K + 1)
    t, s = torch.tensor([60, 0, 99]), torch.tensor([20, -1, 40])
    out = scheduler.step(log_p, t, x, KEYS, previous_timestep=s, unmask=unmask)
    for row in range(B):
        at = {"previous_timestep": int(s[row]), "unmask": unmask}
        whole = scheduler.step(log_p, int(t[row]), x, KEYS, **at)
        assert torch.equal(out.prev_sample[row], whole.prev_sample[row])
        assert torch.equal(out.revealed[row], whole.revealed[row])
    planned_ = scheduler.plan(t, x, KEYS, previous_timestep=s, unmask=unmask)
    columns = log_p.transpose(1, 2)[planned_.needed].T
    again = scheduler.step(columns, t, x, plan=planned_, previous_timestep=s)
    assert torch.equal(again.prev_sample, out.prev_sample)


def test_chains_reveal_every_pixel_once(way):
    for calls in (1, 7, 25):
        scheduler = VQDiffusionScheduler(K + 1, timestep_spacing="trailing")
        scheduler.set_timesteps(calls)
        x, total = torch.full((B, N), K), torch.zeros(B, N, dtype=torch.int64)
        for t in scheduler.timesteps:
            out = scheduler.step(case()[0], t, x, unmask=Unmask(by="entropy"))
            total += out.revealed
            x = out.prev_sample
        assert (total == 1).all() and (x < K).all()


def test_so_many_are_due(way):
    """Of 0 … 60 masked pixels, where γ̄_s/γ̄_t leaves halves too."""
    gammas = np.arange(1, 101) / 100
    scheduler = VQDiffusionScheduler(2, alphas_cumprod=1 - gammas, gammas_cumprod=gammas)
    x = (torch.arange(60) < torch.arange(61).unsqueeze(1)).long()
    for t, s in ((99, 49), (59, 29), (99, 98), (74, 24), (79, 49), (10, -1)):
        share = gammas[s] / gammas[t] if s >= 0 else 0.0
        out = scheduler.step(
            torch.zeros(61, 1, 60), t, x, previous_timestep=s, unmask=Unmask(by="random")
        )
        expected = [masked - int(masked * share + 0.5) for masked in range(61)]
        assert out.revealed.sum(1).tolist() == expected


@pytest.mark.parametrize("by", ORDERS)
def test_planned_guided_and_overridden_steps(way, by):
    class Overriding(VQDiffusionScheduler):
        def q_posterior(self, *arguments, **named):
            raise AssertionError

    log_p, x = case()
    known = torch.where(torch.rand(B, N) < 0.2, 4, -1)
    for kind, options in ((VQDiffusionScheduler, {}), (Ours, OPTIONS["blocks"]), (Overriding, {})):
        scheduler = kind(K + 1, sampling_method="gumbel")
        unmask = Unmask(by=by, temperature=0.5, **options)
        given = {"previous_timestep": 20, "unmask": unmask, "known": known}
        expected = scheduler.step(log_p, 60, x, KEYS, **given)
        assert (expected.prev_sample[known >= 0] == 4).all()
        assert not expected.revealed[known >= 0].any() and expected.revealed.any()
        untouched = ~expected.revealed & (known < 0)
        assert torch.equal(expected.prev_sample[untouched], x[untouched])
        truncation = {"truncation_rate": np.inf, "floor": -np.inf}
        guided = scheduler.guided_step(None, log_p, 60, x, KEYS, **truncation, **given)
        same(guided, expected)
        plan = scheduler.plan(60, x, KEYS, **given)
        may = (x == K) & (known < 0) & torch.tensor(options.get("positions", True))
        first = by == "random"
        assert torch.equal(plan.needed, expected.revealed if first else may)
        columns = log_p.transpose(1, 2)[plan.needed].T
        for one in (plan, copy.deepcopy(plan), pickle.loads(pickle.dumps(plan))):
            for output in (log_p, columns):
                same(scheduler.step(output, 60, x, plan=one, previous_timestep=20), expected)


def test_guidance_and_truncation(way):
    (cond, x), (uncond, _) = case(), case()
    scheduler = VQDiffusionScheduler(K + 1)
    numbers = {"guidance_scale": 3.0, "truncation_rate": 0.8, "top_k": 9, "temperature": 0.9}
    for by in ORDERS:
        given = {"generator": KEYS, "previous_timestep": 20, "unmask": Unmask(by=by)}
        out = scheduler.guided_step(uncond, cond, 60, x, **numbers, **given)
        arrays = vqdiffusion.VQDiffusionScheduler(K + 1)
        both = uncond.numpy(), cond.numpy()
        expected = arrays.guided_step(*both, 60, x.numpy(), **numbers, **given)
        np.testing.assert_array_equal(out.prev_sample, expected.prev_sample)
        np.testing.assert_array_equal(out.revealed, expected.revealed)


def test_only_masked_columns_are_read(way):
    log_p, x = case()
    scheduler = VQDiffusionScheduler(K + 1)
    expected = scheduler.step(log_p, 60, x, generator(2), unmask=Unmask(count=9))
    log_p.transpose(1, 2)[x < K] = torch.nan
    same(scheduler.step(log_p, 60, x, generator(2), unmask=Unmask(count=9)), expected, True)
    if way == "native":
        with pytest.raises(ValueError, match="^model_output must"):
            scheduler.step(log_p, 60, x, unmask=Unmask(), check_finite=True)
    for bad in (torch.nan, torch.inf):
        row, pixel = (x == K).nonzero()[7].tolist()
        one, used = log_p.clone(), generator(2)
        one[row, 3, pixel] = bad
        for unmask in (Unmask(), Unmask(by="confidence", prior_weight=1), Unmask(threshold=0.3)):
            with pytest.raises(ValueError, match=rf"^model_output .*(\[{row}, 3|row {row}, )"):
                scheduler.step(one, 60, x, used, unmask=unmask)
        assert torch.equal(used.get_state(), generator(2).get_state())


def test_a_row_with_nothing_masked_and_grids_without_pixels(way):
    log_p, x = case()
    x[1] = 3
    scheduler = VQDiffusionScheduler(K + 1)
    for unmask in (Unmask(), Unmask(threshold=0.5), Unmask(entropy_bound=1), Unmask(count=4)):
        out = scheduler.step(log_p, 60, x, previous_timestep=20, unmask=unmask)
        assert torch.equal(out.prev_sample[1], x[1])
        assert not out.revealed[1].any() and out.revealed[0].any()
        for rows, pixels in ((B, 0), (0, N)):
            empty = torch.empty(rows, K, pixels), 60, torch.empty(rows, pixels, dtype=torch.int64)
            assert scheduler.step(*empty, unmask=unmask).revealed.shape == (rows, pixels)


def test_replaced_tables_say_how_many_are_due(way):
    log_p, x = case()
    scheduler = VQDiffusionScheduler(K + 1)
    logs = scheduler.log_cumprod_ct.clone()
    logs[60], logs[20] = np.log(0.8), np.log(0.3)
    scheduler.log_cumprod_ct = logs
    out = scheduler.step(log_p, 60, x, previous_timestep=20, unmask=Unmask())
    masked = (x == K).sum(1)
    assert torch.equal(out.revealed.sum(1), masked - (masked * 3 / 8 + 0.5).long())
    plan = scheduler.plan(60, x, generator(1), previous_timestep=20, unmask=Unmask())
    columns = log_p.transpose(1, 2)[plan.needed].T
    again = scheduler.step(columns, 60, x, plan=plan, previous_timestep=20)
    assert torch.equal(again.revealed, out.revealed)


def test_without_the_arguments_a_step_is_what_it_was(way):
    log_p, x = case()
    for kind in (VQDiffusionScheduler, Ours):
        for method in ("inverse_cdf", "gumbel"):
            scheduler = kind(K + 1, sampling_method=method)
            plain = scheduler.step(log_p, 60, x, generator(9))
            given = scheduler.step(log_p, 60, x, generator(9), unmask=None, remask=0.0)
            assert torch.equal(plain.prev_sample, given.prev_sample)
            assert len(plain) == len(given.to_tuple()) == 1 and list(plain) == ["prev_sample"]
