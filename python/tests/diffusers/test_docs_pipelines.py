"""docs/pipelines.md, run with a small pipeline."""

import docs_blocks
import tiny_pipeline
import torch
from diffusers_case import Ours
from tiny_pipeline import SIDE, pipeline

from vqdiffusion.diffusers import VQDiffusionPipeline


def test_the_page_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tiny_pipeline, "STEPS", 100)  # as many as pipelines run by default
    picture = torch.zeros(1, 3, 2 * SIDE, 2 * SIDE)
    names, _ = docs_blocks.run("pipelines.md", pipe=pipeline(), picture=picture)
    assert type(names["pipe"]) is VQDiffusionPipeline
    assert type(names["pipe"].scheduler) is Ours
    assert names["pipe"].scheduler.config.timestep_spacing == "trailing"
    assert names["known"].shape == (1, SIDE * SIDE) and len(names["images"]) == 2
