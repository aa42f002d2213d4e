"""Attributes that look like inputs: assigning one raises, since it would change nothing."""

import unittest.mock

import numpy as np
import pytest

from vqdiffusion import VQDiffusionScheduler

TABLES = ["log_at", "log_bt", "log_ct", "log_cumprod_at", "log_cumprod_bt", "log_cumprod_ct"]
SENTENCES = {
    **{
        name: "is read-only: it follows from the constructor's alpha_cum_start, alpha_cum_end"
        for name in TABLES
    },
    "num_embed": "is read-only: it follows from the constructor's num_vec_classes",
    "mask_class": "is read-only: it follows from the constructor's num_vec_classes",
    "timesteps": r"is read-only: call set_timesteps\(num_inference_steps\)",
    "num_inference_steps": r"is read-only: call set_timesteps\(num_inference_steps\)",
    "config": r"is read-only: make another scheduler with from_config\(config, key=value\)",
    "order": "is read-only$",
    "config_name": "is read-only$",
}
OF_THE_BASE = {
    "num_vec_classes": "is read-only: make another scheduler with from_config",
    "sampling_method": "is read-only: make another scheduler with from_config",
    "mask_clas": "has no attribute 'mask_clas' that could be set",
    "_anything": "has no attribute '_anything' that could be set",
}


class Subclass(VQDiffusionScheduler):
    def __init__(self, num_vec_classes, colour="red", **arguments):
        self.colour = colour  # before the base has anything
        super().__init__(num_vec_classes, **arguments)
        self.num_vec_classes = num_vec_classes
        self.own_table = np.zeros(3)

    def own(self):
        return self.colour


@pytest.mark.parametrize("made", [VQDiffusionScheduler, Subclass])
@pytest.mark.parametrize("name", SENTENCES)
def test_assigning_an_attribute_raises(made, name):
    scheduler = made(6)
    before = getattr(scheduler, name)
    for change in (lambda: setattr(scheduler, name, before), lambda: delattr(scheduler, name)):
        with pytest.raises(AttributeError, match=f"^{name} {SENTENCES[name]}"):
            change()
    assert getattr(scheduler, name) is before


def test_nothing_that_the_constructor_has_set_can_be_assigned():
    scheduler = VQDiffusionScheduler(6)
    assert len(vars(scheduler)) > len(TABLES)
    for name, before in dict(vars(scheduler)).items():
        with pytest.raises(AttributeError, match=f"^{name} is read-only"):
            setattr(scheduler, name, before)


@pytest.mark.parametrize("name", OF_THE_BASE)
def test_assigning_what_is_no_attribute_raises(name):
    scheduler = VQDiffusionScheduler(6)
    with pytest.raises(AttributeError, match=OF_THE_BASE[name]):
        setattr(scheduler, name, 3)
    assert not hasattr(scheduler, name)


@pytest.mark.parametrize("name", [*TABLES, "timesteps"])
def test_the_elements_of_arrays_cannot_be_assigned(name):
    scheduler = VQDiffusionScheduler(6)
    for _ in range(2):
        with pytest.raises(ValueError, match="read-only"):
            getattr(scheduler, name)[3] = 0
        scheduler.set_timesteps(20)


def test_a_subclass_has_attributes_of_its_own():
    scheduler = Subclass(6, "blue")
    scheduler.colour, scheduler.own, scheduler.misspelt = "green", lambda: "other", 3
    scheduler.own_table[0] = 1
    assert (
        scheduler.colour == "green" and scheduler.own() == "other" and scheduler.own_table[0] == 1
    )
    del scheduler.own, scheduler.misspelt
    assert scheduler.own() == "green" and not hasattr(scheduler, "misspelt")


@pytest.mark.parametrize("made", [VQDiffusionScheduler, Subclass])
def test_public_methods_can_be_overridden_on_an_instance(made):
    scheduler = made(6)
    for name in (
        "step",
        "set_timesteps",
        "q_posterior",
        "plan",
        "add_noise",
        "save_pretrained",
        "from_config",
    ):
        setattr(scheduler, name, lambda *arguments: name)
        assert getattr(scheduler, name)() == name
        delattr(scheduler, name)
        assert (
            name not in vars(scheduler)
            and getattr(scheduler, name).__func__ is getattr(made(7), name).__func__
        )
    with unittest.mock.patch.object(scheduler, "step", return_value=3):
        assert scheduler.step() == 3
    assert "step" not in vars(scheduler)
