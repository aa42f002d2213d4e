"""Pipelines that choose which pixels to reveal, and that keep few classes of each."""

import numpy as np
import pytest
import torch
from diffusers_case import Ours, generator
from test_pipeline_known import run
from tiny_pipeline import CLASSES, SIDE, STEPS, pipeline

from vqdiffusion import Unmask
from vqdiffusion.diffusers import VQDiffusionPipeline, use_in

PIXELS = SIDE * SIDE
PROMPTS = ["the cat", "a dog in"]


class Stepping(Ours):
    """Has a `step` of its own, which passes on what it does not know."""

    def step(self, model_output, timestep, sample, generator=None, return_dict=True, **named):
        return super().step(model_output, timestep, sample, generator, return_dict, **named)


@pytest.fixture(params=[Ours, Stepping])
def pipe(request):
    return pipeline(VQDiffusionPipeline, request.param)


def latents(pipe, **arguments):
    """Those that the model sees, and those that each step leaves."""
    shown = run(pipe, **arguments)
    return shown[::2], shown[1::2]


@pytest.mark.parametrize("scale", [1.0, 5.0])
@pytest.mark.parametrize(
    "unmask", [Unmask(), Unmask(by="random"), Unmask(by="purity", temperature=1, prior_weight=1)]
)
def test_every_pixel_is_revealed_once(pipe, unmask, scale):
    seen, left = latents(pipe, unmask=unmask, guidance_scale=scale)
    assert 1 < len(seen) <= STEPS and (left[-1] < CLASSES).all()
    for before, after in zip(left, left[1:]):
        assert torch.equal(after[before < CLASSES], before[before < CLASSES])
        # No pixel of a row is due where none of the other is.
        numbers = ((before == CLASSES) & (after < CLASSES)).sum(1)
        assert numbers[0] == numbers[1]


def test_both_ways_to_step_reveal_the_same():
    given = {"unmask": Unmask(by="entropy", count=3), "top_k": 5, "truncation_rate": 0.9}
    ours, own = (pipeline(VQDiffusionPipeline, kind) for kind in (Ours, Stepping))
    assert torch.equal(latents(ours, **given)[1][-1], latents(own, **given)[1][-1])


def test_a_chain_ends_where_nothing_is_left(pipe):
    seen, left = latents(pipe, unmask=Unmask(threshold=0.0))
    assert len(seen) == 1 and (left[0] < CLASSES).all()
    seen, left = latents(pipe, unmask=Unmask(count=5))
    assert len(seen) == -(-PIXELS // 5) and (left[-1] < CLASSES).all()


def test_the_last_step_reveals_all_that_is_left(pipe):
    half = Unmask(positions=np.arange(PIXELS) < PIXELS // 2)
    for unmask in (Unmask(count=1), Unmask(threshold=1.0), Unmask(entropy_bound=0.0), half):
        seen, left = latents(pipe, unmask=unmask, num_inference_steps=3)
        assert len(seen) == 3 and (left[1] == CLASSES).any() and (left[2] < CLASSES).all()


def test_known_latents_stay(pipe):
    known = torch.where(torch.arange(PIXELS) % 3 == 0, 7, -1).expand(2, -1)
    _, left = latents(pipe, unmask=Unmask(), known_latents=known)
    assert all((one[known >= 0] == 7).all() for one in left) and (left[-1] < CLASSES).all()


@pytest.mark.parametrize(
    "make", [lambda: use_in(pipeline()), lambda: pipeline(VQDiffusionPipeline)]
)
def test_one_class_of_each_pixel_is_truncation_at_rate_0(make):
    pipe = make()
    given = {"prompt": PROMPTS, "num_inference_steps": STEPS, "output_type": "np"}
    found, expected, others = (
        pipe(**given, generator=generator(3), **more).images
        for more in ({"top_k": 1}, {"truncation_rate": 0.0}, {"top_k": 2})
    )
    np.testing.assert_array_equal(found, expected)
    assert (others != expected).any()


def test_refused(pipe):
    used = generator(3)
    rates = torch.full((2, 1, PIXELS), 0.9)

    class Own(VQDiffusionPipeline):
        def truncate(self, log_p_x_0, truncation_rate):
            return log_p_x_0

    stock = pipeline(VQDiffusionPipeline)
    for one, error, message, given in (
        (pipe, TypeError, "^unmask must be None or vqdiffusion.Unmask, not str", {"unmask": "x"}),
        (stock, ValueError, "^unmask must be None with a scheduler that", {"unmask": Unmask()}),
        (pipe, ValueError, "^top_k must be at least 1, not 0", {"top_k": 0}),
        (pipe, TypeError, "^top_k must be an integer", {"top_k": 1.5}),
        (pipe, ValueError, "^top_k must be None", {"top_k": 3, "truncation_rate": rates}),
        (pipeline(Own, Ours), ValueError, "^top_k must be None", {"top_k": 3}),
        (pipe, ValueError, "^count must be one integer", {"unmask": Unmask(count=[1, 2, 3])}),
    ):
        with pytest.raises(error, match=message):
            one(PROMPTS, STEPS, generator=used, **given)
        assert torch.equal(used.get_state(), generator(3).get_state())
