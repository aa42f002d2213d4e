"""Every documented name, with its signature."""

import inspect
import subprocess
import sys
from importlib.metadata import version
from importlib.resources import files

import numpy as np
import pytest

import vqdiffusion
from vqdiffusion import VQDiffusionScheduler, VQDiffusionSchedulerOutput

REQUIRED = inspect.Parameter.empty
SIGNATURES = {
    VQDiffusionScheduler: {
        "num_vec_classes": REQUIRED,
        "num_train_timesteps": 100,
        "alpha_cum_start": 0.99999,
        "alpha_cum_end": 0.000009,
        "gamma_cum_start": 0.000009,
        "gamma_cum_end": 0.99999,
        "*sampling_method": "inverse_cdf",
        "*timestep_spacing": "reference",
        "*alphas_cumprod": None,
        "*gammas_cumprod": None,
    },
    VQDiffusionScheduler.set_timesteps: {
        "self": REQUIRED,
        "num_inference_steps": None,
        "device": None,
        "*timesteps": None,
    },
    VQDiffusionScheduler.previous_timestep: {"self": REQUIRED, "timestep": REQUIRED},
    VQDiffusionScheduler.step: {
        "self": REQUIRED,
        "model_output": REQUIRED,
        "timestep": REQUIRED,
        "sample": REQUIRED,
        "generator": None,
        "return_dict": True,
        "*previous_timestep": None,
        "*known": None,
        "*unmask": None,
        "*remask": 0.0,
        "*plan": None,
        "*check_finite": False,
    },
    VQDiffusionScheduler.guided_step: {
        "self": REQUIRED,
        "log_p_uncond": REQUIRED,
        "log_p_cond": REQUIRED,
        "timestep": REQUIRED,
        "sample": REQUIRED,
        "generator": None,
        "*guidance_scale": 5.0,
        "*truncation_rate": 1.0,
        "*floor": -70.0,
        "*top_k": None,
        "*temperature": 1.0,
        "*previous_timestep": None,
        "*known": None,
        "*unmask": None,
        "*remask": 0.0,
        "*return_dict": True,
    },
    VQDiffusionScheduler.plan: {
        "self": REQUIRED,
        "timestep": REQUIRED,
        "sample": REQUIRED,
        "generator": None,
        "*previous_timestep": None,
        "*known": None,
        "*unmask": None,
        "*remask": 0.0,
    },
    VQDiffusionScheduler.q_posterior: {
        "self": REQUIRED,
        "log_p_x_0": REQUIRED,
        "x_t": REQUIRED,
        "t": REQUIRED,
        "*previous_timestep": None,
    },
    VQDiffusionScheduler.log_Q_t_transitioning_to_known_class: {
        "self": REQUIRED,
        "*t": REQUIRED,
        "*x_t": REQUIRED,
        "*log_onehot_x_t": REQUIRED,
        "*cumulative": REQUIRED,
    },
    VQDiffusionScheduler.apply_cumulative_transitions: {
        "self": REQUIRED,
        "q": REQUIRED,
        "t": REQUIRED,
    },
    VQDiffusionScheduler.add_noise: {
        "self": REQUIRED,
        "original_samples": REQUIRED,
        "timesteps": REQUIRED,
        "generator": None,
        "*from_timestep": -1,
    },
    VQDiffusionScheduler.sample_prior: {"self": REQUIRED, "shape": REQUIRED, "generator": None},
    VQDiffusionScheduler.likelihood_bound: {
        "self": REQUIRED,
        "model": REQUIRED,
        "x_0": REQUIRED,
        "generator": None,
    },
    VQDiffusionScheduler.loss: {
        "self": REQUIRED,
        "logits": REQUIRED,
        "x_0": REQUIRED,
        "x_t": REQUIRED,
        "timesteps": REQUIRED,
        "*previous_timesteps": None,
        "*probability": None,
        "*mask_weight": (1.0, 1.0),
        "*auxiliary_weight": 0.0,
        "*adaptive_auxiliary": True,
        "*pixel_weights": None,
    },
    vqdiffusion.token_scores: {"logits": REQUIRED, "uniforms": None, "temperature": 1.0},
    VQDiffusionScheduler.save_pretrained: {
        "self": REQUIRED,
        "save_directory": REQUIRED,
        "push_to_hub": False,
        "**kwargs": REQUIRED,
    },
    VQDiffusionScheduler.save_config: {
        "self": REQUIRED,
        "save_directory": REQUIRED,
        "push_to_hub": False,
        "**kwargs": REQUIRED,
    },
    VQDiffusionScheduler.from_pretrained: {
        "pretrained_model_name_or_path": REQUIRED,
        "subfolder": None,
        "return_unused_kwargs": False,
        "**kwargs": REQUIRED,
    },
    VQDiffusionScheduler.from_config: {
        "config": REQUIRED,
        "return_unused_kwargs": False,
        "**kwargs": REQUIRED,
    },
    VQDiffusionScheduler.load_config: {
        "pretrained_model_name_or_path": REQUIRED,
        "return_unused_kwargs": False,
        "return_commit_hash": False,
        "**kwargs": REQUIRED,
    },
    VQDiffusionSchedulerOutput: {"prev_sample": REQUIRED, "revealed": None, "scores": None},
    vqdiffusion.alpha_schedules: {
        "num_diffusion_timesteps": REQUIRED,
        "alpha_cum_start": 0.99999,
        "alpha_cum_end": 0.000009,
    },
    vqdiffusion.gamma_schedules: {
        "num_diffusion_timesteps": REQUIRED,
        "gamma_cum_start": 0.000009,
        "gamma_cum_end": 0.99999,
    },
    vqdiffusion.index_to_log_onehot: {"x": REQUIRED, "num_classes": REQUIRED},
    vqdiffusion.gumbel_noised: {"logits": REQUIRED, "generator": REQUIRED},
    vqdiffusion.set_num_threads: {"num_threads": REQUIRED},
    vqdiffusion.get_num_threads: {},
}


@pytest.mark.parametrize("function", SIGNATURES, ids=lambda function: function.__qualname__)
def test_signatures(function):
    prefix = {inspect.Parameter.KEYWORD_ONLY: "*", inspect.Parameter.VAR_KEYWORD: "**"}
    parameters = inspect.signature(function).parameters.values()
    assert [(prefix.get(p.kind, "") + p.name, p.default) for p in parameters] == list(
        SIGNATURES[function].items()
    )
    assert function.__doc__
    if inspect.isfunction(function):
        assert all(p.annotation is not REQUIRED for p in parameters if p.name != "self")
        assert inspect.signature(function).return_annotation is not inspect.Signature.empty


def test_names():
    assert set(vqdiffusion.__all__) == {
        "RowKeys",
        "StepPlan",
        "TimestepSampler",
        "TokenScores",
        "Unmask",
        "VQDiffusionLossOutput",
        "VQDiffusionScheduler",
        "VQDiffusionSchedulerOutput",
        "__version__",
        "alpha_schedules",
        "gamma_schedules",
        "get_num_threads",
        "guide",
        "gumbel_noised",
        "index_to_log_onehot",
        "set_num_threads",
        "token_scores",
        "truncate",
    }
    assert all(hasattr(vqdiffusion, name) for name in vqdiffusion.__all__)
    assert vqdiffusion.__version__ == version("vqdiffusion")
    assert (files(vqdiffusion) / "py.typed").is_file() and (
        files(vqdiffusion) / "_native.pyi"
    ).is_file()


def test_attributes():
    assert VQDiffusionScheduler.order == 1
    assert VQDiffusionScheduler.config_name == "scheduler_config.json"
    scheduler = VQDiffusionScheduler(18, 50)
    assert scheduler.num_embed == 18 and scheduler.mask_class == 17
    assert scheduler.num_inference_steps is None
    assert scheduler.timesteps.tolist() == list(range(50))[::-1]
    for name in (
        "log_at",
        "log_bt",
        "log_ct",
        "log_cumprod_at",
        "log_cumprod_bt",
        "log_cumprod_ct",
    ):
        assert getattr(scheduler, name).dtype == np.float32
    assert (
        VQDiffusionScheduler(num_train_timesteps=50, num_vec_classes=18).config == scheduler.config
    )


def test_the_output_by_name_and_by_position():
    tokens = np.arange(6).reshape(2, 3)
    out = VQDiffusionSchedulerOutput(prev_sample=tokens)
    assert out.prev_sample is tokens and out[0] is tokens and out["prev_sample"] is tokens
    assert out.to_tuple() == (tokens,) and out[:1] == (tokens,) and out[-1] is tokens
    assert (
        list(out) == list(out.keys()) == ["prev_sample"] and len(out) == 1 and "prev_sample" in out
    )
    assert dict(out)["prev_sample"] is tokens
    with pytest.raises(KeyError):
        out["sample"]
    with pytest.raises(IndexError):
        out[1]


IMPORTED = """
import sys
import numpy, numpy.typing, numpy.random
known = set(sys.modules)
import vqdiffusion
loaded = {name.partition(".")[0] for name in set(sys.modules) - known}
loaded -= set(sys.stdlib_module_names)
print(*sorted(loaded))
"""


def test_importing_it_imports_numpy_and_nothing_else():
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", IMPORTED], capture_output=True, text=True
    )
    assert run.stdout.split() == ["vqdiffusion"], run.stderr
