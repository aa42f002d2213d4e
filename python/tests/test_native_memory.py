"""Memory that native functions hold, ask for and do without."""

import mmap
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from native_calls import EVERY_ARRAY, FUNCTIONS, T, arguments, call
from native_checks import run_python
from schedule_of import schedule_of

from vqdiffusion import VQDiffusionScheduler, _native


def test_memory_can_be_resized_after_a_call():
    for dtype_is_wrong in (False, True):
        memory = bytearray(8 * T)
        named = arguments("schedule_logs")
        named["log_alpha"] = memory if dtype_is_wrong else memoryview(memory).cast("d")
        if dtype_is_wrong:
            with pytest.raises(TypeError, match="^log_alpha must be float64"):
                call("schedule_logs", named)
        else:
            call("schedule_logs", named)
            named["log_alpha"].release()
        memory.append(0)  # a BufferError while a buffer is held


def test_success_keeps_no_reference():
    for function in FUNCTIONS:
        named = arguments(function)
        arrays = [value for value in named.values() if isinstance(value, np.ndarray)]
        before = [sys.getrefcount(value) for value in arrays]
        call(function, named)
        assert [sys.getrefcount(value) for value in arrays] == before, function


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="None is not counted any more")
@pytest.mark.parametrize("function", FUNCTIONS)
def test_result_none_is_counted(function):
    named = arguments(function)
    before = sys.getrefcount(None)
    for _ in range(200):
        call(function, named)
    assert abs(sys.getrefcount(None) - before) < 100


def test_memory_that_cannot_be_had():
    code = """
        import re, resource, numpy as np
        from pathlib import Path
        from vqdiffusion import _native
        x = np.zeros((1, 20_000_000), np.uint8)
        out = np.full((1, 1, 20_000_000), 7, np.float32)
        size = 1024 * int(re.search(r"VmSize:\\s*(\\d+)", Path("/proc/self/status").read_text())[1])
        resource.setrlimit(resource.RLIMIT_AS, (size + 30_000_000, -1))
        try:
            _native.index_to_log_onehot(x, 1, out)
        except MemoryError as error:
            print(error)
        print((out == 7).all())
    """
    code, output, error = run_python(code)
    assert (code, error) == (0, "")
    assert re.fullmatch(r".*no memory for \d+ bytes.*\nTrue\n", output)


def test_no_call_leaves_the_memory_of_its_arrays():
    script = Path(__file__).with_name("guarded_calls.py")
    result = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120)
    assert (result.returncode, result.stderr) == (0, "")
    assert int(result.stdout) >= 2 * len(EVERY_ARRAY)


THP = Path("/sys/kernel/mm/transparent_hugepage/enabled")


LARGE_PAGES = pytest.mark.skipif(
    not THP.exists() or "[never]" in THP.read_text(), reason="the kernel has no large pages to give"
)
WITH_LARGE_OUTPUTS = [
    "q_posterior",
    "log_transition_rows",
    "apply_cumulative_transitions",
    "index_to_log_onehot",
    "gumbel_noised",
    "guide",
    "truncate",
]


@LARGE_PAGES
@pytest.mark.parametrize("function", WITH_LARGE_OUTPUTS)
@pytest.mark.parametrize("classes", [1200, 900])
def test_new_memory_of_outputs_of_4_mib_comes_in_large_pages(function, classes):
    """As /proc tells of each mapping. What lies around an output stays as it is."""
    pixels, around = 1024, 1 << 20
    size = 4 * (classes + 1) * pixels
    memory = mmap.mmap(-1, size + 2 * around, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    everything = np.frombuffer(memory, np.uint8)
    out = everything[around : around + size].view(np.float32).reshape(1, classes + 1, pixels)
    x, grid = np.full((1, classes + 1, pixels), -7.0, np.float32), np.zeros((1, pixels), np.int64)
    schedule = schedule_of(VQDiffusionScheduler(classes + 1))
    arguments = {
        "q_posterior": (*schedule, 9, 8, x[:, 1:], grid, out),
        "log_transition_rows": (*schedule, 9, False, grid, x, out),
        "apply_cumulative_transitions": (*schedule, 9, x[:, 1:], out),
        "index_to_log_onehot": (grid, classes + 1, out),
        "gumbel_noised": (x, np.full_like(x, 0.5), out),
        "guide": (x, x, 2.0, out),
        "truncate": (x, 2.0, -70.0, out),
    }
    getattr(_native, function)(*arguments[function])
    assert np.count_nonzero(out) >= classes * pixels
    start, end = everything.ctypes.data, everything.ctypes.data + len(everything)
    asked = [(a, b) for a, b, large in mappings() if a < end and b > start and large]
    whole = [start + around, start + around + size // mmap.PAGESIZE * mmap.PAGESIZE]
    assert [x for x, _ in asked[:1]] + [x for _, x in asked[-1:]] == (
        whole if size >= 4 << 20 else []
    )


@LARGE_PAGES
def test_memory_of_a_guided_step_with_many_classes():
    """Room for lists that stay short is no reason for large pages: some 3 MB, and 13 with them."""
    code = """
        import numpy as np
        from pathlib import Path
        from vqdiffusion import VQDiffusionScheduler
        def kilobytes(field):
            return int(Path("/proc/self/status").read_text().partition(field + ":")[2].split()[0])
        rng = np.random.default_rng(0)
        scheduler = VQDiffusionScheduler(16385, sampling_method="gumbel")
        def step(pixels):
            x = rng.normal(0, 3, (1, 16384, pixels)).astype(np.float32)
            y, grid = x[:, ::-1].copy(), np.full((1, pixels), 16384)
            Path("/proc/self/clear_refs").write_text("5")
            before = kilobytes("VmRSS")
            scheduler.guided_step(x, y, 50, grid, rng, truncation_rate=0.86)
            return kilobytes("VmHWM") - before
        step(16)
        print(step(512))
    """
    code, output, error = run_python(code)
    assert (code, error) == (0, "")
    assert int(output) < 7000


def mappings():
    """First address, end, and whether large pages were asked for, of each mapping."""
    for text in re.split(r"\n(?=[0-9a-f]+-[0-9a-f]+ )", Path("/proc/self/smaps").read_text()):
        first, end = re.match(r"([0-9a-f]+)-([0-9a-f]+) ", text).groups()
        yield int(first, 16), int(end, 16), " hg" in text.partition("VmFlags:")[2]
