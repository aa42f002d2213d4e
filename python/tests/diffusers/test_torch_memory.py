"""Which tensors the native module is handed the memory of: it holds exactly their elements, or the
tensor is left to torch's formulas.
"""

import numpy as np
import pytest
import torch
from torch._subclasses import FakeTensorMode
from torch.autograd import forward_ad
from torch.func import functionalize, grad, jvp, vmap

from vqdiffusion.torch.view import numpy_view

X = torch.arange(6, dtype=torch.float32).reshape(2, 3) - 2.5


class Subclass(torch.Tensor):
    pass


class Wrapper(torch.Tensor):
    """Without memory of its own."""

    @staticmethod
    def __new__(cls, inner):
        return torch.Tensor._make_wrapper_subclass(cls, inner.shape, dtype=inner.dtype)

    @classmethod
    def __torch_dispatch__(cls, function, types, arguments=(), keywords=None):
        raise NotImplementedError


def inference_tensor():
    with torch.inference_mode():
        return X + 0


def fake():
    with FakeTensorMode():
        return torch.zeros(2, 3)


REACHED = {
    "contiguous": lambda: X,
    "transposed": lambda: X.T,
    "expanded": lambda: X[:1].expand(4, 3),
    "every second": lambda: X[:, ::2],
    "empty": lambda: X[:0],
    "one": lambda: X[0, 0],
    "float64": lambda: X.double(),
    "float16": lambda: X.half(),
    "integers": lambda: X.long(),
    "needing gradients": lambda: X.clone().requires_grad_(),
    "a parameter": lambda: torch.nn.Parameter(X),
    "a result that needs gradients": lambda: 2 * X.clone().requires_grad_(),
    "a subclass": lambda: X.as_subclass(Subclass),
    "of inference mode": inference_tensor,
}
OUT_OF_REACH = {
    "negative view": lambda: torch._neg_view(X),
    "conjugate view": lambda: torch.complex(X, X).conj(),
    "imaginary part of a conjugate view": lambda: torch.complex(X, X).conj().imag,
    "meta": lambda: X.to("meta"),
    "sparse": lambda: X.to_sparse(),
    "sparse rows": lambda: X.to_sparse_csr(),
    "wrapper": lambda: Wrapper(X),
    "fake": fake,
    "8 bits": lambda: X.to(torch.float8_e4m3fn),
}


@pytest.mark.parametrize("kind", REACHED)
def test_reached(kind):
    tensor = REACHED[kind]()
    result = numpy_view(tensor, "x")
    np.testing.assert_array_equal(result, tensor.detach().numpy())
    assert result.ctypes.data == tensor.data_ptr() or result.size == 0


@pytest.mark.parametrize("kind", OUT_OF_REACH)
@pytest.mark.filterwarnings("ignore:Sparse CSR")
def test_out_of_reach(kind):
    assert numpy_view(OUT_OF_REACH[kind](), "x") is None


@pytest.mark.parametrize("needs_gradients", [False, True])
def test_bfloat16_as_its_bits(needs_gradients):
    tensor = X.bfloat16().requires_grad_(needs_gradients)
    result = numpy_view(tensor, "x")
    assert result.dtype.names == ("bfloat16",) and result.ctypes.data == tensor.data_ptr()
    np.testing.assert_array_equal(
        result["bfloat16"], tensor.detach().view(torch.int16).numpy().view(np.uint16)
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_tensors_that_stand_for_others(dtype):
    found = {}

    def look(name):
        def function(tensor):
            found[name] = numpy_view(tensor, "x")
            return tensor.sum()

        return function

    x = X.to(dtype)
    vmap(look("vmap"))(x)
    functionalize(look("functionalize"))(x)
    grad(look("grad"))(x)
    jvp(look("jvp"), (x,), (x,))
    assert set(found) == {"vmap", "functionalize", "grad", "jvp"}
    assert found["vmap"] is None and found["functionalize"] is None
    # These two hold elements, and may be told by them or left to torch, but never be told others.
    for name in "grad", "jvp":
        assert found[name] is None or np.array_equal(found[name], numpy_view(x, "x"))


def test_dual_numbers():
    with forward_ad.dual_level():
        result = numpy_view(forward_ad.make_dual(X, torch.ones_like(X)), "x")
    assert result is None or np.array_equal(result, X.numpy())
