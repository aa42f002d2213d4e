"""Bad input: the right exception, a message that names the argument, and nothing changed."""

import numpy as np
import pytest
from reference import random_classes, random_log_p
from schedule_of import schedule_of

import vqdiffusion
from vqdiffusion import VQDiffusionScheduler, _native

METHODS = ["inverse_cdf", "gumbel"]
CLASSES, BATCH, PIXELS = 5, 2, 7


def with_value(array, value, at):
    array = array.copy()
    array[at] = value
    return array


RNG = np.random.default_rng(6)
LOG_P, X = random_log_p(RNG, BATCH, CLASSES, PIXELS), random_classes(RNG, BATCH, CLASSES, PIXELS)
EMPTY_COLUMN = with_value(LOG_P, -np.inf, np.s_[1, :, 3])

# What is wrong with log-probabilities.
BAD_TENSORS = {
    "rank 2": (ValueError, LOG_P[0]),
    "rank 4": (ValueError, LOG_P[None]),
    "rank 0": (ValueError, np.float32(-1)),
    "with the mask's row": (ValueError, np.zeros((BATCH, CLASSES + 1, PIXELS), np.float32)),
    "a row short": (ValueError, LOG_P[:, 1:]),
    "no rows": (ValueError, LOG_P[:, :0]),
    "bool": (TypeError, LOG_P > -1),
    "int": (TypeError, LOG_P.astype(np.int64)),
    "complex": (TypeError, LOG_P.astype(np.complex64)),
    "object": (TypeError, LOG_P.astype(object)),
    "text": (TypeError, LOG_P.astype(str)),
    "dates": (TypeError, np.zeros(LOG_P.shape, "M8[s]")),
    "records": (TypeError, np.zeros(LOG_P.shape, [("a", np.float32)])),
    "long double": (TypeError, LOG_P.astype(np.longdouble)),
    "swapped float32": (TypeError, LOG_P.astype(LOG_P.dtype.newbyteorder())),
    "swapped float64": (TypeError, LOG_P.astype(np.dtype(np.float64).newbyteorder())),
    "None": (TypeError, None),
    "ragged list": (ValueError, [[[0.0, 1.0], [0.0]]]),
}
BAD_LOG_P = {
    "NaN": (ValueError, with_value(LOG_P, np.nan, (1, 2, 3))),
    "+inf": (ValueError, with_value(LOG_P, np.inf, (1, 2, 3))),
    "a column without mass": (ValueError, EMPTY_COLUMN),
}
# What is wrong with classes.
BAD_GRIDS = {
    "rank 1": (ValueError, X[0]),
    "rank 3": (ValueError, X[None]),
    "another batch": (ValueError, X[:1]),
    "another number of pixels": (ValueError, X[:, 1:]),
    "float": (TypeError, X.astype(np.float32)),
    "bool": (TypeError, X > 2),
    "complex": (TypeError, X.astype(complex)),
    "object": (TypeError, X.astype(object)),
    "text": (TypeError, X.astype(str)),
    "dates": (TypeError, X.astype("M8[s]")),
    "swapped int64": (TypeError, X.astype(X.dtype.newbyteorder())),
    "swapped int16": (TypeError, X.astype(np.dtype(np.int16).newbyteorder())),
    "below 0": (ValueError, with_value(X, -1, (1, 6))),
    "above the mask": (ValueError, with_value(X, CLASSES + 1, (0, 0))),
    "far above": (ValueError, with_value(X.astype(np.uint64), 2**64 - 1, (0, 0))),
    "far below": (ValueError, with_value(X, -(2**63), (0, 0))),
    "beyond int32": (ValueError, with_value(X, 2**32, (0, 0))),
    "None": (TypeError, None),
}
BAD_TIMESTEPS = {
    "below": (ValueError, -1),
    "above": (ValueError, 100),
    "far above": (ValueError, 2**80),
    "far below": (ValueError, -(2**80)),
    "unsigned": (ValueError, np.uint64(2**64 - 1)),
    "bool": (TypeError, True),
    "NumPy bool": (TypeError, np.False_),
    "float": (TypeError, 5.0),
    "NumPy float": (TypeError, np.float64(0)),
    "float array": (TypeError, np.array([5.0])),
    "bool array": (TypeError, np.array(True)),
    "two of them": (ValueError, np.array([5, 5])),
    "none of them": (ValueError, np.array([], int)),
    "text": (TypeError, "5"),
    "None": (TypeError, None),
    "list": (TypeError, [5]),
}


def cases(*tables):
    return [pytest.param(*value, id=name) for table in tables for name, value in table.items()]


def refuses(error, name, call, *arguments):
    """The call raises that error, names the argument, and changes none of its arrays."""
    kept = [one.copy() if isinstance(one, np.ndarray) else one for one in arguments]
    with pytest.raises(error, match=rf"\b{name}\b"):
        call(*arguments)
    for one, before in zip(arguments, kept, strict=True):
        if isinstance(one, np.ndarray):
            assert one.tobytes() == before.tobytes() or one.dtype == object


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("t", [0, 60])
@pytest.mark.parametrize("error, bad", cases(BAD_TENSORS))
def test_step_model_output(method, t, error, bad):
    scheduler = VQDiffusionScheduler(CLASSES + 1, sampling_method=method)
    refuses(error, "model_output", scheduler.step, bad, t, X)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("error, bad", cases(BAD_LOG_P))
def test_step_model_output_values(method, error, bad):
    scheduler = VQDiffusionScheduler(CLASSES + 1, sampling_method=method)
    refuses(
        error, "model_output", scheduler.step, bad, 0, X
    )  # t = 0 reads every column, whatever the method
    if method == "gumbel":
        refuses(error, "model_output", scheduler.step, bad, 60, X)


def test_the_inverse_cdf_refuses_bad_values_in_every_column_it_reads():
    # Masked pixels at t = 1: each is unmasked with probability 1/2, and then its column has to be
    # read.
    scheduler = VQDiffusionScheduler(CLASSES + 1)
    for value in (np.nan, np.inf):
        model_output = np.full((1, CLASSES, 64), value, np.float32)
        refuses(
            ValueError, "model_output", scheduler.step, model_output, 1, np.full((1, 64), CLASSES)
        )
    refuses(
        ValueError,
        "model_output",
        scheduler.step,
        np.full((1, CLASSES, 64), -np.inf),
        1,
        np.full((1, 64), CLASSES),
    )


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("t", [1, 60])
@pytest.mark.parametrize("error, bad", cases(BAD_GRIDS))
def test_step_sample(method, t, error, bad):
    scheduler = VQDiffusionScheduler(CLASSES + 1, sampling_method=method)
    refuses(error, "sample", scheduler.step, LOG_P, t, bad)


@pytest.mark.parametrize("error, bad", cases(BAD_TIMESTEPS))
def test_timesteps(error, bad):
    scheduler = VQDiffusionScheduler(CLASSES + 1)
    log_onehot = vqdiffusion.index_to_log_onehot(X, CLASSES + 1)
    refuses(error, "timestep", lambda: scheduler.step(LOG_P, bad, X))
    refuses(error, "t", lambda: scheduler.q_posterior(LOG_P, X, bad))
    refuses(
        error,
        "t",
        lambda: scheduler.log_Q_t_transitioning_to_known_class(
            t=bad, x_t=X, log_onehot_x_t=log_onehot, cumulative=True
        ),
    )
    if type(bad) is not int or bad != -1:  # there it is clean data
        refuses(error, "t", lambda: scheduler.apply_cumulative_transitions(LOG_P, bad))
    if not (isinstance(bad, np.ndarray) and bad.dtype.kind == "i") and type(bad) is not list:
        refuses(error, "timesteps", lambda: scheduler.add_noise(X, bad))


@pytest.mark.parametrize(
    "timestep",
    [60, np.int8(60), np.uint64(60), np.array(60), np.array([60]), np.array([[60]], np.uint8)],
)
def test_good_timesteps(timestep):
    scheduler = VQDiffusionScheduler(CLASSES + 1)
    np.testing.assert_array_equal(
        scheduler.step(LOG_P, timestep, X, 1).prev_sample,
        scheduler.step(LOG_P, 60, X, 1).prev_sample,
    )
    np.testing.assert_array_equal(
        scheduler.q_posterior(LOG_P, X, timestep), scheduler.q_posterior(LOG_P, X, 60)
    )


@pytest.mark.parametrize(
    "error, t",
    [
        (ValueError, np.array([5, 100])),
        (ValueError, np.array([-1, 5])),
        (ValueError, np.array([5, 5, 5])),
        (ValueError, np.array([[5], [5]])),
        (ValueError, np.array([5, 2**64 - 1], np.uint64)),
        (TypeError, np.array([5.0, 5.0])),
        (TypeError, np.array([True, False])),
        (TypeError, [5, "a"]),
    ],
)
def test_add_noise_timesteps(error, t):
    refuses(error, "timesteps", VQDiffusionScheduler(CLASSES + 1).add_noise, X, t)


@pytest.mark.parametrize(
    "error, bad",
    cases({k: v for k, v in BAD_GRIDS.items() if not k.startswith("another") and k != "None"}),
)
def test_add_noise_and_index_to_log_onehot(error, bad):
    refuses(error, "original_samples", VQDiffusionScheduler(CLASSES + 1).add_noise, bad, 60)
    refuses(error, "x", vqdiffusion.index_to_log_onehot, bad, CLASSES + 1)


@pytest.mark.parametrize("error, bad", cases(BAD_TENSORS, BAD_LOG_P))
def test_q_posterior_log_p_x_0(error, bad):
    refuses(error, "log_p_x_0", VQDiffusionScheduler(CLASSES + 1).q_posterior, bad, X, 60)


@pytest.mark.parametrize("error, bad", cases(BAD_GRIDS))
def test_q_posterior_x_t(error, bad):
    refuses(error, "x_t", VQDiffusionScheduler(CLASSES + 1).q_posterior, LOG_P, bad, 60)


@pytest.mark.parametrize("error, bad", cases(BAD_TENSORS))
def test_apply_cumulative_transitions(error, bad):
    refuses(error, "q", VQDiffusionScheduler(CLASSES + 1).apply_cumulative_transitions, bad, 60)


@pytest.mark.parametrize("cumulative", [True, False])
def test_transition_rows(cumulative):
    scheduler = VQDiffusionScheduler(CLASSES + 1)
    log_onehot = vqdiffusion.index_to_log_onehot(X, CLASSES + 1)

    def rows(x_t, log_onehot_x_t):
        return scheduler.log_Q_t_transitioning_to_known_class(
            t=60, x_t=x_t, log_onehot_x_t=log_onehot_x_t, cumulative=cumulative
        )

    for error, bad in BAD_GRIDS.values():
        refuses(error, "x_t", rows, bad, log_onehot)
    for name, (error, bad) in BAD_TENSORS.items():
        if name != "with the mask's row":
            refuses(error, "log_onehot_x_t", rows, X, bad)
    refuses(ValueError, "log_onehot_x_t", rows, X, LOG_P)


@pytest.mark.parametrize(
    "num_classes, error",
    [(0, ValueError), (-3, ValueError), (2.5, TypeError), (True, TypeError), ("6", TypeError)],
)
def test_number_of_classes(num_classes, error):
    refuses(error, "num_classes", vqdiffusion.index_to_log_onehot, X, num_classes)


@pytest.mark.parametrize(
    "error, bad",
    cases(
        {k: v for k, v in BAD_TENSORS.items() if v[0] is TypeError},
        {k: v for k, v in BAD_LOG_P.items() if "inf" in k or "N" in k},
    ),
)
def test_gumbel_noised(error, bad):
    refuses(error, "logits", lambda logits: vqdiffusion.gumbel_noised(logits, 1), bad)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (0, 0)])
def test_nothing_to_do_is_a_result(method, shape):
    batch, pixels = shape
    scheduler = VQDiffusionScheduler(CLASSES + 1, sampling_method=method)
    log_p, x = np.zeros((batch, CLASSES, pixels), np.float32), np.zeros(shape, np.int64)
    for t in (0, 60):
        assert scheduler.step(log_p, t, x).prev_sample.shape == shape
        assert scheduler.step(log_p, t, x, [1] * batch).prev_sample.shape == shape
        assert scheduler.q_posterior(log_p, x, t).shape == (batch, CLASSES + 1, pixels)
        assert scheduler.apply_cumulative_transitions(log_p, t).shape == (
            batch,
            CLASSES + 1,
            pixels,
        )
        assert scheduler.add_noise(x, np.zeros(batch, int)).shape == shape
    onehot = vqdiffusion.index_to_log_onehot(x, CLASSES + 1)
    assert onehot.shape == (batch, CLASSES + 1, pixels)
    for cumulative in (False, True):
        rows = scheduler.log_Q_t_transitioning_to_known_class(
            t=3, x_t=x, log_onehot_x_t=onehot, cumulative=cumulative
        )
        assert rows.shape == (batch, CLASSES + 1 - cumulative, pixels)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -0.5, 2.0])
def test_uniforms_that_are_none(bad):
    """The native functions take uniforms from callers; the classes always draw them themselves."""
    logits = np.zeros((1, 4, 20), np.float32)
    uniforms = np.full((1, 4, 20), 0.5, np.float32)
    uniforms[0, 3, 17] = bad
    with pytest.raises(ValueError, match="uniforms"):
        _native.gumbel_noised(logits, uniforms, np.empty_like(logits))
    schedule = schedule_of(VQDiffusionScheduler(5))
    with pytest.raises(ValueError, match="uniforms"):
        _native.step(
            *schedule, 0, -1, logits, None, "gumbel", uniforms, np.empty((1, 20), np.int64)
        )


def test_more_classes_than_indices_can_name():
    with pytest.raises(ValueError, match="num_classes"):
        _native.index_to_log_onehot(
            np.zeros((0, 0), np.int64), 2**31, np.empty((0, 0, 0), np.float32)
        )


def test_no_pixels_of_many_rows_return_at_once():
    empty = np.broadcast_to(np.zeros((1, 4, 0), np.float32), (2**40, 4, 0))
    sample = np.broadcast_to(np.zeros((1, 0), np.int64), (2**40, 0))
    assert VQDiffusionScheduler(5).q_posterior(empty, sample, 3).shape == (2**40, 5, 0)


def test_masks_where_the_schedule_masks_nothing():
    """Every function that is given x_t says so, and where; at t = 0 it plays no part."""
    ends = {"alpha_cum_start": 0.9, "alpha_cum_end": 0.1, "gamma_cum_start": 0, "gamma_cum_end": 0}
    x = np.where(X == CLASSES, 0, X)
    masked = with_value(x, CLASSES, (1, 4))
    sentence = r"must not be masked at timestep 30, where the schedule masks nothing, but is at"
    for method in METHODS:
        scheduler = VQDiffusionScheduler(CLASSES + 1, **ends, sampling_method=method)
        calls = {
            "step": lambda x, s=scheduler: s.step(LOG_P, 30, x),
            "guided_step": lambda x, s=scheduler: s.guided_step(LOG_P, LOG_P, 30, x),
            "without guidance": lambda x, s=scheduler: s.guided_step(None, LOG_P, 30, x),
            "plan": lambda x, s=scheduler: s.plan(30, x),
            "q_posterior": lambda x, s=scheduler: s.q_posterior(LOG_P, x, 30),
        }
        if method == "gumbel":
            del calls["plan"]
        for name, function in calls.items():
            function(x)
            argument = "x_t" if name == "q_posterior" else "sample"
            with pytest.raises(ValueError, match=f"^{argument} {sentence} \\[1, 4\\]$"):
                function(masked)
        scheduler.step(LOG_P, 0, masked)
