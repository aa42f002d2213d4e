"""What the tests against diffusers share. They need torch, diffusers and transformers, and skip
nothing.
"""

import sys
import warnings
from pathlib import Path

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # theirs, while they are imported
    import diffusers
    import torch
    import transformers

    diffusers.VQDiffusionPipeline  # imported at the first use
    transformers.CLIPTextModel

sys.path.insert(0, str(Path(__file__).parent))  # diffusers_case.py, tiny_pipeline.py

torch.set_num_threads(
    1
)  # the tensors are small, and threads of torch that wait for each other spin

# Warnings of diffusers about its own code and of torch about its own compiler; everything else is
# an error.
THEIRS = (
    "ignore:Accessing config attribute .* directly via:FutureWarning",
    "ignore:The configuration file of this model:FutureWarning",
    "ignore:.Transformer2DModelOutput. is deprecated:FutureWarning",
    # by torch 2.3, of importlib
    "ignore:the load_module.. method is deprecated:DeprecationWarning",
    "ignore::DeprecationWarning:torch\\..*",
)


def pytest_collection_modifyitems(items):
    # Once torch.compile has run, torch 2.3 evaluates every Python call by a function of its own,
    # and Python then handles signals also between the return of a call and the assignment of its
    # result.
    items.sort(key=lambda item: item.path.name != "test_drop_in_interrupts.py")
    for item in items:
        if Path(__file__).parent in item.path.parents:
            for line in THEIRS:
                item.add_marker(pytest.mark.filterwarnings(line))


@pytest.fixture(autouse=True)
def seeded():
    """Every test begins with the same global generator, and leaves torch's defaults alone."""
    torch.manual_seed(20240517)
    dtype = torch.get_default_dtype()
    yield
    torch.set_default_dtype(dtype)
