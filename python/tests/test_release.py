"""The scripts of `make release`, but for the build and the installs themselves."""

import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

import vqdiffusion

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "releasing"


@pytest.fixture
def scripts(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))


def run(*command, cwd):
    return subprocess.run(list(map(str, command)), cwd=cwd, capture_output=True, text=True)


def git(tree, *command):
    identity = "-c", "user.name=a", "-c", "user.email=a@b.invalid"
    result = run("git", *identity, *command, cwd=tree)
    assert result.returncode == 0, result.stderr


@pytest.fixture
def tree(tmp_path):
    """A project of version 1.2.3 in one commit."""
    (tmp_path / "setup.py").write_text("print('1.2.3')\n")
    (tmp_path / "CHANGELOG.md").write_text("# Changelog\n\n## 1.2.3\n\n## 1.2.2\n")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "--message", "all")
    return tmp_path


def refused(tree):
    result = run(sys.executable, FOLDER / "ready.py", cwd=tree)
    assert result.returncode == bool(result.stderr)
    assert "Traceback" not in result.stderr
    return result.stderr.strip()


def test_a_commit_without_a_tag_is_ready(tree):
    git(tree, "tag", "v1.2.2")
    assert refused(tree) == ""


def test_a_changed_file(tree):
    (tree / "CHANGELOG.md").write_text("## 1.2.3\n")
    assert refused(tree) == (
        "a release is made of a commit, and these files are in none:\n M CHANGELOG.md"
    )


def test_a_new_file(tree):
    (tree / "new.py").write_text("")
    assert refused(tree).endswith(":\n?? new.py")


def test_a_version_with_a_tag(tree):
    git(tree, "tag", "v1.2.3")
    assert refused(tree) == (
        "there is a tag v1.2.3 already: put the next version into "
        "Sources/VQDiffusionABI/Version.swift."
    )


def test_a_version_that_the_changelog_lacks(tree):
    (tree / "setup.py").write_text("print('1.2')\n")
    git(tree, "commit", "--all", "--quiet", "--message", "version")
    assert refused(tree).startswith("CHANGELOG.md has no section `## 1.2`")


def test_a_folder_without_commits(tmp_path):
    (tmp_path / "setup.py").write_text("print('1.2.3')\n")
    assert refused(tmp_path).startswith("git status --porcelain: fatal: not a git repository")


def test_version_comes_from_one_place(scripts):
    import ready

    assert run(sys.executable, "setup.py", "--version", cwd=ROOT).stdout.strip() == (
        vqdiffusion.__version__
    )
    assert f'"{vqdiffusion.__version__}"' in (ROOT / ready.WHERE).read_text()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["dynamic"] == ["version"] and "version" not in project


# ---- Pythons to install into
# ------------------------------------------------------------------------------------------------


def add_python(folder, name, says, status=0):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\necho {says}\nexit {status}\n")
    path.chmod(0o755)
    return str(path)


def test_pythons_are_found(scripts, tmp_path, monkeypatch):
    """One for each version: named, else on PATH, else pyenv's; none that does not run."""
    import install

    named = add_python(tmp_path / "named", "python", "3.12")
    add_python(tmp_path / "shims", "python3.11", "3.11", status=127)
    add_python(tmp_path / "shims", "python3.14", "3.14t")
    on_path = add_python(tmp_path / "bin", "python3.11", "3.11")
    add_python(tmp_path / "bin", "python3.12", "3.12")
    add_python(tmp_path / "bin", "python3.10", "3.10")
    of_pyenv = add_python(tmp_path / "pyenv/versions/3.13.0/bin", "python3.13", "3.13")
    monkeypatch.setenv("PATH", f"{tmp_path}/shims:{tmp_path}/missing:{tmp_path}/bin")
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    found = install.pythons([named, "no-such-python"])
    assert found == {"3.11": on_path, "3.12": named, "3.13": of_pyenv}


def test_this_python_is_found(scripts):
    import install

    this = ".".join(map(str, sys.version_info[:2]))
    assert install.pythons([sys.executable]).get(this) == sys.executable


def test_the_oldest_numpy_is_that_of_the_metadata(scripts):
    import install

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    oldest = f"{project['requires-python'].removeprefix('>=')}"
    assert next(iter(install.OLDEST_NUMPY)) == oldest
    assert project["dependencies"] == [f"numpy>={install.OLDEST_NUMPY[oldest].removesuffix('.0')}"]


def test_no_python_is_no_success(scripts, monkeypatch, capsys):
    import install

    monkeypatch.setattr(install, "version", lambda: "1.2.3")
    monkeypatch.setattr(install, "pythons", lambda named: {})
    assert install.main([]) == "the wheel was tried nowhere"
    assert capsys.readouterr().out.count("SKIPPED") == len(install.OLDEST_NUMPY)


def test_other_tokens_are_no_success(scripts, monkeypatch, capsys):
    import install

    results = iter([["1", "0 0"], ["2", "0 1"]])
    monkeypatch.setattr(install, "version", lambda: "1.2.3")
    monkeypatch.setattr(install, "pythons", lambda named: {"3.11": "python"})
    monkeypatch.setattr(install, "installed", lambda *arguments: "python")
    monkeypatch.setattr(install, "tokens", lambda *arguments: next(results))
    assert install.main([]) == "the tokens differ"
    assert "Python 3.11, NumPy 2: 0 1\n" in capsys.readouterr().out


def step_once(tmp_path, version, prologue="pass"):
    code = f"import runpy, sys; {prologue}; sys.argv = ['', '{version}']; "
    code += f"runpy.run_path({str(FOLDER / 'step_once.py')!r})"
    return run(sys.executable, "-W", "error", "-c", code, cwd=tmp_path)


def test_step_once(tmp_path):
    result = step_once(tmp_path, vqdiffusion.__version__)
    assert result.returncode == 0, result.stderr
    numpy_version, *tokens = result.stdout.split()
    assert numpy_version == np.__version__
    assert all(set(each) > {"6"} for each in tokens) and len(tokens) == 2  # some revealed, not all


def test_step_once_tells_another_version(tmp_path):
    result = step_once(tmp_path, "0.0.1")
    assert result.returncode == 1
    assert f"vqdiffusion {vqdiffusion.__version__} is installed, not 0.0.1" in result.stderr


def test_step_once_tells_wrong_tokens(tmp_path):
    wrong = "import types; import vqdiffusion as v; v.VQDiffusionScheduler.step = "
    wrong += "lambda self, p, t, x, rng: types.SimpleNamespace(prev_sample=x)"
    result = step_once(tmp_path, vqdiffusion.__version__, wrong)
    assert result.returncode == 1
    assert result.stderr.startswith("inverse_cdf: the last step drew [[6, 6")


# ---- What to upload
# ------------------------------------------------------------------------------------------------


def test_announcement(scripts, tmp_path):
    from announce import announcement

    files = [tmp_path / name for name in ("a-1_x86_64.whl", "a-1_aarch64.whl", "a-1.tar.gz")]
    for file in files:
        file.write_bytes(b"")
    lines = list(announcement("1.2.3", "c0ffee", files, {"Source": "https://example.org"}))
    nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert lines[1:4] == [f"  {nothing}  {file}" for file in files]
    assert "  git tag --annotate v1.2.3 --message 'vqdiffusion 1.2.3' c0ffee" in lines
    assert not any("Missing" in line for line in lines)
    lines = list(announcement("1.2.3", "c0ffee", files[:1], {"Source": "https://a.invalid"}))
    assert [line for line in lines if "Missing" in line] == [
        "Missing: there is no file *_aarch64.whl.",
        "Missing: there is no file *.tar.gz.",
        "Missing: Source of [project.urls] in pyproject.toml are placeholders, which cannot be "
        "changed after an upload.",
    ]


def test_no_other_file_has_the_placeholders():
    """Whoever publishes changes one place."""
    for name in "README.md", "SECURITY.md", "CITATION.cff", "CONTRIBUTING.md":
        assert "vqdiffusion.invalid" not in (ROOT / name).read_text(), name
