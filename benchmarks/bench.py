"""Times the scheduler beside diffusers', a compiled rewrite and plain NumPy, by turns in one
process, and checks in the same run that all computed the same.

    make bench

writes results.json, results.md and speed.svg beside this file and prints the rows of the table in
README.md. With --quick tiny shapes are run, to see that all works; nothing is then written but to
the folder given by --output. The status is 1 when a check fails.
"""

import argparse
import datetime
import json
import os
import platform
import sys
import time
from pathlib import Path

import diffusers
import numpy as np
import torch

import vqdiffusion
from cases import SHAPES, TIMESTEPS
from measure import memory, scaling, small, steps_and_posteriors
from plot import draw
from report import checks, everything, number, place, readme
from spinning import spinning_times
from timing import bandwidth
from vqdiffusion import _native

HERE = Path(__file__).resolve().parent

QUICK_SHAPES = [(1, 65, 33), (2, 18, 7)]
QUICK_CURVES = {
    "K": [(k, (1, k + 1, 16)) for k in (8, 32)],
    "threads": [(1, (1, 65, 33)), (2, (1, 65, 33))],
}
CURVES = {
    "K": [(k, (1, k + 1, 1024)) for k in (16, 64, 256, 1024, 4096, 16384)],
    "N": [(n, (1, 4097, n)) for n in (16, 64, 256, 1024, 4096)],
    "B": [(b, (b, 1025, 256)) for b in (1, 2, 4, 8, 16, 32)],
    "threads": [(n, (1, 4097, 1024)) for n in (1, 2)],
}


def this_machine():
    with open("/proc/cpuinfo") as file:
        names = [line.split(":")[1].strip() for line in file if line.startswith("model name")]
    return {
        "processor": names[0] if names else platform.machine(),
        "cores": len(names),
        "level": _native.cpu,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", ""),
        "diffusers": diffusers.__version__,
        "vqdiffusion": vqdiffusion.__version__,
    }


def log(row):
    times = ", ".join(f"{name} {number(value['ms'])}" for name, value in row["times"].items())
    print(
        f"{place(row['shape'])}, {row['layout']}, t = {row['t']}: {times} ms\n    {checks(row)}",
        flush=True,
    )


def every_check(value):
    """All checks, however deep."""
    if isinstance(value, dict):
        if "holds" in value and "says" in value:
            yield value
        else:
            for part in value.values():
                yield from every_check(part)
    elif isinstance(value, list):
        for part in value:
            yield from every_check(part)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="tiny shapes and few calls")
    parser.add_argument(
        "--no-compile",
        action="store_true",
        help="leave torch.compile out, which needs a C++ compiler",
    )
    parser.add_argument(
        "--seconds",
        type=float,
        help="for each slow function at each point (default: 0.2, quick 0.01)",
    )
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="write there instead")
    arguments = parser.parse_args()
    quick, with_compile = arguments.quick, not arguments.no_compile
    effort = {"seconds": arguments.seconds or 0.2, "most": 25}
    if quick:
        effort = {"seconds": arguments.seconds or 0.01, "most": 2, "written": 1}
    first_effort = {
        "seconds": 4 * effort["seconds"],
        "most": 4 * effort["most"],
        "least": 3 if quick else 11,
    }
    shapes, timesteps = (QUICK_SHAPES, [50, 1, 0]) if quick else (SHAPES, TIMESTEPS)

    start = time.perf_counter()
    torch.manual_seed(0)
    results = {
        "command": " ".join(["python benchmarks/bench.py", *sys.argv[1:]]),
        "date": datetime.date.today().isoformat(),
        "machine": this_machine(),
        "bandwidth": {str(n): bandwidth(8 if quick else 1024, n) for n in (1, 2)},
    }
    results |= steps_and_posteriors(shapes, timesteps, effort, first_effort, with_compile, log)
    results["spinning"] = spinning_times(effort, shapes[0])
    results["small"] = small()
    results["scaling"] = scaling(QUICK_CURVES if quick else CURVES, effort, with_compile, log)
    results["memory"] = memory(shapes[0], ["gumbel", "guided_step"] if quick else None)
    results["seconds"] = time.perf_counter() - start

    print(f"\nFor README.md:\n\n{readme(results)}\n\n{results['seconds']:.0f} s")
    failed = [check["says"] for check in every_check(results) if not check["holds"]]
    if failed:
        print("FAILED: " + "; ".join(failed))
    else:
        print("Every check holds.")
    if arguments.output or not quick:
        write(results, arguments.output or HERE)
    return 1 if failed else 0


def write(results, folder):
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(results, indent=1, ensure_ascii=False)
    (folder / "results.json").write_text(text + "\n")
    (folder / "results.md").write_text(everything(results))
    if not draw(results, folder / "speed.svg"):
        print("matplotlib is not installed: no picture.")


if __name__ == "__main__":
    sys.exit(main())
