"""What diffusers' own tests of its schedulers do, from 0.18 on, with the class swapped.

One test for each of theirs that runs on this scheduler: they save and load, step with both,
compare configurations and outputs, and look at attributes.
"""

import inspect
import json
import logging
import warnings
from pathlib import Path

import diffusers
import pytest
import torch

import vqdiffusion.diffusers


@pytest.fixture(
    params=[diffusers.VQDiffusionScheduler, vqdiffusion.diffusers.VQDiffusionScheduler],
    ids=["theirs", "ours"],
)
def cls(request):
    return request.param


def arguments(**changes):
    return {"num_vec_classes": 4097, "num_train_timesteps": 100} | changes


def model_output(classes, sample):
    return torch.rand(sample.shape[0], classes - 1, sample.shape[1]).double().log_softmax(1).float()


def classes_of(batch_of):
    """A batch of four grids of 8 x 8."""
    return torch.randint(0, batch_of, (4, 64))


@pytest.fixture
def warned():
    """What diffusers logs of configurations, from warnings on."""
    records, handler = [], logging.Handler(logging.WARNING)
    handler.emit = lambda record: records.append(record.getMessage())
    logger = logging.getLogger("diffusers.configuration_utils")
    logger.addHandler(handler)
    yield records
    logger.removeHandler(handler)


def saved_and_loaded_step_alike(cls, folder, timestep, steps=None, **changes):
    config = arguments(**changes)
    scheduler = cls(**config)
    scheduler.save_config(folder)
    loaded = cls.from_pretrained(folder)
    sample = classes_of(config["num_vec_classes"])
    residual = model_output(config["num_vec_classes"], sample)
    tokens = []
    for one in (scheduler, loaded):
        if steps is not None:
            one.set_timesteps(steps)
        tokens.append(
            one.step(residual, timestep, sample, generator=torch.manual_seed(0)).prev_sample
        )
    assert (tokens[0] - tokens[1]).abs().sum() < 1e-5


@pytest.mark.parametrize("timesteps", [2, 5, 100, 1000])
def test_over_numbers_of_timesteps(cls, timesteps, tmp_path):
    saved_and_loaded_step_alike(cls, tmp_path, 0, num_train_timesteps=timesteps)


@pytest.mark.parametrize("classes", [5, 100, 1000, 4000])
def test_over_numbers_of_classes(cls, classes, tmp_path):
    saved_and_loaded_step_alike(cls, tmp_path, 0, num_vec_classes=classes)


@pytest.mark.parametrize("timestep", [0, 1, 50, 99])
@pytest.mark.parametrize("steps", [None, 100])
def test_over_timesteps(cls, timestep, steps, tmp_path):
    saved_and_loaded_step_alike(cls, tmp_path, timestep, steps)


def test_a_loaded_configuration_is_the_saved_one(cls, tmp_path):
    """Except that what is loaded has no defaults: the file names every argument."""
    scheduler = cls(**arguments())
    scheduler.save_pretrained(tmp_path)
    loaded = cls.from_pretrained(tmp_path)
    config = dict(scheduler.config)
    del config["_use_default_values"]
    assert config == loaded.config and "_use_default_values" not in loaded.config


def test_compatible_classes_and_back(cls):
    scheduler = cls(**arguments())
    assert len(scheduler.compatibles) == 1 and None not in scheduler.compatibles
    for compatible in scheduler.compatibles:
        other = compatible.from_config(scheduler.config)
        again = cls.from_config(other.config)
    known = {key: value for key, value in again.config.items() if key in scheduler.config}
    assert known == dict(scheduler.config)
    added = again.config.keys() - scheduler.config.keys()
    assert not added & set(inspect.signature(cls.__init__).parameters)


def test_shapes_of_steps(cls):
    scheduler, sample = cls(**arguments()), classes_of(4097)
    residual = model_output(4097, sample)
    shapes = {scheduler.step(residual, t, sample).prev_sample.shape for t in (0, 1)}
    assert shapes == {sample.shape}


@pytest.mark.parametrize("t", [0, 1])
def test_tuples_and_objects_hold_the_same(cls, t):
    scheduler, sample = cls(**arguments()), classes_of(4097)
    residual = model_output(4097, sample)
    scheduler.set_timesteps(50)
    made = scheduler.step(residual, t, sample, generator=torch.manual_seed(0))
    scheduler.set_timesteps(50)
    pair = scheduler.step(residual, t, sample, return_dict=False, generator=torch.manual_seed(0))
    assert isinstance(pair, tuple) and isinstance(made, dict)
    assert len(pair) == len(made) and all(torch.allclose(a, b) for a, b in zip(pair, made.values()))


def test_the_public_functions(cls):
    scheduler = cls(**arguments())
    assert all(
        callable(getattr(scheduler, name)) for name in ("step", "set_timesteps", "save_pretrained")
    )
    assert {"generator", "return_dict"} <= inspect.signature(scheduler.step).parameters.keys()


def test_no_argument_for_deprecated_keywords(cls):
    parameters = inspect.signature(cls.__init__).parameters
    assert "kwargs" not in parameters and cls._deprecated_kwargs == []
    assert all(one.kind is not one.VAR_KEYWORD for one in parameters.values())


def test_attributes_and_configured_values(cls, warned):
    scheduler = cls(**arguments())
    scheduler.some_attribute = 5
    scheduler.register_to_config(some_value=5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert hasattr(scheduler, "some_attribute") and scheduler.some_attribute == 5
        assert scheduler.save_pretrained == getattr(scheduler, "save_pretrained")
    assert not warned
    for read in (lambda: scheduler.some_value, lambda: getattr(scheduler, "some_value")):
        with pytest.warns(FutureWarning, match="some_value"):
            assert read() == 5
    with pytest.raises(AttributeError) as error:
        scheduler.no_such_thing
    assert str(error.value) == f"'{cls.__name__}' object has no attribute 'no_such_thing'"


def test_an_unknown_entry_of_the_file_is_told_of_and_kept(cls, tmp_path, warned):
    cls(**arguments()).save_config(tmp_path)
    file = Path(tmp_path, "scheduler_config.json")
    cls.from_config(cls.load_config(tmp_path))
    assert not warned
    file.write_text(json.dumps(json.loads(file.read_text()) | {"unexpected": True}))
    loaded = cls.from_config(cls.load_config(tmp_path))
    assert type(loaded) is cls and loaded.config.unexpected is True
    assert len(warned) == 1
    assert "{'unexpected': True} were passed to VQDiffusionScheduler" in warned[0]


def test_changed_values_stay_changed(cls, tmp_path):
    """Defaults give way to those of the class that is made, and what was passed once stays."""
    scheduler = cls.from_config(cls(num_vec_classes=65).config, alpha_cum_start=0.9)
    for _ in range(3):
        assert scheduler.config.alpha_cum_start == 0.9 and scheduler.config.gamma_cum_end == 0.99999
        assert "alpha_cum_start" not in scheduler.config["_use_default_values"]
        scheduler = cls.from_config(scheduler.config)
    scheduler.save_pretrained(tmp_path)
    loaded, unused = cls.from_pretrained(
        tmp_path, num_train_timesteps=7, other=1, return_unused_kwargs=True
    )
    assert (
        loaded.config.alpha_cum_start == 0.9 and len(loaded.timesteps) == 7 and unused["other"] == 1
    )


def test_both_write_the_same_file(tmp_path):
    classes = diffusers.VQDiffusionScheduler, vqdiffusion.diffusers.VQDiffusionScheduler
    for number, one in enumerate(classes):
        one(**arguments()).save_pretrained(tmp_path / str(number))
    files = [
        Path(tmp_path, str(number), "scheduler_config.json").read_bytes() for number in range(2)
    ]
    assert files[0] == files[1]
