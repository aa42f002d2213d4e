"""The extension modules as files: what they need, what they export and how they are hardened.

Those of the installed package; and those of all wheels in the folder that VQDIFFUSION_WHEELS names,
for this machine or another, which is how `make wheels` runs this file.
"""

import os
import re
import shutil
import subprocess
import sysconfig
import zipfile
from pathlib import Path

import pytest
from cpu_levels import EVERY_LEVEL, module_name

import vqdiffusion

STABLE_ABI = not sysconfig.get_config_var("Py_GIL_DISABLED")
INSTALLED = sorted(Path(vqdiffusion.__file__).parent.glob("*.so"))
WHEELS = sorted(Path(os.environ.get("VQDIFFUSION_WHEELS", os.devnull)).glob("*.whl"))


def in_wheels():
    """Each extension module of each wheel, as wheel and name."""
    for wheel in WHEELS:
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                if name.endswith(".so"):
                    yield wheel, name


@pytest.fixture(
    params=[*INSTALLED, *in_wheels()],
    ids=lambda param: param.name if isinstance(param, Path) else param[1].rpartition("/")[2],
)
def path(request, tmp_path):
    """One extension module."""
    if isinstance(request.param, Path):
        return request.param
    wheel, name = request.param
    with zipfile.ZipFile(wheel) as archive:
        return Path(archive.extract(name, tmp_path))


def output_of(*command):
    return subprocess.run(
        list(map(str, command)), check=True, capture_output=True, text=True
    ).stdout


def is_x86_64(path):
    return "X86-64" in output_of("readelf", "-h", path)


def symbols(path):
    """Of each dynamic symbol: whether it is defined here, its name, and the version it needs."""
    for line in output_of("readelf", "--dyn-syms", "-W", path).splitlines():
        words = line.split()
        if len(words) >= 8 and words[3] in ("FUNC", "OBJECT", "NOTYPE"):
            name, _, version = words[7].partition("@")
            yield words[6] != "UND", name, version.lstrip("@")


def code(path, *options):
    """The instructions, by the disassembler of the Swift toolchain, which knows all machines."""
    disassembler = Path(shutil.which("swiftc")).resolve().with_name("llvm-objdump")
    return output_of(disassembler, "-d", "--no-show-raw-insn", *options, path)


def test_names():
    """A wheel has one for each level, what is installed at least some."""
    suffix = "abi3.so" if STABLE_ABI else sysconfig.get_config_var("EXT_SUFFIX").removeprefix(".")
    assert {path.name for path in INSTALLED} <= {
        f"{module_name(level)}.{suffix}" for level in EVERY_LEVEL[os.uname().machine]
    }
    for wheel in WHEELS:
        machine = next(machine for machine in EVERY_LEVEL if wheel.stem.endswith(machine))
        assert [name for of, name in in_wheels() if of == wheel] == [
            f"vqdiffusion/{module_name(level)}.{suffix}" for level in EVERY_LEVEL[machine]
        ]


def test_needs_only_the_c_library(path):
    dynamic = output_of("readelf", "-d", path)
    assert set(re.findall(r"\(NEEDED\).*\[([\w-]+)\.so", dynamic)) <= {
        "libc",
        "libm",
        "libpthread",
        "ld-linux-x86-64",
        "ld-linux-aarch64",
    }
    assert not re.search("RPATH|RUNPATH|TEXTREL", dynamic)


def test_runs_on_glibc_2_28(path):
    """What manylinux_2_28 allows, on whatever system this was linked."""
    needed = {
        version: tuple(map(int, version.removeprefix("GLIBC_").split(".")))
        for _, _, version in symbols(path)
        if version
    }
    assert needed
    assert not {version for version, number in needed.items() if number > (2, 28)}


def test_exports_its_entry_point_alone(path):
    names = {True: [], False: []}
    for is_defined, name, _ in symbols(path):
        names[is_defined].append(name)
    assert names[True] == [f"PyInit_{path.name.split('.')[0]}"]
    ours = "swift_", "$s", "$e", "_swift", "vqd_"
    assert not [name for name in names[False] if name.startswith(ours)]


def test_is_stripped(path):
    assert not re.search(r"\.(symtab|debug_\w+)\b", output_of("readelf", "-S", "-W", path))


def test_tells_no_folder_of_the_build(path):
    root = Path(__file__).resolve().parents[2]
    for folder in root, Path.home():
        assert folder == Path("/") or bytes(folder / "x")[:-1] not in path.read_bytes()


def test_is_hardened(path):
    dynamic, segments = output_of("readelf", "-d", path), output_of("readelf", "-l", "-W", path)
    assert "BIND_NOW" in dynamic  # full RELRO: every address of a function is read-only ...
    assert "GNU_RELRO" in segments
    (stack,) = re.findall(r"GNU_STACK .*", segments)
    assert " RW " in stack and "E" not in stack.split(" RW ")[1]  # ... and no stack executable
    names = {name for _, name, _ in symbols(path)}
    assert "__stack_chk_fail" in names
    assert "__snprintf_chk" in names and "snprintf" not in names  # _FORTIFY_SOURCE
    # Functions that are called by address begin with what a processor accepts as their begin.
    begins = {True: r"\bendbr64\b", False: r"\b(paciasp|bti\s+c)\b"}[is_x86_64(path)]
    assert len(re.findall(begins, code(path))) > 50


def test_has_no_instructions_above_its_level(path):
    """The linker merges functions of one name, so a copy for another level could end up here."""
    if not is_x86_64(path):
        pytest.skip("AArch64 has one level")
    text = code(path)
    wide, widest = "%ymm" in text, "%zmm" in text
    assert (wide, widest) == {"x86_64": (False, False), "x86_64_v3": (True, False)}.get(
        path.name[8:].split(".")[0], (True, True)
    )
    if not wide:
        assert not re.search(r"\tv[a-z]+[sp][sd]\s", text), "AVX instructions on 128-bit registers"


def test_vectors_are_neons(path):
    if is_x86_64(path):
        pytest.skip("not for AArch64")
    assert len(re.findall(r"\bfmla\s+v\d+\.4s", code(path))) > 500
