"""Chains along any timesteps, on tensors: the NumPy class's, natively and by the torch formulas."""

import copy
import pickle

import numpy as np
import pytest
import torch
import vqdiffusion
from diffusers_case import Ours, Reference, generator, random_classes, random_log_p, same_cells

from vqdiffusion.torch import (
    VQDiffusionScheduler,
    forward_process,
    guided_steps,
    native_step,
    planned,
    steps,
    transitions,
)

K, N, T = 5, 40, 12
LEFT = np.linspace(1, 0.03, T + 1)[1:]
TABLES = {
    "linear": (np.linspace(0.95, 0.02, T), np.linspace(0.01, 0.9, T)),
    "absorbing": (LEFT, 1 - LEFT),
    "uniform": (LEFT, np.zeros(T)),
    "mixed": (LEFT**2, 0.7 * (1 - LEFT**2)),
}
PAIRS = [(11, 5), (7, 0), (3, -1), (11, -1), (5, 4), (0, -1)]


def arguments(name):
    alphas, gammas = TABLES[name]
    return {"num_vec_classes": K + 1, "alphas_cumprod": alphas, "gammas_cumprod": gammas}


@pytest.fixture(params=["native", "torch"])
def way(request, monkeypatch):
    """Which of the two computes."""
    if request.param == "torch":
        for module in (forward_process, guided_steps, native_step, planned, steps, transitions):
            for name in ("numpy_view", "numpy_view_of"):
                if hasattr(module, name):
                    monkeypatch.setattr(module, name, lambda *args: None)
    return request.param


def possible(name, x):
    """Masks only where the schedule masks."""
    return x.clamp(max=K - 1) if name == "uniform" else x


@pytest.mark.parametrize("name", TABLES)
def test_posteriors(way, name):
    ours = VQDiffusionScheduler(**arguments(name))
    peer = vqdiffusion.VQDiffusionScheduler(**arguments(name))
    log_p = random_log_p(2, K, N, dtype=torch.float64)
    x = possible(name, random_classes(2, K, N))
    for t, s in PAIRS:
        expected = peer.q_posterior(log_p.numpy(), x.numpy(), t, previous_timestep=s)
        found = ours.q_posterior(log_p, x, t, previous_timestep=s)
        same_cells(found, torch.from_numpy(expected), absolute=1e-9)
    t, s = (torch.tensor(one) for one in ([11, 5], [4, -1]))
    together = ours.q_posterior(log_p, x, t, previous_timestep=s)
    for row in range(2):
        alone = ours.q_posterior(
            log_p[row : row + 1], x[row : row + 1], int(t[row]), previous_timestep=int(s[row])
        )
        same_cells(together[row : row + 1], alone, absolute=1e-12, relative=1e-12)


@pytest.mark.parametrize("method", ["gumbel", "inverse_cdf"])
@pytest.mark.parametrize("name", TABLES)
def test_steps(way, name, method):
    """The tokens of the NumPy class's native step from the same uniforms."""
    ours = VQDiffusionScheduler(**arguments(name), sampling_method=method)
    log_p = random_log_p(2, K, N, dtype=torch.float64)
    x = possible(name, random_classes(2, K, N))
    schedule = (K, *TABLES[name])
    for t, s in PAIRS:
        used, alone = generator(t), generator(t)
        tokens = ours.step(log_p, t, x, used, previous_timestep=s).prev_sample
        shape = (2, K + (s >= 0), N) if method == "gumbel" else (2, N)
        dtype = torch.float32 if method == "gumbel" else torch.float64
        u = torch.rand(shape, generator=alone, dtype=dtype).numpy()
        expected = np.empty((2, N), np.int64)
        vqdiffusion._native.step(*schedule, t, s, log_p.numpy(), x.numpy(), method, u, expected)
        assert (tokens.numpy() != expected).mean() <= (0.02 if way == "torch" else 0)
        assert torch.equal(used.get_state(), alone.get_state())
        guided = ours.guided_step(
            None, log_p, t, x, generator(t), truncation_rate=1.0, previous_timestep=s
        )
        same = ours.step(log_p.clamp(min=-70), t, x, generator(t), previous_timestep=s)
        assert torch.equal(guided.prev_sample, same.prev_sample)


@pytest.mark.parametrize("name", TABLES)
def test_plans(way, name):
    ours = VQDiffusionScheduler(**arguments(name), timestep_spacing="trailing")
    ours.set_timesteps(4)
    log_p = random_log_p(2, K, N, dtype=torch.float64)
    x = possible(name, random_classes(2, K, N))
    for t in ours.timesteps:
        tokens = ours.step(log_p, t, x, generator(1)).prev_sample
        plan = ours.plan(t, x, generator(1))
        assert plan.previous_timestep == ours.previous_timestep(t)
        assert torch.equal(ours.step(log_p, t, x, plan=plan).prev_sample, tokens)
        columns = log_p.transpose(1, 2)[plan.needed].T
        assert torch.equal(ours.step(columns, t, x, plan=plan).prev_sample, tokens)
    plan = ours.plan([11, 5], x, generator(1), previous_timestep=[2, -1])
    tokens = ours.step(log_p, [11, 5], x, generator(1), previous_timestep=[2, -1]).prev_sample
    columns = log_p.transpose(1, 2)[plan.needed].T
    planned_step = ours.step(columns, [11, 5], x, plan=plan, previous_timestep=[2, -1])
    assert torch.equal(planned_step.prev_sample, tokens)
    with pytest.raises(ValueError, match=r"^plan must be for a step to timestep \[2, 0\]"):
        ours.step(log_p, [11, 5], x, plan=plan, previous_timestep=[2, 0])


@pytest.mark.parametrize("cls", [Ours, VQDiffusionScheduler])
def test_timesteps_and_where_they_lead(cls):
    scheduler = cls(6, timestep_spacing="trailing")
    scheduler.set_timesteps(4)
    assert scheduler.timesteps.tolist() == [99, 74, 49, 24] and scheduler.num_inference_steps == 4
    assert [scheduler.previous_timestep(t) for t in scheduler.timesteps] == [74, 49, 24, -1]
    for other in (copy.deepcopy(scheduler), pickle.loads(pickle.dumps(scheduler))):
        assert other.previous_timestep(99) == 74
    scheduler.set_timesteps(timesteps=torch.tensor([90, 3]))
    assert scheduler.previous_timestep(90) == 3
    log_p, x = random_log_p(1, 5, 4), random_classes(1, 5, 4)
    used = generator(1)
    before = used.get_state()
    with pytest.raises(ValueError, match="^timestep must be one .* such as 90 or 3, not 50"):
        scheduler.step(log_p, 50, x, used)
    with pytest.raises(
        ValueError, match="^previous_timestep must be below the timestep, 50, not 50$"
    ):
        scheduler.step(log_p, 50, x, used, previous_timestep=50)
    with pytest.raises(ValueError, match="^previous_timestep must be one where timestep is one"):
        scheduler.step(log_p, 50, x, used, previous_timestep=[3, 4])
    assert torch.equal(used.get_state(), before)
    with pytest.raises(ValueError, match="^timesteps must fall strictly"):
        scheduler.set_timesteps(timesteps=[3, 90])
    with pytest.raises(AttributeError, match="timestep_spacing is fixed by"):
        scheduler.timestep_spacing = "linspace"
    meta = cls(6, timestep_spacing="linspace")
    meta.set_timesteps(5, device="meta")
    assert meta.timesteps.is_meta and meta.step(log_p, 99, x).prev_sample.shape == (1, 4)


def test_files(tmp_path):
    """Tables and spacing pass between all classes; diffusers' own files stay as they are."""
    given = {**arguments("mixed"), "timestep_spacing": "trailing"}
    classes = Ours, VQDiffusionScheduler, vqdiffusion.VQDiffusionScheduler
    for source in classes:
        made = source(**given)
        made.save_pretrained(tmp_path)
        for target in classes:
            config = target.from_pretrained(tmp_path).config
            assert config.timestep_spacing == "trailing" and config.num_train_timesteps == T
            for name in ("alphas_cumprod", "gammas_cumprod"):
                assert list(config[name]) == given[name].tolist()
    Ours(6).save_pretrained(tmp_path / "ours")
    Reference(6).save_pretrained(tmp_path / "reference")
    ours, reference = (
        (tmp_path / name / "scheduler_config.json").read_bytes() for name in ("ours", "reference")
    )
    assert ours == reference
    assert Ours.from_config(Reference(6).config).config.timestep_spacing == "reference"


def test_differentiated():
    ours = VQDiffusionScheduler(**arguments("mixed"), timestep_spacing="trailing")
    ours.set_timesteps(4)
    log_p, x = random_log_p(2, K, N), random_classes(2, K, N)
    expected = ours.q_posterior(log_p, x, 11, previous_timestep=8)
    leaf = log_p.clone().requires_grad_()
    found = ours.q_posterior(leaf, x, 11, previous_timestep=8)
    same_cells(found.detach(), expected)
    found.clamp(min=-30).sum().backward()
    assert leaf.grad.isfinite().all() and leaf.grad.any()


@pytest.mark.skipif(
    torch.__version__.startswith("2.3."), reason="to its compiler every method is overridden"
)
def test_compiled():
    ours = VQDiffusionScheduler(**arguments("mixed"), timestep_spacing="trailing")
    ours.set_timesteps(4)
    log_p, x = random_log_p(2, K, N), random_classes(2, K, N)

    def step(log_p):
        return ours.step(log_p, 11, x, return_dict=False)[0]

    torch.manual_seed(1)
    plain = step(log_p)
    torch.manual_seed(1)
    assert (torch.compile(step, backend="eager")(log_p) == plain).float().mean() > 0.95


def test_assigned_tables_know_single_steps_alone():
    ours = VQDiffusionScheduler(K + 1, T, timestep_spacing="trailing")
    ours.set_timesteps(4)
    log_p, x = random_log_p(2, K, N), random_classes(2, K, N)
    ours.log_bt = ours.log_bt - 0.01
    with pytest.raises(ValueError, match="^previous_timestep must be t - 1 where the tables"):
        ours.step(log_p, 11, x)
    assert ours.step(log_p, 11, x, previous_timestep=10).prev_sample.shape == (2, N)


def test_overrides_are_told_of_strides():
    seen = []

    class Told(VQDiffusionScheduler):
        def q_posterior(self, log_p_x_0, x_t, t, **given):
            seen.append((t, given))
            return super().q_posterior(log_p_x_0, x_t, t, **given)

    told = Told(K + 1, T)
    log_p, x = random_log_p(1, K, N), random_classes(1, K, N)
    told.step(log_p, 7, x)
    told.step(log_p, 7, x, previous_timestep=2)
    told.step(log_p, 7, x, previous_timestep=-1)
    assert seen == [(7, {}), (7, {"previous_timestep": 2})]


@pytest.mark.parametrize("name", TABLES)
def test_the_noisy_end_and_the_bound(name):
    """As the NumPy class's, whose draws differ; each within 5 standard errors of the other."""
    ours = VQDiffusionScheduler(**arguments(name), timestep_spacing="trailing")
    peer = vqdiffusion.VQDiffusionScheduler(**arguments(name), timestep_spacing="trailing")
    share = (ours.sample_prior((100, 1000), generator(1)) == K).double().mean().item()
    masked = TABLES[name][1][-1]
    assert abs(share - masked) <= 5 * (masked * (1 - masked) / 1e5) ** 0.5
    x_0 = torch.randint(0, K, (400, 8))
    flat = np.full((400, K, 8), -np.log(K))
    for scheduler in (ours, peer):
        scheduler.set_timesteps(6)
    found = ours.likelihood_bound(lambda x_t, t: torch.from_numpy(flat), x_0, generator(1))
    expected = peer.likelihood_bound(lambda x_t, t: flat, x_0.numpy(), 1)
    assert found.dtype == torch.float64 and found.shape == (400,)
    error = np.hypot(found.std().item(), expected.std()) / 20
    assert abs(found.mean().item() - expected.mean()) <= 5 * error + 1e-9
    used = generator(3)
    before = used.get_state()
    with pytest.raises(ZeroDivisionError):
        ours.likelihood_bound(lambda x_t, t: 1 / 0, x_0, used)
    with pytest.raises(ValueError, match="^x_0 must hold classes from 0 to 4, not 5$"):
        ours.likelihood_bound(lambda x_t, t: flat, x_0 + 1, used)
    assert torch.equal(used.get_state(), before)


def test_no_bound_where_steps_lead_elsewhere_or_a_model_returns_what_does_not_fit():
    ours, x_0, used = (
        VQDiffusionScheduler(K + 1),
        torch.zeros(2, N, dtype=torch.int64),
        generator(3),
    )
    before = used.get_state()
    ours.set_timesteps(timesteps=[99, 50, 3])
    with pytest.raises(ValueError, match="from 99 one leads to 98, and timesteps has 50 after it"):
        ours.likelihood_bound(lambda x_t, t: torch.zeros(2, K, N), x_0, used)
    ours.set_timesteps(1)
    for shape in ((1, K, N), (2, K, 1)):
        with pytest.raises(ValueError, match="^what model returns must have shape .2, 5, 40., not"):
            ours.likelihood_bound(lambda x_t, t, shape=shape: torch.zeros(shape), x_0, used)
    assert torch.equal(used.get_state(), before)


def test_posteriors_of_the_paper_s_chain_need_not_know_of_strides():
    class Old(VQDiffusionScheduler):
        def q_posterior(self, log_p_x_0, x_t, t):
            return super().q_posterior(log_p_x_0, x_t, t)

    class OldPart(VQDiffusionScheduler):
        def apply_cumulative_transitions(self, q, t):
            return super().apply_cumulative_transitions(q, t)

    def bound(kind):
        x_0 = torch.zeros(2, N, dtype=torch.int64)
        return kind(K + 1).likelihood_bound(lambda x_t, t: torch.zeros(2, K, N), x_0, generator(3))

    assert torch.equal(bound(Old), bound(VQDiffusionScheduler))
    torch.testing.assert_close(bound(OldPart), bound(VQDiffusionScheduler), rtol=1e-4, atol=1e-4)


def test_samples_of_the_noisy_end_see_edits_in_place():
    ours = VQDiffusionScheduler(K + 1)
    ours.log_cumprod_ct[-2] = np.log(0.5)
    share = (ours.sample_prior((100, 100), generator(1)) == K).double().mean().item()
    assert abs(share - 0.5) <= 5 * 0.005


def test_bounds_that_are_none():
    ours = VQDiffusionScheduler(K + 1, T)
    x_0 = torch.zeros(2, N, dtype=torch.int64)
    for number in (torch.nan, -torch.inf):
        used = generator(1)
        before = used.get_state()

        def model(x_t, t, number=number):
            return torch.full((2, K, N), number if t == 0 else 0.0)

        with pytest.raises(ValueError, match="^what model returns must not hold NaN"):
            ours.likelihood_bound(model, x_0, used)
        assert torch.equal(used.get_state(), before)
    ours.log_cumprod_ct = ours.log_cumprod_ct - 0.1
    with pytest.raises(ValueError, match="^likelihood_bound needs the tables of the constructor"):
        ours.likelihood_bound(lambda x_t, t: torch.zeros(2, K, N), x_0)


def test_single_steps_of_an_override_may_be_named():
    class Theirs(VQDiffusionScheduler):
        def apply_cumulative_transitions(self, q, t):
            return super().apply_cumulative_transitions(q, t)

    ours, log_p, x = Theirs(K + 1, T), random_log_p(2, K, N), random_classes(2, K, N)
    expected = ours.q_posterior(log_p, x, 7)
    assert torch.equal(ours.q_posterior(log_p, x, 7, previous_timestep=6), expected)
    with pytest.raises(ValueError, match="^steps of several timesteps are not defined where"):
        ours.q_posterior(log_p, x, 7, previous_timestep=5)
