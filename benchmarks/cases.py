"""What is computed on: model outputs in both memory layouts, and samples of the true forward
process."""

from dataclasses import dataclass, field

import torch

import vqdiffusion

# (B, K + 1, N): the published text-to-image model, four of its images, a class-conditional model,
# the demo, a large vocabulary.
SHAPES = [(1, 4097, 1024), (4, 4097, 1024), (16, 1025, 256), (1, 18, 64), (1, 126465, 256)]
TIMESTEPS = [90, 50, 10, 1, 0]
LAYOUTS = ["outer", "inner"]


@dataclass
class Case:
    """A model output (B, K, N) of sharp columns, as a trained network gives them, and pixels drawn
    from it."""

    batch: int
    embeddings: int  # K + 1
    pixels: int
    outer: torch.Tensor = field(init=False)  # classes outer: (B, K, N), contiguous
    x_0: torch.Tensor = field(init=False)

    def __post_init__(self):
        generator = torch.Generator().manual_seed(1)
        shape = self.batch, self.embeddings - 1, self.pixels
        self.outer = torch.log_softmax(3 * torch.randn(shape, generator=generator), dim=1)
        columns = self.outer.transpose(1, 2).reshape(-1, self.embeddings - 1).exp()
        self.x_0 = torch.multinomial(columns, 1, generator=generator).reshape(
            self.batch, self.pixels
        )

    @property
    def shape(self):
        return self.batch, self.embeddings, self.pixels

    def model_output(self, layout):
        """Classes outer, or inner: the memory of (B, N, K), viewed as (B, K, N)."""
        return (
            self.outer
            if layout == "outer"
            else self.outer.transpose(1, 2).contiguous().transpose(1, 2)
        )

    def unconditional(self):
        """What the same model might say without its condition: flatter, and somewhat different."""
        noise = torch.randn(self.outer.shape, generator=torch.Generator().manual_seed(2))
        return torch.log_softmax(0.7 * self.outer + 0.5 * noise, dim=1)

    def sample(self, t):
        """x_t of the forward process from x_0."""
        forward = vqdiffusion.VQDiffusionScheduler(self.embeddings)
        return torch.from_numpy(forward.add_noise(self.x_0.numpy(), t, 100 + t))
