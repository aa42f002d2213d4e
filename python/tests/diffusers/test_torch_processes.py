"""Every public class for tensors in child processes and on 32 threads, as test_processes.py and
test_many_threads.py have them for arrays.
"""

from functools import cache

import pytest
from class_uses import CHILDREN, on_threads
from native_checks import run_python
from torch_class_uses import USES


THREADS = 32


@cache
def results(method):
    code = f"""
        import sys
        sys.path.append("diffusers")
        if __name__ == "__main__":
            import warnings, class_uses, torch_class_uses
            warnings.simplefilter("ignore")
            class_uses.main({method!r}, "torch_class_uses", torch_class_uses.use_all)
    """
    status, out, err = run_python(code, PYTHONWARNINGS="ignore")
    assert status == 0, err
    return out.splitlines()


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("method", CHILDREN)
def test_a_child_computes_the_same(method, use):
    assert f"{use}: right" in results(method)


@pytest.mark.usefixtures("num_threads_restored")
@pytest.mark.parametrize("use", USES)
def test_thirty_two_threads_share_an_object(use):
    expected, found = on_threads(USES[use], THREADS, times=1)
    assert found == {expected}
