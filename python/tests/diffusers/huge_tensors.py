"""As huge_shapes.py, for the class of diffusers, natively and by the torch formulas."""

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent.parent))

from huge_shapes import K, Table, scheduler  # noqa: E402

import vqdiffusion.torch  # noqa: E402
from vqdiffusion.diffusers import VQDiffusionScheduler  # noqa: E402


def plain(shape, dtype):
    return torch.zeros(shape, dtype=dtype)


def repeated(shape, dtype):
    return torch.zeros([1] * len(shape), dtype=dtype).expand(shape)


def recorded(shape, dtype):
    """By the torch formulas where there are any."""
    return torch.zeros(shape, dtype=dtype, requires_grad=dtype.is_floating_point)


def main():
    table = Table()
    for dtype in torch.float32, torch.float16:
        torch.set_default_dtype(dtype)  # of float16 all steps are computed by torch
        scheduler(
            table,
            lambda shape, kind: kind(shape, torch.float32),
            lambda shape, kind: kind(shape, torch.int64),
            lambda method: VQDiffusionScheduler(K + 1, 10, sampling_method=method),
            (plain, repeated, recorded),
            vqdiffusion.torch,
        )
    table.end()


if __name__ == "__main__":
    main()
