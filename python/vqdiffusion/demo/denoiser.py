"""The demo's denoiser: a small transformer over the 64 pixels of a digit, in NumPy."""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from typing import Any, SupportsIndex

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]

LOG_FLOOR = -70.0
"""Log-probabilities are floored here, as pipelines of this family do, so that no class is
impossible.
"""

_ROWS_AT_ONCE = 25  # images in one pass: their activations stay in the processor's cache


class DigitDenoiser:
    """p(x_0 | x_t, digit) for 8×8 digits of 17 grey levels, 0 (paper) … 16 (ink); class 17 is the
    mask.

    The model loop that goes with it, without guidance::

        denoiser = DigitDenoiser()
        scheduler = VQDiffusionScheduler(denoiser.num_classes + 1)
        labels = [2, 0, 2, 4]
        x_t = np.full((len(labels), denoiser.num_pixels), scheduler.mask_class)
        generator = np.random.default_rng(7)
        for t in scheduler.timesteps:
            x_t = scheduler.step(denoiser(x_t, t, labels), t, x_t, generator).prev_sample

    Parameters
    ----------
    weights : mapping of str to array, optional
        As `training/train_digits.py` writes them; by default those that come with the package.
        Computing is in float32.
    """

    num_classes = 17
    num_pixels = 64
    num_timesteps = 100
    null_label = 10  # stands for any digit

    def __init__(self, weights: Mapping[str, npt.ArrayLike] | None = None) -> None:
        arrays = {
            name: np.asarray(array, np.float32)
            for name, array in (weights or _packaged_weights()).items()
        }
        self._token, self._position = arrays["token"], arrays["position"]
        self._timestep, self._label = arrays["timestep"], arrays["label"]
        self._out = arrays["out"]
        self._blocks: list[_Block] = []
        while (prefix := f"blocks.{len(self._blocks)}.") + "qkv" in arrays:
            own = {
                name.removeprefix(prefix): array
                for name, array in arrays.items()
                if name.startswith(prefix)
            }
            self._blocks.append(_Block(**own))
        # Taken and freed at once. Until a larger block has been freed, glibc hands blocks as large
        # as the activations back to the system and gets them anew at every layer, a third of the
        # time: mallopt(3), M_MMAP_THRESHOLD.
        np.empty(1 << 24, np.uint8)

    def __call__(
        self, x_t: npt.NDArray[Any], t: SupportsIndex, labels: npt.ArrayLike
    ) -> FloatArray:
        """Log-probabilities of every class of the clean image.

        Parameters
        ----------
        x_t : integer array, shape (B, 64)
            Classes 0 … 17.
        t : int
            The timestep, 0 … 99.
        labels : integer array, shape (B,)
            The digit that each row shall be, or `null_label` for any.

        Returns
        -------
        numpy.ndarray of float32, shape (B, 17, 64)
            Normalised over axis 1, then floored at -70.

        Raises
        ------
        ValueError
            If an argument has another shape, is not of integers or is out of range.
        """
        x_t = _checked(x_t, "x_t", (None, self.num_pixels), self.num_classes)
        labels = _checked(labels, "labels", (len(x_t),), self.null_label)
        t = _checked(t, "t", (), self.num_timesteps - 1)
        log_p_x_0 = np.empty((len(x_t), self.num_classes, self.num_pixels), np.float32)

        def predict(start: int) -> None:
            rows = slice(start, start + _ROWS_AT_ONCE)
            condition = self._timestep[t] + self._label[labels[rows]]
            h = self._token[x_t[rows]] + self._position + condition[:, None]
            for block in self._blocks:
                block.add_to(h)
            log_p_x_0[rows] = log_softmax(self._out.T @ _rms_norm(h).swapaxes(1, 2))

        with ThreadPoolExecutor(os.cpu_count()) as pool:  # NumPy holds no lock while it computes
            list(pool.map(predict, range(0, len(x_t), _ROWS_AT_ONCE)))
        return log_p_x_0


class _Block:
    """A transformer block: attention with a bias for each offset between two pixels, then a
    squared-ReLU layer.

    Queries and keys are normalised, so a score is at most √(width / heads) away from its bias, and
    the exponential needs no maximum subtracted.
    """

    def __init__(
        self,
        *,
        relative: FloatArray,
        qkv: FloatArray,
        attention_out: FloatArray,
        up: FloatArray,
        down: FloatArray,
    ) -> None:
        self.heads = len(relative)
        row, column = np.divmod(np.arange(64), 8)
        self.bias = relative[:, row[:, None] - row + 7, column[:, None] - column + 7]
        self.qkv, self.attention_out, self.up, self.down = qkv, attention_out, up, down

    def add_to(self, h: FloatArray) -> None:
        """Add what the block computes to h, shape (B, 64, width), in place."""
        batch, pixels, width = h.shape
        qkv = _product(_rms_norm(h), self.qkv).reshape(batch, pixels, 3, self.heads, -1)
        q, k = _rms_norm(qkv[:, :, :2]).transpose(2, 0, 3, 1, 4)
        v = qkv[:, :, 2].swapaxes(1, 2)
        q *= np.float32(q.shape[-1] ** -0.5)
        attention = q @ k.swapaxes(-1, -2)
        attention += self.bias
        np.exp(attention, out=attention)
        mixed = attention @ v
        mixed /= np.einsum("...k->...", attention)[..., None]
        h += _product(mixed.swapaxes(1, 2).reshape(batch, pixels, width), self.attention_out)
        hidden = _product(_rms_norm(h), self.up)
        np.maximum(hidden, 0, out=hidden)
        hidden *= hidden
        h += _product(hidden, self.down)


def log_softmax(logits: FloatArray) -> FloatArray:
    """Normalise logits (B, K, N) over axis 1 in place, and floor them at -70."""
    logits -= logits.max(axis=1, keepdims=True)
    logits -= np.log(np.exp(logits).sum(axis=1, keepdims=True))
    np.maximum(logits, np.float32(LOG_FLOOR), out=logits)
    return logits


def _product(x: FloatArray, weight: FloatArray) -> FloatArray:
    """x @ weight, 16 pixels at a time: larger products make OpenBLAS use threads, and wait long on
    a busy machine.
    """
    return (x.reshape(-1, 16, x.shape[-1]) @ weight).reshape(*x.shape[:-1], -1)


def _rms_norm(h: FloatArray) -> FloatArray:
    mean_square = np.einsum("...c,...c->...", h, h)[..., None] / np.float32(h.shape[-1])
    root: FloatArray = np.sqrt(mean_square + np.float32(1e-6))
    return h / root


def _checked(
    values: npt.ArrayLike | SupportsIndex, name: str, shape: tuple[int | None, ...], highest: int
) -> npt.NDArray[Any]:
    """`values` as an array of integers 0 … highest; None in `shape` stands for any length."""
    array: npt.NDArray[Any] = np.asarray(values)
    fits = array.ndim == len(shape) and all(
        want in (None, got) for want, got in zip(shape, array.shape, strict=True)
    )
    if not fits or array.dtype.kind not in "iu":
        raise ValueError(
            f"{name} must be integers of shape {shape}, got {array.dtype} of shape {array.shape}"
        )
    if array.size and not (array.min() >= 0 and array.max() <= highest):
        raise ValueError(f"{name} must be in 0 ... {highest}, got {array.min()} ... {array.max()}")
    return array


def _packaged_weights() -> dict[str, npt.NDArray[Any]]:
    with (
        resources.files(__package__).joinpath("digits.npz").open("rb") as file,
        np.load(file) as archive,
    ):
        return dict(archive)
