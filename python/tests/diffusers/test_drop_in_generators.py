"""Lists of generators, one timestep per row, and what a failed call leaves behind."""

import pytest
import torch
from diffusers_case import Ours, generator, random_classes, random_log_p

K, N, T = 12, 9, 20
METHODS = ("gumbel", "inverse_cdf")
T_OF_ROWS = (
    [7, 7, 7, 7],
    [19, 0, 7, 0],
    torch.tensor([1, 19, 0, 3]),
    torch.tensor([0, 0, 0, 0], dtype=torch.uint8),
)


@pytest.fixture(params=METHODS)
def ours(request):
    return Ours(K + 1, T, sampling_method=request.param)


@pytest.fixture
def case():
    return random_log_p(4, K, N), random_classes(4, K, N)


def alone(ours, log_p, t, x, seeds):
    """Each row as a batch of its own with its own generator."""
    return torch.cat(
        [ours.step(log_p[i : i + 1], t[i], x[i : i + 1], seeds[i]).prev_sample for i in range(4)]
    )


@pytest.mark.parametrize("kind", [list, tuple])
@pytest.mark.parametrize("t", [0, 7])
def test_row_i_gets_what_generator_i_alone_would_give(ours, case, t, kind):
    log_p, x = case
    expected = alone(ours, log_p, [t] * 4, x, [generator(i) for i in range(4)])
    seeds = kind(generator(i) for i in range(4))
    assert torch.equal(ours.step(log_p, t, x, seeds).prev_sample, expected)
    others = [generator(i) for i in range(4)]
    alone(ours, log_p, [t] * 4, x, others)
    assert all(torch.equal(a.get_state(), b.get_state()) for a, b in zip(seeds, others))


def test_the_same_generator_for_several_rows_is_used_in_turn(ours, case):
    log_p, x = case
    one, other = generator(3), generator(3)
    tokens = ours.step(log_p, 7, x, [one] * 4).prev_sample
    assert torch.equal(tokens, ours.step(log_p, 7, x, other).prev_sample)
    assert torch.equal(one.get_state(), other.get_state())


@pytest.mark.parametrize("t", T_OF_ROWS, ids=str)
def test_one_timestep_per_row(ours, case, t):
    log_p, x = case
    one, other = generator(3), generator(3)
    expected = alone(ours, log_p, t, x, [other] * 4)
    assert torch.equal(ours.step(log_p, t, x, one).prev_sample, expected)
    assert torch.equal(one.get_state(), other.get_state())
    assert torch.equal(
        ours.step(log_p, t, x, [generator(i) for i in range(4)]).prev_sample,
        alone(ours, log_p, t, x, [generator(i) for i in range(4)]),
    )


def test_one_timestep_per_row_in_torch_formulas(case):
    """Numbers of 16 bits as torch's default make the torch formulas compute."""
    ours, (log_p, x), t = Ours(K + 1, T), case, [19, 0, 7, 0]
    torch.set_default_dtype(torch.bfloat16)
    one, other = generator(3), generator(3)
    expected = alone(ours, log_p, t, x, [other] * 4)
    assert torch.equal(ours.step(log_p, t, x, one).prev_sample, expected)
    assert torch.equal(one.get_state(), other.get_state())


def broken(log_p, x):
    """Calls that fail, some of them only once all of the model output has been looked at."""
    nan, empty, class_out = log_p.clone(), log_p.clone(), x.clone()
    nan[3, 5, 8] = torch.nan
    empty[3, :, 8] = -torch.inf
    class_out[3, 8] = K + 1
    yield nan, 0, x
    yield empty, 0, x
    yield log_p[:, :-1], 7, x
    yield log_p, T, x
    yield nan, 7, torch.where(x == K, 0, x)
    yield empty, 7, torch.where(x == K, 0, x)
    yield log_p, 7, class_out
    yield log_p, 7, x[:, :-1]
    yield log_p, [7, 7, 7, T], x
    yield nan, [7, 7, 7, 0], x
    yield log_p, [7, 7, 7], x
    yield log_p, 7, x.float()


@pytest.mark.parametrize("number", range(12))
@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize("method", METHODS)
def test_a_failed_call_advances_no_generator(case, number, native, method):
    ours, (log_p, x, t) = Ours(K + 1, T, sampling_method=method), case + (None,)
    log_p, t, x = list(broken(*case))[number]
    if method == "inverse_cdf" and native and not (t == 0 and log_p.isnan().any()):
        log_p = torch.where(
            log_p.isfinite().all(1, keepdim=True), log_p, torch.nan
        )  # whatever columns are read
        log_p[:, :, :] = torch.where(log_p.isnan().any(), torch.nan, log_p)
    if not native:
        torch.set_default_dtype(torch.bfloat16)
    for seeds in (generator(5), [generator(i) for i in range(4)], None):
        used = (
            [torch.default_generator]
            if seeds is None
            else seeds
            if isinstance(seeds, list)
            else [seeds]
        )
        states = [one.get_state() for one in (*used, torch.default_generator)]
        with pytest.raises((ValueError, TypeError)):
            ours.step(log_p, t, x, seeds)
        assert all(
            torch.equal(one.get_state(), state)
            for one, state in zip((*used, torch.default_generator), states)
        )


@pytest.mark.parametrize(
    "seeds, error, words",
    [
        ([], ValueError, "one for each of 4 batch rows, not 0"),
        ([torch.Generator()] * 3, ValueError, "one for each of 4 batch rows, not 3"),
        ([torch.Generator(), None, 3, 4], TypeError, "torch.Generator"),
        (5, TypeError, "int"),
        ("seed", TypeError, "str"),
    ],
)
def test_what_is_no_generator(ours, case, seeds, error, words):
    log_p, x = case
    state = torch.get_rng_state()
    for t in (0, 7, [7, 0, 7, 7]):
        with pytest.raises(error, match=words):
            ours.step(log_p, t, x, seeds)
    assert torch.equal(torch.get_rng_state(), state)


def test_inverse_cdf_draws_one_uniform_per_pixel(case):
    ours, (log_p, x) = Ours(K + 1, T, sampling_method="inverse_cdf"), case
    for t in (0, 7):
        used, other = generator(1), generator(1)
        ours.step(log_p, t, x, used)
        torch.rand((4, N), dtype=torch.float64, generator=other)
        assert torch.equal(used.get_state(), other.get_state())


@pytest.mark.parametrize("method", METHODS)
def test_both_methods_draw_from_the_posterior(method):
    """Frequencies of 60000 draws, each within 5 standard errors: false alarm below 1e-4 over 2 * 3
    * 7 cells.
    """
    ours, draws = Ours(7, T, sampling_method=method), 20_000
    log_p, x = random_log_p(1, 6, 3), torch.tensor([[6, 2, 0]])
    for t in (0, 1, 10):
        p = ours.q_posterior(log_p, x, t).double()
        if t == 0:
            p = torch.cat((log_p.double(), torch.full((1, 1, 3), -torch.inf)), 1)
        p = p.softmax(1)[0]
        tokens = ours.step(
            log_p.expand(draws, -1, -1), t, x.expand(draws, -1), generator(t)
        ).prev_sample
        counts = torch.nn.functional.one_hot(tokens, 7).sum(0).T
        assert ((counts / draws - p).abs() <= 5 * (p * (1 - p) / draws).sqrt() + 1e-12).all()
