"""`vqdiffusion.torch.VQDiffusionScheduler`: the drop-in without diffusers, with the NumPy class's
files.
"""

import copy
import pickle
import subprocess
import sys

import pytest
import torch
from diffusers_case import TABLES, Ours, generator, random_classes, random_log_p

import vqdiffusion
import vqdiffusion.torch
from vqdiffusion.torch import VQDiffusionScheduler

K, T, N = 12, 20, 50
METHODS = ["gumbel", "inverse_cdf"]


def test_it_works_where_diffusers_cannot_be_imported():
    code = """
import sys
sys.modules["diffusers"] = None
import torch
from vqdiffusion.torch import VQDiffusionScheduler, guide, truncate
scheduler = VQDiffusionScheduler(13, 20)
x = torch.full((2, 50), scheduler.mask_class)
for t in scheduler.timesteps:
    log_p = truncate(guide(*torch.randn(2, 2, 12, 50).log_softmax(2), 3.0), 0.9)
    x = scheduler.step(log_p, t, x, torch.Generator().manual_seed(int(t))).prev_sample
assert x.shape == (2, 50) and int(x.max()) < 12
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_import_vqdiffusion_leaves_it_alone():
    code = "import sys, vqdiffusion; assert 'vqdiffusion.torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_default_sampler_is_that_of_the_numpy_class():
    assert VQDiffusionScheduler(K + 1).config == vqdiffusion.VQDiffusionScheduler(K + 1).config
    assert VQDiffusionScheduler(K + 1).config.sampling_method == "inverse_cdf"


@pytest.mark.parametrize("method", METHODS)
def test_files_go_both_ways_between_it_and_the_numpy_class(tmp_path, method):
    classes = VQDiffusionScheduler, vqdiffusion.VQDiffusionScheduler
    for saving, loading in (classes, classes[::-1]):
        saved = saving(K + 1, T, gamma_cum_end=0.9, sampling_method=method)
        saved.save_pretrained(tmp_path)
        loaded = loading.from_pretrained(tmp_path)
        assert loaded.to_json_string() == saved.to_json_string()
        assert loaded.config.gamma_cum_end == 0.9 and loaded.config.sampling_method == method


def test_a_file_of_the_drop_in_loads(tmp_path):
    Ours(K + 1, T).save_pretrained(tmp_path)
    loaded = VQDiffusionScheduler.from_pretrained(tmp_path)
    assert loaded.config.num_vec_classes == K + 1 and loaded.config.sampling_method == "inverse_cdf"


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("t", [0, 7, T - 1, torch.tensor([3, 0])], ids=str)
def test_tokens_are_those_of_the_drop_in(method, t):
    ours, other = (cls(K + 1, T, sampling_method=method) for cls in (VQDiffusionScheduler, Ours))
    log_p, x = random_log_p(2, K, N), random_classes(2, K, N)
    one, two = generator(1), generator(1)
    out = ours.step(log_p, t, x, one)
    assert type(out) is vqdiffusion.torch.VQDiffusionSchedulerOutput
    assert out[0] is out.prev_sample is out["prev_sample"]
    assert torch.equal(out.prev_sample, other.step(log_p, t, x, two).prev_sample)
    guided = [
        s.guided_step(log_p, log_p.roll(1, 1), t, x, g, truncation_rate=0.8, return_dict=False)[0]
        for s, g in ((ours, one), (other, two))
    ]
    assert torch.equal(*guided)
    assert torch.equal(one.get_state(), two.get_state())
    assert torch.equal(ours.q_posterior(log_p, x, t), other.q_posterior(log_p, x, t))


def test_copies_are_configured_and_step_alike():
    ours = VQDiffusionScheduler(K + 1, T)
    log_p, x = random_log_p(2, K, N), random_classes(2, K, N)
    expected = ours.step(log_p, 7, x, generator(1)).prev_sample
    for other in (copy.copy(ours), copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        assert type(other) is VQDiffusionScheduler and other.config == ours.config
        assert torch.equal(other.step(log_p, 7, x, generator(1)).prev_sample, expected)
        assert all(torch.equal(getattr(other, name), getattr(ours, name)) for name in TABLES)
    assert VQDiffusionScheduler.__module__ == "vqdiffusion.torch"


def test_what_the_constructor_fixes_cannot_be_assigned():
    ours = VQDiffusionScheduler(K + 1, T)
    for name in ("num_embed", "mask_class", "sampling_method", "num_train_timesteps"):
        with pytest.raises(AttributeError, match=f"{name} is fixed by"):
            setattr(ours, name, 5)
    ours.num_embed = K + 1
    assert ours.num_embed == K + 1


@pytest.mark.parametrize(
    "change", [{"sampling_method": "no"}, {"num_vec_classes": 1}, {"gamma_cum_end": 2.0}]
)
def test_bad_arguments(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        VQDiffusionScheduler(**{"num_vec_classes": K + 1, "num_train_timesteps": T, **change})


def test_guidance_of_arrays_refuses_tensors():
    tensor = random_log_p(2, K, N)
    for pair in ((tensor, tensor.numpy()), (tensor.numpy(), tensor)):
        with pytest.raises(
            TypeError, match="^log_p_(un)?cond must be.*vqdiffusion.torch.guide takes"
        ):
            vqdiffusion.guide(*pair, 2.0)
    with pytest.raises(TypeError, match="^log_p must be.*vqdiffusion.torch.truncate takes"):
        vqdiffusion.truncate(tensor, 0.9)


def test_guidance_of_tensors_takes_numbers_as_that_of_arrays_does():
    x = random_log_p(2, K, N)
    for wrong in ("2", True, None):
        with pytest.raises(TypeError, match="scale must be a real number"):
            vqdiffusion.torch.guide(x, x, wrong)
        with pytest.raises(TypeError, match="rate must be a real number"):
            vqdiffusion.torch.truncate(x, wrong)
