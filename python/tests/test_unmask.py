"""Steps that reveal masked pixels: counts, choices, rules, layouts and bad input."""

import numpy as np
import pytest

from vqdiffusion import RowKeys, Unmask, VQDiffusionScheduler, token_scores

K, B, N = 37, 3, 50
ORDERS = ["random", "purity", "margin", "entropy", "confidence"]


def case(rng, classes=K, batch=B, pixels=N, dtype=np.float32):
    logits = rng.normal(0, 2, (batch, classes, pixels))
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    sample = np.where(
        rng.random((batch, pixels)) < 0.6, classes, rng.integers(0, classes, (batch, pixels))
    )
    return log_p.astype(dtype), sample


def due(masked, gamma_t, gamma_s):
    return masked - min(masked, int(np.floor(masked * (gamma_s / gamma_t) + 0.5)))


def keys_of(by, log_p, tokens):
    """(B, N), by the plain formulas in float64."""
    log_p = log_p.astype(np.float64)
    p = np.exp(log_p)
    ranked = np.sort(p, axis=1)
    return {
        "random": np.zeros(tokens.shape),
        "purity": np.log(ranked[:, -1]),
        "margin": np.log(ranked[:, -1] - ranked[:, -2]),
        "entropy": (p * log_p).sum(1),
        "confidence": np.take_along_axis(log_p, tokens[:, None], 1)[:, 0],
    }[by]


def expected_step(by, log_p, sample, u, noise, counts, temperature=0.0):
    tokens = token_scores(log_p, u).token
    keys = keys_of(by, log_p, tokens)
    if by == "random":
        temperature = 1.0
    if temperature:
        keys = keys - temperature * np.log(-np.log1p(-noise))
    revealed = np.zeros(sample.shape, bool)
    for row, count in enumerate(counts):
        masked = np.flatnonzero(sample[row] == log_p.shape[1])
        chosen = masked[np.argsort(-keys[row, masked], kind="stable")[:count]]
        revealed[row, chosen] = True
    return np.where(revealed, tokens, sample), revealed


@pytest.mark.parametrize("layout", ["classes outer", "classes inner"])
@pytest.mark.parametrize("temperature", [0.0, 0.7])
@pytest.mark.parametrize("by", ORDERS)
def test_a_step_is_that_of_the_plain_formula(rng, by, temperature, layout):
    for classes in (2, K, 1500):
        log_p, sample = case(rng, classes)
        if layout == "classes inner":
            log_p = np.ascontiguousarray(log_p.transpose(0, 2, 1)).transpose(0, 2, 1)
        scheduler = VQDiffusionScheduler(classes + 1)
        t, s = 60, 40
        source = np.random.default_rng(3)
        u = source.random(sample.shape)
        noise = source.random(sample.shape)
        gamma = np.exp(scheduler.log_cumprod_ct.astype(np.float64))
        counts = [due(int((row == classes).sum()), gamma[t], gamma[s]) for row in sample]
        expected, revealed = expected_step(by, log_p, sample, u, noise, counts, temperature)
        unmask = Unmask(by=by, temperature=temperature)
        out = scheduler.step(log_p, t, sample, 3, previous_timestep=s, unmask=unmask)
        np.testing.assert_array_equal(out.revealed, revealed)
        np.testing.assert_array_equal(out.prev_sample, expected)
        assert out["scores"].dtype == np.float64 and len(out.to_tuple()) == 3
        read = sample == classes if by != "random" else revealed
        np.testing.assert_array_equal(np.isnan(out.scores), ~read)


def counts_of_a_chain(scheduler, pixels, rng):
    """(t, s, how many are revealed) of each step of a chain that begins with masks alone."""
    sample = np.full((1, pixels), 2)
    log_p = np.full((1, 2, pixels), np.log(0.5), np.float32)
    timesteps = scheduler.timesteps.tolist()
    for t, s in zip(timesteps, [*timesteps[1:], -1], strict=True):
        out = scheduler.step(log_p, t, sample, rng, unmask=Unmask(by="random"))
        sample = out.prev_sample
        yield t, s, int(out.revealed.sum())
    assert (sample < 2).all()


def test_counts_of_chains_add_up_to_all_pixels():
    """For the published schedule: M - ⌊M γ̄_s/γ̄_t + ½⌋, and within 1 of its share of all."""
    rng = np.random.default_rng(5)
    for _ in range(200):
        timesteps, pixels = int(rng.integers(2, 120)), int(rng.integers(1, 300))
        scheduler = VQDiffusionScheduler(3, timesteps, timestep_spacing="trailing")
        scheduler.set_timesteps(int(rng.integers(1, timesteps + 1)))
        gamma = np.append(np.exp(scheduler.log_cumprod_ct.astype(np.float64))[:timesteps], 0)
        total = 0
        for t, s, count in counts_of_a_chain(scheduler, pixels, rng):
            assert abs(count - pixels * (gamma[t] - gamma[s]) / gamma[timesteps - 1]) <= 1
            left = (pixels - total) * gamma[s] / gamma[t] + 0.5
            if abs(left - round(left)) > 1e-4:  # the table is of rounded logarithms
                assert count == pixels - total - int(left)
            total += count
        assert total == pixels


def test_counts_are_those_of_the_paper_s_code_to_one_pixel(rng):
    """Tang et al. 2022, T = 100 and 1024 pixels, by timestep; theirs add up to 1025."""
    table = [1, 10] + [11, 10, 10] * 32 + [11, 11]
    for t, _, count in counts_of_a_chain(VQDiffusionScheduler(3), 1024, rng):
        assert abs(count - table[t]) <= 1, t


def test_without_the_arguments_a_step_is_what_it_was(rng):
    log_p, sample = case(rng)
    scheduler = VQDiffusionScheduler(K + 1)
    plain = scheduler.step(log_p, 50, sample, 9)
    given = scheduler.step(log_p, 50, sample, 9, unmask=None, remask=0.0)
    np.testing.assert_array_equal(plain.prev_sample, given.prev_sample)
    assert plain.to_tuple() == (plain.prev_sample,) and list(plain) == ["prev_sample"]


@pytest.mark.parametrize("by", ORDERS)
def test_positions_known_and_counts(rng, by):
    log_p, sample = case(rng)
    scheduler = VQDiffusionScheduler(K + 1, sampling_method="gumbel")
    positions = rng.random(sample.shape) < 0.5
    known = np.where(rng.random(sample.shape) < 0.2, 4, -1)
    may = (sample == K) & positions & (known < 0)
    count = np.array([0, 3, 1000])
    unmask = Unmask(by=by, positions=positions, count=count)
    out = scheduler.step(log_p, 50, sample, rng, known=known, unmask=unmask)
    assert not (out.revealed & ~may).any()
    np.testing.assert_array_equal(out.revealed.sum(1), np.minimum(count, may.sum(1)))
    untouched = ~out.revealed & (known < 0)
    np.testing.assert_array_equal(out.prev_sample[untouched], sample[untouched])
    np.testing.assert_array_equal(out.prev_sample[known >= 0], 4)
    block = np.arange(N) < 10
    out = scheduler.step(log_p, 0, sample, rng, unmask=Unmask(by=by, positions=block))
    np.testing.assert_array_equal(out.revealed, (sample == K) & block)


def test_threshold(rng):
    log_p, sample = case(rng)
    scheduler = VQDiffusionScheduler(K + 1)
    top = np.exp(log_p.astype(np.float64)).max(1)
    out = scheduler.step(log_p, 50, sample, rng, unmask=Unmask(threshold=0.4))
    np.testing.assert_array_equal(out.revealed, (top > 0.4) & (sample == K))
    out = scheduler.step(log_p, 50, sample, rng, unmask=Unmask(threshold=1.0))
    best = np.where(sample == K, out.scores, -np.inf).argmax(1)
    np.testing.assert_array_equal(out.revealed, np.arange(N) == best[:, None])
    u = np.random.default_rng(1).random(sample.shape)
    of_token = np.exp(keys_of("confidence", log_p, token_scores(log_p, u).token))
    unmask = Unmask(by="confidence", threshold=0.2)
    out = scheduler.step(log_p, 50, sample, 1, unmask=unmask)
    np.testing.assert_array_equal(out.revealed, (of_token > 0.2) & (sample == K))


def test_entropy_bound(rng):
    log_p, sample = case(rng)
    scheduler = VQDiffusionScheduler(K + 1)
    entropy = token_scores(log_p.astype(np.float64)).entropy
    for bound in (0.0, 1.5, 7.0, 1e9):
        out = scheduler.step(log_p, 50, sample, rng, unmask=Unmask(entropy_bound=bound))
        for row in range(B):
            masked = np.flatnonzero(sample[row] == K)
            rising = masked[np.argsort(entropy[row, masked], kind="stable")]
            sums = np.cumsum(entropy[row, rising]) - entropy[row, rising]
            count = max(1, int((sums <= bound).sum()))
            assert sorted(rising[:count]) == np.flatnonzero(out.revealed[row]).tolist()


def test_prior_weight_sharpens_by_purity(rng):
    log_p, sample = case(rng, 5, 1, 4000, np.float64)
    log_p[:] = log_p[:, :, :2].repeat(2000, 2)
    sample[:] = 5
    scheduler = VQDiffusionScheduler(6)
    for by in ("purity", "confidence", "random"):
        unmask = Unmask(by=by, prior_weight=1.7)
        drawn = scheduler.step(log_p, 0, sample, rng, unmask=unmask).prev_sample[0]
        top = np.exp(log_p[0, :, [0, -1]]).max(1)
        for part, purity, column in zip(
            (drawn[:2000], drawn[2000:]), top / top.max(), log_p[0, :, [0, -1]], strict=True
        ):
            law = np.exp((1 + 1.7 * purity) * column)
            law /= law.sum()
            found = np.bincount(part, minlength=5) / 2000
            assert np.abs(found - law).max() < 0.05, by


@pytest.mark.parametrize("by", ORDERS)
def test_planned_keyed_and_guided_steps(rng, by):
    log_p, sample = case(rng)
    scheduler = VQDiffusionScheduler(K + 1)
    unmask = Unmask(by=by, temperature=0.5)
    for source in (4, RowKeys(7, range(B)), [1, 2, 3]):
        expected = scheduler.step(log_p, 50, sample, source, unmask=unmask)
        plan = scheduler.plan(50, sample, source, unmask=unmask)
        needed = expected.revealed if by == "random" else sample == K
        np.testing.assert_array_equal(plan.needed, needed)
        columns = log_p.transpose(0, 2, 1)[plan.needed].T
        planned = scheduler.step(columns, 50, sample, plan=plan)
        np.testing.assert_array_equal(planned.prev_sample, expected.prev_sample)
        np.testing.assert_array_equal(planned.revealed, expected.revealed)
        guided = scheduler.guided_step(
            None, log_p, 50, sample, source, truncation_rate=np.inf, unmask=unmask
        )
        np.testing.assert_array_equal(guided.prev_sample, expected.prev_sample)
    keys = RowKeys(7, range(B))
    whole = scheduler.step(log_p, 50, sample, keys, unmask=unmask).prev_sample
    for row in range(B):
        part = slice(row, row + 1)
        alone = scheduler.step(log_p[part], 50, sample[part], keys[part], unmask=unmask)
        np.testing.assert_array_equal(alone.prev_sample, whole[part])


def test_guidance_and_truncation_are_read_through(rng):
    from vqdiffusion import guide, truncate

    cond, sample = case(rng)
    uncond, _ = case(rng)
    scheduler = VQDiffusionScheduler(K + 1)
    prepared = truncate(guide(uncond, cond, 3.0), 0.8, -70.0)
    for by in ORDERS:
        unmask = Unmask(by=by)
        expected = scheduler.step(prepared, 50, sample, 2, unmask=unmask)
        out = scheduler.guided_step(
            uncond, cond, 50, sample, 2, guidance_scale=3.0, truncation_rate=0.8, unmask=unmask
        )
        np.testing.assert_array_equal(out.prev_sample, expected.prev_sample)


def test_only_masked_columns_are_read(rng):
    log_p, sample = case(rng)
    scheduler = VQDiffusionScheduler(K + 1)
    expected = scheduler.step(log_p, 50, sample, 2, unmask=Unmask()).prev_sample
    log_p.transpose(0, 2, 1)[sample < K] = np.nan
    out = scheduler.step(log_p, 50, sample, 2, unmask=Unmask()).prev_sample
    np.testing.assert_array_equal(out, expected)
    row, pixel = np.argwhere(sample == K)[7]
    log_p[row, 3, pixel] = np.nan
    generator = np.random.default_rng(2)
    with pytest.raises(ValueError, match=rf"^model_output .*\[{row}, 3, {pixel}\]"):
        scheduler.step(log_p, 50, sample, generator, unmask=Unmask())
    assert generator.random() == np.random.default_rng(2).random()


def test_a_row_with_nothing_masked_stays(rng):
    log_p, sample = case(rng)
    sample[1] = 3
    scheduler = VQDiffusionScheduler(K + 1)
    for unmask in (Unmask(), Unmask(threshold=0.5), Unmask(entropy_bound=1), Unmask(count=4)):
        out = scheduler.step(log_p, 50, sample, rng, unmask=unmask)
        np.testing.assert_array_equal(out.prev_sample[1], sample[1])
        assert not out.revealed[1].any() and out.revealed[0].any()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"by": "luck"}, ValueError, "^by must be one of 'random'.*, not 'luck'"),
        ({"by": 3}, TypeError, "^by must be a str, not int"),
        ({"temperature": -1}, ValueError, "^temperature must be finite and at least 0, not -1"),
        ({"temperature": np.nan}, ValueError, "^temperature must be finite"),
        ({"prior_weight": np.inf}, ValueError, "^prior_weight must be finite"),
        ({"count": -1}, ValueError, "^count must be at least 0, not -1"),
        ({"count": [1, -2]}, ValueError, r"^count must be from 0 to 2\*\*63 - 1, not -2"),
        (
            {"count": np.array([2**63], np.uint64)},
            ValueError,
            r"^count must be from 0 to 2\*\*63 - 1, not 9223372036854775808 as at \[0\]",
        ),
        ({"count": 1.5}, TypeError, "^count must be an integer"),
        ({"count": [[1]]}, ValueError, "^count must have the 1 axis"),
        ({"threshold": 1.1}, ValueError, "^threshold must be a probability from 0 to 1, not 1.1"),
        ({"entropy_bound": -0.1}, ValueError, "^entropy_bound must be finite and at least 0"),
        ({"count": 1, "threshold": 0.5}, ValueError, "^count and threshold must not both"),
        ({"positions": [1, 0]}, TypeError, "^positions must be of bool, not dtype int64"),
        ({"positions": np.ones((1, 1, 1), bool)}, ValueError, "^positions must have the axes"),
    ],
)
def test_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        Unmask(**arguments)


def test_refused_by_the_step(rng):
    log_p, sample = case(rng)
    scheduler = VQDiffusionScheduler(K + 1)
    state = rng.bit_generator.state

    def refused(message, error=ValueError, **arguments):
        for method in scheduler.step, lambda *a, **k: scheduler.plan(*a[1:], **k):
            with pytest.raises(error, match=message):
                method(log_p, 50, sample, rng, **arguments)

    refused("^remask must be 0 with unmask", unmask=Unmask(), remask=0.1)
    refused("^unmask must be None or vqdiffusion.Unmask, not str", TypeError, unmask="margin")
    refused(r"^positions must have shape \(50,\) or", unmask=Unmask(positions=np.ones(3, bool)))
    refused("^count must be one integer or have one for each of 3 rows", unmask=Unmask(count=[1]))
    assert rng.bit_generator.state == state
    plan = scheduler.plan(50, sample, 1, unmask=Unmask())
    with pytest.raises(ValueError, match="^unmask and remask must be those of the plan"):
        scheduler.step(log_p, 50, sample, plan=plan, unmask=Unmask())
