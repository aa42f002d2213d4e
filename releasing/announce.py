"""Prints what of dist/ to upload and the tag to set."""

import hashlib
import tomllib
from pathlib import Path

from ready import output_of, version

PLACEHOLDER = ".invalid"


def announcement(version, commit, files, urls):
    """The lines to print; `files` are paths, `urls` those of pyproject.toml."""
    yield f"vqdiffusion {version}, commit {commit}:"
    for file in files:
        yield f"  {hashlib.sha256(file.read_bytes()).hexdigest()}  {file}"
    for kind in "_x86_64.whl", "_aarch64.whl", ".tar.gz":
        if not any(file.name.endswith(kind) for file in files):
            yield f"Missing: there is no file *{kind}."
    unset = [name for name, url in urls.items() if PLACEHOLDER in url]
    if unset:
        yield (
            f"Missing: {', '.join(unset)} of [project.urls] in pyproject.toml are placeholders, "
            "which cannot be changed after an upload."
        )
    yield "Upload, then set the tag:"
    yield f"  .venv/bin/twine upload {' '.join(map(str, files))}"
    yield f"  git tag --annotate v{version} --message 'vqdiffusion {version}' {commit}"
    yield f"  git push origin v{version}"


if __name__ == "__main__":
    urls = tomllib.loads(Path("pyproject.toml").read_text())["project"]["urls"]
    commit = output_of("git", "rev-parse", "HEAD")
    print(*announcement(version(), commit, sorted(Path("dist").iterdir()), urls), sep="\n")
