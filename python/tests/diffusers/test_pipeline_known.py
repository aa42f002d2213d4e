"""Pipelines that keep a part of a picture, and pipelines of fewer calls."""

import numpy as np
import pytest
import torch
from diffusers import VQDiffusionScheduler as Reference
from diffusers_case import Ours, generator
from tiny_pipeline import CLASSES, SIDE, STEPS, pipeline

from vqdiffusion.diffusers import VQDiffusionPipeline, use_in

PIXELS = SIDE * SIDE
PROMPTS = ["the cat", "a dog in"]


class Stepping(Ours):
    """Has a `step` of its own, that knows nothing of known tokens."""

    def step(self, model_output, timestep, sample, generator=None, return_dict=True):
        return super().step(model_output, timestep, sample, generator, return_dict)


SCHEDULERS = {"ours": Ours, "stock": Reference, "a subclass": Stepping}


@pytest.fixture(params=SCHEDULERS.values(), ids=SCHEDULERS)
def pipe(request):
    return pipeline(VQDiffusionPipeline, request.param)


@pytest.fixture
def known():
    classes = torch.randint(0, CLASSES, (2, PIXELS), generator=generator(8))
    return torch.where(torch.rand(2, PIXELS, generator=generator(9)) < 0.5, classes, -1)


def run(pipe, **arguments):
    """What the model has seen at each step, and the latents in the end."""
    seen, forward = [], pipe.transformer.forward

    def recording(latents, *given, **named):
        seen.append(latents.clone())
        return forward(latents, *given, **named)

    pipe.transformer.forward = recording
    try:
        pipe(
            **{"prompt": PROMPTS, "num_inference_steps": STEPS, **arguments},
            generator=generator(3),
            output_type="np",
            callback=lambda i, t, latents: seen.append(latents.clone()),
        )
    finally:
        pipe.transformer.forward = forward
    return seen


@pytest.mark.parametrize("scale", [1.0, 5.0])
def test_known_pixels_are_seen_and_stay(pipe, known, scale):
    shown = run(pipe, known_latents=known, guidance_scale=scale)
    for latents in shown:
        each = known.repeat(len(latents) // 2, 1)
        assert torch.equal(latents[each >= 0], each[each >= 0])
    # The others are as they are drawn, and no mask is left.
    assert (shown[-1][known < 0] < CLASSES).all()
    assert (shown[0][:2][known < 0] == CLASSES).all()


def test_all_schedulers_draw_the_same(known):
    last = [
        run(pipeline(VQDiffusionPipeline, one), known_latents=known)[-1]
        for one in SCHEDULERS.values()
    ]
    assert torch.equal(last[0], last[1]) and torch.equal(last[0], last[2])


def test_nothing_known_is_as_without(pipe):
    expected = run(pipe)[-1]
    nothing = torch.full((1, PIXELS), -1, dtype=torch.int8)
    assert torch.equal(run(pipe, known_latents=nothing)[-1], expected)


def test_one_row_for_all_images_and_arrays(pipe, known):
    one = known[:1]
    expected = run(pipe, known_latents=one.expand(2, -1))[-1]
    for given in (one, one.numpy(), one.to(torch.int16)):
        assert torch.equal(run(pipe, known_latents=given)[-1], expected)


def test_latents_to_begin_with_keep_what_is_not_known(pipe, known):
    latents = torch.randint(0, CLASSES + 1, (2, PIXELS), generator=generator(4))
    first = run(pipe, known_latents=known, latents=latents)[0][:2]
    assert torch.equal(first, torch.where(known >= 0, known, latents))


@pytest.mark.parametrize(
    "error, value",
    [
        (ValueError, torch.full((2, PIXELS), CLASSES)),
        (ValueError, torch.full((2, PIXELS), -2)),
        (ValueError, torch.zeros(PIXELS, dtype=torch.int64)),
        (ValueError, torch.zeros(3, PIXELS, dtype=torch.int64)),
        (TypeError, torch.zeros(2, PIXELS)),
        (TypeError, "known"),
    ],
)
def test_bad_known_latents(pipe, error, value):
    used = generator(3)
    before = used.get_state()
    with pytest.raises(error, match="^known_latents "):
        pipe(PROMPTS, STEPS, generator=used, known_latents=value)
    assert torch.equal(used.get_state(), before)


def test_fewer_calls(known):
    """The scheduler of another spacing is made from the loaded one's configuration."""
    pipe = use_in(pipeline())
    pipe.scheduler = Ours.from_config(pipe.scheduler.config, timestep_spacing="trailing")
    seen, steps = [], pipe.scheduler.num_train_timesteps // 4

    def callback(i, t, latents):
        seen.append((int(t), pipe.scheduler.previous_timestep(t)))
        assert (latents == CLASSES).any() == (i < steps - 1)

    given = {"generator": generator(3), "output_type": "np", "callback": callback}
    pictures = pipe(PROMPTS, steps, **given).images
    assert np.isfinite(pictures).all() and len(seen) == steps
    first = pipe.scheduler.num_train_timesteps - 1
    assert seen[0][0] == first and seen[-1][1] == -1
    assert [s for _, s in seen[:-1]] == [t for t, _ in seen[1:]]
