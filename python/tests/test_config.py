"""The configuration: access, files, copies."""

import copy
import json
import pickle
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from vqdiffusion import VQDiffusionScheduler, _native

TABLES = ["log_at", "log_bt", "log_ct", "log_cumprod_at", "log_cumprod_bt", "log_cumprod_ct"]
ARGUMENTS = {
    "num_vec_classes": 18,
    "num_train_timesteps": 50,
    "alpha_cum_start": 0.99,
    "alpha_cum_end": 0.05,
    "gamma_cum_start": 0.001,
    "gamma_cum_end": 0.8,
}
# As diffusers 0.42.1 writes it.
FILE = """{
  "_class_name": "VQDiffusionScheduler",
  "_diffusers_version": "0.42.1",
  "alpha_cum_end": 0.05,
  "alpha_cum_start": 0.99,
  "gamma_cum_end": 0.8,
  "gamma_cum_start": 0.001,
  "num_train_timesteps": 50,
  "num_vec_classes": 18
}
"""
# The sampler is always written.
OURS = FILE.replace(": 18\n", ': 18,\n  "sampling_method": "inverse_cdf"\n')


def folder_with(path, text):
    path.mkdir(exist_ok=True)
    (path / "scheduler_config.json").write_text(text, encoding="utf-8")
    return path


def arguments_of(scheduler):
    return {key: scheduler.config[key] for key in ARGUMENTS}


def test_access():
    scheduler = VQDiffusionScheduler(18)
    config = scheduler.config
    assert isinstance(config, Mapping) and isinstance(config, dict)
    assert config.num_vec_classes == config["num_vec_classes"] == 18
    assert dict(config) == {
        "num_vec_classes": 18,
        "num_train_timesteps": 100,
        "alpha_cum_start": 0.99999,
        "alpha_cum_end": 0.000009,
        "gamma_cum_start": 0.000009,
        "gamma_cum_end": 0.99999,
        "sampling_method": "inverse_cdf",
        "timestep_spacing": "reference",
        "alphas_cumprod": None,
        "gammas_cumprod": None,
    }
    assert not hasattr(config, "nothing")
    with pytest.raises(KeyError):
        config["nothing"]


def test_read_only():
    config = VQDiffusionScheduler(18).config
    before = dict(config)

    def merge(other):
        nonlocal config
        config |= other

    changes = [
        lambda: config.__setitem__("num_vec_classes", 3),
        lambda: config.__delitem__("num_vec_classes"),
        lambda: setattr(config, "num_vec_classes", 3),
        lambda: delattr(config, "num_vec_classes"),
        lambda: config.update(num_vec_classes=3),
        lambda: config.pop("num_vec_classes"),
        lambda: config.setdefault("other", 3),
        lambda: merge({"other": 3}),
        config.popitem,
        config.clear,
    ]
    for change in changes:
        with pytest.raises(TypeError, match="read-only"):
            change()
    assert dict(config) == before


def test_numpy_numbers_become_plain_ones():
    scheduler = VQDiffusionScheduler(
        np.int16(18), np.array(50), np.float64(0.99), 0.05, np.float32(0), 0
    )
    assert [type(value) for value in scheduler.config.values()] == [
        int,
        int,
        float,
        float,
        float,
        float,
        str,
        str,
        type(None),
        type(None),
    ]
    json.dumps(scheduler.config)


def test_repr_is_the_file():
    scheduler = VQDiffusionScheduler(**ARGUMENTS)
    expected = OURS.replace('  "_diffusers_version": "0.42.1",\n', "")
    assert repr(scheduler) == f"VQDiffusionScheduler {expected}"


def test_round_trip_through_a_folder(tmp_path):
    for save, load in (("save_pretrained", "from_pretrained"), ("save_config", "from_pretrained")):
        folder = tmp_path / "new" / save
        getattr(VQDiffusionScheduler(**ARGUMENTS), save)(folder)
        assert arguments_of(getattr(VQDiffusionScheduler, load)(str(folder))) == ARGUMENTS
    assert [file.name for file in folder.iterdir()] == ["scheduler_config.json"]
    assert (
        arguments_of(VQDiffusionScheduler.from_config(VQDiffusionScheduler.load_config(folder)))
        == ARGUMENTS
    )


def test_a_file_of_diffusers_survives_to_the_byte_and_names_the_sampler(tmp_path):
    scheduler = VQDiffusionScheduler.from_pretrained(folder_with(tmp_path / "a", FILE))
    assert (
        arguments_of(scheduler) == ARGUMENTS and scheduler.config.sampling_method == "inverse_cdf"
    )
    scheduler.save_pretrained(tmp_path / "b")
    assert (tmp_path / "b" / "scheduler_config.json").read_text(encoding="utf-8") == OURS


def test_where_files_are_looked_for(tmp_path):
    top = folder_with(tmp_path / "pipeline", FILE)
    folder_with(top / "scheduler", FILE.replace("18", "19"))
    load = VQDiffusionScheduler.from_pretrained
    assert load(top).num_embed == 18
    assert load(top, subfolder="scheduler").num_embed == 19
    assert load(top, "scheduler").num_embed == 19
    assert load(top, subfolder="elsewhere").num_embed == 18  # as in diffusers
    assert load(top / "scheduler" / "scheduler_config.json").num_embed == 19
    assert load(str(top), local_files_only=True, revision="main").num_embed == 18


def test_keywords_go_before_the_file(tmp_path):
    folder = folder_with(tmp_path / "a", FILE)
    scheduler, unused = VQDiffusionScheduler.from_pretrained(
        folder, return_unused_kwargs=True, num_vec_classes=7, sampling_method="gumbel", colour="red"
    )
    assert scheduler.num_embed == 7 and scheduler.config.num_train_timesteps == 50
    assert scheduler.config.sampling_method == "gumbel"
    assert unused == {
        "colour": "red",
        "_class_name": "VQDiffusionScheduler",
        "_diffusers_version": "0.42.1",
    }
    config, unused, commit = VQDiffusionScheduler.load_config(
        folder, True, return_commit_hash=True, colour="red"
    )
    assert config == json.loads(FILE) and unused == {"colour": "red"} and commit is None


def test_unknown_entries_warn_and_survive(tmp_path):
    entries = {
        **json.loads(FILE),
        "prediction": {"kind": "sample"},
        "steps_offset": 1,
        "_private": 2,
    }
    folder = folder_with(tmp_path / "a", json.dumps(entries))
    with pytest.warns(
        UserWarning,
        match="VQDiffusionScheduler has no argument prediction, steps_offset: without effect",
    ) as seen:
        scheduler = VQDiffusionScheduler.from_pretrained(folder)
    assert len(seen) == 1
    assert scheduler.config.prediction == {"kind": "sample"}
    scheduler.save_pretrained(tmp_path / "b")
    written = json.loads((tmp_path / "b" / "scheduler_config.json").read_text())
    assert written == {**entries, "sampling_method": "inverse_cdf"}
    with pytest.warns(UserWarning, match="has no argument prediction, steps_offset"):
        assert VQDiffusionScheduler.from_config(scheduler.config).config == scheduler.config
    with pytest.warns(UserWarning, match="has no argument num_train_timestep:"):
        VQDiffusionScheduler.from_config(json.loads(FILE), num_train_timestep=50)


@pytest.mark.parametrize("method", ["inverse_cdf", "gumbel"])
def test_the_sampling_method_is_always_written(tmp_path, method):
    scheduler = VQDiffusionScheduler(18, sampling_method=method)
    assert scheduler.config.sampling_method == method
    assert f'"sampling_method": "{method}"' in repr(scheduler)
    scheduler.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "scheduler_config.json").read_text())["sampling_method"] == method
    again = VQDiffusionScheduler.from_pretrained(tmp_path)
    assert again.config == {**scheduler.config, "_class_name": "VQDiffusionScheduler"}
    other = "gumbel" if method == "inverse_cdf" else "inverse_cdf"
    changed = VQDiffusionScheduler.from_config(again.config, sampling_method=other)
    assert changed.config.sampling_method == other


def test_a_file_without_the_sampling_method_loads_as_the_default(tmp_path):
    assert "sampling_method" not in FILE
    scheduler = VQDiffusionScheduler.from_pretrained(folder_with(tmp_path, FILE))
    assert scheduler.config.sampling_method == "inverse_cdf"


def test_a_configuration_of_diffusers_with_its_note_on_defaults():
    # What scheduler.config of diffusers holds: there arguments given by position count as defaults.
    config = {**json.loads(FILE), "_use_default_values": ["num_vec_classes", "alpha_cum_end"]}
    assert arguments_of(VQDiffusionScheduler.from_config(config)) == ARGUMENTS


@pytest.mark.parametrize(
    "text, message",
    [
        (None, "there is no scheduler_config.json in the folder"),
        ("", "does not hold valid JSON"),
        (FILE[:-20], "does not hold valid JSON"),
        ("not JSON", "does not hold valid JSON"),
        ("[18, 100]", "must hold a JSON object, not list"),
    ],
)
def test_files_that_cannot_be_read(tmp_path, text, message):
    if text is not None:
        folder_with(tmp_path, text)
    for load in (VQDiffusionScheduler.from_pretrained, VQDiffusionScheduler.load_config):
        with pytest.raises(OSError, match=message):
            load(tmp_path)


def test_a_file_that_is_no_text(tmp_path):
    (tmp_path / "scheduler_config.json").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(OSError, match="does not hold valid JSON"):
        VQDiffusionScheduler.from_pretrained(tmp_path)


def test_a_name_that_is_no_folder():
    with pytest.raises(
        OSError,
        match="'microsoft/vq-diffusion-ithq' is neither a folder nor a file, and nothing "
        "is downloaded",
    ):
        VQDiffusionScheduler.from_pretrained("microsoft/vq-diffusion-ithq", subfolder="scheduler")


def test_unfit_entries(tmp_path):
    with pytest.raises(ValueError, match="config must hold 'num_vec_classes', got only"):
        VQDiffusionScheduler.from_pretrained(
            folder_with(tmp_path / "a", '{"num_train_timesteps": 50}')
        )
    with pytest.raises(TypeError, match="num_vec_classes must be an integer, not str '18'"):
        VQDiffusionScheduler.from_pretrained(
            folder_with(tmp_path / "b", '{"num_vec_classes": "18"}')
        )
    with pytest.raises(ValueError, match="alpha_cum_start"):
        VQDiffusionScheduler.from_pretrained(
            folder_with(tmp_path / "c", '{"num_vec_classes": 18, "alpha_cum_start": NaN}')
        )
    with pytest.raises(TypeError, match="config must be a mapping, not str"):
        VQDiffusionScheduler.from_config("folder")


def test_folders_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("kept")
    with pytest.raises(OSError):
        VQDiffusionScheduler(18).save_pretrained(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "kept"
    with pytest.raises(ValueError, match="push_to_hub must be False"):
        VQDiffusionScheduler(18).save_pretrained(tmp_path / "b", push_to_hub=True)
    assert not (tmp_path / "b").exists()


def test_an_entry_that_json_cannot_hold_leaves_the_file_alone(tmp_path):
    folder = folder_with(tmp_path, FILE)
    with pytest.warns(UserWarning, match="thing"):
        scheduler = VQDiffusionScheduler.from_config({**json.loads(FILE), "thing": object()})
    with pytest.raises(TypeError, match="entry of type object cannot be written as JSON"):
        scheduler.save_pretrained(folder)
    assert (folder / "scheduler_config.json").read_text() == FILE


def test_entries_of_numpy_and_paths_are_written(tmp_path):
    extra = {"_a": np.arange(2), "_b": np.float32(0.5), "_c": Path("folder")}
    scheduler = VQDiffusionScheduler.from_config({**json.loads(FILE), **extra})
    written = json.loads(scheduler.to_json_string())
    assert [written[key] for key in extra] == [[0, 1], 0.5, "folder"]


class Named(VQDiffusionScheduler):
    def __init__(self, num_vec_classes, colour="red"):
        super().__init__(num_vec_classes, 10)
        self.colour = colour


def test_a_subclass(tmp_path):
    scheduler = Named.from_config(
        {"num_vec_classes": 5, "colour": "blue", "_class_name": "VQDiffusionScheduler"}
    )
    assert (
        type(scheduler) is Named and scheduler.colour == "blue" and len(scheduler.timesteps) == 10
    )
    assert scheduler.config._class_name == "Named" and repr(scheduler).startswith("Named {")
    copied = pickle.loads(pickle.dumps(scheduler))
    assert type(copied) is Named and copied.colour == "blue"


def schedule_handed_over(scheduler):
    """The arrays ᾱ and γ̄ as the native module gets them."""
    handed_over = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_native, "q_posterior", lambda *given: handed_over.extend(given[1:3]))
        scheduler.q_posterior(np.zeros((1, scheduler.mask_class, 1)), np.zeros((1, 1), int), 3)
    return handed_over


def assert_protected(scheduler):
    arrays = [getattr(scheduler, name) for name in (*TABLES, "timesteps")]
    arrays += schedule_handed_over(scheduler)
    assert len(arrays) == 9 and not any(array.flags.writeable for array in arrays)
    with pytest.raises(AttributeError, match="mask_class is read-only"):
        scheduler.mask_class = 3


def same(one, other):
    assert type(one) is type(other) and repr(one) == repr(other) and one.config == other.config
    assert one.__dict__.keys() == other.__dict__.keys()
    for name, value in one.__dict__.items():
        if isinstance(value, np.ndarray):
            assert value.dtype == getattr(other, name).dtype
            np.testing.assert_array_equal(value, getattr(other, name))
    x = np.full((2, 30), one.mask_class)
    log_p = np.zeros((2, one.mask_class, 30))
    np.testing.assert_array_equal(
        one.step(log_p, 7, x, 3).prev_sample, other.step(log_p, 7, x, 3).prev_sample
    )


@pytest.mark.parametrize(
    "duplicate",
    [
        copy.copy,
        copy.deepcopy,
        *(
            lambda s, p=p: pickle.loads(pickle.dumps(s, p))
            for p in range(pickle.HIGHEST_PROTOCOL + 1)
        ),
    ],
)
def test_copies(duplicate):
    scheduler = VQDiffusionScheduler(**ARGUMENTS, sampling_method="gumbel")
    scheduler.set_timesteps(20)
    scheduler.step(np.zeros((1, 17, 4)), 9, np.zeros((1, 4), int), np.random.default_rng(0))
    copied = duplicate(scheduler)
    same(scheduler, copied)
    assert copied.num_inference_steps == 20
    with pytest.raises(TypeError, match="read-only"):
        copied.config["num_vec_classes"] = 3
    assert_protected(copied)


def test_a_pickle_holds_no_numpy_arrays():
    # Those of NumPy 2 cannot be loaded by NumPy before 1.26.
    assert b"numpy" not in pickle.dumps(VQDiffusionScheduler(18))


def test_pickles_load_in_another_process(tmp_path):
    schedulers = [
        VQDiffusionScheduler(18),
        VQDiffusionScheduler(**ARGUMENTS, sampling_method="gumbel"),
    ]
    (tmp_path / "pickle").write_bytes(pickle.dumps(schedulers))
    script = "import pickle, sys; print(*pickle.load(open(sys.argv[1], 'rb')), sep='')"
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", script, tmp_path / "pickle"],
        capture_output=True,
        text=True,
    )
    assert run.stdout == "".join(map(repr, schedulers)) + "\n", run.stderr
