"""The class as diffusers and its users see it: base classes, signatures, attributes, copies."""

import copy
import inspect
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from diffusers import ConfigMixin, SchedulerMixin
from diffusers.utils import BaseOutput
from diffusers_case import TABLES, Ours, Reference, both, generator, random_classes, random_log_p

import vqdiffusion.diffusers


def test_it_is_a_scheduler_of_diffusers():
    assert issubclass(Ours, SchedulerMixin) and issubclass(Ours, ConfigMixin)
    assert not issubclass(Ours, torch.nn.Module)
    assert (
        Ours.config_name == "scheduler_config.json" and Ours.order == 1 and Ours._compatibles == []
    )
    assert Ours(5).compatibles == Reference(5).compatibles


def test_the_defining_module_holds_the_mixin_that_the_pipeline_loader_asks_for():
    assert Ours.__module__ == "vqdiffusion.diffusers"
    assert vqdiffusion.diffusers.SchedulerMixin is SchedulerMixin
    assert vqdiffusion.diffusers.VQDiffusionScheduler is Ours


@pytest.mark.parametrize(
    "name",
    ["__init__", "set_timesteps", "step", "q_posterior", "log_Q_t_transitioning_to_known_class"]
    + ["apply_cumulative_transitions", "from_pretrained", "from_config", "save_pretrained"],
)
def test_signatures(name):
    """Names, order, kinds and defaults of the reference's; ours come after, keyword-only."""

    def parameters(cls):
        return [
            (p.name, p.kind, p.default)
            for p in inspect.signature(getattr(cls, name)).parameters.values()
        ]

    theirs, ours = parameters(Reference), parameters(Ours)
    if name == "set_timesteps":  # timesteps may be given instead of their number
        theirs[1] = (*theirs[1][:2], None)
    assert ours[: len(theirs)] == theirs
    assert all(kind is inspect.Parameter.KEYWORD_ONLY for _, kind, _ in ours[len(theirs) :])


@pytest.mark.parametrize("name", ["init_noise_sigma", "scale_model_input", "to"])
def test_what_the_reference_lacks_ours_lacks(name):
    assert not hasattr(Reference(5), name) and not hasattr(Ours(5), name)


@pytest.mark.parametrize("classes", [1, 4, 100, 4096])
@pytest.mark.parametrize("steps", [2, 3, 100, 1000])
def test_tables_are_bit_equal(classes, steps):
    reference, ours = both(classes, steps)
    for name in TABLES:
        mine, theirs = getattr(ours, name), getattr(reference, name)
        assert mine.dtype == torch.float32 and mine.shape == (steps + ("cumprod" in name),)
        assert torch.equal(mine.view(torch.int32), theirs.view(torch.int32)), name
    assert [getattr(ours, name)[-1].item() for name in TABLES[3:]] == [0, -torch.inf, -torch.inf]


def test_tables_of_random_schedules_are_bit_equal():
    rng = np.random.default_rng(1)
    chains = 0
    for _ in range(200):
        start, end = rng.uniform(0.5, 0.9999), rng.uniform(1e-6, 0.4)
        masked_start, masked_end = rng.uniform(0, 1 - start), rng.uniform(0.5, 0.9) * (1 - end)
        args = (
            int(rng.integers(2, 5000)),
            int(rng.integers(2, 300)),
            start,
            end,
            masked_start,
            masked_end,
        )
        try:
            ours = Ours(*args)
        except ValueError:  # no Markov chain
            continue
        chains += 1
        reference = Reference(*args)
        for name in TABLES:
            assert torch.equal(getattr(ours, name), getattr(reference, name)), (name, args)
    assert chains > 50


def test_attributes():
    reference, ours = both(10)
    assert ours.num_embed == 11 and type(ours.num_embed) is int
    assert ours.mask_class == 10 and type(ours.mask_class) is int
    assert ours.num_inference_steps is None
    assert ours.timesteps.dtype == torch.int64 and torch.equal(ours.timesteps, reference.timesteps)
    ours.note = {"any": "thing"}
    assert ours.note == {"any": "thing"}


def test_repr():
    """As the reference's, and it always names the sampler."""
    reference, ours = both(10)
    assert f"VQDiffusionScheduler {ours.to_json_string()}" == repr(reference)
    for method in ("gumbel", "inverse_cdf"):
        ours = Ours(11, sampling_method=method)
        line = f',\n  "sampling_method": "{method}"\n}}\n'
        assert repr(ours) == repr(reference).replace("\n}\n", line)


def copies(scheduler, tmp_path):
    torch.save(scheduler, tmp_path / "scheduler.pt")
    yield copy.deepcopy(scheduler)
    yield copy.copy(scheduler)
    yield pickle.loads(pickle.dumps(scheduler))
    yield torch.load(tmp_path / "scheduler.pt", weights_only=False)


def test_copies_work_also_after_use(tmp_path):
    ours = Ours(11, 20)
    log_p, x = random_log_p(2, 10, 7), random_classes(2, 10, 7)
    expected = ours.step(log_p, 15, x, generator(1)).prev_sample
    ours.set_timesteps(12)
    ours.note = "kept"
    for other in copies(ours, tmp_path):
        assert type(other) is Ours and other.note == "kept" and other.num_inference_steps == 12
        assert dict(other.config) == dict(ours.config)
        assert torch.equal(other.timesteps, ours.timesteps)
        assert torch.equal(other.step(log_p, 15, x, generator(1)).prev_sample, expected)
        assert torch.equal(other.log_cumprod_bt, ours.log_cumprod_bt)


def test_output_is_the_reference_s_own_class():
    out = Ours(11).step(random_log_p(2, 10, 7), 5, random_classes(2, 10, 7))
    assert isinstance(out, BaseOutput) and type(out).__name__ == "VQDiffusionSchedulerOutput"
    assert type(out) is type(
        Reference(11).step(random_log_p(2, 10, 7), 5, random_classes(2, 10, 7))
    )
    assert torch.equal(out.prev_sample, out["prev_sample"]) and torch.equal(out.prev_sample, out[0])


@pytest.mark.parametrize(
    "steps, device", [(100, None), (25, None), (1, "cpu"), (100, torch.device("cpu"))]
)
def test_set_timesteps(steps, device):
    reference, ours = both(10)
    reference.set_timesteps(steps, device)
    ours.set_timesteps(steps, device=device)
    assert ours.num_inference_steps == steps
    assert ours.timesteps.dtype == torch.int64 and torch.equal(ours.timesteps, reference.timesteps)


def test_set_timesteps_moves_the_tables():
    ours = Ours(11)
    ours.set_timesteps(100, device="meta")
    assert {getattr(ours, name).device.type for name in (*TABLES, "timesteps")} == {"meta"}
    ours.set_timesteps(
        100
    )  # None leaves them where they are; the timesteps are then on the CPU, as the reference has it
    assert {getattr(ours, name).device.type for name in TABLES} == {"meta"}
    assert ours.timesteps.device.type == "cpu"


def test_tables_on_another_device_do_not_hinder_the_cpu():
    ours, log_p, x = Ours(11), random_log_p(2, 10, 7), random_classes(2, 10, 7)
    expected = ours.step(log_p, 5, x, generator(1)).prev_sample
    ours.set_timesteps(100, device="meta")
    assert torch.equal(ours.step(log_p, 5, x, generator(1)).prev_sample, expected)


def test_import_vqdiffusion_imports_no_torch():
    heavy = {"torch", "diffusers", "transformers"}
    code = f"import sys, vqdiffusion; assert not {heavy} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_scheduler_does_not_need_transformers():
    code = (
        "import sys; sys.modules['transformers'] = None\n"
        "from vqdiffusion.diffusers import VQDiffusionScheduler; VQDiffusionScheduler(5)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
