"""Ours and the others as functions of no arguments on one model output, and whether they computed
the same."""

import diffusers
import numpy as np
import torch
from diffusers.schedulers.scheduling_vq_diffusion import VQDiffusionSchedulerOutput

import vqdiffusion.torch
from peers import Compiled, Rates, numpy_log_posterior, numpy_step, pipeline_step
from twin import Reference
from vqdiffusion.diffusers import VQDiffusionScheduler

GUIDANCE, TRUNCATION = 5.0, 0.86


class Contestants:
    """The schedulers for one number of classes."""

    def __init__(self, embeddings, with_compile=False):
        self.embeddings = embeddings
        self.reference = diffusers.VQDiffusionScheduler(embeddings)
        self.gumbel = VQDiffusionScheduler(embeddings)
        self.inverse = VQDiffusionScheduler(embeddings, sampling_method="inverse_cdf")
        self.truth = Reference(embeddings)
        self.compiled = Compiled(self.truth) if with_compile else None

    def steps(self, log_p, t, sample, with_numpy=True):
        """Each draws with a generator of the same seed, and gives the tokens."""
        generator, rng = torch.Generator(), np.random.default_rng(0)
        array, grid, rates = log_p.numpy(), sample.numpy(), Rates.of(self.truth, t)

        def step(scheduler):
            return scheduler.step(log_p, t, sample, generator.manual_seed(0)).prev_sample

        functions = {
            "eager": lambda: step(self.reference),
            "gumbel": lambda: step(self.gumbel),
            "inverse": lambda: step(self.inverse),
            "sum": lambda: torch.sum(log_p, dim=1),
        }
        if self.compiled:
            numbers = self.compiled.rates(t)
            functions["compiled"] = lambda: self.compiled.step(
                log_p, sample, t, numbers, generator.manual_seed(0)
            )
        if with_numpy:
            shape = array.shape[0], array.shape[1] + (t > 0), array.shape[2]
            functions["numpy"] = lambda: numpy_step(
                array, grid, t, rng.random(shape, np.float32), rates
            )
        return functions

    def interfaces(self, log_p, sample):
        """What no `step` behind this interface does without: where the tensors are, the memory of
        the result, its object, and of the generator its state, both ways, or one uniform for each
        pixel."""
        generator = torch.Generator()

        def result():
            places(log_p, sample)
            return VQDiffusionSchedulerOutput(
                prev_sample=torch.empty(sample.shape, dtype=torch.int64)
            )

        def gumbel():
            generator.manual_seed(0)
            generator.set_state(generator.get_state())
            return result()

        def inverse():
            generator.manual_seed(0)
            torch.rand(sample.shape, generator=generator, dtype=torch.float64)
            return result()

        return {"gumbel_interface": gumbel, "inverse_interface": inverse}

    def posterior_interface(self, log_p, sample):
        """The same for `q_posterior`: its result is as large as the model output, and nothing but
        its memory is counted."""

        def interface():
            places(log_p, sample)
            return torch.empty((log_p.shape[0], log_p.shape[1] + 1, log_p.shape[2]))

        return interface

    def check_steps(self, functions, case, layout, t, sample):
        """{check: (holds, in words)}."""
        log_p = case.model_output(layout)
        expected = functions["eager"]()
        checks = {"gumbel": _tokens(expected, functions["gumbel"](), "diffusers'")}

        uniforms = torch.rand(
            sample.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64
        ).numpy()
        rates, grid = Rates.of(self.truth, t), sample.numpy()
        wanted = torch.from_numpy(self.truth.step_inverse_cdf(log_p.numpy(), grid, t, uniforms))
        drawn = functions["inverse"]()
        checks["inverse"] = _tokens(wanted, drawn, "float64's")
        other = case.model_output("inner" if layout == "outer" else "outer")
        same = self.inverse.step(other, t, sample, torch.Generator().manual_seed(0)).prev_sample
        checks["layouts"] = _tokens(drawn, same, "the other layout's")

        scores = None
        rivals = {}
        if self.compiled:
            rivals["compiled"] = functions["compiled"]()
        if "numpy" in functions:
            shape = log_p.shape[0], log_p.shape[1] + (t > 0), log_p.shape[2]
            noise = torch.rand(shape, generator=torch.Generator().manual_seed(0)).numpy()
            rivals["numpy"] = torch.from_numpy(numpy_step(log_p.numpy(), grid, t, noise, rates))
        for name, tokens in rivals.items():
            differ = tokens != expected
            if differ.any() and scores is None:
                scores = self._scores(log_p, t, sample)
            checks[name] = (
                _near_ties(scores, expected, tokens)
                if differ.any()
                else (True, "tokens equal to diffusers'")
            )
        return checks

    def _scores(self, log_p, t, sample):
        """diffusers' log-probabilities with the Gumbel noise of that seed."""
        module = __import__(
            "diffusers.schedulers.scheduling_vq_diffusion", fromlist=["gumbel_noised"]
        )
        logits = self.reference.q_posterior(log_p, sample, t) if t else log_p
        return module.gumbel_noised(logits, torch.Generator().manual_seed(0))

    def posteriors(self, log_p, t, sample, with_numpy=True):
        array, grid, rates = log_p.numpy(), sample.numpy(), Rates.of(self.truth, t)
        functions = {
            "eager": lambda: self.reference.q_posterior(log_p, sample, t),
            "q_posterior": lambda: self.gumbel.q_posterior(log_p, sample, t),
            "sum": lambda: torch.sum(log_p, dim=1),
        }
        if self.compiled:
            numbers = self.compiled.rates(t)
            functions["compiled"] = lambda: self.compiled.q_posterior(log_p, sample, numbers)
        if with_numpy:
            functions["numpy"] = lambda: numpy_log_posterior(array, grid, rates)
        return functions

    def check_posteriors(self, functions):
        """The largest difference from diffusers' logarithms; the others' only has to be the same
        mathematics."""
        expected, checks = functions["eager"](), {}
        for name, bound in {"q_posterior": 2e-5, "compiled": 1e-3, "numpy": 1e-3}.items():
            if name in functions:
                difference = (torch.as_tensor(functions[name]()) - expected).abs()
                worst = difference.max().item()
                checks[name] = (
                    bool((difference <= bound + 1e-5 * expected.abs()).all()),
                    f"within {worst:.1e}",
                )
        return checks

    def guided(self, uncond, cond, t, sample):
        generator = torch.Generator()

        def ours(scheduler):
            return scheduler.guided_step(
                uncond,
                cond,
                t,
                sample,
                generator.manual_seed(0),
                guidance_scale=GUIDANCE,
                truncation_rate=TRUNCATION,
            ).prev_sample

        return {
            "eager": lambda: pipeline_step(
                self.reference,
                uncond,
                cond,
                t,
                sample,
                generator.manual_seed(0),
                GUIDANCE,
                TRUNCATION,
            ),
            "gumbel": lambda: ours(self.gumbel),
            "inverse": lambda: ours(self.inverse),
            "sum": lambda: torch.sum(cond, dim=1),
        }

    def check_guided(self, functions, uncond, cond, t, sample):
        log_p = vqdiffusion.torch.truncate(
            vqdiffusion.torch.guide(uncond, cond, GUIDANCE), TRUNCATION, -70
        )
        checks = {}
        for name, scheduler in {"gumbel": self.gumbel, "inverse": self.inverse}.items():
            unfused = scheduler.step(log_p, t, sample, torch.Generator().manual_seed(0)).prev_sample
            checks[name] = _tokens(unfused, functions[name](), "the three calls' in turn")
        differ = int((functions["eager"]() != functions["gumbel"]()).sum())
        # The class on the border of the truncation may fall either way in float32.
        checks["diffusers"] = (
            differ <= sample.numel() // 200,
            f"{differ} of {sample.numel()} tokens differ from diffusers'",
        )
        return checks


def places(*tensors):
    """Where the elements of tensors are."""
    return [(tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype) for tensor in tensors]


def _tokens(expected, tokens, whose):
    differ = int((expected != tokens).sum())
    return (
        differ == 0,
        f"tokens equal to {whose}"
        if differ == 0
        else f"{differ} of {tokens.numel()} differ from {whose}",
    )


def _near_ties(scores, expected, tokens):
    best, other = (scores.gather(1, which[:, None])[:, 0] for which in (expected, tokens))
    differ = expected != tokens
    gap = (best - other)[differ].max().item()
    return (
        gap < 1e-4,
        f"{int(differ.sum())} of {tokens.numel()} tokens differ from diffusers', "
        f"near-ties of at most {gap:.0e}",
    )
