"""Overrides of the posterior and of its parts, in subclasses and on instances: steps use them."""

import numpy as np
import pytest
from reference import gumbel, random_classes, random_log_p

import vqdiffusion
from vqdiffusion import VQDiffusionScheduler

METHODS = ["inverse_cdf", "gumbel"]
CLASSES, BATCH, PIXELS = 5, 3, 40
SHAPE = (BATCH, PIXELS)
OVERRIDABLE = [
    "q_posterior",
    "log_Q_t_transitioning_to_known_class",
    "apply_cumulative_transitions",
]


def other_posterior(log_p, x_t, t):
    """Any distribution that depends on all it is given."""
    logits = np.concatenate(
        (2 * np.asarray(log_p), np.full((len(log_p), 1, log_p.shape[2]), -1.5)), axis=1
    )
    return logits + np.cos(x_t)[:, None] * np.sin(np.arange(CLASSES + 1) + t)[:, None]


class Posterior(VQDiffusionScheduler):
    def q_posterior(self, log_p_x_0, x_t, t):
        return other_posterior(log_p_x_0, x_t, t)


class Rows(VQDiffusionScheduler):
    def log_Q_t_transitioning_to_known_class(self, *, t, x_t, log_onehot_x_t, cumulative):
        rows = super().log_Q_t_transitioning_to_known_class(
            t=t, x_t=x_t, log_onehot_x_t=log_onehot_x_t, cumulative=cumulative
        )
        return rows + np.sin(np.arange(rows.shape[1]))[:, None]


class Transitions(VQDiffusionScheduler):
    def apply_cumulative_transitions(self, q, t):
        return super().apply_cumulative_transitions(q, t) + np.cos(np.arange(CLASSES + 1))[:, None]


class Both(Rows, Transitions):
    def q_posterior(self, log_p_x_0, x_t, t):
        return super().q_posterior(log_p_x_0, x_t, t) * 0.9


def on_the_instance(**arguments):
    scheduler = VQDiffusionScheduler(**arguments)
    scheduler.q_posterior = other_posterior
    return scheduler


def of_another_scheduler(**arguments):
    scheduler = VQDiffusionScheduler(**arguments)
    scheduler.q_posterior = VQDiffusionScheduler(CLASSES + 1, 200).q_posterior
    return scheduler


OVERRIDDEN = [Posterior, Rows, Transitions, Both, on_the_instance, of_another_scheduler]


@pytest.fixture(params=OVERRIDDEN, ids=lambda made: made.__name__)
def made(request):
    return lambda method: request.param(num_vec_classes=CLASSES + 1, sampling_method=method)


@pytest.fixture(params=[np.float32, np.float64], ids=["float32", "float64"])
def case(request, rng):
    log_p = random_log_p(rng, BATCH, CLASSES, PIXELS, dtype=request.param)
    return (
        log_p,
        random_log_p(rng, BATCH, CLASSES, PIXELS, dtype=request.param),
        random_classes(rng, *(BATCH, CLASSES, PIXELS)),
    )


def drawn(method, posterior, generator):
    """By hand, from log-probabilities (B, K + 1, N)."""
    if method == "gumbel":
        uniforms = generator.random(posterior.shape, np.float32)
        return (posterior + gumbel(uniforms.astype(posterior.dtype))).argmax(axis=1)
    p = np.exp(posterior.astype(np.float64))
    uniforms = generator.random(posterior.shape[::2])
    return (p.cumsum(axis=1) <= (uniforms * p.sum(axis=1))[:, None]).sum(axis=1)


def mostly_equal(tokens, expected):
    """Up to pixels whose noise decides by its last digits."""
    return (tokens != expected).mean() <= 0.01


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("t", [1, 40, 99])
def test_a_step_draws_from_the_override(made, case, method, t):
    scheduler, (log_p, _, sample) = made(method), case
    plain = VQDiffusionScheduler(CLASSES + 1, sampling_method=method)
    one, other, third = (np.random.default_rng(t) for _ in range(3))
    posterior = np.asarray(scheduler.q_posterior(log_p, sample, t))
    assert not np.allclose(posterior, plain.q_posterior(log_p, sample, t), atol=0.01)
    tokens = scheduler.step(log_p, t, sample, one).prev_sample
    assert tokens.dtype == np.int64 and tokens.flags.writeable
    assert mostly_equal(tokens, drawn(method, posterior, other))
    plain.step(log_p, t, sample, third)
    assert one.bit_generator.state == other.bit_generator.state == third.bit_generator.state
    assert type(scheduler.step(log_p, t, sample, one, return_dict=False)) is tuple


@pytest.mark.parametrize("method", METHODS)
def test_the_first_timestep_draws_from_the_model_output(made, case, method):
    log_p = case[0]
    plain = VQDiffusionScheduler(CLASSES + 1, sampling_method=method)
    np.testing.assert_array_equal(
        made(method).step(log_p, 0, None, 7).prev_sample, plain.step(log_p, 0, None, 7).prev_sample
    )


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("t", [0, 40])
@pytest.mark.parametrize("guided", [False, True])
def test_a_guided_step_draws_from_the_override(made, case, method, t, guided):
    scheduler, (uncond, cond, sample) = made(method), case
    uncond = uncond if guided else None
    one, other = np.random.default_rng(t), np.random.default_rng(t)
    tokens = scheduler.guided_step(
        uncond, cond, t, sample, one, guidance_scale=3, truncation_rate=0.8, floor=-50
    ).prev_sample
    log_p = cond if uncond is None else vqdiffusion.guide(uncond, cond, 3)
    log_p = vqdiffusion.truncate(log_p, 0.8, -50)
    np.testing.assert_array_equal(tokens, scheduler.step(log_p, t, sample, other).prev_sample)
    assert one.bit_generator.state == other.bit_generator.state


@pytest.mark.parametrize("method", METHODS)
def test_each_row_with_its_own_generator(made, case, method):
    scheduler, (log_p, _, sample) = made(method), case
    tokens = scheduler.step(log_p, 40, sample, [5, 6, 7]).prev_sample
    for row in range(BATCH):
        part = slice(row, row + 1)
        np.testing.assert_array_equal(
            tokens[part], scheduler.step(log_p[part], 40, sample[part], 5 + row).prev_sample
        )


@pytest.mark.parametrize("t", [0, 1, 40, 99])
def test_overrides_that_change_nothing_leave_the_posterior_as_it_is(case, t):
    class Same(VQDiffusionScheduler):
        calls = 0

        def log_Q_t_transitioning_to_known_class(self, **arguments):
            Same.calls += 1
            return super().log_Q_t_transitioning_to_known_class(**arguments)

        def apply_cumulative_transitions(self, q, t):
            Same.calls += 1
            return super().apply_cumulative_transitions(q, t)

    log_p, _, sample = case
    posterior, expected = (
        made(CLASSES + 1).q_posterior(log_p, sample, t) for made in (Same, VQDiffusionScheduler)
    )
    assert Same.calls == 3 and posterior.dtype == expected.dtype
    tolerance = 2e-5 if log_p.dtype == np.float32 else 1e-9
    # At t = 0 the mask's logarithm of 1e-30 and the like cancel against each other.
    np.testing.assert_allclose(posterior, expected, rtol=1e-6, atol=tolerance)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", OVERRIDABLE)
def test_an_override_on_the_class_itself_is_noticed(monkeypatch, case, method, name):
    log_p, _, sample = case
    scheduler, original, calls = (
        VQDiffusionScheduler(CLASSES + 1, sampling_method=method),
        getattr(VQDiffusionScheduler, name),
        [],
    )
    monkeypatch.setattr(
        VQDiffusionScheduler,
        name,
        lambda *given, **named: calls.append(1) or original(*given, **named),
    )
    scheduler.step(log_p, 40, sample, 1)
    assert calls
    monkeypatch.undo()
    calls.clear()
    scheduler.step(log_p, 40, sample, 1)
    assert not calls


@pytest.mark.parametrize("name", OVERRIDABLE)
def test_a_plan_is_refused(case, name):
    log_p, _, sample = case
    scheduler = VQDiffusionScheduler(CLASSES + 1)
    plan = scheduler.plan(40, sample, 1)
    scheduler.step(log_p, 40, sample, plan=plan)
    setattr(scheduler, name, getattr(scheduler, name))
    with pytest.raises(
        ValueError, match="plan needs the scheduler's own posterior: overrides see all pixels"
    ):
        scheduler.plan(40, sample, 1)
    with pytest.raises(
        ValueError, match="plan must be None where the scheduler's posterior is overridden"
    ):
        scheduler.step(log_p, 40, sample, plan=plan)


def returning(value):
    return lambda *arguments, **named: value() if callable(value) else value


def raising():
    raise ZeroDivisionError


def interrupted():
    raise KeyboardInterrupt


GOOD = np.zeros((BATCH, CLASSES + 1, PIXELS))
BAD = {
    "shape": (GOOD[:, 1:], ValueError, "must return an array of shape"),
    "nothing": (None, TypeError, "what q_posterior returns must be an array, not None"),
    "integers": (GOOD.astype(int), TypeError, "what q_posterior returns must be float16"),
    "NaN": (
        GOOD * np.nan,
        ValueError,
        "what q_posterior returns must hold finite numbers or -inf, not NaN",
    ),
    "empty columns": (GOOD - np.inf, ValueError, "what q_posterior returns must"),
    "exception": (raising, ZeroDivisionError, None),
    "interrupt": (interrupted, KeyboardInterrupt, None),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("bad", BAD)
def test_what_an_override_must_not_return(case, method, bad):
    value, error, message = BAD[bad]
    log_p, _, sample = case
    scheduler = VQDiffusionScheduler(CLASSES + 1, sampling_method=method)
    scheduler.q_posterior = returning(value)
    generator = np.random.default_rng(3)
    state = generator.bit_generator.state
    for source in (generator, [generator] * BATCH):
        with pytest.raises(error, match=message):
            scheduler.step(log_p, 40, sample, source)
        with pytest.raises(error, match=message):
            scheduler.guided_step(None, log_p, 40, sample, source)
    assert generator.bit_generator.state == state


@pytest.mark.parametrize("name", OVERRIDABLE[1:])
def test_a_part_of_the_wrong_shape(case, name):
    scheduler = VQDiffusionScheduler(CLASSES + 1)
    setattr(scheduler, name, returning(GOOD[:, :1]))
    with pytest.raises(ValueError, match=f"^{name} must return an array of shape"):
        scheduler.q_posterior(case[0], case[2], 40)


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ({"model_output": None}, TypeError, "^model_output must be an array, not None"),
        (
            {"model_output": np.zeros((BATCH, CLASSES + 1, PIXELS))},
            ValueError,
            "^model_output must have",
        ),
        (
            {"model_output": np.zeros((BATCH, CLASSES, PIXELS), int)},
            TypeError,
            "^model_output must be float16",
        ),
        (
            {"model_output": np.full((BATCH, CLASSES, PIXELS), np.nan)},
            ValueError,
            "^model_output must hold finite",
        ),
        ({"sample": None}, TypeError, "^sample must be an array, not None"),
        (
            {"sample": np.zeros(SHAPE)},
            TypeError,
            "^sample must be of an integer dtype, not float64",
        ),
        (
            {"sample": np.zeros((BATCH, PIXELS + 1), int)},
            ValueError,
            r"^sample must have shape \(3, 40\)",
        ),
        (
            {"sample": np.full(SHAPE, CLASSES + 1)},
            ValueError,
            r"^sample must hold classes 0 ... 5, not 6",
        ),
        (
            {"sample": np.full(SHAPE, 2**63, np.uint64)},
            ValueError,
            f"^sample must hold classes .* {2**63}",
        ),
        ({"sample": np.full(SHAPE, -1)}, ValueError, "^sample must hold classes 0 ... 5, not -1"),
        ({"timestep": 100}, ValueError, "^timestep must be from 0 to 99, not 100"),
        ({"generator": "text"}, TypeError, "^generator must be"),
        (
            {"generator": [1, 2]},
            ValueError,
            "^generator as a list must hold one for each batch row, not 2",
        ),
    ],
)
def test_arguments_of_a_step_with_an_override(made, case, arguments, error, message):
    given = {"model_output": case[0], "timestep": 40, "sample": case[2], "generator": 1} | arguments
    with pytest.raises(error, match=message):
        made("gumbel").step(**given)


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        (
            {"guidance_scale": np.inf},
            ValueError,
            "^guidance_scale must be a number of moderate size",
        ),
        ({"truncation_rate": np.nan}, ValueError, "^truncation_rate must be"),
        ({"floor": np.nan}, ValueError, "^floor must be"),
        ({"log_p_cond": np.zeros((BATCH, CLASSES, PIXELS), int)}, TypeError, "^log_p_cond must be"),
        (
            {"log_p_uncond": None, "log_p_cond": np.full((BATCH, CLASSES, PIXELS), np.inf)},
            ValueError,
            "^log_p_cond must hold finite",
        ),
        (
            {"log_p_uncond": np.zeros((BATCH, CLASSES, 2))},
            ValueError,
            "^log_p_cond must have the shape",
        ),
    ],
)
def test_arguments_of_a_guided_step_with_an_override(made, case, arguments, error, message):
    given = {
        "log_p_uncond": case[0],
        "log_p_cond": case[1],
        "timestep": 40,
        "sample": case[2],
    } | arguments
    with pytest.raises(error, match=message):
        made("gumbel").guided_step(**given)


@pytest.mark.parametrize("shape", [(0, 5), (5, 0)])
@pytest.mark.parametrize("method", METHODS)
def test_nothing_to_draw(made, method, shape):
    log_p, sample = np.zeros((shape[0], CLASSES, shape[1]), np.float32), np.zeros(shape, int)
    assert made(method).step(log_p, 40, sample).prev_sample.shape == shape


@pytest.mark.parametrize("method", METHODS)
def test_a_guided_step_passes_on_only_what_is_used(case, method):
    class Old(Posterior):
        def step(self, model_output, timestep, sample, generator=None, return_dict=True):
            return super().step(model_output, timestep, sample, generator, return_dict)

    found, expected = (
        one(CLASSES + 1, sampling_method=method).guided_step(*case[:2], 40, case[2], 5).prev_sample
        for one in (Old, Posterior)
    )
    np.testing.assert_array_equal(found, expected)
