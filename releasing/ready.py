"""Refuses to release from this folder what is no commit, or a version that is released already."""

import subprocess
import sys
from pathlib import Path

WHERE = "Sources/VQDiffusionABI/Version.swift"


def output_of(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.rstrip()


def version():
    return output_of(sys.executable, "setup.py", "--version").splitlines()[-1]


def refusal(version):
    """Why `version` cannot be released, in a sentence, or None."""
    changed = output_of("git", "status", "--porcelain")
    if changed:
        return f"a release is made of a commit, and these files are in none:\n{changed}"
    if output_of("git", "tag", "--list", f"v{version}"):
        return f"there is a tag v{version} already: put the next version into {WHERE}."
    if f"## {version}" not in Path("CHANGELOG.md").read_text().splitlines():
        return f"CHANGELOG.md has no section `## {version}`, the version in {WHERE}."
    return None


if __name__ == "__main__":
    try:
        sys.exit(refusal(version()))
    except subprocess.CalledProcessError as error:
        sys.exit(f"{' '.join(error.cmd)}: {error.stderr.strip()}")
