"""diffusers' VQ-Diffusion pipeline and embeddings, or embeddings like those where it has none."""

from __future__ import annotations

import sys
from typing import Any

import diffusers
import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config

StockPipeline: Any = getattr(diffusers, "VQDiffusionPipeline", None)

if StockPipeline is not None:
    LearnedClassifierFreeSamplingEmbeddings: Any = sys.modules[
        StockPipeline.__module__
    ].LearnedClassifierFreeSamplingEmbeddings
else:

    class LearnedClassifierFreeSamplingEmbeddings(  # type: ignore[no-redef]
        ModelMixin, ConfigMixin
    ):
        """What stands for an encoded prompt where guidance needs the model's output without one.

        Parameters
        ----------
        learnable : bool
            Whether it was learned with the model. Else the pipeline encodes the empty prompt.
        hidden_size, length : int, optional
            The features of an encoded token and the tokens of a prompt. Needed if `learnable`.

        Attributes
        ----------
        embeddings : torch.nn.Parameter of float32, shape (length, hidden_size)
            Zeros until weights are loaded; empty if not `learnable`.

        Raises
        ------
        ValueError
            If `learnable` and `hidden_size` or `length` is missing.
        """

        # The name that pipelines write down and look the class up by, and pickles too.
        __module__ = "vqdiffusion.diffusers"

        @register_to_config
        def __init__(
            self, learnable: bool, hidden_size: int | None = None, length: int | None = None
        ) -> None:
            super().__init__()
            if learnable and (hidden_size is None or length is None):
                raise ValueError("hidden_size and length must be given if learnable is True")
            self.learnable = learnable
            self.embeddings = torch.nn.Parameter(
                torch.zeros(length, hidden_size) if learnable else torch.empty(0)
            )
