"""Tensors on a CUDA device: the results of the native module on the CPU, drawn and kept there.

On a machine without such a device nothing here runs; test_torch_formulas.py has the same formulas
on the CPU.
"""

from dataclasses import replace

import pytest
import torch
from diffusers_case import TABLES, Ours, Reference, random_classes, random_log_p, same_cells

from vqdiffusion import RowKeys, Unmask
from vqdiffusion.torch import VQDiffusionScheduler, guide, truncate

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")

K, N, T = 12, 40, 20
METHODS = ["gumbel", "inverse_cdf"]
SCHEDULES = {
    "default": {},
    "absorbing": {
        "alpha_cum_start": 0.875,
        "alpha_cum_end": 0.125,
        "gamma_cum_start": 0.125,
        "gamma_cum_end": 0.875,
    },
}


def on_device(seed=0):
    return torch.Generator("cuda").manual_seed(seed)


@pytest.fixture(params=SCHEDULES.values(), ids=SCHEDULES)
def pair(request):
    """A scheduler on the device and one on the CPU."""
    device, cpu = (VQDiffusionScheduler(K + 1, T, **request.param) for _ in range(2))
    device.set_timesteps(T, device="cuda")
    return device, cpu


def test_tables_and_timesteps_move(pair):
    device, cpu = pair
    for name in (*TABLES, "timesteps"):
        assert getattr(device, name).device.type == "cuda"
        assert torch.equal(getattr(device, name).cpu(), getattr(cpu, name))


@pytest.mark.parametrize("t", [0, 7, T - 1, [3, 0, 19]])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_probabilities(pair, t, dtype):
    device, cpu = pair
    log_p, x = random_log_p(3, K, N, dtype=dtype), random_classes(3, K, N)
    t = torch.tensor(t) if isinstance(t, list) else t
    moved = t.cuda() if isinstance(t, torch.Tensor) else t
    close = (1e-12, 1e-12) if dtype is torch.float64 else (2e-5, 1e-5)
    same_cells(
        device.q_posterior(log_p.cuda(), x.cuda(), moved).cpu(),
        cpu.q_posterior(log_p, x, t),
        *close,
    )
    onehot = torch.where(torch.arange(K + 1).view(1, -1, 1) == x.unsqueeze(1), 0.0, -69.0).to(dtype)
    for cumulative in (True, False):
        rows = [
            one.log_Q_t_transitioning_to_known_class(
                t=at, x_t=grid, log_onehot_x_t=hot, cumulative=cumulative
            ).cpu()
            for one, at, grid, hot in (
                (device, moved, x.cuda(), onehot.cuda()),
                (cpu, t, x, onehot),
            )
        ]
        same_cells(*rows, *close)
    same_cells(
        device.apply_cumulative_transitions(log_p.cuda(), moved).cpu(),
        cpu.apply_cumulative_transitions(log_p, t),
        *close,
    )


@pytest.mark.parametrize("t", [0, 7, T - 1])
@pytest.mark.parametrize("method", METHODS)
def test_frequencies_of_a_step(method, t):
    """Each of 13 frequencies of 200000 draws lies within 6 standard errors: a false alarm in 10^6
    runs.
    """
    draws = 200_000
    scheduler = VQDiffusionScheduler(K + 1, T, sampling_method=method)
    scheduler.set_timesteps(T, device="cuda")
    log_p = random_log_p(1, K, 1)
    for shown in (K, 3):
        x = torch.full((1, draws), shown, device="cuda")
        model_output = log_p.cuda().expand(1, K, draws)
        tokens = scheduler.step(model_output, t, x, on_device(t)).prev_sample
        assert tokens.device.type == "cuda" and tokens.dtype == torch.int64
        p = scheduler.q_posterior(log_p.double(), x[:, :1].cpu(), t)[0, :, 0].softmax(0)
        if t == 0:
            p = torch.cat((log_p[0, :, 0].double().softmax(0), torch.zeros(1)))
        share = torch.bincount(tokens[0].cpu(), minlength=K + 1) / draws
        assert ((share - p).abs() <= 6 * (p * (1 - p) / draws).sqrt() + 1e-12).all()


@pytest.mark.parametrize("method", METHODS)
def test_gumbel_tokens_are_diffusers_and_plans_are_kept(method):
    scheduler = Ours(K + 1, T, sampling_method=method)
    scheduler.set_timesteps(T, device="cuda")
    log_p, x = random_log_p(2, K, 500).cuda(), random_classes(2, K, 500).cuda()
    used = on_device(1)
    tokens = scheduler.step(log_p, 7, x, used).prev_sample
    if method == "gumbel":
        reference = Reference(K + 1, T)
        reference.set_timesteps(T, device="cuda")
        expected = reference.step(log_p, torch.tensor(7), x, on_device(1)).prev_sample
        assert (tokens != expected).sum() <= 1  # near-ties round in another way
    else:
        plan = scheduler.plan(7, x, on_device(1))
        columns = log_p.transpose(1, 2)[plan.needed].T
        assert torch.equal(scheduler.step(columns, 7, x, plan=plan).prev_sample, tokens)


@pytest.mark.parametrize("method", METHODS)
def test_a_failed_call_leaves_the_generator(method):
    scheduler = VQDiffusionScheduler(K + 1, T, sampling_method=method)
    log_p, x = random_log_p(1, K, N).cuda(), random_classes(1, K, N).cuda()
    bad = log_p.clone()
    bad[0, :, 3] = -torch.inf
    used = on_device(2)
    before = used.get_state()
    with pytest.raises(ValueError, match="^model_output must not hold NaN"):
        scheduler.step(bad, 7, x, used)
    assert torch.equal(used.get_state(), before)
    with pytest.raises(ValueError, match="^sample must be on cuda"):
        scheduler.step(log_p, 7, x.cpu(), used)
    assert torch.equal(used.get_state(), before)


def test_guidance_and_truncation():
    uncond, cond = random_log_p(2, K, N), random_log_p(2, K, N)
    guided = guide(uncond.cuda(), cond.cuda(), 5.0)
    torch.testing.assert_close(guided.cpu(), guide(uncond, cond, 5.0), atol=1e-4, rtol=1e-5)
    kept = truncate(guided, 0.8, -70.0)
    assert kept.device.type == "cuda"
    torch.testing.assert_close(kept.cpu(), truncate(guided.cpu(), 0.8, -70.0), atol=1e-5, rtol=1e-5)


def test_gradients_to_the_second_order():
    scheduler = VQDiffusionScheduler(5, T)
    scheduler.set_timesteps(T, device="cuda")
    log_p = random_log_p(2, 4, 3, dtype=torch.float64).cuda().requires_grad_()
    x = random_classes(2, 4, 3).cuda()

    def finite(log_p):
        return scheduler.q_posterior(log_p, x, 7).clamp(min=-30)

    assert torch.autograd.gradcheck(finite, (log_p,))
    assert torch.autograd.gradgradcheck(finite, (log_p,))


def test_a_chain_of_guided_steps():
    for method in METHODS:
        scheduler = VQDiffusionScheduler(K + 1, T, sampling_method=method)
        scheduler.set_timesteps(T, device="cuda")
        sample = torch.full((2, N), K, device="cuda")
        used = on_device(3)
        for t in scheduler.timesteps:
            uncond, cond = random_log_p(2, K, N).cuda(), random_log_p(2, K, N).cuda()
            sample = scheduler.guided_step(
                uncond, cond, t, sample, used, truncation_rate=0.9
            ).prev_sample
        assert sample.device.type == "cuda" and int(sample.max()) < K


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
def test_strides(schedule, method):
    """Posteriors and planned tokens are those of the CPU; the rest stays on the device."""
    given = {**schedule, "timestep_spacing": "trailing", "sampling_method": method}
    device, cpu = (VQDiffusionScheduler(K + 1, T, **given) for _ in range(2))
    device.set_timesteps(4, device="cuda")
    cpu.set_timesteps(4)
    used, log_p = on_device(1), random_log_p(2, K, 5000)
    x = device.sample_prior((2, 5000), used)
    for t in cpu.timesteps.tolist():
        s = device.previous_timestep(t)
        posterior = device.q_posterior(log_p.cuda(), x, t, previous_timestep=s)
        same_cells(posterior.cpu(), cpu.q_posterior(log_p, x.cpu(), t, previous_timestep=s))
        if method == "gumbel":
            x = device.step(log_p.cuda(), t, x, used).prev_sample
            continue
        plan = device.plan(t, x, used)
        on_cpu = replace(cpu.plan(t, x.cpu()), uniforms=plan.uniforms.cpu())
        expected = cpu.step(log_p, t, x.cpu(), plan=on_cpu).prev_sample
        x = device.step(log_p.cuda(), t, x, plan=plan).prev_sample
        assert (x.cpu() != expected).float().mean() < 1e-3  # sums round in another way
    rows = device.step(log_p.cuda(), [11, 5], x, used, previous_timestep=[3, -1]).prev_sample
    nats = device.likelihood_bound(lambda x_t, t: log_p.cuda(), x.clamp(max=K - 1), used)
    assert {one.device.type for one in (rows, x, nats)} == {"cuda"} and nats.isfinite().all()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
def test_keys_known_tokens_and_noise(schedule, method):
    """With the numbers of RowKeys tokens are those of the CPU, up to near-ties that round in
    another way.
    """
    given = {**schedule, "timestep_spacing": "trailing", "sampling_method": method}
    device, cpu = (VQDiffusionScheduler(K + 1, T, **given) for _ in range(2))
    device.set_timesteps(4, device="cuda")
    cpu.set_timesteps(4)
    keys, log_p = RowKeys(1, range(3)), random_log_p(3, K, 5000)
    x_0 = random_classes(3, K, 5000, mask_rate=0)
    known = torch.where(torch.rand(3, 5000) < 0.4, x_0, -1)
    for t, s in ((9, -1), (9, 4), ([9, 4, 19], 4)):
        moved = device.add_noise(x_0.cuda(), t, keys, from_timestep=s)
        assert moved.is_cuda
        assert torch.equal(moved.cpu(), cpu.add_noise(x_0, t, keys, from_timestep=s))
    for t in cpu.timesteps.tolist():
        x = cpu.add_noise(x_0, t, RowKeys(1, range(3), draw=1))
        numbers = log_p.cuda(), t, x.cuda(), keys
        tokens = device.step(*numbers, known=known.cuda()).prev_sample
        expected = cpu.step(log_p, t, x, keys, known=known).prev_sample
        assert tokens.is_cuda and (tokens.cpu() != expected).sum() <= 2
        assert torch.equal(tokens.cpu()[known >= 0], known[known >= 0])
        if method == "inverse_cdf":
            plan = device.plan(t, x.cuda(), keys, known=known.cuda())
            columns = log_p.cuda().transpose(1, 2)[plan.needed].T
            assert torch.equal(device.step(columns, t, x.cuda(), plan=plan).prev_sample, tokens)
    prior = device.sample_prior((3, 50), keys, device="cuda")
    assert torch.equal(prior.cpu(), cpu.sample_prior((3, 50), keys))
    used = on_device(2)
    before = used.get_state()
    with pytest.raises(ValueError, match="^known must be on cuda:0, not on cpu"):
        device.step(log_p.cuda(), 9, x.cuda(), used, previous_timestep=4, known=known)
    assert torch.equal(used.get_state(), before)


@pytest.mark.parametrize("by", ["random", "purity", "margin", "entropy", "confidence"])
@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
def test_unmask(schedule, by):
    """With the numbers of RowKeys what is revealed is that of the CPU, up to near-ties."""
    device, cpu = (VQDiffusionScheduler(K + 1, T, **schedule) for _ in range(2))
    device.set_timesteps(T, device="cuda")
    keys, log_p = RowKeys(1, range(3)), random_log_p(3, K, 500)
    x, positions = random_classes(3, K, 500, mask_rate=0.7), torch.rand(3, 500) < 0.8
    for options in (
        {"temperature": 0.5},
        {"count": [3, 0, 900], "prior_weight": 1},
        {"threshold": 0.3},
        {"entropy_bound": 20},
    ):
        unmask = Unmask(by=by, positions=positions, **options)
        if "count" in options:
            options = {**options, "count": torch.tensor(options["count"], device="cuda")}
        moved = Unmask(by=by, positions=positions.cuda(), **options)
        expected = cpu.step(log_p, 19, x, keys, previous_timestep=6, unmask=unmask)
        for one in (unmask, moved):
            numbers = log_p.cuda(), 19, x.cuda(), keys
            out = device.step(*numbers, previous_timestep=6, unmask=one)
            assert all(each.is_cuda for each in out.to_tuple())
            assert (out.revealed.cpu() != expected.revealed).sum() <= 2
            assert (out.prev_sample.cpu() != expected.prev_sample).sum() <= 2
            both = expected.scores.isfinite()
            assert ((out.scores.cpu() - expected.scores)[both].abs() <= 1e-6).all()
        plan = device.plan(19, x.cuda(), keys, previous_timestep=6, unmask=moved)
        columns = log_p.cuda().transpose(1, 2)[plan.needed].T
        again = device.step(columns, 19, x.cuda(), plan=plan, previous_timestep=6)
        assert torch.equal(again.prev_sample, out.prev_sample)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
def test_remask(schedule, method):
    given = {**schedule, "sampling_method": method}
    device, cpu = (VQDiffusionScheduler(K + 1, T, **given) for _ in range(2))
    device.set_timesteps(T, device="cuda")
    keys, log_p = RowKeys(1, range(3)), random_log_p(3, K, 5000, dtype=torch.float64)
    x = random_classes(3, K, 5000)
    for t, s in ((12, 6), (12, 11), ([12, 9, 15], [6, 8, 4])):
        numbers = {"previous_timestep": s, "remask": 0.1}
        tokens = device.step(log_p.cuda(), t, x.cuda(), keys, **numbers).prev_sample
        expected = cpu.step(log_p, t, x, keys, **numbers).prev_sample
        assert tokens.is_cuda and (tokens.cpu() != expected).sum() <= 2
        assert (expected[x < K] == K).float().mean() > 0.05
    used = on_device(2)
    before = used.get_state()
    with pytest.raises(ValueError, match="^remask must be a probability from 0 to "):
        device.step(log_p.cuda(), 12, x.cuda(), used, remask=1.1)
    assert torch.equal(used.get_state(), before)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("t, s", [([0, 7, 19], None), ([9, 4, 19], [-1, 2, 4])], ids=str)
def test_loss(pair, dtype, t, s):
    """Loss, rows and gradient are those of the native module on the CPU."""
    device, cpu = pair
    x_0 = random_classes(3, K, 500, mask_rate=0)
    x_t = cpu.add_noise(x_0, torch.tensor(t), torch.Generator().manual_seed(1))
    weights = torch.rand(3, 500)
    found = []
    for scheduler, place in ((device, "cuda"), (cpu, "cpu")):
        torch.manual_seed(2)
        logits = (4 * torch.randn(3, K, 500)).to(dtype).to(place).requires_grad_()
        given = {} if s is None else {"previous_timesteps": torch.tensor(s, device=place)}
        result = scheduler.loss(
            logits,
            x_0.to(place),
            x_t.to(place),
            torch.tensor(t, device=place),
            probability=torch.tensor([0.1, 0.3, 0.6], device=place),
            auxiliary_weight=0.1,
            pixel_weights=weights.to(place),
            **given,
        )
        assert result.loss.device.type == place
        result.loss.backward()
        assert logits.grad.dtype is dtype
        found.append([one.detach().cpu().double() for one in (*result, logits.grad)])
    rounding = {torch.float16: 1e-3, torch.bfloat16: 8e-3, torch.float32: 1e-5}.get(dtype, 1e-9)
    for ours, native in zip(*found):
        scale = native.abs().max()
        assert (ours - native).abs().max() <= max(
            rounding, 1e-6 * (dtype is not torch.float64)
        ) * scale


def test_memory_of_the_loss():
    """Twice that of the logits beside them: the gradient and one tensor of its size."""
    scheduler = VQDiffusionScheduler(1025, T)
    scheduler.set_timesteps(T, device="cuda")
    logits = torch.randn(4, 1024, 4096, device="cuda", requires_grad=True)
    x_0 = torch.randint(0, 1024, (4, 4096), device="cuda")
    x_t = scheduler.add_noise(x_0, 9, on_device(1))
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    scheduler.loss(logits, x_0, x_t, torch.tensor([9, 9, 9, 9], device="cuda")).loss.backward()
    used = torch.cuda.max_memory_allocated() - before
    assert used <= 2.1 * logits.numel() * 4, used / logits.numel() / 4
