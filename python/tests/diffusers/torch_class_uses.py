"""A use of every public class for tensors, as class_uses.py has them for arrays. diffusers, which
takes seconds to import, adds mixins to the scheduler and nothing else.
"""

import class_uses
import numpy as np
import torch
from class_uses import B, K, N

import vqdiffusion.torch
from vqdiffusion import RowKeys, Unmask

LOG_P, X = map(torch.from_numpy, class_uses.inputs())


def scheduler():
    return vqdiffusion.torch.VQDiffusionScheduler(K + 1)


def exact_scheduler():
    return vqdiffusion.torch.VQDiffusionScheduler(K + 1, sampling_method="inverse_cdf")


def seeded():
    return torch.Generator().manual_seed(5)


def guided_step(scheduler):
    return scheduler.guided_step(LOG_P.flip(1), LOG_P, 60, X, seeded()).prev_sample


def revealing_step(scheduler):
    unmask = Unmask("margin", temperature=1)
    return scheduler.step(LOG_P, 60, X, RowKeys(3, range(B)), unmask=unmask).prev_sample


def gradient(scheduler):
    logits = LOG_P.clone().requires_grad_()
    scheduler.loss(logits, X % K, X, torch.tensor([60, 1, 0, 99])).loss.backward()
    return logits.grad


def nothing():
    return None


USES = {
    "step, gumbel": (scheduler, lambda s: s.step(LOG_P, 60, X, seeded()).prev_sample),
    "step, inverse_cdf": (exact_scheduler, lambda s: s.step(LOG_P, 60, X, seeded()).prev_sample),
    "guided_step": (scheduler, guided_step),
    "Unmask, RowKeys": (exact_scheduler, revealing_step),
    "q_posterior": (scheduler, lambda s: s.q_posterior(LOG_P, X, 60)),
    "add_noise": (exact_scheduler, lambda s: s.add_noise(X, 60, seeded())),
    "loss": (exact_scheduler, gradient),
    "TimestepSampler": (
        lambda: vqdiffusion.torch.TimestepSampler(100),
        lambda sampler: sampler.sample(1000, seeded())[0],
    ),
    "guide, truncate": (
        nothing,
        lambda _: vqdiffusion.torch.truncate(
            vqdiffusion.torch.guide(LOG_P.flip(1), LOG_P, 3.0), 0.86
        ),
    ),
    "token_scores": (
        nothing,
        lambda _: np.stack(
            vqdiffusion.torch.token_scores(LOG_P, torch.full((B, N), 0.3, dtype=torch.float64))
        ),
    ),
}


def use_all(*arguments):
    """In a child, with one thread of torch's own: those of a forked parent are gone, and OpenMP
    waits for them. Workers of torch's DataLoader begin so too."""
    torch.set_num_threads(1)
    class_uses.use_all(*arguments)
