"""Makes a copy of this tree whose native build has every native fault, chosen at run time by the
environment variable VQDIFFUSION_FAULT, and copies of the package with one Python fault each.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from catalogue import ROOT, faults

BUILT = ROOT / "build" / "faults"
TREE = BUILT / "tree"
LEFT_OUT = {".git", ".build", "build", "dist"}  # at the top; and what tools keep in dot folders
IGNORED = {"__pycache__"}

HEADER = """/* Which planted fault runs: the number in VQDIFFUSION_FAULT. */
#ifndef VQD_PLANTED_H
#define VQD_PLANTED_H
extern int vqd_fault;
static inline _Bool vqd_planted(int fault) {
    return vqd_fault == fault;
}
#endif
"""
DEFINITION = """#include "planted.h"
#include <stdlib.h>
int vqd_fault;
__attribute__((constructor)) static void read_fault(void) {
    const char *number = getenv("VQDIFFUSION_FAULT");
    vqd_fault = number ? atoi(number) : 0;
}
"""


def planted(fault):
    """The text that chooses between the two at run time."""
    condition = f"vqd_planted({fault.number})"
    if fault.form == "expression":
        return f"({condition} ? ({fault.becomes}) : ({fault.was}))"
    if fault.file.endswith(".swift"):
        condition = f"{condition} "
    else:
        condition = f"({condition}) "
    return f"if {condition}{{\n{fault.becomes}\n}} else {{\n{fault.was}\n}}"


def native_sources():
    """The text of every file that is other in the copy, by its path in the tree."""
    places = {}
    for fault in faults():
        if fault.is_native:
            at = (ROOT / fault.file).read_text().index(fault.was)
            places.setdefault(fault.file, []).append((at, fault))
    texts = {}
    for name, found in places.items():
        text = (ROOT / name).read_text()
        for at, fault in sorted(found, reverse=True, key=lambda place: place[0]):
            text = text[:at] + planted(fault) + text[at + len(fault.was) :]
        texts[name] = text
    for name, text in texts.items():
        if name.endswith(".swift") and "import CVQDiffusion" not in text:
            texts[name] = f"import CVQDiffusion\n{text}"
        elif name.endswith(".c"):
            texts[name] = f'#include "planted.h"\n{text}'
    include = "Sources/CVQDiffusion/include"
    shims = (ROOT / include / "shims.h").read_text()
    texts[f"{include}/shims.h"] = f'{shims}\n#include "planted.h"\n'
    texts[f"{include}/planted.h"] = HEADER
    texts["Sources/CVQDiffusion/planted.c"] = DEFINITION
    return texts


def write_where_other(path, data):
    """Leaves a file as old as it is where it holds that already, for builds to see."""
    if not path.exists() or path.read_bytes() != data:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def files_of_tree():
    for top in sorted(ROOT.iterdir()):
        if top.name in LEFT_OUT or (top.name.startswith(".") and top.is_dir()):
            continue
        for path in sorted(top.rglob("*")) if top.is_dir() else [top]:
            if path.is_file() and path.suffix != ".so" and not IGNORED & set(path.parts):
                yield path


def copy_tree():
    """Brings the copy up to date with this tree."""
    texts = native_sources()
    kept = {TREE / name for name in texts}
    for path in files_of_tree():
        name = str(path.relative_to(ROOT))
        kept.add(TREE / name)
        if name not in texts:
            write_where_other(TREE / name, path.read_bytes())
    for name, text in texts.items():
        write_where_other(TREE / name, text.encode())
    for folder in ("Sources", "Tests", "python"):
        for path in (TREE / folder).rglob("*"):
            stays = path in kept or path.suffix == ".so" or IGNORED & set(path.parts)
            if path.is_file() and not stays:
                path.unlink()


def run_logged(command, log, **options):
    """Runs a command of the build; its output is in a file, and shown where it fails."""
    with open(log, "w") as file:
        status = subprocess.run(command, stdout=file, stderr=file, cwd=TREE, **options).returncode
    if status != 0:
        sys.exit(f"{Path(log).read_text()[-6000:]}\n{' '.join(map(str, command))} failed: {log}")


def build(cpu, swift_tests):
    """Builds the copy for one CPU level: the module, the program of Tests/C, and Swift's tests."""
    environment = {**os.environ, "VQDIFFUSION_BUILD_CPUS": cpu}
    command = [sys.executable, "setup.py", "build_ext", "--inplace"]
    run_logged(command, BUILT / "build.log", env=environment)
    archive = TREE / f"build/swift-{cpu}/release/libVQDiffusionABI.a"
    sources = sorted(map(str, (TREE / "Tests" / "C").glob("*.c")))
    compiler = os.environ.get("CC", "cc")
    command = [compiler, "-std=c11", "-O1", "-ISources/CVQDiffusion/include", *sources]
    command += [str(archive), "-lm", "-lpthread", "-o", str(BUILT / "abi_test")]
    run_logged(command, BUILT / "c.log")
    if swift_tests:
        run_logged(["swift", "build", "--build-tests"], BUILT / "swift.log")


def package_with(fault):
    """A folder for PYTHONPATH that holds the package with a Python fault."""
    folder = BUILT / "python" / str(fault.number)
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(
        TREE / "python" / "vqdiffusion",
        folder / "vqdiffusion",
        ignore=shutil.ignore_patterns(*IGNORED),
    )
    path = folder / Path(fault.file).relative_to("python")
    path.write_text(path.read_text().replace(fault.was, fault.becomes))
    return folder
