"""Parity with arrays that the class of diffusers computed: golden/make_golden.py makes the file."""

import json
from pathlib import Path

import numpy as np
import pytest
from schedule_of import schedule_of

import vqdiffusion
from vqdiffusion import VQDiffusionScheduler, _native

with np.load(Path(__file__).parent / "golden" / "golden.npz") as file:
    GOLDEN = dict(file)

CASES = sorted({name.split("/")[0] for name in GOLDEN if "/" in name})
TABLES = ["log_at", "log_bt", "log_ct", "log_cumprod_at", "log_cumprod_bt", "log_cumprod_ct"]


def scheduler_of(case):
    return VQDiffusionScheduler(
        **json.loads(str(GOLDEN[f"{case}/arguments"])), sampling_method="gumbel"
    )


def every(what):
    """(case, t) for which the file holds such an array."""
    names = [name.split("/") for name in GOLDEN]
    found = [(name[0], int(name[2])) for name in names if len(name) == 3 and name[1] == what]
    assert found
    return found


def close(values, expected):
    """Equal infinities, and finite values within the accuracy of float32 formulas."""
    assert values.dtype == expected.dtype == np.float32 and values.shape == expected.shape
    np.testing.assert_allclose(values, expected, rtol=1e-5, atol=2e-5)


def test_the_file_is_small():
    assert (Path(__file__).parent / "golden" / "golden.npz").stat().st_size < 200_000
    assert len(CASES) == 6


@pytest.mark.parametrize("case", CASES)
def test_tables_are_equal_to_the_bit(case):
    scheduler = scheduler_of(case)
    for name in TABLES:
        np.testing.assert_array_equal(getattr(scheduler, name), GOLDEN[f"{case}/{name}"])


@pytest.mark.parametrize("case", ["small", "two"])
def test_schedule_functions_are_equal_to_the_bit(case):
    steps = scheduler_of(case).config.num_train_timesteps
    for name, function in (
        ("alpha", vqdiffusion.alpha_schedules),
        ("gamma", vqdiffusion.gamma_schedules),
    ):
        single, cumulative = function(steps)
        np.testing.assert_array_equal(single, GOLDEN[f"{case}/{name}"])
        np.testing.assert_array_equal(cumulative, GOLDEN[f"{case}/{name}_cumulative"])


@pytest.mark.parametrize("case", ["small", "two"])
def test_index_to_log_onehot(case):
    expected = GOLDEN[f"{case}/index_to_log_onehot"]
    np.testing.assert_array_equal(
        vqdiffusion.index_to_log_onehot(GOLDEN[f"{case}/x_t"], expected.shape[1]), expected
    )


@pytest.mark.parametrize("case, t", every("q_posterior"))
def test_q_posterior(case, t):
    close(
        scheduler_of(case).q_posterior(GOLDEN[f"{case}/log_p"], GOLDEN[f"{case}/x_t"], t),
        GOLDEN[f"{case}/q_posterior/{t}"],
    )


@pytest.mark.parametrize("case, t", every("apply_cumulative_transitions"))
def test_apply_cumulative_transitions(case, t):
    out = scheduler_of(case).apply_cumulative_transitions(GOLDEN[f"{case}/log_p"], t)
    close(out, GOLDEN[f"{case}/apply_cumulative_transitions/{t}"])


@pytest.mark.parametrize("kind", ["single", "cumulative"])
@pytest.mark.parametrize("case, t", every("rows_single"))
def test_transition_rows(case, t, kind):
    scheduler, x_t = scheduler_of(case), GOLDEN[f"{case}/x_t"]
    log_onehot = vqdiffusion.index_to_log_onehot(x_t, scheduler.num_embed)
    rows = scheduler.log_Q_t_transitioning_to_known_class(
        t=t, x_t=x_t, log_onehot_x_t=log_onehot, cumulative=kind == "cumulative"
    )
    close(rows, GOLDEN[f"{case}/rows_{kind}/{t}"])


@pytest.mark.parametrize("case, t", every("tokens"))
def test_gumbel_step_on_the_same_uniforms(case, t):
    scheduler = scheduler_of(case)
    log_p, x_t, uniforms = (GOLDEN[f"{case}/{name}"] for name in ("log_p", "x_t", f"uniforms/{t}"))
    tokens = np.empty(x_t.shape, np.int64)
    _native.step(*schedule_of(scheduler), t, t - 1, log_p, x_t, "gumbel", uniforms, tokens)
    clear = GOLDEN[f"{case}/clear/{t}"]
    assert clear.mean() > 0.9
    np.testing.assert_array_equal(tokens[clear], GOLDEN[f"{case}/tokens/{t}"][clear])
