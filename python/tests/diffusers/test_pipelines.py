"""Whole pipelines of diffusers' own models: the stock scheduler and pipeline beside ours, pixel for
pixel.
"""

import copy

import diffusers
import numpy as np
import pytest
import torch
from diffusers_case import Ours, generator
from tiny_pipeline import CLASSES, SIDE, STEPS, pipeline

from vqdiffusion.diffusers import VQDiffusionPipeline, use_in

STOCK, OURS = diffusers.VQDiffusionPipeline, VQDiffusionPipeline
PROMPTS = ["the cat", "a dog in the sea"]


def with_our_scheduler():
    pipe = pipeline()
    pipe.scheduler = Ours.from_config(pipe.scheduler.config)
    return pipe


# What takes the place of the stock pipeline with the stock scheduler.
REPLACEMENTS = {
    "our scheduler in the stock pipeline": with_our_scheduler,
    "the stock scheduler in our pipeline": lambda: pipeline(OURS),
    "both ours": lambda: pipeline(OURS, Ours),
    "converted in place": lambda: use_in(pipeline()),
}


@pytest.fixture(scope="module")
def stock():
    return pipeline()


@pytest.fixture(scope="module", params=REPLACEMENTS.values(), ids=REPLACEMENTS)
def replacement(request):
    return request.param()


def run(pipe, seed=3, **arguments):
    """The images, and the latents after every step."""
    chain = []
    arguments = {"prompt": PROMPTS, "num_inference_steps": STEPS, "output_type": "np", **arguments}
    arguments.setdefault("generator", generator(seed))
    images = pipe(callback=lambda i, t, latents: chain.append(latents), **arguments).images
    return images, torch.stack(chain)


STOCK_RUNS = {}  # each is compared with several replacements


def assert_same(pipes, **arguments):
    key = str(sorted(arguments.items()))
    if key not in STOCK_RUNS:
        STOCK_RUNS[key] = run(pipes[0], **arguments)
    (images, chain), (other_images, other_chain) = STOCK_RUNS[key], run(pipes[1], **arguments)
    assert torch.equal(chain, other_chain)
    assert np.array_equal(images, other_images) and np.isfinite(images).all()
    return images, chain


@pytest.mark.parametrize("truncation_rate", [1.0, 0.86, 0.3, 0])
@pytest.mark.parametrize("guidance_scale", [0, 1, 1.5, 5, 20])
def test_guidance_and_truncation(stock, replacement, guidance_scale, truncation_rate):
    images, chain = assert_same(
        (stock, replacement),
        guidance_scale=guidance_scale,
        truncation_rate=truncation_rate,
        num_images_per_prompt=2,
    )
    assert images.shape == (4, 2 * SIDE, 2 * SIDE, 3) and images.std() > 0.01
    assert chain.shape == (STEPS, 4, SIDE * SIDE) and chain[-1].max() < CLASSES


def test_the_cases_differ(stock):
    """Or the test above would compare the same image forty times."""
    runs = [
        run(stock, guidance_scale=g, truncation_rate=r)[1]
        for g in (1, 1.5, 5, 20)
        for r in (1.0, 0.86, 0.3, 0)
    ]
    assert all(not torch.equal(a, b) for i, a in enumerate(runs) for b in runs[:i])


@pytest.mark.parametrize(
    "prompt, images", [("the cat", 1), ("the cat", 3), (PROMPTS, 1), (["the"] * 3, 2)]
)
def test_prompts_and_images_per_prompt(stock, replacement, prompt, images):
    assert_same((stock, replacement), prompt=prompt, num_images_per_prompt=images)


@pytest.mark.parametrize("steps", [1, 5, STEPS])
def test_fewer_steps(stock, replacement, steps):
    assert_same((stock, replacement), num_inference_steps=steps)


def test_the_global_generator(stock, replacement):
    chains = []
    for pipe in (stock, replacement):
        torch.manual_seed(11)
        chains.append(run(pipe, generator=None)[1])
    assert torch.equal(*chains)


def test_the_generator_is_left_in_the_same_state(stock, replacement):
    seeds = generator(3), generator(3)
    for pipe, seed in zip((stock, replacement), seeds):
        run(pipe, generator=seed)
    assert torch.equal(seeds[0].get_state(), seeds[1].get_state())


def test_given_latents(stock, replacement):
    latents = torch.randint(0, CLASSES + 1, (2, SIDE * SIDE), generator=generator(8))
    before = latents.clone()
    assert_same((stock, replacement), latents=latents)
    assert torch.equal(latents, before)


@pytest.mark.parametrize("every", [1, 3, 100])
def test_callbacks(stock, replacement, every):
    calls = []
    for pipe in (stock, replacement):
        seen = []
        pipe(
            PROMPTS,
            num_inference_steps=STEPS,
            generator=generator(1),
            callback=lambda i, t, latents: seen.append((i, int(t), latents.tolist())),
            callback_steps=every,
        )
        calls.append(seen)
    assert calls[0] == calls[1] and len(calls[0]) == len(range(0, STEPS, every))


@pytest.mark.parametrize("guidance_scale, truncation_rate", [(1, 1.0), (5, 0.86), (5, 0)])
def test_what_the_scheduler_is_sent(
    monkeypatch, stock, replacement, guidance_scale, truncation_rate
):
    """Floored log-probabilities, contiguous; and by our pipeline the same ones as by the stock
    pipeline, to rounding.

    Our pipeline has our scheduler guide and truncate itself, but calls a `step` that is someone's
    own."""
    sent = []
    for pipe in (stock, replacement):
        step, calls = pipe.scheduler.step, []

        def recorded(log_p, timestep, sample, **named):
            calls.append((log_p, timestep, sample))
            return step(log_p, timestep=timestep, sample=sample, **named)

        monkeypatch.setattr(pipe.scheduler, "step", recorded)
        run(pipe, guidance_scale=guidance_scale, truncation_rate=truncation_rate)
        sent.append(calls)
    assert len(sent[0]) == len(sent[1]) == STEPS
    for theirs, ours in zip(*sent):
        torch.testing.assert_close(ours[0], theirs[0], atol=1e-4, rtol=0)
        assert all(log_p.is_contiguous() and log_p.min() >= -70 for log_p in (ours[0], theirs[0]))
        assert (
            all(t.shape == () and t.dtype == torch.int64 for t in (ours[1], theirs[1]))
            and ours[1] == theirs[1]
        )
        assert ours[2].dtype == torch.int64 and torch.equal(ours[2], theirs[2])


@pytest.mark.parametrize("scale, times", [(0.5, 1), (1.0, 1), (1.5, 2)])
def test_how_often_the_model_sees_an_image(replacement, scale, times):
    sizes = []
    hook = replacement.transformer.register_forward_pre_hook(
        lambda model, inputs: sizes.append(len(inputs[0]))
    )
    run(replacement, guidance_scale=scale)
    hook.remove()
    assert sizes == STEPS * [times * len(PROMPTS)]


def test_pil_images_and_tuples(stock, replacement):
    for pipe in (stock, replacement):
        (images,) = pipe(
            "the cat", num_inference_steps=2, generator=generator(1), return_dict=False
        )
        assert type(images) is list and images[0].size == (2 * SIDE, 2 * SIDE)
    pictures = [
        pipe("the", num_inference_steps=2, generator=generator(1)).images
        for pipe in (stock, replacement)
    ]
    assert [np.asarray(one).tolist() for one in pictures[0]] == [
        np.asarray(one).tolist() for one in pictures[1]
    ]


def test_embeddings_that_are_not_learned():
    try:
        pipes = pipeline(learnable=False), use_in(pipeline(learnable=False))
    except TypeError:  # not to be made with every version of torch
        pipes = pipeline(), use_in(pipeline())
        for pipe in pipes:
            pipe.learned_classifier_free_sampling_embeddings.learnable = False
    (images, chain), (other_images, other_chain) = (run(pipe) for pipe in pipes)
    assert torch.equal(chain, other_chain) and np.array_equal(images, other_images)


def outcome(pipe):
    """The latents after every step, and the images, or the error that came instead."""
    chain = []
    arguments = {"num_inference_steps": STEPS, "output_type": "np", "generator": generator(2)}
    try:
        images = pipe(
            PROMPTS, callback=lambda i, t, latents: chain.append(latents.tolist()), **arguments
        ).images
    except (TypeError, RuntimeError) as error:
        return chain, str(error)
    assert np.isfinite(images).all()
    return chain, images.tolist()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions(replacement, dtype):
    """Also the errors are the same: text encoders of old versions of transformers refuse float64.
    But the stock pipeline cannot return what it has made in bfloat16, and ours can.
    """
    (stock_chain, stock_end), (chain, end) = (
        outcome(pipe.to(dtype)) for pipe in (pipeline(), copy.deepcopy(replacement))
    )
    assert chain == stock_chain
    if dtype is torch.bfloat16 and type(replacement) is OURS:
        assert isinstance(stock_end, str) and isinstance(end, list)
    else:
        assert end == stock_end


def test_a_list_of_generators():
    """Documented by the stock pipeline, and a TypeError there. Image i is what generator i alone
    would give.
    """
    pipe = use_in(pipeline())
    images, chain = run(pipe, generator=[generator(4), generator(5)], guidance_scale=1.0)
    alone = [
        run(pipe, prompt=PROMPTS[i], generator=generator(4 + i), guidance_scale=1.0)
        for i in range(2)
    ]
    assert torch.equal(chain, torch.cat([one[1] for one in alone], 1))
    for i in range(2):
        np.testing.assert_allclose(
            images[i], alone[i][0][0], atol=1e-5
        )  # the decoder's roundings depend on the batch
    with pytest.raises(ValueError, match="one for each of 2 batch rows"):
        run(pipe, generator=[generator(4)])


def test_inverse_cdf_in_a_pipeline():
    pipe = pipeline(OURS)
    pipe.scheduler = Ours.from_config(pipe.scheduler.config, sampling_method="inverse_cdf")
    images, chain = run(pipe)
    assert np.isfinite(images).all() and chain[-1].max() < CLASSES
    assert np.array_equal(images, run(pipe)[0]) and not np.array_equal(images, run(pipe, seed=4)[0])


@pytest.mark.parametrize(
    "arguments",
    [
        {"prompt": 5},
        {"prompt": ("a", "tuple")},
        {"callback_steps": 0},
        {"callback_steps": None},
        {"callback_steps": 1.5},
        {"latents": torch.zeros(2, 3, dtype=torch.int64)},
        {"latents": torch.full((2, SIDE * SIDE), CLASSES + 1)},
        {"latents": torch.full((2, SIDE * SIDE), -1)},
    ],
    ids=str,
)
def test_bad_arguments(stock, replacement, arguments):
    for pipe in (stock, replacement):
        with pytest.raises(ValueError):
            pipe(**{"prompt": PROMPTS, "num_inference_steps": 2, **arguments})


def test_too_many_steps():
    with pytest.raises(ValueError, match="num_inference_steps"):
        run(use_in(pipeline()), num_inference_steps=STEPS + 1)


def test_a_model_that_gives_nan():
    pipe = use_in(pipeline())
    with torch.no_grad():
        pipe.transformer.out.bias.fill_(torch.nan)
    with pytest.raises(ValueError, match="NaN"):
        run(pipe)


def test_truncate_is_the_stock_pipeline_s(stock):
    pipe = pipeline(OURS)
    log_p = (torch.randn(2, CLASSES, 7) * 2).log_softmax(1)
    for rate in (1.0, 0.86, 0.3, 0):
        assert torch.equal(pipe.truncate(log_p, rate), stock.truncate(log_p, rate))


def test_use_in():
    pipe = pipeline()
    parts = dict(pipe.components)
    assert use_in(pipe) is pipe and type(pipe) is OURS and type(pipe.scheduler) is Ours
    assert all(pipe.components[name] is part for name, part in parts.items() if name != "scheduler")
    scheduler = pipe.scheduler
    assert use_in(pipe).scheduler is scheduler  # a second time changes nothing

    class Special(STOCK):
        pass

    special = use_in(pipeline(Special))
    assert type(special) is Special and type(special.scheduler) is Ours
    with pytest.raises(TypeError, match="VQDiffusionPipeline"):
        use_in(object())


def test_the_device_and_the_dtype_of_the_pipeline():
    pipe = use_in(pipeline())
    assert pipe.device.type == "cpu" and pipe.dtype == torch.float32
    assert pipe.to(torch.float64).dtype == torch.float64
