"""Numbers at the edge of what can be held: refused with the argument's name and the number."""

import numpy as np
import pytest

import vqdiffusion
from vqdiffusion import VQDiffusionScheduler
from vqdiffusion.arguments import as_float, as_int

LOG_P = np.full((1, 5, 7), np.log(0.2), np.float32)
X = np.zeros((1, 7), np.int64)
ENDS = ("alpha_cum_start", "alpha_cum_end", "gamma_cum_start", "gamma_cum_end")
HUGE, DIGITS = 10**5000, "one of 16610 bits"  # Python does not write out so many digits


def named(value):
    return value if isinstance(value, str) else "number"


def scheduler(**arguments):
    return VQDiffusionScheduler(**{"num_vec_classes": 6, **arguments})


def guided(**numbers):
    return scheduler().guided_step(LOG_P, LOG_P, 30, X, 1, **numbers)


@pytest.mark.parametrize(
    "value, shown",
    [(10**400, "one of 1329 bits"), (-HUGE, DIGITS), (2**1024, "one of 1025 bits")],
    ids=named,
)
@pytest.mark.parametrize(
    "name, call",
    [
        *((end, lambda value, end=end: scheduler(**{end: value})) for end in ENDS),
        *(
            (
                end,
                lambda value, end=end: getattr(vqdiffusion, f"{end[:5]}_schedules")(
                    10, **{end: value}
                ),
            )
            for end in ENDS
        ),
        *(
            (name, lambda value, name=name: guided(**{name: value}))
            for name in ("guidance_scale", "truncation_rate", "floor")
        ),
        ("scale", lambda value: vqdiffusion.guide(LOG_P, LOG_P, value)),
        ("rate", lambda value: vqdiffusion.truncate(LOG_P, value)),
        ("floor", lambda value: vqdiffusion.truncate(LOG_P, 0.5, value)),
    ],
)
def test_a_number_beyond_float64(name, call, value, shown):
    with pytest.raises(
        ValueError, match=f"^{name} must be a number that float64 can hold, not {shown}$"
    ):
        call(value)


@pytest.mark.parametrize(
    "value, shown", [(2**40, "1099511627776"), (2**31, "2147483648"), (HUGE, DIGITS)], ids=named
)
def test_more_classes_than_indices_can_name(value, shown):
    with pytest.raises(
        ValueError, match=f"^num_vec_classes must be from 2 to 2147483647, not {shown}$"
    ):
        scheduler(num_vec_classes=value)
    for x in (X, X[:0]):
        with pytest.raises(
            ValueError, match=f"^num_classes must be from 1 to 2147483646, not {shown}$"
        ):
            vqdiffusion.index_to_log_onehot(x, value)


def test_as_many_classes_as_indices_can_name():
    assert scheduler(num_vec_classes=2**31 - 1).mask_class == 2**31 - 2


@pytest.mark.parametrize(
    "value, shown", [(10**13, "10000000000000"), (10**7 + 1, "10000001"), (HUGE, DIGITS)], ids=named
)
def test_more_timesteps_than_memory_can_hold(value, shown):
    with pytest.raises(
        ValueError, match=f"^num_train_timesteps must be from 2 to 10000000, not {shown}$"
    ):
        scheduler(num_train_timesteps=value)
    for function in (vqdiffusion.alpha_schedules, vqdiffusion.gamma_schedules):
        with pytest.raises(
            ValueError, match=f"^num_diffusion_timesteps must be from 2 to 10000000, not {shown}$"
        ):
            function(value)


@pytest.mark.parametrize("value", [HUGE, -HUGE], ids=named)
def test_integers_of_more_digits_than_python_writes_out(value):
    one = scheduler()
    onehot = vqdiffusion.index_to_log_onehot(X, 6)
    calls = {
        "timestep": [
            lambda: one.step(LOG_P, value, X),
            lambda: one.guided_step(None, LOG_P, value, X),
            lambda: one.plan(value, X),
        ],
        "t": [
            lambda: one.q_posterior(LOG_P, X, value),
            lambda: one.apply_cumulative_transitions(LOG_P, value),
            lambda: one.log_Q_t_transitioning_to_known_class(
                t=value, x_t=X, log_onehot_x_t=onehot, cumulative=True
            ),
        ],
        "timesteps": [lambda: one.add_noise(X, value)],
        "from_timestep": [lambda: one.add_noise(X, 5, from_timestep=value)],
        "num_inference_steps": [lambda: one.set_timesteps(value)],
        "num_threads": [lambda: vqdiffusion.set_num_threads(value)],
    }
    for name, all_of_it in calls.items():
        for call in all_of_it:
            with pytest.raises(ValueError, match=f"^{name} must be .*, not {DIGITS}$"):
                call()


@pytest.mark.parametrize(
    "value",
    [
        0.5,
        np.float16(0.5),
        np.float32(0.5),
        np.longdouble(0.5),
        np.array(0.5),
        np.array([[0.5]], np.float32),
    ],
)
def test_real_numbers_of_every_kind(value):
    assert as_float(value, "scale") == 0.5 and type(as_float(value, "scale")) is float
    expected = vqdiffusion.truncate(vqdiffusion.guide(LOG_P, LOG_P, 0.5), 0.5, -0.5)
    np.testing.assert_array_equal(
        vqdiffusion.truncate(vqdiffusion.guide(LOG_P, LOG_P, value), value, -value), expected
    )
    assert scheduler(alpha_cum_end=value, gamma_cum_end=0.2).config.alpha_cum_end == 0.5


@pytest.mark.parametrize("value", [3, np.uint8(3), np.array(3), np.array([3], np.int16)])
def test_integers_of_every_kind(value):
    assert as_float(value, "scale") == as_int(value, "t", 0) == 3
    assert type(as_float(value, "scale")) is float and type(as_int(value, "t", 0)) is int


@pytest.mark.parametrize(
    "value, error",
    [
        (True, TypeError),
        (np.True_, TypeError),
        (np.array(True), TypeError),
        (np.array([False]), TypeError),
        (np.timedelta64(1, "s"), TypeError),
        (np.array(1j), TypeError),
        (np.array("0.5"), TypeError),
        ("0.5", TypeError),
        (None, TypeError),
        ([0.5], TypeError),
        (np.array([0.5, 0.5]), ValueError),
        (np.array([]), ValueError),
    ],
)
def test_what_is_no_real_number(value, error):
    for name in ("guidance_scale", "truncation_rate", "floor"):
        with pytest.raises(error, match=f"^{name} must be a (single )?real number, not "):
            guided(**{name: value})
    with pytest.raises(error, match="^alpha_cum_start must be a (single )?real number, not "):
        scheduler(alpha_cum_start=value)
