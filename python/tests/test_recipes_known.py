"""Known tokens in docs/recipes.md: how far from the exact conditional distribution chains end.

Three pixels in a row, each equal to the one before with probability 0.9, else independent; the
first is known, and the denoiser exact. Laws over all states are carried through whole chains.
"""

import numpy as np
import pytest
from recipe_blocks import text

from vqdiffusion import VQDiffusionScheduler

CLASSES = 4
MASK, SIZE = CLASSES, CLASSES + 1
ALIKE = 0.9 * np.eye(CLASSES) + 0.1 / CLASSES
DATA = np.einsum("ab,bc->abc", ALIKE, ALIKE) / CLASSES
STATES = np.stack(np.meshgrid(*[np.arange(SIZE)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)


class Chain:
    """A scheduler, and the law of the two unknown pixels along its chain, (SIZE, SIZE)."""

    def __init__(self, calls, gamma_cum_end, stays_clean):
        self.scheduler = VQDiffusionScheduler(
            SIZE, timestep_spacing="trailing", gamma_cum_end=gamma_cum_end
        )
        self.scheduler.set_timesteps(calls)
        self.stays_clean = stays_clean
        self.alpha = np.append(np.linspace(0.99999, 0.000009, 100), 1)
        self.gamma = np.append(np.linspace(0.000009, gamma_cum_end, 100), 0)

    def forward(self, s, t):
        """q(x_t | x_s), rows are what a pixel was."""
        alpha = self.alpha[t] / self.alpha[s]
        gamma = 1 - (1 - self.gamma[t]) / (1 - self.gamma[s])
        matrix = np.full((SIZE, SIZE), (1 - alpha - gamma) / CLASSES)
        matrix[:CLASSES, :CLASSES] += alpha * np.eye(CLASSES)
        matrix[:, MASK], matrix[MASK] = gamma, 0
        matrix[MASK, MASK] = 1
        return matrix

    def step(self, law, t, s):
        """One call of the exact denoiser and the step that follows; the known pixel shows 0."""
        noise = self.forward(-1, t)[:CLASSES]
        joint = np.einsum("ax,by,cz,abc->xyzabc", noise, noise, noise, DATA)
        of_pixels = [joint.sum((3, 5)), joint.sum((3, 4))]
        draws = []
        for pixel, p in enumerate(of_pixels, 1):
            log_p = np.log(p / p.sum(-1, keepdims=True)).reshape(1, -1, CLASSES).transpose(0, 2, 1)
            q = self.scheduler.q_posterior(log_p, STATES[None, :, pixel], t, previous_timestep=s)
            draws.append(np.exp(q[0].T).reshape(SIZE, SIZE, SIZE, SIZE))
        known = np.eye(SIZE)[0] if self.stays_clean else noise[0]
        return np.einsum("x,yz,xyzb,xyzc->bc", known, law, *draws)

    def distance(self, resamplings=0):
        """Total variation between what the chain ends in and the data, the first pixel given."""
        start = self.forward(-1, 99)[0]
        start[:CLASSES] = (1 - start[MASK]) / CLASSES
        law = np.outer(start, start)
        for t in self.scheduler.timesteps.tolist():
            s = self.scheduler.previous_timestep(t)
            law = self.step(law, t, s)
            for _ in range(resamplings if s >= 0 else 0):
                back = self.forward(s, t)
                law = self.step(back.T @ law @ back, t, s)
        exact = np.zeros((SIZE, SIZE))
        exact[:CLASSES, :CLASSES] = DATA[0] * CLASSES
        return abs(law - exact).sum() / 2


@pytest.mark.parametrize(
    "chain, resamplings, expected",
    [
        ((100, 0.99999, True), 0, 0.0019),
        ((100, 0.99999, False), 0, 0.4193),
        ((25, 0.99999, False), 10, 0.1254),
        ((25, 0.9, True), 0, 0.1166),
        ((25, 0.9, True), 5, 0.0180),
    ],
)
def test_known_tokens_stay_clean(chain, resamplings, expected):
    assert Chain(*chain).distance(resamplings) == pytest.approx(expected, abs=5e-5)
    assert f"{expected:.4f}" in text()
