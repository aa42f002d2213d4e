"""A small diffusion model of text, trained, judged and drawn from with torch and vqdiffusion.

    pip install vqdiffusion torch
    python examples/text.py

The text is that of Python's own help pages, which every Python has. Two chains are trained side by
side: mask-and-replace, which is the default of the scheduler, and absorbing. `--chains hybrid`
trains a third. docs/text.md explains each step.
"""

import argparse
import math
import random
import re
import string
import time
from pydoc_data import topics

import torch
from torch import nn
from torch.nn import functional as F

from vqdiffusion import schedules
from vqdiffusion.torch import TimestepSampler, VQDiffusionScheduler

ALPHABET = " " + string.punctuation + string.digits + string.ascii_lowercase
CLASSES, WINDOW, TIMESTEPS = len(ALPHABET), 64, 100


def read_text():
    """Training and held-out text. Help pages quote each other: a paragraph counts once."""
    pages = "\n\n".join(page for _, page in sorted(topics.topics.items()))
    paragraphs = (re.sub(r"\s+", " ", one).strip().lower() for one in pages.split("\n\n"))
    paragraphs = [one for one in dict.fromkeys(paragraphs) if len(one) > 40]
    random.Random(0).shuffle(paragraphs)
    tenth = len(paragraphs) // 10
    return " ".join(paragraphs[tenth:]), " ".join(paragraphs[:tenth])


def encode(text):
    """A class for each character of the alphabet; others are left out."""
    index = {character: i for i, character in enumerate(ALPHABET)}
    return torch.tensor([index[one] for one in text if one in index])


def decode(classes):
    return "".join(ALPHABET[one] for one in classes.tolist())


def make_schedulers():
    """Chains of 100 timesteps that mask and replace, that mask alone, and that replace more."""
    tables = {"absorbing": schedules.log_linear(TIMESTEPS), "hybrid": schedules.hybrid(TIMESTEPS)}
    made = {"mask-and-replace": VQDiffusionScheduler(CLASSES + 1, timestep_spacing="trailing")}
    for chain, (alphas, gammas) in tables.items():
        made[chain] = VQDiffusionScheduler(
            CLASSES + 1,
            alphas_cumprod=alphas,
            gammas_cumprod=gammas,
            timestep_spacing="trailing",
        )
    return made


class Denoiser(nn.Module):
    """A transformer: from x_t (B, N) and t, an int or (B,), to logits (B, K, N)."""

    def __init__(self, width=64, layers=3):
        super().__init__()
        self.token = nn.Embedding(CLASSES + 1, width)  # the mask is a token too
        self.timestep = nn.Embedding(TIMESTEPS, width)
        nn.init.zeros_(self.timestep.weight)
        self.local = nn.Conv1d(width, width, 5, padding="same")
        self.blocks = nn.ModuleList(Block(width) for _ in range(layers))
        self.out = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, CLASSES))

    def forward(self, x_t, t):
        t = torch.as_tensor(t, device=x_t.device)
        h = self.token(x_t) + self.timestep(t).unsqueeze(-2)
        h = h + self.local(h.mT).mT
        for block in self.blocks:
            h = block(h)
        return self.out(h).mT


class Block(nn.Module):
    """Attention that knows distances, then two layers for each position."""

    def __init__(self, width, heads=2):
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.qkv, self.mix = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.dense = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )
        position = torch.arange(WINDOW)
        self.register_buffer("offset", position[:, None] - position + WINDOW - 1)
        distance = (torch.arange(2 * WINDOW - 1) - WINDOW + 1).abs()
        self.relative = nn.Parameter(-distance / 2.0 ** torch.arange(1, heads + 1)[:, None])

    def forward(self, h):
        qkv = self.qkv(self.norms[0](h)).unflatten(-1, (3, self.heads, -1))
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        bias = self.relative[:, self.offset]
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        h = h + self.mix(mixed.transpose(1, 2).flatten(2))
        return h + self.dense(self.norms[1](h))


def train(model, scheduler, text, iterations, batch=16, rate=4e-3, seed=0):
    """Trains the model on windows of the text; returns the losses in nats per character."""
    generator = torch.Generator().manual_seed(seed)
    windows = text.unfold(0, WINDOW, 1)
    optimizer = torch.optim.AdamW(model.parameters(), rate, betas=(0.9, 0.98))
    rates = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, iterations, pct_start=0.1)
    sampler = TimestepSampler(TIMESTEPS)
    losses = []
    for _ in range(iterations):
        x_0 = windows[torch.randint(len(windows), (batch,), generator=generator)]
        t, probability = sampler.sample(batch, generator)
        x_t = scheduler.add_noise(x_0, t, generator)
        result = scheduler.loss(model(x_t, t), x_0, x_t, t, probability=probability)
        optimizer.zero_grad()
        result.loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        rates.step()
        sampler.update(t, result.per_row)
        losses.append(result.loss.item())
    return losses


@torch.no_grad()
def bits_per_character(scheduler, model, x_0, calls, seed=1):
    """For each window the bound of a chain of that many calls of the model."""
    scheduler.set_timesteps(calls)
    nats = scheduler.likelihood_bound(model, x_0, torch.Generator().manual_seed(seed))
    return nats / (x_0.shape[1] * math.log(2))


def ngram_bits(order, text, x_0, strength=4.0):
    """What counts of `order` characters in the text need instead; `strength` of the counts are
    those that one character less expects. Each window begins without context.
    """
    p, bits = torch.full((1, CLASSES), 1 / CLASSES, dtype=torch.float64), 0
    for n in range(1, order + 1):
        powers = CLASSES ** torch.arange(n - 1, -1, -1)
        counts = torch.bincount((text.unfold(0, n, 1) * powers).sum(1), minlength=CLASSES**n)
        counts = counts.view(-1, CLASSES)
        expected = strength * p.repeat(len(counts) // len(p), 1)
        p = (counts + expected) / (counts.sum(1, keepdim=True) + strength)
        found = p.view(-1)[(x_0.unfold(1, n, 1) * powers).sum(2)]
        bits = bits - (found if n == order else found[:, :1]).log2().sum(1)
    return bits / x_0.shape[1]


@torch.no_grad()
def draw(scheduler, model, shape, calls, generator, known=None):
    """Texts drawn in that many calls of the model. `known` (B, N): what is given, else -1."""
    scheduler.set_timesteps(calls)
    sample = scheduler.sample_prior(shape, generator)
    if known is not None:  # the first call is to see it too
        sample = torch.where(known < 0, sample, known)
    for t in scheduler.timesteps.tolist():
        log_p = model(sample, t).log_softmax(1)
        sample = scheduler.step(log_p, t, sample, generator, known=known).prev_sample
    return sample


def share_of_words(texts, vocabulary):
    """How many of the words of three letters and more, those at the edges left out, are known."""
    words = [one for text in texts for one in re.findall(r"(?<= )[a-z]{3,}(?= )", text)]
    return sum(one in vocabulary for one in words) / max(1, len(words))


def mean_and_error(values):
    return f"{values.mean():.3f} ± {values.std() / len(values) ** 0.5:.3f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--iterations", type=int, default=2000)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--windows", type=int, default=128, help="of held-out text")
    schedulers, usual = make_schedulers(), ["mask-and-replace", "absorbing"]
    parser.add_argument("--chains", nargs="+", choices=schedulers, default=usual)
    given = parser.parse_args()
    schedulers = {chain: schedulers[chain] for chain in given.chains}
    torch.set_num_threads(1)  # the same sums, so the same model, on any number of cores
    start, start_cpu = time.perf_counter(), time.process_time()

    def report(line):
        print(f"{time.perf_counter() - start:4.0f} s  {line}", flush=True)

    written, held_out = read_text()
    text, vocabulary = encode(written), set(re.findall(r"[a-z]{3,}", written))
    x_0 = encode(held_out)
    gap = (len(x_0) - WINDOW) // given.windows
    x_0 = x_0.unfold(0, WINDOW, gap)[: given.windows]
    report(f"{len(text)} characters to train on, {CLASSES} classes")
    for order, name in enumerate(("every character alike", "unigrams", "bigrams", "trigrams")):
        bits = ngram_bits(order, text, x_0) if order else torch.full((2,), math.log2(CLASSES))
        report(f"{name}: {mean_and_error(bits)} bits per character")

    models, bound = {}, {}
    for chain, scheduler in schedulers.items():
        torch.manual_seed(0)
        models[chain] = model = Denoiser(given.width)
        begin = time.process_time()
        losses = train(model, scheduler, text, given.iterations)
        last = sum(losses[-100:]) / len(losses[-100:]) / math.log(2)
        report(f"{chain}: trained in {time.process_time() - begin:.0f} s of CPU time; {last:.2f}")
        for calls in (100, 25, 10):
            bound[chain, calls] = bits_per_character(scheduler, model, x_0, calls)
            report(f"{chain}, {calls} calls: {mean_and_error(bound[chain, calls])}")
    for chain in given.chains[1:]:
        for calls in (100, 25, 10):
            difference = bound[chain, calls] - bound[given.chains[0], calls]
            report(f"{chain} less {given.chains[0]}, {calls} calls: {mean_and_error(difference)}")

    share = share_of_words(map(decode, x_0), vocabulary)
    report(f"words that the training text has, of held-out text: {share:.0%}")
    for chain, scheduler in schedulers.items():
        for calls in (100, 25, 10):
            generator = torch.Generator().manual_seed(2)
            drawn = draw(scheduler, models[chain], x_0.shape, calls, generator)
            texts = [decode(one) for one in drawn]
            report(f"{chain}, {calls} calls: {share_of_words(texts, vocabulary):.0%} of words")
            print(*(f"      |{one}|" for one in texts[:2]), sep="\n")

    known = x_0.clone()
    known[:, 28:36] = -1  # eight characters in the middle
    hidden = known < 0
    chance = torch.bincount(text, minlength=CLASSES)[x_0[hidden]].double().mean() / len(text)
    report(f"drawn by frequency alone: {chance:.0%} of the hidden characters are right")
    report("the first window, and four times what each chain puts in place of its middle")
    print(f"      |{decode(x_0[0])}|")
    for chain, scheduler in schedulers.items():
        generator = torch.Generator().manual_seed(3)
        filled = draw(scheduler, models[chain], x_0.shape, 25, generator, known)
        right = (filled == x_0)[hidden].double().mean()
        report(f"{chain}: {right:.0%} of the hidden characters are right")
        again = draw(scheduler, models[chain], (4, WINDOW), 25, generator, known[:1].expand(4, -1))
        print(*(f"      |{decode(one)}|" for one in again), sep="\n")
    report(f"done, {time.process_time() - start_cpu:.0f} s of CPU time")


if __name__ == "__main__":
    main()
