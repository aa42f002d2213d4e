"""Plants each of the listed faults and runs the tests until one notices it: `make faults`.

    python Tests/faults/run.py [--jobs N] [--cpu LEVEL] [--unchecked] [PART,...]

PART selects the faults whose name, kind or file contains it. The status is 1 where fewer than 95 %
of them are noticed, or one is not that the list does not explain.
"""

import argparse
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, as_completed

import plant
from catalogue import faults, problems
from suites import as_suite, fallbacks, in_groups, run_suites

from vqdiffusion import _native

LEAST = 0.95


def selected(parts):
    """The faults of a list of parts of their names, kinds or files."""

    def is_meant(fault, part):
        texts = fault.name, fault.kind, fault.file
        return any(part.lower() in text.lower() for text in texts)

    return [fault for fault in faults() if not parts or any(is_meant(fault, p) for p in parts)]


def notice(fault):
    """By which test a fault is noticed, or None, and in how many seconds."""
    begin = time.monotonic()
    folder = None if fault.is_native else plant.package_with(fault)
    found = run_suites(fault.tests, fault.number, folder)
    if found is None:
        for suites in fallbacks(fault):
            found = run_suites(suites, fault.number, folder)
            if found:
                # A test that fails anyway notices nothing.
                if run_suites([as_suite(found)], 0):
                    sys.exit(f"A test fails without any fault: {found.test}")
                break
    return found, time.monotonic() - begin


def check_without_faults(chosen, pool):
    """Ends the program where a test fails without any fault."""
    suites = sorted({suite for fault in chosen for suite in fault.tests})
    print(f"Without a fault: {len(suites)} suites", flush=True)
    for found in pool.map(lambda group: run_suites([group], 0), in_groups(suites)):
        if found:
            sys.exit(f"A test fails without any fault: {found.test}\n{found.output[-3000:]}")


def summary(results):
    """How many of each kind were noticed, as lines."""
    kinds = Counter(fault.kind for fault, _, _ in results)
    noticed = Counter(fault.kind for fault, found, _ in results if found)
    yield f"{'kind':20} faults noticed"
    for kind, count in kinds.items():
        yield f"{kind:20} {count:6} {noticed[kind]:7}"
    yield f"{'all':20} {len(results):6} {noticed.total():7}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", help="parts of names, separated by commas")
    parser.add_argument("--jobs", type=int, default=2, help="faults at a time")
    parser.add_argument("--cpu", default=_native.supported_cpus()[-1])
    parser.add_argument("--unchecked", action="store_true", help="not without faults before")
    given = parser.parse_args()
    parts = [part.strip() for one in given.parts for part in one.split(",") if part.strip()]
    chosen = selected(parts)
    for sentence in problems() or ([] if chosen else [f"no fault matches {parts}"]):
        sys.exit(sentence)

    begin = time.monotonic()
    plant.BUILT.mkdir(parents=True, exist_ok=True)
    plant.copy_tree()
    print(f"Building every native fault for {given.cpu}", flush=True)
    plant.build(given.cpu, any(test.startswith("swift:") for f in chosen for test in f.tests))
    print(f"{time.monotonic() - begin:.0f} s", flush=True)
    results = []
    with ThreadPoolExecutor(given.jobs) as pool:
        if not given.unchecked:
            check_without_faults(chosen, pool)
            print(f"{time.monotonic() - begin:.0f} s", flush=True)
        running = {pool.submit(notice, fault): fault for fault in chosen}
        for future in as_completed(running):
            fault, (found, seconds) = running[future], future.result()
            results.append((fault, found, seconds))
            by = found.test if found else f"NOT NOTICED {fault.unnoticed}".strip()
            print(f"{fault.kind}: {fault.name}\n    {seconds:5.1f} s  {by}")
            sys.stdout.flush()
    print(*summary(results), f"{time.monotonic() - begin:.0f} s", sep="\n")
    missed = [fault for fault, found, _ in results if not found]
    unexplained = [fault.name for fault in missed if not fault.unnoticed]
    for name in unexplained:
        print(f"Neither noticed nor explained: {name}")
    sys.exit(bool(unexplained) or len(missed) > (1 - LEAST) * len(results))


if __name__ == "__main__":
    main()
