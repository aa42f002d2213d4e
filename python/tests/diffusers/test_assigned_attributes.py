"""Assignments to a scheduler that are refused, and those that are not."""

import pytest
import torch
from diffusers_case import TABLES, Ours, random_classes, random_log_p

K, N, T = 12, 60, 20


@pytest.mark.parametrize("name", TABLES)
def test_what_cannot_be_a_table(name):
    ours, kept = Ours(K + 1, T), getattr(Ours(K + 1, T), name)
    length, log_p, x = len(kept), random_log_p(3, K, N), random_classes(3, K, N)
    nan = kept.clone()
    nan[3] = torch.nan
    for error, match, value in (
        (TypeError, f"{name} must be a tensor, not numpy.ndarray", kept.numpy()),
        (TypeError, f"{name} must be a tensor, not builtins.NoneType", None),
        (TypeError, f"{name} must be of a floating dtype, not torch.int64", kept.long()),
        (ValueError, rf"{name} must have shape \({length},\), not \({length - 1},\)", kept[1:]),
        (ValueError, rf"{name} must have shape \({length},\), not \({length}, 1\)", kept[:, None]),
        (ValueError, f"{name} must hold logarithms of probabilities, not nan at index 3", nan),
        (
            ValueError,
            f"{name} must hold logarithms of probabilities, not 0.5",
            torch.full_like(kept, 0.5),
        ),
        (
            ValueError,
            f"{name} must hold logarithms of probabilities, not inf",
            torch.full_like(kept, torch.inf),
        ),
    ):
        with pytest.raises(error, match=match):
            setattr(ours, name, value)
        assert torch.equal(getattr(ours, name), kept)
    getattr(ours, name)[3] = torch.nan
    before = torch.get_rng_state()
    for call in (
        lambda: ours.step(log_p, 7, x),
        lambda: ours.q_posterior(log_p, x, 7),
    ):
        with pytest.raises(
            ValueError, match=f"{name} must hold logarithms of probabilities, not nan at index 3"
        ):
            call()
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    "name, value, argument",
    [
        ("mask_class", 3, "num_vec_classes"),
        ("num_embed", 99, "num_vec_classes"),
        ("num_vec_classes", 99, "num_vec_classes"),
        ("num_train_timesteps", 7, "num_train_timesteps"),
        ("alpha_cum_start", 0.5, "alpha_cum_start"),
        ("gamma_cum_end", torch.tensor(0.5), "gamma_cum_end"),
        ("sampling_method", "inverse_cdf", "sampling_method"),
    ],
)
def test_attributes_that_would_have_no_effect(name, value, argument):
    ours = Ours(K + 1, T)
    with pytest.raises(AttributeError, match=f"{name} is fixed by {argument} of the constructor"):
        setattr(ours, name, value)
    assert ours.mask_class == K and ours.num_embed == K + 1 and "alpha_cum_start" not in vars(ours)


def test_the_same_value_and_other_attributes_may_be_assigned():
    class Sub(Ours):
        def __init__(self, num_vec_classes, extra):
            self.extra = extra
            super().__init__(num_vec_classes)
            self.mask_class = self.num_embed - 1
            self.num_train_timesteps = 100

    ours = Sub(K + 1, "x")
    ours.nonsense = ours.timestep = 7
    ours.timesteps, ours.num_inference_steps = ours.timesteps[::2], 3
    assert ours.extra == "x" and ours.nonsense == 7 and ours.num_train_timesteps == 100
    ours.__init__(5, "y")  # as new, with other classes
    assert (
        ours.mask_class == 4
        and ours.step(random_log_p(1, 4, 3), 7, random_classes(1, 4, 3)).prev_sample.max() < 5
    )
