"""Tokens drawn from a model's logits, and how sure the model is of each, in one read."""

from __future__ import annotations

from typing import Any, NamedTuple, SupportsFloat

import numpy as np
import numpy.typing as npt

from . import _native, threads
from .arguments import as_array, as_float, as_tensor
from .guidance import FloatArray, check_no_tensor


class TokenScores(NamedTuple):
    """What `token_scores` returns: arrays of shape (B, N). With p = softmax(logits), of which
    p₁ and p₂ are the largest:

    Attributes
    ----------
    token : numpy.ndarray of int64
        The classes drawn.
    probability : numpy.ndarray
        p of the token.
    entropy : numpy.ndarray
        -Σ p log p, in nats.
    margin : numpy.ndarray
        p₁ - p₂.
    logsumexp : numpy.ndarray
        log Σ exp(logits).
    """

    token: npt.NDArray[np.int64]
    probability: FloatArray
    entropy: FloatArray
    margin: FloatArray
    logsumexp: FloatArray


def token_scores(
    logits: npt.ArrayLike, uniforms: npt.ArrayLike | None = None, temperature: SupportsFloat = 1.0
) -> TokenScores:
    """Draw a token for every pixel and tell how sure the model is, in one read of its logits.

    Parameters
    ----------
    logits : array of float16, float32 or float64, shape (B, K, N)
        Log-probabilities up to a constant for each pixel: no log-softmax is needed. Any strides.
        Logits (B, N, K) of a language model are `logits.transpose(0, 2, 1)`, which copies nothing
        and is the fastest layout. For torch tensors there is `vqdiffusion.torch.token_scores`.
    uniforms : array of float32 or float64, shape (B, N), optional
        One number in [0, 1) for each pixel, such as `rng.random((B, N))`: an exact draw from
        softmax(logits / temperature), by inverting its cumulative distribution. float32 has 24
        bits: it does not reach probabilities below 6e-8. Without uniforms the token is the argmax,
        the lowest index of equals.
    temperature : float
        Of the draw alone: the scores are those of softmax(logits), so that they say the same at
        any temperature. At 0 the token is the argmax, whatever the uniforms. For the scores of
        softmax(logits / temperature), pass logits / temperature.

    Returns
    -------
    TokenScores
        A named tuple (token, probability, entropy, margin, logsumexp). Numbers are float64 when
        `logits` is, else float32; entropy and margin are right to 1e-6, in float64 to 1e-12.

    Raises
    ------
    TypeError
        If `logits` or `uniforms` is not floating or is a torch tensor.
    ValueError
        If shapes disagree, `logits` holds NaN or +inf or a column of nothing but -inf, a uniform is
        not in [0, 1), or `temperature` is negative, NaN or infinite.
    """
    check_no_tensor(logits, "logits", "token_scores")
    check_no_tensor(uniforms, "uniforms", "token_scores")
    array = as_tensor(logits, "logits")
    batch, _, pixels = array.shape
    wide = np.float64 if array.dtype == np.float64 else np.float32
    scores = TokenScores(
        np.empty((batch, pixels), np.int64), *(np.empty((batch, pixels), wide) for _ in range(4))
    )
    given = None if uniforms is None else as_pixel_uniforms(uniforms)
    temperature = as_float(temperature, "temperature")
    _native.token_scores(array, given, temperature, *scores, threads._num_threads)
    return scores


def as_pixel_uniforms(value: Any) -> npt.NDArray[Any]:
    """`value` as an array, of float64 where it is of float32."""
    array = as_array(value, "uniforms")
    return array.astype(np.float64) if array.dtype == np.float32 else array
