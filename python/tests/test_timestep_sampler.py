"""Importance sampling of timesteps, against its rule written out."""

import pickle

import numpy as np
import pytest

from vqdiffusion import TimestepSampler

T = 7


def seen(losses, times=11):
    """A sampler that has seen the loss of every timestep this many times."""
    sampler = TimestepSampler(len(losses))
    for _ in range(times):
        sampler.update(np.arange(len(losses)), losses)
    return sampler


def test_uniform_until_every_count_exceeds_ten():
    losses = np.arange(1.0, T + 1)
    sampler = seen(losses, 10)
    np.testing.assert_array_equal(sampler.probabilities(), np.full(T, 1 / T))
    sampler.update(np.arange(1, T), losses[1:])
    np.testing.assert_array_equal(sampler.probabilities(), np.full(T, 1 / T))
    sampler.update(0, [1.0])
    assert len(set(sampler.probabilities())) == T - 1


def test_probabilities():
    losses = np.array([50.0, 3, 0, 1, 2, 8, 4])
    history = np.zeros(T)
    for _ in range(11):
        history = 0.1 * losses**2 + 0.9 * history
    sampler = seen(losses)
    np.testing.assert_allclose(sampler.history, history, rtol=1e-14)
    weights = np.sqrt(history + 1e-10) + 1e-4
    weights[0] = weights[1]
    np.testing.assert_allclose(sampler.probabilities(), weights / weights.sum(), rtol=1e-14)


def test_of_rows_with_one_timestep_the_last_decides():
    sampler = TimestepSampler(T)
    sampler.update(np.array([2, 5, 2, 2]), np.array([9.0, 1.0, 7.0, 3.0]))
    np.testing.assert_allclose(sampler.history, [0, 0, 0.9, 0, 0, 0.1, 0], rtol=1e-15)
    assert sampler.counts.tolist() == [0, 0, 3, 0, 0, 1, 0]


def test_a_uniform_on_an_edge_belongs_to_the_timestep_above():
    """Of four timesteps alike, 0.5 of the probability lies below the third."""

    class Half(np.random.Generator):
        def random(self, size=None, dtype=np.float64, out=None):
            out[...] = 0.5
            return out

    t, _ = TimestepSampler(4).sample(3, Half(np.random.PCG64(1)))
    assert t.tolist() == [2, 2, 2]


@pytest.mark.parametrize("learned", [False, True])
def test_samples_have_the_probabilities(learned):
    """Each count within five standard deviations: one false alarm in 10^5 for each of 7."""
    sampler, n = seen(np.array([1.0, 3, 0.1, 1, 2, 8, 4])) if learned else TimestepSampler(T), 40000
    t, probability = sampler.sample(n, 1)
    p = sampler.probabilities()
    assert t.dtype == np.int64 and t.shape == probability.shape == (n,)
    np.testing.assert_array_equal(probability, p[t])
    counts = np.bincount(t, minlength=T)
    assert (np.abs(counts - n * p) <= 5 * np.sqrt(n * p * (1 - p))).all()


def test_edges_of_a_draw():
    sampler = seen(np.array([1.0, 3, 0.1, 1, 2, 8, 4]))
    assert sampler._of_uniforms(np.array([0.0, 1 - 2**-53]))[0].tolist() == [0, T - 1]
    t, probability = sampler.sample(0)
    assert t.shape == probability.shape == (0,)


def test_generators():
    sampler = TimestepSampler(1000)
    first = sampler.sample(50, 3)[0]
    np.testing.assert_array_equal(sampler.sample(50, np.random.default_rng(3))[0], first)
    generator = np.random.default_rng(3)
    parts = [sampler.sample(25, generator)[0] for _ in range(2)]
    np.testing.assert_array_equal(np.concatenate(parts), first)


def test_state():
    sampler = seen(np.array([1.0, 3, 0.1, 1, 2, 8, 4]))
    state = sampler.state_dict()
    other = TimestepSampler(T)
    other.load_state_dict(pickle.loads(pickle.dumps(state)))
    np.testing.assert_array_equal(other.probabilities(), sampler.probabilities())
    other.update(3, [5.0])
    assert sampler.history[3] != other.history[3] and state["history"][3] == sampler.history[3]
    assert repr(sampler) == f"TimestepSampler({T})"


BAD_STATES = [
    ({}, ValueError, "^state_dict must have the entries history and counts, not"),
    (None, ValueError, "^state_dict must have the entries"),
    ({"history": np.zeros(9)}, ValueError, r"^history must have shape \(7,\), as of 7 timesteps"),
    ({"counts": np.zeros(T)}, TypeError, "^counts must be of integers, not dtype float64"),
    ({"counts": np.full(T, -1)}, ValueError, "^counts must hold finite numbers of at least 0"),
    ({"history": np.full(T, np.nan)}, ValueError, "^history must hold finite numbers"),
    ({"history": ["a"] * T}, TypeError, "^history must be of real numbers"),
]


@pytest.mark.parametrize("wrong, error, match", BAD_STATES, ids=lambda value: str(value)[:30])
def test_bad_states(wrong, error, match):
    sampler = seen(np.array([1.0, 3, 0.1, 1, 2, 8, 4]))
    before = sampler.state_dict()
    with pytest.raises(error, match=match):
        sampler.load_state_dict(before | wrong if wrong else wrong)
    for name, value in before.items():
        np.testing.assert_array_equal(sampler.state_dict()[name], value)


BAD_UPDATES = [
    ((3, [np.nan]), ValueError, r"^per_row must hold losses of at least 0 with finite squares"),
    ((3, [1e155]), ValueError, r"^per_row must .* finite squares, not 1e\+155 as at \[0\]"),
    (([1, 2], [1.0, -1.0]), ValueError, r"^per_row must hold .*, not -1.0 as at \[1\]$"),
    (([1, 2], [1.0]), ValueError, "^timesteps must be an integer or have one entry for each of 1"),
    (([1, T], [1.0, 1.0]), ValueError, "^timesteps must be from 0 to 6, not 1 to 7"),
    (([1.0, 2.0], [1.0, 1.0]), TypeError, "^timesteps must be an integer or an array of integers"),
    ((1, 1.0), ValueError, "^per_row must have one entry for each row"),
    ((1, ["a"]), TypeError, "^per_row must be of real numbers"),
]


@pytest.mark.parametrize("wrong, error, match", BAD_UPDATES, ids=lambda value: str(value)[:30])
def test_bad_updates(wrong, error, match):
    sampler = seen(np.array([1.0, 3, 0.1, 1, 2, 8, 4]))
    before = sampler.state_dict()
    with pytest.raises(error, match=match):
        sampler.update(*wrong)
    for name, value in before.items():
        np.testing.assert_array_equal(sampler.state_dict()[name], value)


def test_bad_draws():
    sampler = TimestepSampler(T)
    for n, generator, error, match in (
        (-1, None, ValueError, "^n must be at least 0"),
        (1.5, None, TypeError, "^n must be an integer"),
        (2, "seed", TypeError, "^generator must be"),
        (2, [1, 2], TypeError, "^generator must be a single one, not a list$"),
    ):
        with pytest.raises(error, match=match):
            sampler.sample(n, generator)
    for steps, error in ((1, ValueError), (10**9, ValueError), ("7", TypeError)):
        with pytest.raises(error, match="^num_train_timesteps must be"):
            TimestepSampler(steps)
