"""Runs suites of tests of the copy with one fault: Python's by pytest, C's and Swift's by their
programs.
"""

import os
import re
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass

import plant

LIMIT = 300  # seconds of a suite, which take 60 at most without a fault
LIMIT_OF_ALL = 3600
SWIFT = ".build/debug/VQDiffusionPackageTests.xctest"
# Of the build, the documents and other levels, whatever the fault.
NOT_OF_THE_CODE = [
    f"test_{name}.py"
    for name in (
        *("build", "docs_pages", "faults_list", "native_levels", "order_scripts", "orders_page"),
        *("orders_figures", "recipes_page", "release", "shared_objects", "plot", "demo_html"),
        *("levels_and_threads", "determinism", "subinterpreters"),
    )
]


@dataclass(frozen=True)
class Found:
    """What a fault has been noticed by."""

    suite: str
    test: str
    output: str


def fallbacks(fault):
    """Lists of suites to try where those of the fault notice nothing."""
    if fault.kind == "Python, torch":
        return [["all:diffusers"]]
    if fault.kind == "Swift class":
        return [["swift:"]]
    return [["all"], ["all:diffusers"], ["swift:"]] if fault.is_native else [["all"]]


def as_suite(found):
    """The test that has noticed a fault, or where none is named the suite, to run it alone."""
    match = re.match(r"((?:\w+/)?)test_(\w+)\.py(::\w+)", found.test)
    return "".join(match.groups()) if match else found.suite


def run_suites(suites, number, folder=None):
    """What notices the fault of a number first, or None. `folder` holds a package with it."""
    for suite in suites:
        with tempfile.TemporaryDirectory() as memory:
            environment = {
                **os.environ,
                "VQDIFFUSION_FAULT": str(number),
                "PYTHONPATH": str(folder or plant.TREE / "python"),
                "PYTHONDONTWRITEBYTECODE": "1",
                "HYPOTHESIS_STORAGE_DIRECTORY": memory,
                # One thread for torch, as many as there are cores for the package.
                "OMP_NUM_THREADS": "1",
                "VQDIFFUSION_NUM_THREADS": "0",
            }
            found = run(suite, environment)
        if found:
            return found
    return None


def command_of(suite):
    """The command that runs a suite, in the copy."""
    if suite == "C":
        return [str(plant.BUILT / "abi_test")]
    if suite.startswith("swift:"):
        name = suite.removeprefix("swift:")
        chosen = ["--filter", name] if name else []
        return [str(plant.TREE / SWIFT), "--testing-library", "swift-testing", *chosen]
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
    command += ["--hypothesis-seed=0"]
    if suite == "all:diffusers":
        return [*command, "python/tests/diffusers"]
    if suite == "all":
        left_out = [f"--ignore=python/tests/{name}" for name in NOT_OF_THE_CODE]
        folders = ["--ignore=python/tests/diffusers", "--ignore=python/tests/ray"]
        return [*command, *folders, *left_out, "python/tests"]
    for name in suite.split():
        folder, slash, name = name.rpartition("/")
        name, colons, test = name.partition("::")
        command.append(f"python/tests/{folder}{slash}test_{name}.py{colons}{test}")
    return command


def in_groups(suites):
    """The same suites, of which those of NumPy, and those of torch, are one."""
    programs = [suite for suite in suites if suite == "C" or suite.startswith("swift:")]
    files = [suite for suite in suites if suite not in programs]
    of_torch = " ".join(suite for suite in files if suite.startswith("diffusers/"))
    of_numpy = " ".join(suite for suite in files if not suite.startswith("diffusers/"))
    return [group for group in (of_torch, of_numpy, *programs) if group]


def run(suite, environment):
    """What a suite notices, or None. A test that never ends or a crash notices, too."""
    limit = LIMIT_OF_ALL if " " in suite or suite in ("all", "all:diffusers", "swift:") else LIMIT
    process = subprocess.Popen(
        command_of(suite),
        cwd=plant.TREE,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        return Found(suite, f"{suite} does not end in {limit} s", output)
    if process.returncode == 0:
        return None
    if process.returncode < 0:
        name = signal.Signals(-process.returncode).name
        return Found(suite, f"{suite}: {name}{crashed_in(output)}", output)
    if process.returncode > 1 and "pytest" in process.args:
        sys.exit(f"{suite} did not run:\n{output[-3000:]}")
    return Found(suite, first_failure(suite, output), output)


def first_failure(suite, output):
    """The first test that an output names as failed."""
    patterns = [
        r"^(?:FAILED|ERROR) (?:python/tests/)?(\S+)",
        r"Test (\S+) (?:recorded an issue|failed)",
        r"(Tests/C/\S+?\.c:\d+): ",
    ]
    for pattern in patterns:
        match = re.search(pattern, output, re.MULTILINE)
        if match:
            return match[1]
    return suite


def crashed_in(output):
    """The test that was running, by the stack that faulthandler writes."""
    match = re.search(r'File ".*python/tests/(\S+\.py)", line \d+ in (test_\w+)', output)
    return f" in {match[1]}::{match[2]}" if match else ""
