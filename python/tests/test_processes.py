"""Every public class in a child process, while another thread of its parent computes. Objects reach
the child as multiprocessing hands them over: by the fork, or pickled.
"""

from functools import cache

import pytest
from class_uses import CHILDREN, USES
from native_checks import run_python


@cache
def results(method):
    # Python warns of a fork beside a thread, which is what is tested.
    code = f"""
        if __name__ == "__main__":
            import warnings, class_uses
            warnings.simplefilter("ignore")
            class_uses.main({method!r})
    """
    status, out, err = run_python(code)
    assert (status, err) == (0, "")
    return out.splitlines()


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("method", CHILDREN)
def test_a_child_computes_the_same(method, use):
    assert f"{use}: right" in results(method)
