"""Settings that are refused: arguments of constructors, schedules, numbers of threads."""

import numpy as np
import pytest

import vqdiffusion
from vqdiffusion import VQDiffusionScheduler


@pytest.mark.parametrize(
    "name, value, error",
    [
        ("num_vec_classes", 1, ValueError),
        ("num_vec_classes", 0, ValueError),
        ("num_vec_classes", -5, ValueError),
        ("num_vec_classes", 2**80, ValueError),
        ("num_vec_classes", 18.0, TypeError),
        ("num_vec_classes", True, TypeError),
        ("num_vec_classes", "18", TypeError),
        ("num_vec_classes", None, TypeError),
        ("num_train_timesteps", 1, ValueError),
        ("num_train_timesteps", 0, ValueError),
        ("num_train_timesteps", -1, ValueError),
        ("num_train_timesteps", 100.0, TypeError),
        *(
            (end, value, error)
            for end in ("alpha_cum_start", "alpha_cum_end", "gamma_cum_start", "gamma_cum_end")
            for value, error in (
                (np.nan, ValueError),
                (np.inf, ValueError),
                (-1e-9, ValueError),
                (1.0000001, ValueError),
                ("0.5", TypeError),
                (None, TypeError),
                (True, TypeError),
                (0.5j, TypeError),
            )
        ),
        ("sampling_method", "Gumbel", ValueError),
        ("sampling_method", None, ValueError),
    ],
)
def test_arguments_of_the_class(name, value, error):
    with pytest.raises(error, match=rf"\b{name}\b"):
        VQDiffusionScheduler(**{"num_vec_classes": 18, name: value})
    if name.startswith(("alpha", "gamma")):
        with pytest.raises(error, match=rf"\b{name}\b"):
            getattr(vqdiffusion, f"{name[:5]}_schedules")(10, **{name: value})
    if name == "num_train_timesteps":
        for function in (vqdiffusion.alpha_schedules, vqdiffusion.gamma_schedules):
            with pytest.raises(error, match="num_diffusion_timesteps"):
                function(value)


@pytest.mark.parametrize(
    "ends",
    [
        {"alpha_cum_start": 0.5, "gamma_cum_start": 0.6},  # ᾱ + γ̄ > 1 at the start
        {"alpha_cum_end": 0.5},  # and at the end
        {"gamma_cum_start": 0.5, "gamma_cum_end": 0.2, "alpha_cum_start": 0.5},  # γ̄ falls
        {"alpha_cum_start": 0.1, "alpha_cum_end": 0.2, "gamma_cum_end": 0.5},  # ᾱ rises
        {
            "alpha_cum_start": 0.5,
            "alpha_cum_end": 0.3,
            "gamma_cum_end": 0.69,
        },  # ᾱ falls, but ᾱ / (1 - γ̄) rises
    ],
)
def test_schedules_that_are_no_chain(ends):
    with pytest.raises(ValueError, match=r"alpha|gamma"):
        VQDiffusionScheduler(18, **ends)


@pytest.mark.parametrize(
    "value, error", [(-1, ValueError), (2.0, TypeError), (True, TypeError), (2**40, ValueError)]
)
def test_number_of_threads(value, error):
    before = vqdiffusion.get_num_threads()
    with pytest.raises(error, match="num_threads"):
        vqdiffusion.set_num_threads(value)
    assert vqdiffusion.get_num_threads() == before
