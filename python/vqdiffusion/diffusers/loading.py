"""How pipeline folders are read that diffusers cannot read itself: old ones, and those with classes it has not."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import Any

import diffusers

# diffusers' loader looks up in this module which kind of component the transformer is.
from diffusers import ConfigMixin, ModelMixin
from diffusers import Transformer2DModel as StockTransformer
from diffusers.pipelines import pipeline_loading_utils

from .stock import LearnedClassifierFreeSamplingEmbeddings

__all__ = ["ModelMixin", "Transformer2DModel", "lend_names", "readable"]

_HERE = "vqdiffusion.diffusers"


class Transformer2DModel(StockTransformer):
    """Loads a `diffusers.Transformer2DModel`, and is never instantiated itself.

    diffusers' own loader first looks whether the transformer is one of two other models, by the key `norm_type`, which
    old configurations do not have; from 0.28 to 0.34 it then calls itself without end.
    """

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, **options: Any) -> Any:
        return ModelMixin.from_pretrained.__func__(cls, pretrained_model_name_or_path, **options)

    @classmethod
    def from_config(cls, config: Any, return_unused_kwargs: bool = False, **options: Any) -> Any:
        norm_type = "layer_norm" if config.get("num_embeds_ada_norm") is None else "ada_norm"
        config = {"norm_type": norm_type, **config}
        return ConfigMixin.from_config.__func__(
            StockTransformer, config, return_unused_kwargs, **options
        )


def readable(index: dict[str, Any]) -> dict[str, Any]:
    """`index`, the content of a model_index.json, with each component under a class that can load it."""
    index = dict(index)
    if index.get("transformer") == ["diffusers", "Transformer2DModel"]:
        index["transformer"] = [__name__, "Transformer2DModel"]
    scheduler = "VQDiffusionScheduler"
    if index.get("scheduler") == ["diffusers", scheduler] and not hasattr(diffusers, scheduler):
        index["scheduler"] = [_HERE, scheduler]
    return index


def lend_names() -> None:
    """Makes diffusers find the components that model_index.json files name.

    The class of the embeddings, which diffusers keeps in the module of the pipeline, gets the two names under which
    they refer to it: in `vq_diffusion` as published, in `diffusers` as saved by versions since 0.25. That module and
    this package become libraries whose components may be downloaded. All this stays, as loaders in other threads may
    be looking for it.
    """
    name = "LearnedClassifierFreeSamplingEmbeddings"
    if not hasattr(diffusers, name):
        setattr(diffusers, name, LearnedClassifierFreeSamplingEmbeddings)
    if "vq_diffusion" not in sys.modules and find_spec("vq_diffusion") is None:
        sys.modules["vq_diffusion"] = sys.modules[
            LearnedClassifierFreeSamplingEmbeddings.__module__
        ]
    methods = ["save_pretrained", "from_pretrained"]
    for library in ("vq_diffusion", _HERE):
        pipeline_loading_utils.LOADABLE_CLASSES.setdefault(
            library, {"SchedulerMixin": methods, "ModelMixin": methods}
        )
