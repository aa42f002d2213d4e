"""Arrays of other frameworks in the NumPy class: by `__dlpack__` on the CPU, or refused with a
sentence.
"""

import numpy as np
import pytest
import torch
from diffusers_case import generator, random_classes, random_log_p

from vqdiffusion import VQDiffusionScheduler, guide, truncate

K, N = 12, 9


class Foreign:
    """An array of another framework, such as JAX: nothing but the DLPack protocol."""

    def __init__(self, array):
        self._array = array

    def __dlpack__(self, **keywords):
        return self._array.__dlpack__(**keywords)

    def __dlpack_device__(self):
        return self._array.__dlpack_device__()


class OnAnAccelerator(Foreign):
    def __dlpack_device__(self):
        return (2, 0)  # CUDA

    def __dlpack__(self, **keywords):
        raise BufferError("this array is on device cuda:0")


@pytest.fixture
def case():
    return VQDiffusionScheduler(K + 1), random_log_p(2, K, N), random_classes(2, K, N)


@pytest.mark.parametrize(
    "kind",
    [lambda x: x, lambda x: Foreign(x.numpy()), Foreign],
    ids=["torch", "numpy's", "torch's"],
)
def test_arrays_with_dlpack(case, kind):
    scheduler, log_p, x = case
    expected = scheduler.step(log_p.numpy(), 7, x.numpy(), 5).prev_sample
    out = scheduler.step(kind(log_p), 7, kind(x), 5).prev_sample
    assert type(out) is np.ndarray and np.array_equal(out, expected)
    posterior = scheduler.q_posterior(log_p.numpy(), x.numpy(), 7)
    assert np.array_equal(scheduler.q_posterior(kind(log_p), kind(x), 7), posterior)
    if isinstance(kind(log_p), torch.Tensor):  # for which vqdiffusion.torch has both functions
        return
    assert np.array_equal(truncate(kind(log_p), 0.5), truncate(log_p.numpy(), 0.5))
    assert np.array_equal(
        guide(kind(log_p), kind(log_p), 2), guide(log_p.numpy(), log_p.numpy(), 2)
    )


@pytest.mark.parametrize(
    "refused",
    [
        lambda x: x.to("meta"),
        lambda x: x.requires_grad_(),
        lambda x: x.bfloat16(),
        lambda x: OnAnAccelerator(x.numpy()),
        lambda x: x.to_sparse(),
    ],
    ids=["meta", "with grad", "bfloat16", "accelerator", "sparse"],
)
def test_what_cannot_be_read_is_refused_by_name(case, refused):
    scheduler, log_p, x = case
    with pytest.raises((TypeError, ValueError), match="model_output could not be read as an array"):
        scheduler.step(refused(log_p), 7, x.numpy())


def test_a_generator_of_torch_is_refused_by_name(case):
    scheduler, log_p, x = case
    with pytest.raises(TypeError, match="generator must be None, an int"):
        scheduler.step(log_p, 7, x, generator(1))
