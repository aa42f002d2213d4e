"""What diffusers' pipeline takes gives the same images in ours; what ours takes beyond; errors."""

import math
import re

import numpy as np
import pytest
import torch
from diffusers_case import Ours, generator, random_log_p
from tiny_pipeline import CLASSES, SIDE, STEPS, TOKENS, pipeline

from vqdiffusion.diffusers import VQDiffusionPipeline, use_in

PROMPTS = ["the cat", "a dog in"]
PIXELS = SIDE * SIDE
REPLACEMENTS = {
    "both ours": lambda: use_in(pipeline()),
    "the stock scheduler in our pipeline": lambda: pipeline(VQDiffusionPipeline),
}


@pytest.fixture(scope="module")
def stock():
    return pipeline()


@pytest.fixture(scope="module", params=REPLACEMENTS.values(), ids=REPLACEMENTS)
def ours(request):
    return request.param()


def images(pipe, **arguments):
    arguments = {
        "prompt": PROMPTS,
        "num_inference_steps": STEPS,
        "generator": generator(3),
        **arguments,
    }
    return pipe(output_type="np", **arguments).images


def alike(number):
    """Every kind of number that diffusers' pipeline takes, and one-element tensors of any shape."""
    kinds = [torch.float16, torch.float32, torch.float64] + (
        [torch.int32] if number == int(number) else []
    )
    tensors = [
        torch.tensor(number, dtype=kind).reshape(shape)
        for kind in kinds
        for shape in ((), (1,), (1, 1, 1))
    ]
    return [*tensors, np.float32(number), np.float64(number), number]


def named(value):
    return f"{value!r}".replace("\n", "")[:60]


@pytest.mark.parametrize(
    "scale",
    [*alike(5), *alike(0.5), True, np.True_, torch.tensor(True), -math.inf, math.nan],
    ids=named,
)
def test_the_guidance_scale(stock, ours, scale):
    assert np.array_equal(images(ours, guidance_scale=scale), images(stock, guidance_scale=scale))


@pytest.mark.parametrize("rate", [*alike(0.5), *alike(1), True, False], ids=named)
def test_the_truncation_rate(stock, ours, rate):
    assert np.array_equal(images(ours, truncation_rate=rate), images(stock, truncation_rate=rate))


@pytest.mark.parametrize(
    "rate", [1.5, 100, torch.tensor(1.5), np.float32(2), math.inf, 1e300], ids=named
)
def test_a_rate_above_1_keeps_everything(stock, ours, rate):
    expected = images(stock, truncation_rate=1.5)
    assert np.array_equal(images(ours, truncation_rate=rate), expected)
    assert not np.array_equal(images(stock, truncation_rate=0.5), expected)
    log_p = random_log_p(2, CLASSES, PIXELS)
    assert torch.equal(ours.truncate(log_p, rate), log_p)


@pytest.mark.parametrize("rate", [-1, -1e300, torch.tensor(-0.5), -math.inf, 0, -0.0], ids=named)
def test_a_rate_of_0_or_below_keeps_the_most_probable_class(stock, ours, rate):
    assert np.array_equal(images(ours, truncation_rate=rate), images(stock, truncation_rate=-1))
    log_p = random_log_p(2, CLASSES, PIXELS)
    assert torch.equal(ours.truncate(log_p, rate), stock.truncate(log_p, rate))


@pytest.mark.parametrize(
    "shape", [(2, 1, 1), (1, 1, PIXELS), (PIXELS,), (2, 1, PIXELS), (CLASSES, 1)], ids=str
)
def test_a_rate_for_each_pixel(stock, ours, shape):
    """Which diffusers' pipeline takes as well, as its comparison broadcasts."""
    rate = torch.linspace(1.2, -0.2, math.prod(shape)).reshape(shape)
    expected = images(stock, truncation_rate=rate)
    assert np.array_equal(images(ours, truncation_rate=rate), expected)
    assert not any(
        np.array_equal(images(stock, truncation_rate=one), expected) for one in (0, 0.5, 1)
    )


@pytest.mark.parametrize(
    "steps", [torch.tensor(5), torch.tensor([5]), np.int64(5), np.array(5)], ids=named
)
def test_the_number_of_steps(stock, ours, steps):
    assert np.array_equal(
        images(ours, num_inference_steps=steps), images(stock, num_inference_steps=5)
    )


@pytest.mark.parametrize(
    "number", [torch.tensor(2), torch.tensor([2]), np.int64(2), np.array(2)], ids=named
)
def test_the_number_of_images(stock, ours, number):
    made = images(ours, num_images_per_prompt=number)
    assert len(made) == 4 and np.array_equal(made, images(stock, num_images_per_prompt=number))


class Text(str):
    pass


class Texts(list):
    pass


LONG = "the " * 2 * TOKENS


@pytest.mark.parametrize(
    "prompt",
    ["", [""], Text("the"), np.str_("the"), Texts(["the", "a"]), LONG, [LONG, LONG]],
    ids=named,
)
@pytest.mark.parametrize("learnable", [True, False])
def test_prompts(stock, ours, prompt, learnable):
    """Encoded to the bit, too long ones too, and the empty one where nothing was learned for it."""
    for pipe in (stock, ours):
        pipe.learned_classifier_free_sampling_embeddings.learnable = learnable
    try:
        for guided in (True, False):
            encoded, expected = (pipe._encode_prompt(prompt, 3, guided) for pipe in (ours, stock))
            assert encoded.is_contiguous() and torch.equal(encoded, expected)
    finally:
        for pipe in (stock, ours):
            pipe.learned_classifier_free_sampling_embeddings.learnable = True


def test_one_prompt_too_long_and_one_not(stock, ours):
    """An error in diffusers' pipeline. Each is encoded as it is alone."""
    with pytest.raises(ValueError):
        stock._encode_prompt([LONG, "the"], 1, False)
    both = ours._encode_prompt([LONG, "the"], 1, False)
    for encoded, prompt in zip(both, (LONG, "the")):
        torch.testing.assert_close(
            encoded, stock._encode_prompt(prompt, 1, False)[0], atol=1e-6, rtol=0
        )


INTEGERS = [torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64]


@pytest.mark.parametrize(
    "convert", [*(lambda x, dtype=dtype: x.to(dtype) for dtype in INTEGERS), torch.Tensor.numpy]
)
def test_latents_of_any_integer_type(stock, ours, convert):
    latents = torch.randint(0, CLASSES + 1, (2, PIXELS), generator=generator(8))
    assert np.array_equal(images(ours, latents=convert(latents)), images(stock, latents=latents))


@pytest.mark.parametrize("every", [1, True, 2])
def test_callback_steps(stock, ours, every):
    seen = {}
    for pipe in (stock, ours):
        seen[pipe] = []
        images(
            pipe,
            callback=lambda i, t, latents: seen[pipe].append((i, int(t))),
            callback_steps=every,
        )
    assert seen[ours] == seen[stock] and len(seen[ours]) == len(range(0, STEPS, every))


def full(value, dtype=torch.int64, shape=(2, PIXELS)):
    return torch.full(shape, value, dtype=dtype)


BAD = {
    "guidance_scale": [None, "5", 5j, math.inf, torch.ones(2), torch.ones(0), np.array([5, 2])],
    "truncation_rate": [None, "1", 1j, math.nan, torch.tensor(math.nan), torch.full((3, 1, 1), 0.5),
                        torch.full((2, 2, 1, 1), 0.5), torch.tensor([]), np.array([0.5, 0.2])],
    "num_images_per_prompt": [0, -1, None, 1.5, True, torch.tensor([1, 2])],
    "num_inference_steps": [0, STEPS + 1],
    "prompt": [None, 5, ("a", "b"), [], b"the", np.array(["the"])],
    "callback_steps": [None, 0, False, 1.0, np.int64(2)],
    "latents": [full(-1), full(CLASSES + 1), full(200, torch.uint8), full(0, torch.float32),
                full(1, torch.bool), full(0, shape=(2, 3)), full(0, shape=(PIXELS,)), "latents"],
}  # fmt: skip


@pytest.mark.parametrize(
    "name, value", [(name, value) for name in BAD for value in BAD[name]], ids=named
)
def test_errors_name_the_argument(name, value):
    """And nothing has been drawn."""
    pipe, seed = use_in(pipeline()), generator(3)
    before = seed.get_state()
    with pytest.raises((TypeError, ValueError), match=f"^{re.escape(name)} "):
        images(pipe, generator=seed, **{name: value})
    assert torch.equal(seed.get_state(), before)


def test_truncate_of_a_subclass_is_called(stock):
    """As diffusers' pipeline calls it, with the rate as it was given."""
    rates = []

    def halved(self, log_p, rate):
        rates.append(rate)
        return super(type(self), self).truncate(log_p, rate / 2)

    theirs = pipeline(type("Theirs", (type(stock),), {"truncate": halved}))
    ours = pipeline(type("Mine", (VQDiffusionPipeline,), {"truncate": halved}), Ours)
    expected = images(theirs, truncation_rate=0.9)
    assert (
        np.array_equal(images(ours, truncation_rate=0.9), expected) and rates == [0.9] * 2 * STEPS
    )
    assert not np.array_equal(images(stock, truncation_rate=0.9), expected)


def test_truncate_of_an_instance_is_called():
    pipe = use_in(pipeline())
    expected = images(pipe, truncation_rate=0)
    truncate = pipe.truncate
    pipe.truncate = lambda log_p, rate: truncate(log_p, 0)
    assert np.array_equal(images(pipe), expected)


def test_encode_prompt_of_a_subclass_is_called():
    class Mine(VQDiffusionPipeline):
        def _encode_prompt(self, prompt, *arguments):
            return super()._encode_prompt(["the sea"] * len(prompt), *arguments)

    assert np.array_equal(
        images(pipeline(Mine, Ours)), images(use_in(pipeline()), prompt=["the sea"] * 2)
    )
