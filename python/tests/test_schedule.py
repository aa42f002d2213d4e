"""The noise tables, the transition rows and set_timesteps, against explicit matrices."""

import numpy as np
import pytest
from reference import LOG_ZERO, Reference, linear, random_classes, random_log_p

import vqdiffusion
from vqdiffusion import VQDiffusionScheduler

SCHEDULES = [
    {"num_vec_classes": 2},
    {"num_vec_classes": 18},
    {"num_vec_classes": 4097},
    {"num_vec_classes": 18, "num_train_timesteps": 2},
    {"num_vec_classes": 18, "num_train_timesteps": 1000},
    {
        "num_vec_classes": 6,
        "alpha_cum_start": 0.99,
        "alpha_cum_end": 0.05,
        "gamma_cum_start": 0.001,
        "gamma_cum_end": 0.8,
    },
    {
        "num_vec_classes": 6,
        "alpha_cum_start": 1.0,
        "alpha_cum_end": 0.01,
        "gamma_cum_start": 0.0,
        "gamma_cum_end": 0.0,
    },
    {
        "num_vec_classes": 6,
        "alpha_cum_start": 0.9,
        "alpha_cum_end": 0.0,
        "gamma_cum_start": 0.1,
        "gamma_cum_end": 0.75,
    },
]
TABLES = ["log_at", "log_bt", "log_ct", "log_cumprod_at", "log_cumprod_bt", "log_cumprod_ct"]


@pytest.mark.parametrize("arguments", SCHEDULES)
def test_tables(arguments):
    scheduler, truth = VQDiffusionScheduler(**arguments), Reference(**arguments)
    with np.errstate(divide="ignore"):
        expected = [
            np.log(getattr(truth, name))
            for name in ("alpha", "beta", "gamma", "alpha_bar", "beta_bar", "gamma_bar")
        ]
    for name, values in zip(TABLES, expected, strict=True):
        table = getattr(scheduler, name)
        assert table.dtype == np.float32 and table.shape == (
            truth.steps + name.startswith("log_cumprod"),
        )
        # β and γ come from differences of float64 numbers: where those are small, digits are lost,
        # 1e-9 at the worst.
        np.testing.assert_allclose(
            table,
            values.astype(np.float64),
            rtol=1.2e-7,
            atol=1e-8 if "b" in name or "c" in name else 0,
        )
    assert [getattr(scheduler, name)[-1] for name in TABLES[3:]] == [0, -np.inf, -np.inf]


@pytest.mark.parametrize("classes", [1, 5, 17])
def test_cumulative_tables_are_products_of_the_single_steps(classes):
    scheduler, truth = VQDiffusionScheduler(classes + 1), Reference(classes + 1)
    for t in (0, 1, 2, 50, 98, 99):
        product = truth.product(t).astype(np.float64)
        at, bt, ct = (np.exp(np.float64(getattr(scheduler, name)[t])) for name in TABLES[3:])
        np.testing.assert_allclose(at + bt, product[0, 0], rtol=1e-5)
        np.testing.assert_allclose(ct, product[-1, 0], rtol=1e-5)
        if classes > 1:
            np.testing.assert_allclose(bt, product[1, 0], rtol=1e-5)


@pytest.mark.parametrize("steps", [2, 3, 100, 4000])
def test_schedule_functions(steps):
    at, att = vqdiffusion.alpha_schedules(steps)
    ct, ctt = vqdiffusion.gamma_schedules(steps, gamma_cum_start=0.25, gamma_cum_end=0.5)
    alpha_bar, gamma_bar = linear(0.99999, 9e-6, steps), linear(0.25, 0.5, steps)
    np.testing.assert_array_equal(att, np.append(alpha_bar, 1))
    np.testing.assert_array_equal(ctt, np.append(gamma_bar, 0))
    np.testing.assert_array_equal(at, alpha_bar / np.append(1, alpha_bar[:-1]))
    np.testing.assert_array_equal(ct, 1 - (1 - gamma_bar) / (1 - np.append(0, gamma_bar[:-1])))
    assert {table.dtype for table in (at, att, ct, ctt)} == {np.dtype(np.float64)}


def test_a_schedule_without_substitutions_has_no_nan():
    # ᾱ = 1 - γ̄: rounding makes β and β̄ about -1e-16 here and there, whose logarithm must not come
    # out as NaN.
    rng = np.random.default_rng(3)
    for _ in range(200):
        start, end = np.sort(rng.uniform(size=2))
        scheduler = VQDiffusionScheduler(
            18,
            alpha_cum_start=1 - start,
            alpha_cum_end=1 - end,
            gamma_cum_start=start,
            gamma_cum_end=end,
        )
        for name in TABLES:
            assert not np.isnan(getattr(scheduler, name)).any()
        assert (scheduler.log_bt < -30).all() and (scheduler.log_cumprod_bt < -30).all()


@pytest.mark.parametrize("classes", [1, 2, 9, 64])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_transition_rows(rng, classes, dtype):
    scheduler, truth = VQDiffusionScheduler(classes + 1), Reference(classes + 1)
    x_t = random_classes(rng, 2, classes, 7)
    log_onehot = vqdiffusion.index_to_log_onehot(x_t, classes + 1).astype(dtype)
    for t in (0, 1, 40, 99):
        for cumulative, matrix in ((False, truth.single(t)), (True, truth.cumulative(t))):
            rows = scheduler.log_Q_t_transitioning_to_known_class(
                t=t, x_t=x_t, log_onehot_x_t=log_onehot, cumulative=cumulative
            )
            with np.errstate(divide="ignore"):
                expected = np.log(matrix.astype(np.float64))[x_t].transpose(0, 2, 1)
            expected = expected[:, :classes] if cumulative else np.maximum(expected, LOG_ZERO)
            assert rows.dtype == dtype and rows.shape == expected.shape
            np.testing.assert_allclose(rows, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_apply_cumulative_transitions(rng, dtype):
    scheduler, truth = VQDiffusionScheduler(10), Reference(10)
    q = random_log_p(rng, 3, 9, 5, dtype=dtype)
    q = (q - np.logaddexp.reduce(q.astype(np.float64), axis=1, keepdims=True)).astype(dtype)
    total = np.exp(q.astype(np.float64)).sum(axis=1)
    for t in (-1, 0, 50, 99):
        out = scheduler.apply_cumulative_transitions(q, t)
        matrix = truth.cumulative(t).astype(np.float64)
        with np.errstate(divide="ignore"):
            # The formula takes q as normalised; its rounding to `dtype` is put right here.
            expected = np.einsum("ij,bjn->bin", matrix[:, :9], np.exp(q.astype(np.float64)))
            expected[:, :9] += truth.beta_bar[t].astype(np.float64) * (1 - total[:, None])
            expected[:, 9] = matrix[9, 0]
            expected = np.log(expected)
        assert out.shape == (3, 10, 5) and out.dtype == (
            np.float64 if dtype == np.float64 else np.float32
        )
        np.testing.assert_allclose(out, expected, rtol=1e-6, atol=1e-6)


def test_index_to_log_onehot(rng):
    x = rng.integers(0, 6, (3, 11)).astype(np.uint8)
    out = vqdiffusion.index_to_log_onehot(x, 6)
    assert out.dtype == np.float32 and out.shape == (3, 6, 11)
    np.testing.assert_array_equal(
        out, np.where(np.arange(6)[:, None] == x[:, None], 0, np.float32(LOG_ZERO))
    )


def test_timesteps():
    scheduler = VQDiffusionScheduler(18)
    assert scheduler.num_inference_steps is None
    assert scheduler.timesteps.dtype == np.int64
    np.testing.assert_array_equal(scheduler.timesteps, np.arange(100)[::-1])
    for steps, device in ((1, None), (np.int32(25), "cpu"), (np.array(100), None)):
        scheduler.set_timesteps(steps, device)
        assert scheduler.num_inference_steps == steps
        np.testing.assert_array_equal(scheduler.timesteps, np.arange(int(steps))[::-1])
    scheduler.set_timesteps(num_inference_steps=7, device="cpu")
    assert scheduler.timesteps.tolist() == [6, 5, 4, 3, 2, 1, 0]


@pytest.mark.parametrize("steps", [0, -3, 101, 2**70])
def test_timesteps_out_of_range(steps):
    scheduler = VQDiffusionScheduler(18)
    with pytest.raises(ValueError, match="num_inference_steps must be from 1 to 100"):
        scheduler.set_timesteps(steps)
    assert scheduler.num_inference_steps is None and len(scheduler.timesteps) == 100


@pytest.mark.parametrize(
    "steps", [2.5, 3.0, True, np.True_, np.float64(4), "5", [6], np.array([1.0])]
)
def test_timesteps_of_another_type(steps):
    scheduler = VQDiffusionScheduler(18)
    with pytest.raises(TypeError, match="num_inference_steps must be an integer"):
        scheduler.set_timesteps(steps)
    assert scheduler.num_inference_steps is None and len(scheduler.timesteps) == 100


def test_timesteps_on_another_device():
    scheduler = VQDiffusionScheduler(18)
    with pytest.raises(ValueError, match="device must be None or 'cpu', not 'cuda'"):
        scheduler.set_timesteps(10, device="cuda")
    assert scheduler.num_inference_steps is None
