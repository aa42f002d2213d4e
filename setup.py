"""Builds the extension modules: Swift kernels as a static library for each CPU level, the same C
module around each.

The metadata is in pyproject.toml. Needed: a Swift toolchain, a C compiler and the headers of
Python. Nothing is downloaded.
"""

import fcntl
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build import build
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError, PlatformError

SWIFT_NEEDED = (6, 3)  # @export(interface), and `@implementation @_cdecl`
EMBEDDED = ["-Xswiftc", "-enable-experimental-feature", "-Xswiftc", "Embedded", "-Xswiftc", "-wmo"]
FMA = ["-Xswiftc", "-DVQD_FMA"]
# For CPUs from before 2013: a library a seventh smaller, for a sixth of gumbel's time there.
SMALL = ["-Xswiftc", "-Osize"]
LEVELS = {  # machine -> CPU level -> what `swift build` gets for it
    "x86_64": {
        "x86-64": ["-Xcc", "-march=x86-64", *SMALL],
        "x86-64-v3": ["-Xcc", "-march=x86-64-v3", *FMA],
        "x86-64-v4": ["-Xcc", "-march=x86-64-v4", *FMA],
    },
    "aarch64": {"aarch64": FMA},
}.get(platform.machine(), {})
# Developers build one level in a third of the time: VQDIFFUSION_BUILD_CPUS=x86-64-v3 pip install .
ONLY_LEVELS = "VQDIFFUSION_BUILD_CPUS"  # names, separated by commas
# Free-threaded builds of CPython have no stable ABI.
STABLE_ABI = not sysconfig.get_config_var("Py_GIL_DISABLED")
LIMITED_API = [("Py_LIMITED_API", "0x030B0000")] if STABLE_ABI else []


def run_swift(*arguments, **variables):
    """Runs `swift` and returns its exit status and what it said."""
    # CC is for the C module: swift build would take it for its own clang.
    environment = {name: value for name, value in os.environ.items() if name != "CC"} | variables
    with tempfile.TemporaryDirectory() as folder:  # Swift leaves folders of its own in there
        environment["TMPDIR"] = folder
        command = ["swift", *arguments]
        result = subprocess.run(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
    return result.returncode, result.stdout


def swift_version():
    """The (major, minor) of `swift` on PATH, or None if there is none that says."""
    try:
        _, text = run_swift("--version")
    except OSError:
        return None
    found = re.search(r"Swift version (\d+)\.(\d+)", text)
    return found and (int(found[1]), int(found[2]))


def levels_to_build():
    """The CPU levels of this machine's kind, or of them those that the environment names."""
    wanted = [name.strip() for name in os.environ.get(ONLY_LEVELS, "").split(",") if name.strip()]
    unknown = [name for name in wanted if name not in LEVELS]
    if unknown and LEVELS:
        sys.exit(
            f"{ONLY_LEVELS} must name CPU levels among {', '.join(LEVELS)}, not "
            f"{', '.join(unknown)}."
        )
    return [level for level in LEVELS if not wanted or level in wanted]


def check_tools(include_dirs):
    """Raises PlatformError with a sentence on what is missing, before a build of minutes."""
    if sys.platform != "linux" or not LEVELS:
        raise PlatformError(
            f"vqdiffusion builds on Linux on x86_64 and aarch64, not on {sys.platform} on "
            f"{platform.machine()}."
        )
    needed, found = ".".join(map(str, SWIFT_NEEDED)), swift_version()
    if found is None:
        raise PlatformError(
            f"vqdiffusion needs Swift {needed} or newer to build, but there is no working `swift` "
            "on PATH: "
            "install a toolchain from https://www.swift.org/install/linux and put its usr/bin on "
            "PATH."
        )
    if found < SWIFT_NEEDED:
        raise PlatformError(
            f"vqdiffusion needs Swift {needed} or newer to build, but `swift --version` says "
            f"{found[0]}.{found[1]}: "
            "install a newer toolchain from https://www.swift.org/install/linux."
        )
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC"))[0]
    if shutil.which(compiler) is None:
        raise PlatformError(
            f"vqdiffusion needs a C compiler to build, but there is no `{compiler}` on PATH: "
            "install one (`apt install gcc`) or name another in the environment variable CC."
        )
    if not any(Path(folder, "Python.h").exists() for folder in include_dirs):
        raise PlatformError(
            "vqdiffusion needs the headers of Python to build, but there is no "
            f"{sysconfig.get_path('include')}/Python.h: "
            "install them (`apt install python3-dev`)."
        )


class Build(build):
    def run(self):
        # Before setuptools prints a page of what it copies.
        native = self.get_finalized_command("build_ext")
        check_tools(native.include_dirs)
        # Files of earlier builds stay in this folder, and all that is in it gets installed.
        shutil.rmtree(self.build_lib, ignore_errors=True)
        super().run()


class BuildNative(build_ext):
    def finalize_options(self):
        super().finalize_options()
        self.parallel = None  # build_extension changes build_temp

    def run(self):
        check_tools(self.include_dirs)
        levels = [extension.cpu for extension in self.extensions]
        with ThreadPoolExecutor(min(len(levels), os.cpu_count() or 1)) as pool:
            archives = dict(zip(levels, pool.map(self.build_swift, levels)))
        for extension in self.extensions:
            archive = archives[extension.cpu]
            extension.extra_objects = [archive]
            extension.depends = [*extension.depends, archive]
        super().run()

    def build_swift(self, level):
        """Builds the static library for one CPU level and returns its path."""
        build_base = Path(self.get_finalized_command("build").build_base).absolute()
        scratch = build_base / f"swift-{level}"
        arguments = [
            "build",
            "-c",
            "release",
            "--product",
            "VQDiffusionABI",
            "--scratch-path",
            str(scratch),
        ]
        arguments += [*EMBEDDED, *LEVELS[level]]
        archive = scratch / "release" / "libVQDiffusionABI.a"
        archive.unlink(missing_ok=True)  # it keeps the objects of sources that were renamed
        # With its caches in here, Swift needs no home folder that can be written.
        status, text = run_swift(*arguments, XDG_CACHE_HOME=str(build_base / "swift-cache"))
        print(f"swift {shlex.join(arguments)}\n{text}", flush=True)
        if status != 0:
            raise CompileError(f"swift build failed for {level}; its messages are above.")
        return str(archive)

    def build_extensions(self):
        # Python's own flags may bake in a folder to search for libraries, of which these modules
        # need none.
        self.compiler.linker_so = [
            flag for flag in self.compiler.linker_so if not flag.startswith("-Wl,-rpath")
        ]
        super().build_extensions()

    def build_extension(self, extension):
        build_temp = self.build_temp
        self.build_temp = str(Path(build_temp, extension.cpu))  # the extensions share their sources
        super().build_extension(extension)
        self.build_temp = build_temp


def extension(level):
    name = "_native_" + level.replace("-", "_")
    result = Extension(
        f"vqdiffusion.{name}",
        sources=sorted(map(str, Path("python/native").glob("*.c"))),
        depends=[
            *map(str, Path("python/native").glob("*.[hm]*")),
            "Sources/CVQDiffusion/include/vqdiffusion.h",
        ],
        include_dirs=["Sources/CVQDiffusion/include"],
        define_macros=[("VQD_MODULE", name), ("VQD_CPU", f'"{level}"'), *LIMITED_API],
        extra_compile_args=["-std=c11", "-O2", "-fvisibility=hidden", "-ffunction-sections"],
        extra_link_args=[
            "-Wl,--version-script=python/native/exports.map",
            "-Wl,--gc-sections",
            "-s",
        ],
        libraries=["m"],
        py_limited_api=STABLE_ABI,
    )
    result.cpu = level
    return result


def build_lock():
    """setuptools builds in this folder, so builds started at the same time take turns. Ends with
    the process.
    """
    try:
        os.makedirs("build", exist_ok=True)
        lock = open("build/.lock", "w")
    except OSError as error:
        sys.exit(
            f"vqdiffusion builds in its source folder, but {os.getcwd()} cannot be written to "
            f"({error.strerror}): "
            "copy the folder to where you may write, and install from there."
        )
    fcntl.lockf(lock, fcntl.LOCK_EX)
    return lock


lock = build_lock()

setup(
    ext_modules=[extension(level) for level in levels_to_build()],
    cmdclass={"build": Build, "build_ext": BuildNative},
    options={"bdist_wheel": {"py_limited_api": "cp311"}} if STABLE_ABI else {},
)
