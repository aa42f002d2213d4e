"""Installs the wheel of dist/ into clean environments, one for each Python from 3.11 to 3.14 that
this machine has and each end of the versions of NumPy, and makes a step in each. The arguments name
Pythons beside those on PATH and pyenv's.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from ready import version

# The oldest NumPy of pyproject.toml, or the first that has a wheel for that Python.
OLDEST_NUMPY = {"3.11": "1.24.0", "3.12": "1.26.0", "3.13": "2.1.0", "3.14": "2.3.2"}
STEP = Path(__file__).resolve().with_name("step_once.py")
# Free-threaded builds have no stable ABI, so the wheel is not for them.
PROBE = """
import ensurepip, sys, sysconfig, venv
print(*sys.version_info[:2], sep="." if not sysconfig.get_config_var("Py_GIL_DISABLED") else "t")
"""


def candidates(named):
    """Paths of what may be a Python, those that were named first."""
    yield from filter(None, map(shutil.which, named))
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    folders += sorted(map(str, pyenv.glob("versions/*/bin")))
    for python in OLDEST_NUMPY:
        yield from filter(None, (shutil.which(f"python{python}", path=path) for path in folders))


def pythons(named=()):
    """Python's version -> path, of those that run and can make an environment."""
    found = {}
    for path in candidates(named):
        result = subprocess.run([path, "-I", "-c", PROBE], capture_output=True, text=True)
        if result.returncode == 0 and result.stdout.strip() in OLDEST_NUMPY:
            found.setdefault(result.stdout.strip(), path)
    return dict(sorted(found.items()))


def installed(python, folder, numpy, wheel):
    """The Python of a new environment with that NumPy and the wheel that pip chooses of dist/."""
    subprocess.run([python, "-I", "-m", "venv", folder], check=True)
    inside = str(Path(folder, "bin/python"))
    pip = [inside, "-I", "-m", "pip", "--quiet", "--disable-pip-version-check"]
    install = [*pip, "install", "--only-binary=:all:"]
    subprocess.run([*install, numpy], check=True)
    subprocess.run([*install, "--no-deps", "--no-index", "--find-links=dist", wheel], check=True)
    subprocess.run([*pip, "check"], check=True, stdout=subprocess.DEVNULL)
    return inside


def tokens(python, expected_version):
    """What step_once.py says there: the version of NumPy, and the tokens."""
    command = [python, "-I", "-W", "error", str(STEP), expected_version]
    result = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return result.stdout.strip().split(" ", 1)


def main(named):
    wanted, found, results = version(), pythons(named), set()
    for python in OLDEST_NUMPY:
        if python not in found:
            print(f"SKIPPED Python {python}: there is none on PATH, nor of pyenv.", flush=True)
            continue
        for numpy in f"numpy=={OLDEST_NUMPY[python]}", "numpy":
            with tempfile.TemporaryDirectory() as folder:
                inside = installed(found[python], folder, numpy, f"vqdiffusion=={wanted}")
                numpy_version, result = tokens(inside, wanted)
            print(f"Python {python}, NumPy {numpy_version}: {result}", flush=True)
            results.add(result)
    if len(results) != 1:
        return "the wheel was tried nowhere" if not results else "the tokens differ"
    return None


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except subprocess.CalledProcessError as error:
        sys.exit(f"failed: {' '.join(error.cmd)}")
