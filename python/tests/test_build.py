"""Wheel and sdist, and what the build says when a tool is missing. test_shared_objects.py has the
extension modules.
"""

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from pathlib import Path

import pytest
from cpu_levels import EVERY_LEVEL, module_name

import vqdiffusion
from vqdiffusion import _native

ROOT = Path(__file__).resolve().parents[2]
SHARED_OBJECTS = sorted(Path(vqdiffusion.__file__).parent.glob("*.so"))
STABLE_ABI = not sysconfig.get_config_var("Py_GIL_DISABLED")


def output_of(*command, **options):
    return subprocess.run(
        list(map(str, command)), check=True, capture_output=True, text=True, **options
    ).stdout


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="AArch64 runs all the other tests")
@pytest.mark.skipif(
    shutil.which("aarch64-linux-gnu-gcc") is not None, reason="`make wheels` compiles this"
)
def test_compiles_for_aarch64(tmp_path):
    """The Swift sources, for a CPU that is not there to run them: vectors become NEON's and no lane
    calls a function.
    """
    options = "-enable-experimental-feature Embedded -wmo -O -swift-version 6 "
    options += "-parse-as-library -emit-object"
    include, objects = ROOT / "Sources/CVQDiffusion/include", []
    for module in "VQDiffusion", "VQDiffusionABI":
        objects.append(tmp_path / f"{module}.o")
        output_of(
            *(
                "swiftc",
                "-target",
                "aarch64-none-none-elf",
                *options.split(),
                "-Xcc",
                "-ffreestanding",
            ),
            *("-I", include, "-I", tmp_path, "-module-name", module, "-o", objects[-1]),
            *("-emit-module", "-emit-module-path", tmp_path / f"{module}.swiftmodule"),
            *sorted(ROOT.glob(f"Sources/{module}/**/*.swift")),
        )
    names = {
        line.split()[-1]
        for line in output_of("nm", "--undefined-only", *objects).splitlines()
        if " U " in line
    }
    plain = {name for name in names if not name.startswith(("vqd_", "$e11VQDiffusion"))}
    of_libc = {"memcpy", "memmove", "memset", "free", "posix_memalign", "arc4random_buf", "sqrt"}
    assert plain <= of_libc | {"__stack_chk_fail", "__stack_chk_guard"}
    disassembler = Path(shutil.which("swiftc")).resolve().with_name("llvm-objdump")
    code = output_of(disassembler, "-d", "--no-show-raw-insn", objects[0])
    assert len(re.findall(r"\bfmla\s+v\d+\.4s", code)) > 500


def test_version_is_the_same_everywhere():
    assert vqdiffusion.__version__ == _native.version() == importlib.metadata.version("vqdiffusion")


# ---- Wheel and sdist
# ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def dist(tmp_path_factory):
    """Builds a wheel and an sdist from this folder, with the tools of this environment."""
    folder = tmp_path_factory.mktemp("dist")
    output_of(
        sys.executable,
        "-m",
        "build",
        "--no-isolation",
        "--wheel",
        "--sdist",
        "--outdir",
        folder,
        ROOT,
        env=os.environ | {"VQDIFFUSION_BUILD_CPUS": "all"},
    )
    return folder


def test_wheel(dist):
    (path,) = dist.glob("*.whl")
    if STABLE_ABI:
        assert re.fullmatch(
            rf"vqdiffusion-{vqdiffusion.__version__}-cp311-abi3-linux_(x86_64|aarch64)\.whl",
            path.name,
        )
    with zipfile.ZipFile(path) as wheel:
        members = {info.filename: info for info in wheel.infolist()}
        metadata = wheel.read(f"vqdiffusion-{vqdiffusion.__version__}.dist-info/METADATA").decode()
    # Libraries for three CPU levels, 247 to 295 kB each, and 172 kB of Python.
    assert (
        sum(info.compress_size for name, info in members.items() if not name.endswith(".npz"))
        < 1_000_000
    )
    native = {name for name in members if name.endswith(".so")}
    suffix = SHARED_OBJECTS[0].name.partition(".")[2]
    levels = EVERY_LEVEL[os.uname().machine]
    assert native == {f"vqdiffusion/{module_name(level)}.{suffix}" for level in levels}
    shipped = ".py", ".pyi", ".typed", ".npz", ".html"
    files = [path for path in (ROOT / "python/vqdiffusion").rglob("*") if path.suffix in shipped]
    expected = {str(path.relative_to(ROOT / "python")) for path in files}
    assert {name for name in members if name.startswith("vqdiffusion/")} - native == expected
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in members)
    assert "License-Expression: Apache-2.0\n" in metadata
    assert re.findall("Requires-Dist: ([^;\n]*)\n", metadata) == ["numpy>=1.24"]


def test_sdist_has_all_that_a_build_needs(dist, tmp_path):
    (path,) = dist.glob("*.tar.gz")
    output_of("tar", "-xzf", path, "-C", tmp_path)
    (tree,) = tmp_path.iterdir()
    for folder in "Sources", "Tests", "python/native", "python/vqdiffusion", "python/tests":
        for file in (ROOT / folder).rglob("*"):
            if file.is_file() and file.suffix not in (".so", ".pyc"):
                assert (tree / file.relative_to(ROOT)).is_file(), file
    for name in "setup.py", "pyproject.toml", "LICENSE", "README.md", "Makefile":
        assert (tree / name).is_file(), name
    output_of(
        "swift", "package", "describe", cwd=tree
    )  # fails where a target's sources are missing


# ---- Missing tools
# ------------------------------------------------------------------------------------------------


def run_failing_build(tools, prologue="pass", command="build_ext", **environment):
    """Starts a build with nothing but `tools` on PATH. In a folder of its own: in this one builds
    take turns.
    """
    run = f"import runpy, sys; sys.argv = ['setup.py', '{command}']; "
    run += "runpy.run_path('setup.py', run_name='__main__')"
    code = f"{prologue}; {run}"
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(ROOT / "setup.py", folder)
        for name in "pyproject.toml", "README.md", "LICENSE", "Sources", "python":
            Path(folder, name).symlink_to(ROOT / name)
        result = subprocess.run(
            [sys.executable, "-c", code],
            cwd=folder,
            env={"PATH": str(tools)} | environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert result.returncode != 0
    assert "Traceback" not in result.stderr
    return result


def failed_build(*arguments, **named):
    """What such a build says, which is one sentence at its end."""
    result = run_failing_build(*arguments, **named)
    assert "copying" not in result.stdout + result.stderr  # the sentence stands alone
    return result.stderr.strip().splitlines()[-1]


def add_swift(folder, says):
    """A program that names its version and builds nothing."""
    path = folder / "swift"
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)


@pytest.mark.parametrize("command", ["build_ext", "build", "bdist_wheel"])
def test_without_swift(tmp_path, command):
    message = failed_build(tmp_path, command=command)
    assert message.startswith(
        "error: vqdiffusion needs Swift 6.3 or newer to build, but there is no working `swift` on "
        "PATH: install "
    )


def test_with_another_program_called_swift(tmp_path):
    add_swift(tmp_path, "python-swiftclient 4.1.0")
    assert "there is no working `swift` on PATH" in failed_build(tmp_path)


@pytest.mark.parametrize(
    "says, version",
    [("Swift version 5.10.1 (swift-5.10.1-RELEASE)", "5.10"), ("Swift version 6.1", "6.1")],
)
def test_with_an_old_swift(tmp_path, says, version):
    add_swift(tmp_path, says)
    assert failed_build(tmp_path).startswith(
        "error: vqdiffusion needs Swift 6.3 or newer to build, but `swift --version` says "
        f"{version}: install "
    )


def test_without_a_c_compiler(tmp_path):
    add_swift(tmp_path, "Swift version 6.3 (swift-6.3-RELEASE)")
    message = failed_build(tmp_path, CC="no-such-compiler -O2")
    assert message.startswith(
        "error: vqdiffusion needs a C compiler to build, but there is no `no-such-compiler` on "
        "PATH: install "
    )
    assert "needs a C compiler" in failed_build(tmp_path)


def test_for_another_machine(tmp_path):
    """On this one, by a compiler that is named after the other."""
    add_swift(tmp_path, "Swift version 6.3 (swift-6.3-RELEASE)")
    other = "x86_64" if os.uname().machine == "aarch64" else "aarch64"
    assert failed_build(tmp_path, VQDIFFUSION_BUILD_MACHINE=other).startswith(
        "error: vqdiffusion needs a C compiler to build, but there is no "
        f"`{other}-linux-gnu-gcc` on PATH: install one (`apt install "
        f"gcc-{other.replace('_', '-')}-linux-gnu`) or "
    )
    assert failed_build(tmp_path, VQDIFFUSION_BUILD_MACHINE="riscv64") == (
        "error: vqdiffusion builds on Linux for x86_64 and aarch64, not on linux for riscv64."
    )


def test_without_the_headers_of_python(tmp_path):
    add_swift(tmp_path, "Swift version 10.0-dev")
    compiler = tmp_path / "cc"
    shutil.copy("/bin/true", compiler)
    prologue = "import setuptools, distutils.sysconfig as s; "
    prologue += "s.get_python_inc = lambda *_, **__: '/nowhere/python'"
    message = failed_build(tmp_path, prologue, CC="cc")
    assert re.fullmatch(
        r"error: vqdiffusion needs the headers of Python to build, but there is no /.*/Python.h: "
        r"install them \(`apt install python3-dev`\)\.",
        message,
    )


READ_ONLY = "raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)"


@pytest.mark.parametrize("function", ["os.makedirs", "builtins.open"])
def test_in_a_folder_that_cannot_be_written_to(tmp_path, function):
    """The root user may write everywhere, so the calls that fail for others are made to."""
    prologue = f"""
import builtins, errno, os
original = {function}
def refused(path, *rest, **named):
    if str(path).startswith("build"):
        {READ_ONLY}
    return original(path, *rest, **named)
{function} = refused
"""
    message = failed_build(tmp_path, f"exec({prologue!r})", command="bdist_wheel")
    assert re.fullmatch(
        r"vqdiffusion builds in its source folder, but /.* cannot be written to \(Read-only file "
        r"system\): "
        r"copy the folder to where you may write, and install from there\.",
        message,
    )


def levels_of_a_build(tools, **environment):
    """Those that the Swift compiler was started for. It makes nothing, and no C compiler compiles
    the modules: a level that failed would keep others from being started.
    """
    add_swift(tools, "Swift version 6.3 (swift-6.3-RELEASE)")
    (tools / "cc").write_text('#!/bin/sh\ncase "$*" in *cpu.so*) exec gcc "$@";; esac\nexit 1\n')
    (tools / "cc").chmod(0o755)
    result = run_failing_build(f"{tools}:{os.environ['PATH']}", CC="cc", **environment)
    return sorted(re.findall(r"vqdiffusion for (\S+): compiling Swift", result.stdout))


def test_cpu_levels(tmp_path):
    """Without a name, those that this machine needs."""
    supported, wanted = _native.supported_cpus(), "VQDIFFUSION_BUILD_CPUS"
    every = list(EVERY_LEVEL[os.uname().machine])
    assert levels_of_a_build(tmp_path) == sorted({supported[0], supported[-1]})
    assert levels_of_a_build(tmp_path, **{wanted: " ,"}) == sorted({supported[0], supported[-1]})
    assert levels_of_a_build(tmp_path, **{wanted: "all"}) == every
    assert levels_of_a_build(tmp_path, **{wanted: f"{every[0]},all"}) == every
    assert levels_of_a_build(tmp_path, **{wanted: f"{every[-1]}, "}) == every[-1:]


def test_an_unknown_cpu_level(tmp_path):
    message = failed_build(tmp_path, VQDIFFUSION_BUILD_CPUS="x86-64-v3,i386")
    assert message.startswith(
        "VQDIFFUSION_BUILD_CPUS must name CPU levels among "
    ) and message.endswith(", or all, not i386.")
