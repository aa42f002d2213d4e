"""The training loss as Gu et al. 2021 state it and training code spells it out, in tensors
(B, K + 1, N) of log-probabilities: the posterior of eq. 5 for the data and for the prediction, and
the divergence of the two. Autograd keeps a dozen of them.
"""

import torch

LOWEST = -70.0  # what logarithms are clamped to


def original_loss(scheduler, logits, x_0, x_t, t):
    """The loss of a batch, t one for each row, with p(t) = 1/T and no auxiliary term."""
    classes = logits.shape[1]
    tables = [
        getattr(scheduler, name).to(logits.device)
        for name in ("log_at", "log_bt", "log_ct", "log_cumprod_at", "log_cumprod_bt")
    ] + [scheduler.log_cumprod_ct.to(logits.device)]
    single, cumulative = tables[:3], tables[3:]
    observed = log_onehot(x_t, classes + 1)
    truth = posterior(log_onehot(x_0, classes), observed, x_t, t, single, cumulative)
    log_p = logits.log_softmax(1).clamp(LOWEST, 0)
    model = posterior(log_p, observed, x_t, t, single, cumulative)
    kl = (truth.exp() * (truth - model)).sum(1)
    entropy = -log_p.gather(1, x_0.unsqueeze(1)).squeeze(1)
    per_row = torch.where((t == 0).unsqueeze(1), entropy, kl).sum(1)
    return (per_row * len(tables[0])).sum() / x_0.numel()


def log_onehot(x, classes):
    onehot = torch.nn.functional.one_hot(x, classes).movedim(2, 1)
    return onehot.float().clamp(min=1e-30).log()


def posterior(log_p, observed, x_t, t, single, cumulative):
    """log p(x_{t-1} | x_t), (B, K + 1, N)."""
    masked = (x_t == log_p.shape[1]).unsqueeze(1)
    of_clean = _observed_from(observed, masked, t, cumulative)
    of_previous = _observed_from(observed, masked, t, single)
    q = log_p - of_clean
    total = q.logsumexp(1, keepdim=True)
    # Entry -1 of the cumulative tables is that of clean data, t = -1.
    a, b, c = (table[t - 1].view(-1, 1, 1) for table in cumulative)
    q = q - total
    moved = torch.cat(((q + a).logaddexp(b), c.expand_as(total)), 1)
    with_mask = torch.cat((of_previous, observed[:, -1:]), 1)
    return (moved + with_mask + total).clamp(LOWEST, 0)


def _observed_from(observed, masked, t, tables):
    """log q(x_t | class), (B, K, N)."""
    a, b, c = (table[t].view(-1, 1, 1) for table in tables)
    return torch.where(masked, c, (observed[:, :-1] + a).logaddexp(b))
