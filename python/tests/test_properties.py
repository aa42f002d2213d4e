"""Whatever the shape, the strides and the dtype: the result is that of plain contiguous arrays."""

from functools import partial

import numpy as np
import pytest
import views
from hypothesis import example, given, settings
from hypothesis import strategies as st
from reference import random_classes, random_log_p

import vqdiffusion
from vqdiffusion import VQDiffusionScheduler

fixed = settings(deadline=None, derandomize=True, database=None, max_examples=120)

INTEGERS = [np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64]
FLOATS = [np.float16, np.float32, np.float64]


def posteriors_agree(scheduler, arguments, others):
    """Another layout may add up the classes in another order: the last bits may differ."""
    np.testing.assert_allclose(
        scheduler.q_posterior(*others), scheduler.q_posterior(*arguments), rtol=1e-6, atol=1e-6
    )


def layouts(rank):
    """Functions that give an equal array in other memory."""
    padded = st.fixed_dictionaries(
        {
            "axis": st.integers(0, rank - 1),
            "step": st.sampled_from([-3, -2, -1, 1, 2, 3]),
            "offset": st.integers(0, 3),
        }
    )
    return st.one_of(
        st.just(np.copy),
        st.permutations(range(rank)).map(lambda axes: partial(views.ordered, axes=axes)),
        padded.map(lambda place: partial(views.padded, **place)),
        st.just(views.unaligned),
    )


sizes = st.integers(1, 97)
small = st.integers(1, 3)


@pytest.mark.parametrize("method", ["inverse_cdf", "gumbel"])
@fixed
@given(
    batch=small,
    classes=sizes,
    pixels=sizes,
    t=st.integers(0, 99),
    model_layout=layouts(3),
    sample_layout=layouts(2),
    model_dtype=st.sampled_from(FLOATS),
    sample_dtype=st.sampled_from(INTEGERS),
    seed=st.integers(0, 2**32 - 1),
)
def test_step(
    method, batch, classes, pixels, t, model_layout, sample_layout, model_dtype, sample_dtype, seed
):
    rng = np.random.default_rng(seed)
    scheduler = VQDiffusionScheduler(classes + 1, sampling_method=method)
    log_p = random_log_p(rng, batch, classes, pixels, dtype=model_dtype)
    x_t = random_classes(rng, batch, classes, pixels)
    expected = scheduler.step(log_p, t, x_t, seed).prev_sample
    model_output, sample = model_layout(log_p), sample_layout(x_t.astype(sample_dtype))
    kept = model_output.copy(), sample.copy()
    drawn = scheduler.step(model_output, t, sample, seed).prev_sample
    np.testing.assert_array_equal(drawn, expected)
    np.testing.assert_array_equal(model_output, kept[0])
    np.testing.assert_array_equal(sample, kept[1])
    assert drawn.dtype == np.int64 and drawn.min() >= 0 and drawn.max() <= classes - (t == 0)
    assert (drawn[x_t != classes] != classes).all()  # the reverse chain never masks a pixel


@fixed
@given(
    batch=small,
    classes=sizes,
    pixels=sizes,
    t=st.integers(0, 99),
    model_layout=layouts(3),
    sample_layout=layouts(2),
    model_dtype=st.sampled_from(FLOATS),
    sample_dtype=st.sampled_from(INTEGERS),
    seed=st.integers(0, 2**32 - 1),
)
def test_functions_of_a_tensor_and_a_grid(
    batch, classes, pixels, t, model_layout, sample_layout, model_dtype, sample_dtype, seed
):
    rng = np.random.default_rng(seed)
    scheduler = VQDiffusionScheduler(classes + 1)
    log_p = random_log_p(rng, batch, classes, pixels, dtype=model_dtype)
    x_t = random_classes(rng, batch, classes, pixels)
    other_log_p, other_x_t = model_layout(log_p), sample_layout(x_t.astype(sample_dtype))
    posteriors_agree(scheduler, (log_p, x_t, t), (other_log_p, other_x_t, t))
    np.testing.assert_array_equal(
        scheduler.apply_cumulative_transitions(other_log_p, t - 1),
        scheduler.apply_cumulative_transitions(log_p, t - 1),
    )
    np.testing.assert_array_equal(
        scheduler.add_noise(other_x_t, t, seed), scheduler.add_noise(x_t, t, seed)
    )
    np.testing.assert_array_equal(
        vqdiffusion.gumbel_noised(other_log_p, seed), vqdiffusion.gumbel_noised(log_p, seed)
    )
    log_onehot = vqdiffusion.index_to_log_onehot(x_t, classes + 1)
    np.testing.assert_array_equal(
        vqdiffusion.index_to_log_onehot(other_x_t, classes + 1), log_onehot
    )
    for cumulative in (False, True):
        rows = [
            scheduler.log_Q_t_transitioning_to_known_class(
                t=t, x_t=x, log_onehot_x_t=one, cumulative=cumulative
            )
            for x, one in ((x_t, log_onehot), (other_x_t, model_layout(log_onehot)))
        ]
        np.testing.assert_array_equal(*rows)


@pytest.mark.parametrize("method", ["inverse_cdf", "gumbel"])
@fixed
@given(
    axes=st.sets(st.integers(0, 2)),
    x_axes=st.sets(st.integers(0, 1)),
    t=st.integers(0, 99),
    seed=st.integers(0, 99),
)
@example(axes={0, 1, 2}, x_axes={0, 1}, t=50, seed=0)
def test_broadcast_views(method, axes, x_axes, t, seed):
    # Strides of zero: one column for every pixel, one row for the whole batch, one number for all.
    shape = (3, 7, 21)
    rng = np.random.default_rng(seed)
    scheduler = VQDiffusionScheduler(8, sampling_method=method)
    log_p = random_log_p(rng, *(1 if axis in axes else size for axis, size in enumerate(shape)))
    x_t = rng.integers(0, 8, [1 if axis in x_axes else size for axis, size in enumerate((3, 21))])
    model_output, sample = np.broadcast_to(log_p, shape), np.broadcast_to(x_t, (3, 21))
    np.testing.assert_array_equal(
        scheduler.step(model_output, t, sample, seed).prev_sample,
        scheduler.step(model_output.copy(), t, sample.copy(), seed).prev_sample,
    )
    posteriors_agree(scheduler, (model_output.copy(), sample.copy(), t), (model_output, sample, t))


@pytest.mark.parametrize("dtype", FLOATS)
def test_memory_with_the_classes_last_is_read_in_place(rng, dtype):
    # (batch, pixels, classes) in memory, as many denoisers leave it, viewed as (batch, classes,
    # pixels).
    memory = random_log_p(rng, 2, 33, 50, dtype=dtype).transpose(0, 2, 1).copy()
    memory.flags.writeable = False
    x_t = random_classes(rng, 2, 33, 50)
    for method in ("inverse_cdf", "gumbel"):
        scheduler = VQDiffusionScheduler(34, sampling_method=method)
        for t in (0, 40):
            view = memory.transpose(0, 2, 1)
            np.testing.assert_array_equal(
                scheduler.step(view, t, x_t, 1).prev_sample,
                scheduler.step(np.ascontiguousarray(view), t, x_t, 1).prev_sample,
            )


class WithArray:
    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return self.array


class WithDLPack:
    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **keywords):
        return self.array.__dlpack__(**keywords)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


@pytest.mark.parametrize(
    "wrap", [np.ndarray.tolist, WithArray, WithDLPack, memoryview, lambda a: a.view(np.recarray)]
)
def test_other_array_likes(rng, wrap):
    scheduler = VQDiffusionScheduler(6)
    log_p, x_t = random_log_p(rng, 2, 5, 9, dtype=np.float64), random_classes(rng, 2, 5, 9)
    out = scheduler.step(wrap(log_p), 60, wrap(x_t), 1).prev_sample
    assert type(out) is np.ndarray
    np.testing.assert_array_equal(out, scheduler.step(log_p, 60, x_t, 1).prev_sample)
    np.testing.assert_array_equal(
        scheduler.q_posterior(wrap(log_p), wrap(x_t), 60), scheduler.q_posterior(log_p, x_t, 60)
    )
    np.testing.assert_array_equal(
        scheduler.add_noise(wrap(x_t), 60, 1), scheduler.add_noise(x_t, 60, 1)
    )


class Elsewhere:
    """A tensor on another device."""

    def __array__(self, dtype=None, copy=None):
        raise TypeError("can't convert a tensor on cuda:0")


def test_an_array_that_cannot_be_read(rng):
    scheduler, x_t = VQDiffusionScheduler(6), random_classes(rng, 2, 5, 9)
    with pytest.raises(
        TypeError,
        match="model_output could not be read as an array: can't convert a tensor on cuda:0",
    ):
        scheduler.step(Elsewhere(), 60, x_t)
    with pytest.raises(TypeError, match="sample could not be read as an array"):
        scheduler.step(random_log_p(rng, 2, 5, 9), 60, Elsewhere())
