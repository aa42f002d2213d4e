"""In a process whose diffusers has no VQ-Diffusion all works as in one whose diffusers has it."""

import copy
import json
import pickle
import subprocess
import sys
from pathlib import Path

import diffusers
import numpy as np
import pytest
import torch
from diffusers_case import Ours, Reference, generator, random_classes, random_log_p
from tiny_pipeline import STEPS, Embeddings, pipeline

from vqdiffusion.diffusers import VQDiffusionPipeline

PROMPTS = ["the cat", "a dog"]
EMBEDDINGS = "learned_classifier_free_sampling_embeddings"
# Of the pipeline `pipe`, the images and the encoded prompts.
RUN = f"""
pipe.set_progress_bar_config(disable=True)
seeded = torch.Generator().manual_seed(1)
arguments = {{"num_images_per_prompt": 2, "truncation_rate": 0.86, "output_type": "np"}}
images = pipe({PROMPTS}, num_inference_steps={STEPS}, generator=seeded, **arguments).images
encoded = [pipe._encode_prompt({PROMPTS}, 2, guided) for guided in (True, False)]
"""


def run(statements, folder=""):
    """Of a process that has run these statements: what it prints."""
    program = f"""
import sys, warnings
warnings.simplefilter("ignore")
sys.path.insert(0, {str(Path(__file__).parent)!r})
import without_vq_diffusion
import torch
torch.set_num_threads(1)
folder = {str(folder)!r}
{statements}"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def expected(pipe):
    names = {"pipe": pipe, "torch": torch}
    exec(RUN, names)
    return names["images"], names["encoded"]


def test_what_is_missing_is_missing():
    """Or the other tests would be of nothing."""
    output = run("""
import diffusers, importlib
for name in "VQDiffusionScheduler", "VQDiffusionPipeline":
    print(hasattr(diffusers, name))
for name in "schedulers.scheduling_vq_diffusion", "pipelines.deprecated.vq_diffusion":
    try:
        importlib.import_module("diffusers." + name)
    except ModuleNotFoundError:
        print("gone")
""")
    assert output.split() == ["False", "False", "gone", "gone"]


def test_the_scheduler(tmp_path):
    """The same sample, in an object with the same fields that pickles, and the same file."""
    log_p, x = random_log_p(2, 9, 7), random_classes(2, 9, 7)
    torch.save((log_p, x), tmp_path / "input")
    program = """
import dataclasses, pickle
from diffusers.utils import BaseOutput
from vqdiffusion.diffusers import VQDiffusionScheduler, VQDiffusionSchedulerOutput
scheduler = VQDiffusionScheduler(10)
scheduler.save_pretrained(folder)
scheduler = VQDiffusionScheduler.from_pretrained(folder)
log_p, x = torch.load(folder + "/input")
arguments = lambda: (log_p, 40, x, torch.Generator().manual_seed(5))
result = scheduler.step(*arguments())
sample = result.prev_sample
assert type(result) is VQDiffusionSchedulerOutput and isinstance(result, BaseOutput)
assert [field.name for field in dataclasses.fields(result)] == ["prev_sample"]
assert result[0] is sample and result["prev_sample"] is sample and result.to_tuple() == (sample,)
assert torch.equal(pickle.loads(pickle.dumps(result)).prev_sample, sample)
assert torch.equal(scheduler.step(*arguments(), return_dict=False)[0], sample)
print(sample.tolist())
"""
    output = run(program, tmp_path)
    reference = Reference(10)
    reference.save_pretrained(tmp_path / "reference")
    assert json.loads(output) == reference.step(log_p, 40, x, generator(5)).prev_sample.tolist()
    files = [folder / "scheduler_config.json" for folder in (tmp_path, tmp_path / "reference")]
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.parametrize(
    "scheduler, published", [(Reference, True), (Ours, False)], ids=["as published", "with ours"]
)
def test_saved_pipelines(tmp_path, scheduler, published):
    """They load and make the same images; what is saved without loads with it, and vice versa."""
    pipe = pipeline(scheduler=scheduler)
    pipe.save_pretrained(tmp_path / "with")
    if published:
        index = json.loads((tmp_path / "with" / "model_index.json").read_text())
        index[EMBEDDINGS][0] = "vq_diffusion"
        (tmp_path / "with" / "model_index.json").write_text(json.dumps(index))
    program = f"""
from vqdiffusion.diffusers import VQDiffusionPipeline, VQDiffusionScheduler, use_in
pipe = VQDiffusionPipeline.from_pretrained(folder + "/with")
assert type(pipe.scheduler) is VQDiffusionScheduler and use_in(pipe) is pipe
{RUN}
torch.save((images, encoded), folder + "/result")
pipe.save_pretrained(folder + "/without")
pipe = VQDiffusionPipeline.from_pretrained(folder + "/without")
first = images
{RUN}
assert (images == first).all()
"""
    run(program, tmp_path)
    images, encoded = expected(pipe)
    other_images, other_encoded = torch.load(tmp_path / "result", weights_only=False)
    assert np.array_equal(images, other_images)
    assert all(torch.equal(*pair) for pair in zip(encoded, other_encoded))
    loaded = VQDiffusionPipeline.from_pretrained(tmp_path / "without")
    assert np.array_equal(images, expected(loaded)[0])


def test_the_embeddings(tmp_path):
    """The same keys and weights in their files, in both directions."""
    stock = Embeddings(learnable=True, hidden_size=4, length=3)
    torch.nn.init.normal_(stock.embeddings)
    stock.save_pretrained(tmp_path / "with")
    program = """
import diffusers, pickle
from vqdiffusion.diffusers import LearnedClassifierFreeSamplingEmbeddings as Embeddings
assert Embeddings.__module__ == "vqdiffusion.diffusers"
assert issubclass(Embeddings, diffusers.ModelMixin)
assert issubclass(Embeddings, diffusers.ConfigMixin)
one = Embeddings.from_pretrained(folder + "/with")
one.save_pretrained(folder + "/without")
assert one.learnable and torch.equal(pickle.loads(pickle.dumps(one)).embeddings, one.embeddings)
bare = Embeddings(learnable=False)
assert not bare.learnable and bare.embeddings.numel() == 0 and bare.device.type == "cpu"
for sizes in ({}, {"hidden_size": 4}, {"length": 3}):
    try:
        Embeddings(learnable=True, **sizes)
    except ValueError as error:
        print(error)
"""
    message = "hidden_size and length must be given if learnable is True"
    assert run(program, tmp_path).splitlines() == [message] * 3
    again = Embeddings.from_pretrained(tmp_path / "without")
    assert torch.equal(again.embeddings, stock.embeddings)
    files = [
        json.loads((tmp_path / name / "config.json").read_text()) for name in ("with", "without")
    ]
    keys = [{key for key in file if not key.startswith("_")} for file in files]
    assert keys[0] == keys[1] == {"learnable", "hidden_size", "length"}


def test_a_pipeline_of_its_own(tmp_path):
    """Made from its parts, with guidance by the empty prompt; `use_in` takes nothing else."""
    pipe = pipeline(scheduler=Ours)
    pipe.learned_classifier_free_sampling_embeddings.learnable = False
    pipe.save_pretrained(tmp_path)
    program = f"""
import diffusers, pickle
from vqdiffusion.diffusers import VQDiffusionPipeline, use_in
pipe = VQDiffusionPipeline(**VQDiffusionPipeline.from_pretrained(folder).components)
pipe.{EMBEDDINGS}.learnable = False
assert isinstance(pipe, diffusers.DiffusionPipeline) and pipe.device.type == "cpu"
assert pickle.loads(pickle.dumps(VQDiffusionPipeline)) is VQDiffusionPipeline
try:
    use_in(diffusers.DDPMPipeline(None, None))
except TypeError as error:
    print(error)
{RUN}
torch.save((images, encoded), folder + "/result")
"""
    assert "VQDiffusionPipeline, not DDPMPipeline" in run(program, tmp_path)
    images, encoded = expected(pipe)
    other_images, other_encoded = torch.load(tmp_path / "result", weights_only=False)
    assert np.array_equal(images, other_images)
    assert all(torch.equal(*pair) for pair in zip(encoded, other_encoded))


def test_with_diffusers_own_classes_ours_are_theirs():
    """Where diffusers has them, `isinstance` holds and nothing is defined anew."""
    from diffusers.schedulers.scheduling_vq_diffusion import (
        VQDiffusionSchedulerOutput as StockOutput,
    )

    import vqdiffusion.diffusers as ours

    assert ours.VQDiffusionSchedulerOutput is StockOutput
    assert ours.LearnedClassifierFreeSamplingEmbeddings is Embeddings
    assert issubclass(VQDiffusionPipeline, diffusers.VQDiffusionPipeline)
    assert pickle.loads(pickle.dumps(VQDiffusionPipeline)) is copy.copy(VQDiffusionPipeline)
