"""Trains the demo's denoiser on scikit-learn's load_digits and writes its weights for NumPy.

    python training/train_digits.py --out python/vqdiffusion/demo/digits.npz

Noise and loss are this package's own: VQDiffusionScheduler.add_noise and .loss. The model learns
p(x_0 | x_t, digit); one digit in ten is replaced by the null label, so that the same model also
knows p(x_0 | x_t), which guidance needs. A TimestepSampler chooses the timesteps.
"""

import argparse
import math
import time

import numpy as np
import torch
from scans import load_scans
from torch import nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from vqdiffusion.demo import DigitDenoiser
from vqdiffusion.torch import TimestepSampler, VQDiffusionScheduler

CLASSES, PIXELS, TIMESTEPS = (
    DigitDenoiser.num_classes,
    DigitDenoiser.num_pixels,
    DigitDenoiser.num_timesteps,
)
NULL_LABEL = DigitDenoiser.null_label

WIDTH, LAYERS, HEADS = 64, 4, 2
BATCH, LEARNING_RATE, WARM_UP, WEIGHT_DECAY, AVERAGING = 64, 2e-3, 200, 0.05, 0.999
LABEL_DROPOUT = 0.1


class Denoiser(nn.Module):
    """The torch twin of DigitDenoiser, with the same names: (x_t, t, labels) -> logits (batch,
    pixels, classes).
    """

    def __init__(self):
        super().__init__()
        self.token = table(CLASSES + 1, WIDTH)
        self.position = table(PIXELS, WIDTH)
        self.timestep = table(TIMESTEPS, WIDTH)
        self.label = table(NULL_LABEL + 1, WIDTH)
        self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))
        self.out = matrix(WIDTH, CLASSES)

    def forward(self, x_t, t, labels):
        h = self.token[x_t] + self.position + (self.timestep[t] + self.label[labels])[:, None]
        for block in self.blocks:
            h = block(h)
        return rms_norm(h) @ self.out


class Block(nn.Module):
    """A transformer block without biases, with parameterless norms and a squared ReLU: what NumPy
    computes fast.
    """

    def __init__(self):
        super().__init__()
        self.relative = nn.Parameter(
            torch.zeros(HEADS, 15, 15)
        )  # of attention, for each (row, column) offset
        self.qkv = matrix(WIDTH, 3 * WIDTH)
        self.attention_out = matrix(WIDTH, WIDTH)
        self.up = matrix(WIDTH, 4 * WIDTH)
        self.down = matrix(4 * WIDTH, WIDTH)
        row, column = torch.arange(PIXELS) // 8, torch.arange(PIXELS) % 8
        self.offsets = row[:, None] - row + 7, column[:, None] - column + 7

    def forward(self, h):
        qkv = (rms_norm(h) @ self.qkv).unflatten(-1, (3, HEADS, -1))
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        scores = (
            rms_norm(q) @ rms_norm(k).mT * q.shape[-1] ** -0.5 + self.relative[:, *self.offsets]
        )
        mixed = (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)
        h = h + mixed @ self.attention_out
        hidden = F.relu(rms_norm(h) @ self.up)
        return h + (hidden * hidden) @ self.down


def table(rows, columns):
    return nn.Parameter(0.3 * torch.randn(rows, columns))


def matrix(inputs, outputs):
    return nn.Parameter(0.6 * inputs**-0.5 * torch.randn(inputs, outputs))


def rms_norm(h):
    return F.rms_norm(h, h.shape[-1:], eps=1e-6)


def mean_loss(scheduler, model, scans, digits, generator):
    """The variational bound per pixel in nats, of timesteps that are as probable as each other."""
    t = torch.randint(TIMESTEPS, (len(scans),), generator=generator)
    x_t = scheduler.add_noise(scans, t, generator)
    with torch.no_grad():
        return scheduler.loss(model(x_t, t, digits).mT, scans, x_t, t).loss.item()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", required=True, metavar="FILE.npz")
    parser.add_argument(
        "--iterations", type=int, default=4000, metavar="N", help="default: %(default)s"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="default: %(default)s")
    parser.add_argument(
        "--auxiliary-weight",
        type=float,
        # The paper's 5e-4 ends in 0.011 bits per pixel more.
        default=1e-2,
        metavar="W",
        help="of the cross-entropy of every pixel, also of those that show a class; "
        "default: %(default)s",
    )
    parser.add_argument("--uniform", action="store_true", help="draw every timestep equally often")
    arguments = parser.parse_args()

    torch.set_num_threads(
        1
    )  # the same sums, so the same weights, on any number of cores; more gain little here
    torch.manual_seed(arguments.seed)
    generator = torch.Generator().manual_seed(arguments.seed)
    scheduler = VQDiffusionScheduler(CLASSES + 1, TIMESTEPS)
    sampler = TimestepSampler(TIMESTEPS)
    x_train, y_train, x_held_out, y_held_out = map(torch.from_numpy, load_scans())
    held_out = x_held_out.repeat(3, 1), y_held_out.repeat(3)

    model = Denoiser()
    averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(AVERAGING))
    optimizer = torch.optim.AdamW(
        model.parameters(), LEARNING_RATE, betas=(0.9, 0.98), weight_decay=WEIGHT_DECAY
    )
    rate = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda i: min(1, (i + 1) / WARM_UP)
        * (1 + math.cos(math.pi * i / arguments.iterations))
        / 2,
    )
    parameters = sum(p.numel() for p in model.parameters())
    print(f"{parameters} parameters, {len(x_train)} training scans, {len(x_held_out)} held out")
    losses, start = [], time.perf_counter()
    for iteration in range(1, arguments.iterations + 1):
        rows = torch.randint(len(x_train), (BATCH,), generator=generator)
        is_dropped = torch.rand(BATCH, generator=generator) < LABEL_DROPOUT
        labels, x_0 = torch.where(is_dropped, NULL_LABEL, y_train[rows]), x_train[rows]
        t, probability = sampler.sample(BATCH, generator)
        x_t = scheduler.add_noise(x_0, t, generator)
        result = scheduler.loss(
            model(x_t, t, labels).mT,
            x_0,
            x_t,
            t,
            probability=probability,
            auxiliary_weight=arguments.auxiliary_weight,
        )
        if not arguments.uniform:
            sampler.update(t, result.per_row)
        optimizer.zero_grad()
        result.loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        rate.step()
        averaged.update_parameters(model)
        losses.append(result.loss.item())
        if iteration % 250 == 0 or iteration == arguments.iterations:
            held_out_loss = mean_loss(
                scheduler, averaged, *held_out, torch.Generator().manual_seed(1)
            )
            progress = f"iteration {iteration:5} {time.perf_counter() - start:5.0f} s"
            print(
                f"{progress}, loss {np.mean(losses):.4f}, of held-out scans {held_out_loss:.4f}",
                flush=True,
            )
            losses.clear()

    weights = {
        name: p.detach().numpy().astype(np.float16)
        for name, p in averaged.module.named_parameters()
    }
    np.savez_compressed(arguments.out, **weights)


if __name__ == "__main__":
    main()
