"""Configurations pass between the reference, this class, the NumPy class, files and folders, in
every direction.
"""

import copy
import json
import pickle
from pathlib import Path

import diffusers
import numpy as np
import pytest
from diffusers_case import Ours, Reference

import vqdiffusion

ARGUMENTS = {
    "num_vec_classes": 33,
    "num_train_timesteps": 40,
    "alpha_cum_start": 0.99,
    "alpha_cum_end": 0.001,
    "gamma_cum_start": 0.002,
    "gamma_cum_end": 0.98,
}
# As saved by versions of diffusers that the published model was made with.
PUBLISHED = """{
  "_class_name": "VQDiffusionScheduler",
  "_diffusers_version": "0.7.0.dev0",
  "alpha_cum_end": 9e-06,
  "alpha_cum_start": 0.99999,
  "gamma_cum_end": 0.99999,
  "gamma_cum_start": 9e-06,
  "num_train_timesteps": 100,
  "num_vec_classes": 4097
}
"""


OWN = {"sampling_method", "timestep_spacing", "alphas_cumprod", "gammas_cumprod"}


def arguments_of(scheduler):
    return {key: scheduler.config[key] for key in ARGUMENTS}


@pytest.mark.parametrize("source, target", [(Reference, Ours), (Ours, Reference), (Ours, Ours)])
def test_from_config(source, target):
    made = target.from_config(source(**ARGUMENTS).config)
    assert type(made) is target and arguments_of(made) == ARGUMENTS
    assert made.num_embed == 33 and len(made.log_at) == 40


@pytest.mark.parametrize("source, target", [(Reference, Ours), (Ours, Reference), (Ours, Ours)])
def test_from_disk(source, target, tmp_path):
    source(**ARGUMENTS).save_pretrained(tmp_path)
    assert arguments_of(target.from_pretrained(tmp_path)) == ARGUMENTS
    assert arguments_of(target.from_config(target.load_config(tmp_path))) == ARGUMENTS


def test_the_file_is_the_reference_s_byte_for_byte(tmp_path):
    for arguments in (
        ARGUMENTS,
        {"num_vec_classes": 5},
        {"num_vec_classes": 5, "alpha_cum_start": 1, "gamma_cum_start": 0},
    ):
        Reference(**arguments).save_config(tmp_path / "reference")
        Ours(**arguments).save_config(tmp_path / "ours")
        reference, ours = (
            tmp_path / name / "scheduler_config.json" for name in ("reference", "ours")
        )
        assert ours.read_bytes() == reference.read_bytes()


@pytest.mark.parametrize("cls", [Reference, Ours])
def test_arguments_by_position_survive_from_config(cls):
    """diffusers takes arguments passed by position for defaults, and its own from_config then lacks
    them.
    """
    scheduler = cls(33, 40, 0.99, 0.001, 0.002, 0.98)
    if cls is Reference:
        with pytest.raises(TypeError, match="num_vec_classes"):
            Reference.from_config(scheduler.config)
    assert arguments_of(Ours.from_config(scheduler.config)) == ARGUMENTS
    assert arguments_of(Ours.from_config(scheduler.config, num_train_timesteps=50)) == {
        **ARGUMENTS,
        "num_train_timesteps": 50,
    }


def test_arguments_by_position_are_read_by_the_reference():
    scheduler = Ours(33, 40, 0.99, 0.001, 0.002, 0.98)
    assert arguments_of(Reference.from_config(scheduler.config)) == ARGUMENTS


def test_the_published_layout(tmp_path):
    (tmp_path / "scheduler").mkdir()
    (tmp_path / "scheduler" / "scheduler_config.json").write_text(PUBLISHED)
    scheduler = Ours.from_pretrained(tmp_path, subfolder="scheduler")
    assert (
        scheduler.num_embed == 4097
        and scheduler.mask_class == 4096
        and len(scheduler.timesteps) == 100
    )


def test_a_hub_name_goes_through_the_loader_of_diffusers(monkeypatch, tmp_path):
    """With a name that is no folder, diffusers asks the hub's client for the file; this one answers
    from a folder.
    """
    (tmp_path / "scheduler_config.json").write_text(PUBLISHED)
    asked = []

    def download(name, filename=None, subfolder=None, **kwargs):
        asked.append((name, filename, subfolder))
        return str(tmp_path / filename)

    monkeypatch.setattr(diffusers.configuration_utils, "hf_hub_download", download)
    assert (
        Ours.from_pretrained("microsoft/vq-diffusion-ithq", subfolder="scheduler").num_embed == 4097
    )
    assert asked == [("microsoft/vq-diffusion-ithq", "scheduler_config.json", "scheduler")]


def test_keywords_go_before_the_file(tmp_path):
    Ours(**ARGUMENTS).save_pretrained(tmp_path)
    scheduler, unused = Ours.from_pretrained(
        tmp_path, num_train_timesteps=7, other=1, return_unused_kwargs=True
    )
    assert scheduler.config.num_train_timesteps == 7 and unused["other"] == 1


def test_our_option_is_written_only_where_it_is_not_the_default(tmp_path):
    for scheduler in (Ours(**ARGUMENTS), Ours(**ARGUMENTS, sampling_method="gumbel")):
        assert "sampling_method" not in scheduler.to_json_string()
    scheduler = Ours(**ARGUMENTS, sampling_method="inverse_cdf")
    scheduler.save_pretrained(tmp_path)
    assert (
        json.loads(Path(tmp_path, "scheduler_config.json").read_text())["sampling_method"]
        == "inverse_cdf"
    )
    assert Ours.from_pretrained(tmp_path).config.sampling_method == "inverse_cdf"
    assert (
        arguments_of(Reference.from_pretrained(tmp_path)) == ARGUMENTS
    )  # with a warning of diffusers in its log


@pytest.mark.parametrize("method", ["gumbel", "inverse_cdf"])
def test_the_sampler_is_in_every_configuration(method, tmp_path):
    """Also in that of copies and of what was loaded, and it goes with a configuration."""
    given = {} if method == "gumbel" else {"sampling_method": method}
    scheduler = Ours(**ARGUMENTS, **given)
    scheduler.save_pretrained(tmp_path)
    made = [scheduler, Ours.from_pretrained(tmp_path), Ours.from_config(scheduler.config)]
    made += [copy.deepcopy(scheduler), pickle.loads(pickle.dumps(scheduler))]
    made += [Ours.from_config(Reference.from_config(scheduler.config).config)]
    made += [vqdiffusion.VQDiffusionScheduler.from_config(scheduler.config)]
    for one in made:
        assert one.config.sampling_method == dict(one.config)["sampling_method"] == method
    assert Ours.from_config(Reference(**ARGUMENTS).config).config.sampling_method == "gumbel"


def test_keywords_that_begin_with_an_underscore(tmp_path):
    reference, ours = (cls(5, _name_or_path="here", _nonsense=[1]) for cls in (Reference, Ours))
    assert ours.config._name_or_path == "here" and ours.config["_nonsense"] == [1]
    assert ours.to_json_string() == reference.to_json_string()
    ours.save_pretrained(tmp_path)
    assert Ours.from_pretrained(tmp_path).config["_name_or_path"] == "here"
    with pytest.raises(TypeError, match="name_or_path"):
        Ours(5, name_or_path="here")


@pytest.mark.parametrize("changes", [{}, {"alpha_cum_start": 0.9}, ARGUMENTS], ids=len)
def test_defaults_are_noted_as_diffusers_notes_them(changes):
    """Our own option among them, where there are others."""
    given = {"num_vec_classes": 5, **changes}
    noted = [cls(**given).config.get("_use_default_values", []) for cls in (Reference, Ours)]
    assert len(noted[1]) == len(set(noted[1]))
    assert set(noted[1]) == ({*noted[0], *OWN} if noted[0] else set())
    by_position = Ours(5, 40).config["_use_default_values"]
    assert by_position and not {"num_vec_classes", "num_train_timesteps"} & set(by_position)


def test_noted_defaults_give_way_to_those_of_a_subclass():
    class Longer(Ours):
        def __init__(self, num_vec_classes, num_train_timesteps=300):
            super().__init__(num_vec_classes, num_train_timesteps)

    for cls in (Reference, Ours):
        assert Longer.from_config(cls(num_vec_classes=5).config).config.num_train_timesteps == 300
        assert Longer.from_config(cls(5, 7).config).config.num_train_timesteps == 7  # by position


def test_our_option_is_by_keyword_only():
    with pytest.raises(TypeError):
        Ours(33, 40, 0.99, 0.001, 0.002, 0.98, "inverse_cdf")
    with pytest.raises(ValueError, match="sampling_method"):
        Ours(33, sampling_method="nonsense")


def test_the_numpy_class_and_this_one_read_each_other_s_files(tmp_path):
    vqdiffusion.VQDiffusionScheduler(**ARGUMENTS, sampling_method="gumbel").save_pretrained(
        tmp_path / "numpy"
    )
    Ours(**ARGUMENTS, sampling_method="inverse_cdf").save_pretrained(tmp_path / "torch")
    scheduler = Ours.from_pretrained(tmp_path / "numpy")
    assert arguments_of(scheduler) == ARGUMENTS and scheduler.config.sampling_method == "gumbel"
    scheduler = vqdiffusion.VQDiffusionScheduler.from_pretrained(tmp_path / "torch")
    assert (
        arguments_of(scheduler) == ARGUMENTS and scheduler.config.sampling_method == "inverse_cdf"
    )
    assert (
        arguments_of(Ours.from_config(vqdiffusion.VQDiffusionScheduler(**ARGUMENTS).config))
        == ARGUMENTS
    )


def test_numpy_numbers_become_plain_ones():
    scheduler = Ours(np.int64(33), np.int32(40), np.float64(0.99))
    assert json.loads(scheduler.to_json_string())["num_vec_classes"] == 33


@pytest.mark.parametrize("content", [None, "", "{", '{"num_vec_classes": 5'])
def test_a_bad_file_is_an_error(content, tmp_path):
    if content is not None:
        (tmp_path / "scheduler_config.json").write_text(content)
    with pytest.raises(OSError):
        Ours.from_pretrained(tmp_path)
