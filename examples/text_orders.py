"""Texts drawn by chains that choose which characters to reveal, in 100 to 3 calls of the model.

    pip install vqdiffusion torch
    python examples/text_orders.py

Trains the absorbing chain's model of text.py and prints the table of docs/orders_compared.md. Of
the drawn windows it gives:

bits of the drawn text      For each character, under a trigram model of the training text: how
                            likely what is drawn is.
distinct trigrams           In 16 windows, 992 trigrams: how varied it is.
bits of held-out text       For each character, under a trigram model of the drawn text: low where
                            that is as likely and as varied as real text.

Errors are standard errors of the mean over windows, of trigrams over groups of 16 windows. The
steps are those of the NumPy class.
"""

import argparse
import time

import numpy as np
import torch
from text import CLASSES, TIMESTEPS, WINDOW, Denoiser, encode, make_schedulers, ngram_bits
from text import read_text, train

from vqdiffusion import Unmask, VQDiffusionScheduler, schedules

CALLS = 100, 25, 10, 5, 3
BOUNDS = 2.0, 4.0, 8.0  # nats
GROUP = 16  # windows
SHARE = 0.2  # of the largest σ
ORDERS = {
    "ancestral": None,
    "purity, temperature 1": Unmask("purity", temperature=1),
    "margin": Unmask("margin"),
    "margin, temperature 1": Unmask("margin", temperature=1),
    "entropy": Unmask("entropy"),
    "confidence": Unmask("confidence"),
    "remasking": None,
}


@torch.no_grad()
def draw(model, order, windows, calls, rng):
    """Texts (windows, WINDOW) by one of the orders."""
    alphas, gammas = schedules.log_linear(TIMESTEPS)
    scheduler = VQDiffusionScheduler(
        CLASSES + 1, alphas_cumprod=alphas, gammas_cumprod=gammas, timestep_spacing="trailing"
    )
    scheduler.set_timesteps(calls)
    sample = np.full((windows, WINDOW), scheduler.mask_class)
    for t in scheduler.timesteps.tolist():
        s, remask = scheduler.previous_timestep(t), 0.0
        if order == "remasking" and s >= 0:
            remask = SHARE * min(1.0, gammas[s] / (1 - gammas[t]))
        log_p = model(torch.from_numpy(sample), t).log_softmax(1).numpy()
        sample = scheduler.step(
            log_p, t, sample, rng, unmask=ORDERS[order], remask=remask
        ).prev_sample
    return torch.from_numpy(sample)


@torch.no_grad()
def draw_by_entropy(model, bound, windows, rng):
    """Texts by the entropy bound, and the mean number of calls that a window needs."""
    scheduler = VQDiffusionScheduler(CLASSES + 1)
    sample, calls = np.full((windows, WINDOW), CLASSES), 0
    while (masked := (sample == CLASSES).sum(1)).any():
        calls += (masked > 0).mean()
        t = np.maximum(1, masked * TIMESTEPS // WINDOW) - 1  # at which so many are masked
        log_p = model(torch.from_numpy(sample), torch.from_numpy(t)).log_softmax(1).numpy()
        unmask = Unmask("entropy", entropy_bound=bound)
        step = scheduler.step(log_p, 0, sample, rng, unmask=unmask, previous_timestep=-1)
        sample = step.prev_sample
    return torch.from_numpy(sample), calls


def distinct_trigrams(windows):
    """For each group of 16 windows."""
    trigrams = (windows.unfold(1, 3, 1) * CLASSES ** torch.arange(2, -1, -1)).sum(2)
    groups = trigrams[: len(windows) // GROUP * GROUP].view(-1, GROUP * (WINDOW - 2))
    return torch.tensor([len(one.unique()) for one in groups]).double()


def cells(drawn, text, x_0):
    columns = (
        (ngram_bits(3, text, drawn), 2),
        (distinct_trigrams(drawn), 0),
        (ngram_bits(3, drawn.flatten(), x_0), 3),
    )
    return " | ".join(
        f"{one.mean():.{places}f} ± {one.std() / len(one) ** 0.5:.{places}f}"
        for one, places in columns
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--iterations", type=int, default=2000)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--windows", type=int, default=192)
    given = parser.parse_args()
    torch.set_num_threads(1)  # the same sums, so the same model, on any number of cores
    start = time.process_time()

    text, held_out = map(encode, read_text())
    x_0 = held_out[: len(held_out) // WINDOW * WINDOW].view(-1, WINDOW)[: given.windows]
    torch.manual_seed(0)
    model = Denoiser(given.width)
    train(model, make_schedulers()["absorbing"], text, given.iterations)
    print(f"trained in {time.process_time() - start:.0f} s of CPU time\n")

    print("| calls | order | bits of the drawn text | distinct trigrams | bits of held-out text |")
    print("|---|---|---|---|---|")
    apart = len(text) // given.windows
    print(
        f"| | training text | {cells(text.unfold(0, WINDOW, apart)[: given.windows], text, x_0)} |"
    )
    for calls in CALLS:
        for order in ORDERS:
            drawn = draw(model, order, given.windows, calls, np.random.default_rng(0))
            print(f"| {calls} | {order} | {cells(drawn, text, x_0)} |", flush=True)
    for bound in BOUNDS:
        drawn, calls = draw_by_entropy(model, bound, given.windows, np.random.default_rng(0))
        name = f"entropy bound, {bound:g} nats"
        print(f"| {calls:.1f} | {name} | {cells(drawn, text, x_0)} |", flush=True)
    print(f"\n{time.process_time() - start:.0f} s of CPU time")


if __name__ == "__main__":
    main()
