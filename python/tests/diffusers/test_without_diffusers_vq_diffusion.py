"""A diffusers that has no VQ-Diffusion any more, which a process of its own sees: all works as with one that has."""

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
images = pipe({PROMPTS}, num_inference_steps={STEPS}, generator=torch.Generator().manual_seed(1), output_type="np",
              num_images_per_prompt=2, truncation_rate=0.86).images
encoded = [pipe._encode_prompt({PROMPTS}, 2, guided) for guided in (True, False)]
"""


def run(statements, *arguments):
    """Of a process that has run these statements: what it prints."""
    program = (
        "import sys, warnings; warnings.simplefilter('ignore'); arguments = sys.argv[2:]\n"
        "sys.path.insert(0, sys.argv[1]); import without_vq_diffusion\n"
        f"import torch; torch.set_num_threads(1)\n{statements}"
    )
    command = [sys.executable, "-c", program, str(Path(__file__).parent), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def expected(pipe):
    names = {"pipe": pipe, "torch": torch}
    exec(RUN, names)
    return names["images"], names["encoded"]


def test_what_is_missing_is_missing():
    """Or the other tests would be of nothing."""
    output = run(
        "import importlib, diffusers\n"
        "print(*(hasattr(diffusers, name) for name in ('VQDiffusionScheduler', 'VQDiffusionPipeline')))\n"
        "for name in ('schedulers.scheduling_vq_diffusion', 'pipelines.deprecated.vq_diffusion'):\n"
        "    try: importlib.import_module('diffusers.' + name)\n"
        "    except ModuleNotFoundError: print('gone')"
    )
    assert output.split() == ["False", "False", "gone", "gone"]


def test_the_scheduler(tmp_path):
    """The same sample, in an object with the same fields that pickles, and the same file."""
    log_p, x = random_log_p(2, 9, 7), random_classes(2, 9, 7)
    torch.save((log_p, x), tmp_path / "input")
    output = run(
        "import pickle, dataclasses\n"
        "from diffusers.utils import BaseOutput\n"
        "from vqdiffusion.diffusers import VQDiffusionScheduler, VQDiffusionSchedulerOutput\n"
        "scheduler = VQDiffusionScheduler(10)\n"
        "scheduler.save_pretrained(arguments[0])\n"
        "scheduler = VQDiffusionScheduler.from_pretrained(arguments[0])\n"
        "log_p, x = torch.load(arguments[0] + '/input')\n"
        "seeded = lambda: torch.Generator().manual_seed(5)\n"
        "result = scheduler.step(log_p, 40, x, seeded())\n"
        "assert type(result) is VQDiffusionSchedulerOutput and isinstance(result, BaseOutput)\n"
        "assert [field.name for field in dataclasses.fields(result)] == ['prev_sample']\n"
        "assert result[0] is result.prev_sample is result['prev_sample'] and result.to_tuple() == (result[0],)\n"
        "assert torch.equal(pickle.loads(pickle.dumps(result)).prev_sample, result.prev_sample)\n"
        "assert torch.equal(scheduler.step(log_p, 40, x, seeded(), return_dict=False)[0], result.prev_sample)\n"
        "print(result.prev_sample.tolist())",
        tmp_path,
    )
    reference = Reference(10)
    reference.save_pretrained(tmp_path / "reference")
    assert json.loads(output) == reference.step(log_p, 40, x, generator(5)).prev_sample.tolist()
    files = [folder / "scheduler_config.json" for folder in (tmp_path, tmp_path / "reference")]
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.parametrize(
    "scheduler, published", [(Reference, True), (Ours, False)], ids=["as published", "with ours"]
)
def test_saved_pipelines(tmp_path, scheduler, published):
    """They load and make the same images; saved by a process without, they load with, and the other way round."""
    pipe = pipeline(scheduler=scheduler)
    pipe.save_pretrained(tmp_path / "with")
    if published:
        index = json.loads((tmp_path / "with" / "model_index.json").read_text())
        index[EMBEDDINGS][0] = "vq_diffusion"
        (tmp_path / "with" / "model_index.json").write_text(json.dumps(index))
    run(
        "from vqdiffusion.diffusers import VQDiffusionPipeline, VQDiffusionScheduler, use_in\n"
        "pipe = VQDiffusionPipeline.from_pretrained(arguments[0] + '/with')\n"
        f"assert type(pipe.scheduler) is VQDiffusionScheduler and use_in(pipe) is pipe\n{RUN}"
        "torch.save((images, encoded), arguments[0] + '/result')\n"
        "pipe.save_pretrained(arguments[0] + '/without')\n"
        "pipe = VQDiffusionPipeline.from_pretrained(arguments[0] + '/without')\n"
        f"first = images\n{RUN}"
        "assert (images == first).all()\n",
        tmp_path,
    )
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
    output = run(
        "import pickle\n"
        "from vqdiffusion.diffusers import LearnedClassifierFreeSamplingEmbeddings as Embeddings\n"
        "import diffusers; assert Embeddings.__module__ == 'vqdiffusion.diffusers'\n"
        "assert issubclass(Embeddings, (diffusers.ModelMixin, diffusers.ConfigMixin))\n"
        "one = Embeddings.from_pretrained(arguments[0] + '/with')\n"
        "one.save_pretrained(arguments[0] + '/without')\n"
        "assert torch.equal(pickle.loads(pickle.dumps(one)).embeddings, one.embeddings)\n"
        "bare = Embeddings(learnable=False)\n"
        "assert not bare.learnable and bare.embeddings.numel() == 0 and bare.device.type == 'cpu'\n"
        "for sizes in ({}, {'hidden_size': 4}, {'length': 3}):\n"
        "    try: Embeddings(learnable=True, **sizes)\n"
        "    except ValueError as error: assert 'hidden_size and length' in str(error)\n"
        "    else: raise AssertionError(sizes)\n"
        "print(dict(one.config)['learnable'], one.learnable)",
        tmp_path,
    )
    assert output.split() == ["True", "True"]
    again = Embeddings.from_pretrained(tmp_path / "without")
    assert torch.equal(again.embeddings, stock.embeddings)
    keys = [
        {
            key
            for key in json.loads((tmp_path / name / "config.json").read_text())
            if not key.startswith("_")
        }
        for name in ("with", "without")
    ]
    assert keys[0] == keys[1] == {"learnable", "hidden_size", "length"}


def test_a_pipeline_of_its_own(tmp_path):
    """Made from its parts, with guidance by the empty prompt; `use_in` knows it and nothing else."""
    pipe = pipeline(scheduler=Ours)
    pipe.learned_classifier_free_sampling_embeddings.learnable = False
    pipe.save_pretrained(tmp_path)
    run(
        "import diffusers, pickle\n"
        "from vqdiffusion.diffusers import *\n"
        "parts = VQDiffusionPipeline.from_pretrained(arguments[0]).components\n"
        "pipe = VQDiffusionPipeline(**parts)\n"
        f"pipe.{EMBEDDINGS}.learnable = False\n"
        "assert isinstance(pipe, diffusers.DiffusionPipeline) and pipe.device.type == 'cpu'\n"
        "assert pickle.loads(pickle.dumps(VQDiffusionPipeline)) is VQDiffusionPipeline\n"
        "try: use_in(diffusers.DDPMPipeline)\n"
        f"except TypeError: pass\n{RUN}"
        "torch.save((images, encoded), arguments[0] + '/result')",
        tmp_path,
    )
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
