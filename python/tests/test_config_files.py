"""Configuration files at the edge: nested, huge, and written whole or not at all."""

import errno
import json
import os
import stat
import sys

import pytest

from vqdiffusion import VQDiffusionScheduler, whole_file

NAME = "scheduler_config.json"


def folder_with(path, text):
    (path / NAME).write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("opening, closing", [("[", "]"), ('{"a":', "}")])
def test_a_file_nested_too_deeply_to_be_read(tmp_path, opening, closing):
    nested = opening * 100_000 + "1" + closing * 100_000
    folder_with(tmp_path, f'{{"num_vec_classes": 18, "_note": {nested}}}')
    for load in (VQDiffusionScheduler.from_pretrained, VQDiffusionScheduler.load_config):
        with pytest.raises(OSError, match=f"{NAME}' is nested too deeply to be read"):
            load(tmp_path)


def test_an_entry_nested_too_deeply_to_be_written(tmp_path):
    entry = []
    for _ in range(sys.getrecursionlimit()):
        entry = [entry]
    scheduler = VQDiffusionScheduler.from_config({"num_vec_classes": 18, "_note": entry})
    with pytest.raises(
        ValueError, match="an entry of the configuration is nested too deeply to be written"
    ):
        scheduler.save_pretrained(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "text, message",
    [
        (
            '{"num_vec_classes": 18, "num_train_timesteps": 10000000000000}',
            "num_train_timesteps must be from 2 to",
        ),
        (
            '{"num_vec_classes": 1099511627776}',
            "num_vec_classes must be from 2 to 2147483647, not 1099511627776",
        ),
        (
            f'{{"num_vec_classes": 18, "alpha_cum_start": 1{"0" * 400}}}',
            "alpha_cum_start must be a number that float64",
        ),
        ('{"num_vec_classes": 18, "gamma_cum_end": 1e999}', "gamma_cum_end"),
    ],
)
def test_numbers_in_a_file_that_cannot_be_held(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        VQDiffusionScheduler.from_pretrained(folder_with(tmp_path, text))


def test_a_number_in_a_file_of_more_digits_than_python_reads(tmp_path):
    folder_with(tmp_path, f'{{"num_vec_classes": {"1" * 5000}}}')
    with pytest.raises(OSError, match="does not hold valid JSON: Exceeds the limit"):
        VQDiffusionScheduler.from_pretrained(tmp_path)


class _Interrupt:
    """Raises KeyboardInterrupt at the line event of that number in the module that writes files."""

    def __init__(self, at):
        self.left = at

    def __call__(self, frame, event, argument):
        if frame.f_code.co_filename != whole_file.__file__:
            return None
        if event == "line":
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt
        return self


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # a file that is closed late
@pytest.mark.parametrize("before", [None, '{"num_vec_classes": 5}\n'])
def test_an_interrupt_at_any_line_leaves_the_file_whole(tmp_path, before):
    scheduler, at, done = VQDiffusionScheduler(18), 0, False
    while not done:
        at += 1
        if before is None:
            (tmp_path / NAME).unlink(missing_ok=True)
        else:
            folder_with(tmp_path, before)
        tracing = sys.gettrace()
        sys.settrace(_Interrupt(at))
        try:
            scheduler.save_pretrained(tmp_path)
            done = True
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(tracing)
        written = {NAME: scheduler.to_json_string()}
        files = {file.name: file.read_text() for file in tmp_path.iterdir()}
        unchanged = {} if before is None else {NAME: before}
        assert files in ([written] if done else [unchanged, written])
    assert at > 8


@pytest.mark.parametrize("function", ["replace", "fsync", "chmod"])
@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "no space"), KeyboardInterrupt(), MemoryError()]
)
def test_an_error_while_writing_leaves_the_file_alone(tmp_path, monkeypatch, function, error):
    folder_with(tmp_path, "kept")

    def fail(*arguments):
        raise error

    monkeypatch.setattr(os, function, fail)
    with pytest.raises(type(error)):
        VQDiffusionScheduler(18).save_pretrained(tmp_path)
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {NAME: "kept"}


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_permissions_are_those_of_a_file_that_is_opened(tmp_path, mask):
    before = os.umask(mask)
    try:
        (tmp_path / "opened").write_text("")
        for expected in (mode(tmp_path / "opened"), 0o640):
            VQDiffusionScheduler(18).save_pretrained(tmp_path)
            assert mode(tmp_path / NAME) == expected
            (tmp_path / NAME).chmod(0o640)  # which the second time leaves as it is
    finally:
        os.umask(before)


def test_a_link_is_followed(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "file").write_text("old")
    (tmp_path / "a" / NAME).symlink_to(tmp_path / "b" / "file")
    VQDiffusionScheduler(18).save_pretrained(tmp_path / "a")
    assert (tmp_path / "a" / NAME).is_symlink()
    assert json.loads((tmp_path / "b" / "file").read_text())["num_vec_classes"] == 18


def test_a_file_that_cannot_be_written_to(tmp_path):
    (tmp_path / NAME).mkdir()
    with pytest.raises(OSError):
        VQDiffusionScheduler(18).save_pretrained(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == [NAME]
    if os.geteuid() != 0:  # who may write everywhere
        folder_with(tmp_path / "b", "kept")
        (tmp_path / "b" / NAME).chmod(0o444)
        with pytest.raises(PermissionError):
            VQDiffusionScheduler(18).save_pretrained(tmp_path / "b")
