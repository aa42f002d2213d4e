"""The same results by the formulas as people run them: diffusers' scheduler and pipeline, and the
loss of the original implementation, in torch and the precision of the input.
"""

import inputs
import numpy as np
import torch
from diffusers import VQDiffusionPipeline, VQDiffusionScheduler

FUNCTIONS = {"exp": torch.exp, "log": torch.log}


def function(name, x):
    return FUNCTIONS[name](torch.from_numpy(x)).numpy()


def losses(scheduler, logits, x_0, x_t, t):
    """KL of each row of pixels: the difference of two logarithmic posteriors of the scheduler."""
    classes = logits.shape[1]
    certain = torch.nn.functional.one_hot(x_0, classes).transpose(1, 2).to(logits.dtype)
    certain = certain.clamp(min=1e-30).log()
    truth = scheduler.q_posterior(certain, x_t, t)
    model = scheduler.q_posterior(logits.log_softmax(1), x_t, t)
    return (truth.exp() * (truth - model)).sum((1, 2))


def results():
    found = {}
    for classes, columns, dtype in inputs.POSTERIORS:
        log_p, x = map(torch.from_numpy, inputs.of_posterior(classes, columns, dtype))
        scheduler = VQDiffusionScheduler(classes + 1)
        for t in inputs.TIMES:
            name = f"posterior {classes} {dtype.__name__} {t}"
            found[name] = scheduler.q_posterior(log_p[None], x[None], t)[0].numpy()
    for classes, pixels, dtype in inputs.LOSSES:
        z, x_0, x_t = map(torch.from_numpy, inputs.of_loss(classes, pixels, dtype))
        z.requires_grad_()
        scheduler, rows = VQDiffusionScheduler(classes + 1), []
        for row, t in enumerate(inputs.LOSS_TIMES):
            one = slice(row, row + 1)
            rows.append(losses(scheduler, z[one], x_0[one], x_t[one], t))
        per_row = torch.cat(rows)
        (per_row.sum() * 100 / x_0.numel()).backward()  # divided by p(t) = 1/T, for each pixel
        found[f"loss {classes} {dtype.__name__}"] = per_row.detach().numpy()
        found[f"gradient {classes} {dtype.__name__}"] = z.grad.numpy()
    for classes, columns in inputs.TRUNCATIONS:
        log_p, chosen, _, rates = inputs.of_truncation(classes, columns)
        kept = np.empty(rates.shape, bool)
        for at in np.ndindex(rates.shape):
            column = torch.from_numpy(log_p[None, :, at[0], None])
            cut = VQDiffusionPipeline.truncate(None, column, rates[at])
            kept[at] = cut[0, chosen[at[0]], 0] > -np.inf
        found[f"truncation {classes}"] = kept
    for classes, columns, dtype in inputs.GUIDANCES:
        log_p = torch.from_numpy(inputs.of_posterior(classes, columns, dtype)[0])[None]
        uncond = log_p.flip(1)
        guided = uncond + inputs.GUIDANCE_SCALE * (log_p - uncond)
        guided = guided - guided.logsumexp(1, keepdim=True)
        found[f"guidance {classes} {dtype.__name__}"] = guided[0].numpy()
    return found
