"""The training loss by its definition, in float64, for torch to differentiate.

q(x_s | x_t, x_0) comes from Bayes' rule, eq. 5 of Gu et al. 2021, and p(x_s | x_t) is its mean
under the model's prediction of x_0, in logarithms: nothing of the closed form that is tested.
"""

import math

import torch
from loss_case import TABLES, level


def _number(value):
    return torch.tensor(value, dtype=torch.float64)


def _log(value):
    return _number(math.log(value) if value > 0 else -math.inf)


def losses(name, logits, x_0, x_t, t, s):
    """L_t and -log p(x_0) of the pixels of one row that are not carried over, and their places."""
    classes = logits.shape[0]
    alpha_t, beta_t, gamma_t = level(name, classes, t)
    alpha_s, beta_s, gamma_s = level(name, classes, s)
    columns = ((x_t == classes) | bool(beta_t > 0)).nonzero()[:, 0]
    log_p = logits[:, columns].log_softmax(0)
    x_0, x_t = x_0[columns], x_t[columns]
    entropy = -log_p.gather(0, x_0[None])[0]
    if s < 0:
        return entropy, entropy, columns
    masked, shown = (x_t == classes)[None], torch.arange(classes)[:, None] == x_t[None]
    alpha = alpha_t / alpha_s
    # The textbook (1 - α - γ)/K loses six digits.
    beta = max(0.0, (beta_t - alpha * beta_s) / (1 - gamma_s))
    gamma = (gamma_t - gamma_s) / (1 - gamma_s)

    def rows(kept, other, mask):
        return torch.where(masked, _log(mask), torch.where(shown, _log(kept), _log(other)))

    of_x_s = rows(alpha + beta, beta, gamma)  # log q(x_t | x_s = k)
    of_x_0 = rows(alpha_t + beta_t, beta_t, gamma_t)  # log q(x_t | x_0 = k)

    def log_posterior(log_p):
        log_w = log_p - of_x_0
        total = log_w.logsumexp(0, keepdim=True)
        classes_of_s = of_x_s + (_log(alpha_s) + log_w).logaddexp(_log(beta_s) + total)
        mask_of_s = torch.where(masked, _log(gamma_s) + total, _number(-math.inf))
        return torch.cat((classes_of_s, mask_of_s))

    truth = log_posterior(torch.full_like(log_p, -math.inf).scatter(0, x_0[None], 0.0)).detach()
    model = log_posterior(log_p)
    possible = truth > -700
    truth, model = (torch.where(possible, one, _number(0.0)) for one in (truth, model))
    kl = torch.where(possible, truth.exp() * (truth - model), _number(0.0)).sum(0)
    return kl, entropy, columns


def bound(
    name,
    logits,
    x_0,
    x_t,
    pairs,
    probability=None,
    mask_weight=(1.0, 1.0),
    auxiliary_weight=0.0,
    adaptive_auxiliary=True,
    pixel_weights=None,
):
    """The loss and the sums for each row, of tensors; `logits` of float64."""
    batch, classes, pixels = logits.shape
    steps = len(TABLES[name][0])
    loss, per_row = _number(0.0), []
    for row, (t, s) in enumerate(pairs):
        of_row, entropy, columns = losses(name, logits[row], x_0[row], x_t[row], t, s)
        weight = torch.ones_like(of_row)
        if s >= 0:
            masked, others = map(_number, mask_weight)
            weight = torch.where(x_t[row][columns] == classes, masked, others)
        if pixel_weights is not None:
            weight = weight * pixel_weights[row][columns]
        factor = auxiliary_weight * (2 - t / steps if adaptive_auxiliary else 1)
        p = 1 / steps if probability is None else float(probability[row])
        per_row.append((weight * of_row).sum())
        loss = loss + (per_row[-1] + factor * (weight * entropy).sum()) / p / (batch * pixels)
    return loss, torch.stack(per_row)
