"""Builds the extension modules: Swift kernels as a static library for each CPU level, the same C
module around each.

The metadata is in pyproject.toml. Needed: a Swift toolchain, a C compiler and the headers of
Python. Nothing is downloaded.
"""

import ctypes
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
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build import build
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError, PlatformError

ROOT = Path(__file__).resolve().parent
# Another machine than this one: VQDIFFUSION_BUILD_MACHINE=aarch64, with gcc-aarch64-linux-gnu.
MACHINE = os.environ.get("VQDIFFUSION_BUILD_MACHINE") or platform.machine()
CROSS = MACHINE != platform.machine()
SWIFT_NEEDED = (6, 3)  # @export(interface), and `@implementation @_cdecl`
FROM_HERE = f"{ROOT}=."  # no file tells where it was built
EMBEDDED = ["-enable-experimental-feature", "Embedded", "-wmo", "-file-prefix-map", FROM_HERE]
# The linker drops the functions that nothing calls. The standard library's hasher is one, which
# would need glibc 2.36.
EMBEDDED += ["-Xfrontend", "-function-sections"]
# Without this, objects of earlier builds are kept when these flags change.
EMBEDDED += ["-Xfrontend", "-disable-incremental-llvm-codegen"]
FMA = ["-DVQD_FMA"]
# A fifth less than -O. What would take a tenth longer is marked `@_optimize(speed)`:
# benchmarks/builds.py compares two builds.
EMBEDDED += ["-Osize"]
EMBEDDED += ["-gnone"]  # a seventh of the time, for what the linker strips
LEVELS = {  # machine -> CPU level -> what the Swift and the C compiler get for it
    "x86_64": {
        "x86-64": ([], ["-march=x86-64"]),
        "x86-64-v3": (FMA, ["-march=x86-64-v3"]),
        "x86-64-v4": ([*FMA, "-DVQD_AVX512"], ["-march=x86-64-v4"]),
    },
    "aarch64": {"aarch64": (FMA, [])},
}.get(MACHINE, {})
# The C parts, compiled and linked so that an error in them is hard to exploit.
HARDENED = ["-fstack-protector-strong", "-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=2"]
HARDENED += [f"-ffile-prefix-map={FROM_HERE}"]
HARDENED += {"x86_64": ["-fcf-protection"], "aarch64": ["-mbranch-protection=standard"]}.get(
    MACHINE, []
)
LINK = ["-Wl,--version-script=python/native/exports.map", "-Wl,--gc-sections", "-s"]
LINK += ["-Wl,-z,relro,-z,now,-z,noexecstack"]
# Functions that glibc gave a new version after 2.28: python/native/glibc.c calls the old ones.
GLIBC_RENEWED = ["exp", "log", "pow"]
GLIBC_RENEWED += ["pthread_attr_setaffinity_np", "pthread_create", "pthread_join"]
if "CS_GNU_LIBC_VERSION" in os.confstr_names:
    LINK += [f"-Wl,--wrap={name}" for name in GLIBC_RENEWED]
    # Before glibc 2.34, libpthread has them.
    LINK += ["-Wl,--push-state,--no-as-needed,-l:libpthread.so.0,--pop-state"]
# The CPU levels to build, separated by commas; `all` builds each, as the Makefile does for wheels.
# Empty or not set, the lowest and this machine's highest: two take two thirds of the time of three.
LEVELS_VARIABLE = "VQDIFFUSION_BUILD_CPUS"
WANTED = [name.strip() for name in os.environ.get(LEVELS_VARIABLE, "").split(",") if name.strip()]
# Free-threaded builds of CPython have no stable ABI.
STABLE_ABI = not sysconfig.get_config_var("Py_GIL_DISABLED")
WHEEL = {"py_limited_api": "cp311"} if STABLE_ABI else {}
if CROSS:
    WHEEL["plat_name"] = f"linux_{MACHINE}"
LIMITED_API = [("Py_LIMITED_API", "0x030B0000")] if STABLE_ABI else []


def run_swift(*arguments, program="swift", **variables):
    """Runs `swift` and returns its exit status and what it said."""
    # CC is for the C module: swift build would take it for its own clang.
    environment = {name: value for name, value in os.environ.items() if name != "CC"} | variables
    with tempfile.TemporaryDirectory() as folder:  # Swift leaves folders of its own in there
        environment["TMPDIR"] = folder
        command = [program, *arguments]
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


def c_compiler():
    """The command of the C compiler, in words."""
    default = f"{MACHINE}-linux-gnu-gcc" if CROSS else sysconfig.get_config_var("CC")
    return shlex.split(os.environ.get("CC") or default)


def levels_to_build():
    """The CPU levels that the environment names; otherwise all, among which BuildNative.run
    selects.
    """
    unknown = [name for name in WANTED if name not in (*LEVELS, "all")]
    if unknown and LEVELS:
        sys.exit(
            f"{LEVELS_VARIABLE} must name CPU levels among {', '.join(LEVELS)}, or all, not "
            f"{', '.join(unknown)}."
        )
    return [level for level in LEVELS if not WANTED or "all" in WANTED or level in WANTED]


def check_tools(include_dirs):
    """Raises PlatformError with a sentence on what is missing, before a build of minutes."""
    if sys.platform != "linux" or not LEVELS:
        raise PlatformError(
            f"vqdiffusion builds on Linux for x86_64 and aarch64, not on {sys.platform} for "
            f"{MACHINE}."
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
    compiler = c_compiler()[0]
    if shutil.which(compiler) is None:
        package = f"gcc-{MACHINE.replace('_', '-')}-linux-gnu" if CROSS else "gcc"
        raise PlatformError(
            f"vqdiffusion needs a C compiler to build, but there is no `{compiler}` on PATH: "
            f"install one (`apt install {package}`) or name another in the environment variable CC."
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
        if not WANTED and not CROSS:
            needed = self.levels_of_this_machine()
            self.extensions = [module for module in self.extensions if module.cpu in needed]
        levels = [extension.cpu for extension in self.extensions]
        # All at once: on two cores, three levels take half of their sum. Each needs 0.7 GB.
        with ThreadPoolExecutor(len(levels)) as pool:
            archives = dict(zip(levels, pool.map(self.build_swift, levels)))
        for extension in self.extensions:
            archive = archives[extension.cpu]
            extension.extra_objects = [archive]
            extension.depends = [*extension.depends, archive]
        super().run()
        if self.inplace:
            self.remove_other_levels(levels)

    def levels_of_this_machine(self):
        """The lowest CPU level, whose module runs on every machine of its kind and tells which
        levels that machine supports, and the highest that this machine supports.
        """
        folder = Path(self.get_finalized_command("build").build_base).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        library = folder / "cpu.so"
        flags = ["-shared", "-fPIC", "-o", str(library)]
        self.spawn([*c_compiler(), "python/native/cpu.c", *flags])
        names = (ctypes.c_char_p * (len(LEVELS) + 1))()  # a null pointer is the last
        try:
            ctypes.CDLL(str(library)).supported_cpu_levels(names)
        except OSError:  # a folder whose files may not be executed, or a sanitizer in CC
            return list(LEVELS)
        supported = [name.decode() for name in names if name]
        return supported[0], supported[-1]

    def remove_other_levels(self, levels):
        """Python would take modules of an earlier build for those of this one."""
        built = Path(self.get_ext_fullpath(self.extensions[0].name))
        suffix = built.name.removeprefix(module_name(levels[0]))
        for level in set(LEVELS) - set(levels):
            built.with_name(module_name(level) + suffix).unlink(missing_ok=True)

    def build_swift(self, level):
        """Builds the static library for one CPU level and returns its path."""
        build_base = Path(self.get_finalized_command("build").build_base).absolute()
        archive = build_base / f"swift-{level}" / "release" / "libVQDiffusionABI.a"
        archive.unlink(missing_ok=True)  # it keeps the objects of sources that were renamed
        print(f"vqdiffusion for {level}: compiling Swift, which takes minutes", flush=True)
        begin = time.monotonic()
        (self.cross_compile_swift if CROSS else self.compile_swift)(level, archive)
        print(f"vqdiffusion for {level}: {time.monotonic() - begin:.0f} s", flush=True)
        return str(archive)

    def compile_swift(self, level, archive):
        swift_flags, c_flags = LEVELS[level]
        scratch = archive.parents[1]
        arguments = ["build", "-c", "release", "--product", "VQDiffusionABI"]
        arguments += ["--scratch-path", str(scratch)]
        for flag in EMBEDDED + swift_flags:
            arguments += ["-Xswiftc", flag]
        for flag in c_flags + HARDENED:
            arguments += ["-Xcc", flag]
        # With its caches in here, Swift needs no home folder that can be written.
        self.run_swift_build(level, arguments, XDG_CACHE_HOME=str(scratch.parent / "swift-cache"))

    def cross_compile_swift(self, level, archive):
        """`swift build` would need Swift's libraries for the other machine, and Embedded Swift
        needs none: its target there is a machine without an operating system.
        """
        folder, include = archive.parent, Path("Sources/CVQDiffusion/include").absolute()
        folder.mkdir(parents=True, exist_ok=True)
        swift_flags, c_flags = LEVELS[level]
        common = ["-target", f"{MACHINE}-none-none-elf", "-O", "-swift-version", "6"]
        common += ["-parse-as-library", "-Xcc", "-ffreestanding", *EMBEDDED, *swift_flags]
        common += [f"-I{include}", f"-I{folder}", "-module-cache-path", str(folder / "cache")]
        objects = []
        for module in "VQDiffusion", "VQDiffusionABI":
            objects.append(str(folder / f"{module}.o"))
            arguments = [*common, "-module-name", module, "-emit-object", "-o", objects[-1]]
            arguments += ["-emit-module-path", str(folder / f"{module}.swiftmodule")]
            arguments += map(str, sorted(Path(f"Sources/{module}").absolute().glob("**/*.swift")))
            self.run_swift_build(level, arguments, program="swiftc")
        for source in sorted(Path("Sources/CVQDiffusion").glob("*.c")):
            objects.append(str(folder / f"{source.stem}.o"))
            flags = ["-std=c11", "-O2", "-fPIC", "-ffunction-sections", *c_flags, *HARDENED]
            command = [*c_compiler(), *flags, f"-I{include}", "-c", str(source), "-o", objects[-1]]
            self.spawn(command)
        llvm_ar = Path(shutil.which("swiftc")).resolve().with_name("llvm-ar")
        self.spawn([str(llvm_ar), "rcsD", str(archive), *objects])

    def run_swift_build(self, level, arguments, **options):
        status, text = run_swift(*arguments, **options)
        print(f"swift {shlex.join(arguments)}\n{text}", flush=True)
        if status != 0:
            raise CompileError(f"the Swift build failed for {level}; its messages are above.")

    def build_extensions(self):
        # Python's own flags may bake in a folder to search for libraries, of which these modules
        # need none.
        self.compiler.linker_so = [
            flag for flag in self.compiler.linker_so if not flag.startswith("-Wl,-rpath")
        ]
        if CROSS:  # without Python's own flags, which are for this machine
            self.compiler.compiler_so = [*c_compiler(), "-fPIC", "-Wall", "-DNDEBUG"]
            self.compiler.linker_so = [*c_compiler(), "-shared"]
            self.compiler.library_dirs = []
            self.compiler.include_dirs.append(self.multiarch_headers())
        super().build_extensions()

    def multiarch_headers(self):
        """A folder with the pyconfig.h that Debian's Python includes for the machine. This
        machine's serves: the sizes of C's types, all that the Limited API takes from it, are equal.
        """
        folder = Path(self.get_finalized_command("build").build_base, "headers")
        python = Path(sysconfig.get_path("platinclude"))
        ours = python.parent / (sysconfig.get_config_var("MULTIARCH") or "") / python.name
        if (ours / "pyconfig.h").exists():
            there = folder / f"{MACHINE}-linux-gnu" / python.name
            there.mkdir(parents=True, exist_ok=True)
            shutil.copy(ours / "pyconfig.h", there)
        return str(folder)

    def build_extension(self, extension):
        build_temp = self.build_temp
        self.build_temp = str(Path(build_temp, extension.cpu))  # the extensions share their sources
        super().build_extension(extension)
        self.build_temp = build_temp


def module_name(level):
    return "_native_" + level.replace("-", "_")


def extension(level):
    name = module_name(level)
    result = Extension(
        f"vqdiffusion.{name}",
        sources=sorted(map(str, Path("python/native").glob("*.c"))),
        depends=[
            *map(str, Path("python/native").glob("*.[hm]*")),
            "Sources/CVQDiffusion/include/vqdiffusion.h",
        ],
        include_dirs=["Sources/CVQDiffusion/include"],
        define_macros=[("VQD_MODULE", name), ("VQD_CPU", f'"{level}"'), *LIMITED_API],
        extra_compile_args=[
            *("-std=c11", "-O2", "-fvisibility=hidden", "-ffunction-sections"),
            *HARDENED,
        ],
        extra_link_args=LINK,
        libraries=["m"],
        py_limited_api=STABLE_ABI,
    )
    result.cpu = level
    return result


def version():
    """The version of the package, which is that of the library."""
    source = (ROOT / "Sources/VQDiffusionABI/Version.swift").read_text()
    return re.search(r'StaticString = "(.+)"', source)[1]


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
    version=version(),
    ext_modules=[extension(level) for level in levels_to_build()],
    cmdclass={"build": Build, "build_ext": BuildNative},
    options={"bdist_wheel": WHEEL},
)
