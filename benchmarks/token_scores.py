"""Times `token_scores` beside what it replaces, by turns in one process.

    python benchmarks/token_scores.py [CLASSES] [ROWS] [THREADS]

By default 126,464 classes and 256 rows of float32, classes side by side, on one thread. Prints the
medians in milliseconds and how many times torch.logsumexp they are. "softmax, argmax, gather" is
what block refinement of diffusers 0.42.1 does to a model output at temperature 0.
"""

import sys

import torch

import vqdiffusion
from timing import by_turns
from vqdiffusion.torch import token_scores


def usual_greedy(logits):
    probabilities = torch.softmax(logits.float(), dim=-1)
    token = logits.argmax(dim=-1, keepdim=True)
    return token, torch.gather(probabilities, -1, token)


def usual_draw(logits):
    probabilities = torch.softmax(logits.float(), dim=-1)
    token = torch.multinomial(probabilities, num_samples=1)
    return token, torch.gather(probabilities, -1, token)


def gumbel_draw(logits):
    """As LLaDA draws, in double precision, and the probability of the token."""
    noise = -torch.log(torch.rand_like(logits, dtype=torch.float64))
    token = (logits.double().exp() / noise).argmax(dim=-1, keepdim=True)
    return token, torch.gather(torch.softmax(logits, dim=-1), -1, token)


def contestants(classes, rows):
    logits = 2 * torch.randn(rows, classes, generator=torch.Generator().manual_seed(0))
    inner = logits.T.unsqueeze(0)  # (1, K, N), each row's classes side by side
    outer = inner.contiguous()
    uniforms = torch.rand(1, rows, dtype=torch.float64)
    half = logits.bfloat16().T.unsqueeze(0)
    return {
        "torch.logsumexp": lambda: logits.logsumexp(-1),
        "torch.sum (one read)": lambda: logits.sum(),
        "token_scores, argmax": lambda: token_scores(inner),
        "token_scores, draw": lambda: token_scores(inner, uniforms),
        "token_scores, draw at 0.7": lambda: token_scores(inner, uniforms, 0.7),
        "token_scores, draw, bfloat16": lambda: token_scores(half, uniforms),
        "token_scores, draw, classes outer": lambda: token_scores(outer, uniforms),
        "softmax, argmax, gather": lambda: usual_greedy(logits),
        "softmax, multinomial, gather": lambda: usual_draw(logits),
        "float64 Gumbel, softmax, gather": lambda: gumbel_draw(logits),
    }


def main(classes=126_464, rows=256, threads=1):
    torch.set_num_threads(threads)
    vqdiffusion.set_num_threads(threads)
    print(f"{rows} rows of {classes} classes, {threads} thread{'s' * (threads > 1)}")
    times = by_turns(contestants(classes, rows), seconds=3, most=25)
    base = times["torch.logsumexp"]["ms"]
    for name, each in times.items():
        print(f"{name:36}{each['ms']:10.2f} ms{each['ms'] / base:8.2f}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
