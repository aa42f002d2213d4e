"""The orders of docs/orders.md: what each recipe ends in, against the paper's own formula.

Four pixels of three classes with their exact denoiser; both laws by enumeration in float64.
"""

import order_laws as laws
import numpy as np
import pytest
from enumerated_recipe import law_of
from recipe_blocks import ORDERS, page
from unmask_laws import K, N, total_variation

from vqdiffusion import Unmask, VQDiffusionScheduler, schedules
from vqdiffusion.revealing import reveal_given


def absorbing(calls):
    alphas, gammas = schedules.log_linear(calls, eps=0)
    return VQDiffusionScheduler(
        K + 1, alphas_cumprod=alphas, gammas_cumprod=gammas, timestep_spacing="trailing"
    )


def check(recipe, expected, scheduler=None):
    """Returns how far from the data the law is."""
    law = law_of(recipe, scheduler or absorbing(N))
    assert abs(expected.sum() - 1) < 1e-12
    np.testing.assert_allclose(law, expected, rtol=0, atol=1e-12)
    return total_variation(law)


@pytest.fixture
def published():
    """VQ-Diffusion's schedule with four pixels due at T = 100: one at a time, at two timesteps."""
    scheduler = VQDiffusionScheduler(K + 1, timestep_spacing="trailing")
    scheduler.set_timesteps(2)
    return scheduler


@pytest.mark.parametrize("r", [0, 1, 2.5])
@pytest.mark.parametrize("most, counts", [(2, (2, 2)), (1, (1, 1, 1, 1)), (3, (2, 2))])
def test_purity_prior(published, most, counts, r):
    def recipe(scheduler, model, sample):
        def unmask(count):
            return Unmask("purity", temperature=1, count=count, prior_weight=r)

        how = page(ORDERS)["purity_prior"] if r == 1 else unmask
        return page(ORDERS)["high_quality"](scheduler, model, sample, most, how)[0]

    apart = check(recipe, laws.purity_prior(counts, r), published)
    assert (apart < 1e-12) == (r == 0 and most == 1)


def test_the_authors_purity_is_over_all_pixels():
    """Where pixels have been revealed, whose p is 1, r weighs less; at r = 0 both are one."""
    counts = (1, 1, 1, 1)
    ours, theirs = laws.purity_prior(counts, 1), laws.purity_prior(counts, 1, over_all=True)
    assert total_variation(theirs) < total_variation(ours)
    plain = laws.purity_prior(counts, 0)
    np.testing.assert_allclose(laws.purity_prior(counts, 0, over_all=True), plain, atol=1e-15)


def test_high_quality_inference(published):
    def recipe(most):
        def run(scheduler, model, sample):
            def unmask(count):
                return Unmask("random", count=count)

            return page(ORDERS)["high_quality"](scheduler, model, sample, most, unmask)[0]

        return run

    assert check(recipe(1), laws.random_order((1, 1, 1, 1)), published) < 1e-12
    assert check(recipe(2), laws.random_order((2, 2)), published) > 0.1


@pytest.mark.parametrize("most, expected", [(5, 198), (3, 331)])
def test_the_calls_of_high_quality_inference(rng, most, expected):
    """1024 pixels, T = 100; a last group of one joins the one before."""
    names, scheduler = page(ORDERS), VQDiffusionScheduler(3)
    masks = np.full((1, 1024), 2)
    counts = []

    def unmask(count):
        counts.append(count)
        return Unmask("random", count=count)

    sample, calls = names["high_quality"](scheduler, names["network"](2), masks, most, unmask)
    assert calls == len(counts) == expected and (sample < 2).all()
    assert sum(counts) == 1024 and min(counts) > 1 and max(counts) == most + 1
    assert f"{expected}" in ORDERS.read_text(encoding="utf-8")


def test_groups():
    groups = page(ORDERS)["groups"]
    assert [groups(due, 5) for due in (0, 1, 4, 5, 6, 7, 10, 11)] == [
        [], [1], [4], [5], [6], [5, 2], [5, 5], [5, 6],
    ]  # fmt: skip
    assert all(sum(groups(due, most)) == due for due in range(40) for most in range(1, 9))


def test_the_authors_counts_make_one_call_more():
    """Their table for T = 100 and at most 10 pixels a call; the step at t = 0 is one call."""
    groups = page(ORDERS)["groups"]
    table = [6] + [11, 10, 10] * 32 + [11, 15]
    for most, expected in ((5, 199), (3, 332)):
        assert 1 + sum(len(groups(due, most)) for due in table) == expected


@pytest.mark.parametrize("calls", [2, 3, 4])
@pytest.mark.parametrize("choice_temperature", [0.0, 1.0, 4.5])
def test_maskgit(calls, choice_temperature):
    alphas, gammas = schedules.cosine(calls, variant="maskgit")
    scheduler = VQDiffusionScheduler(K + 1, alphas_cumprod=alphas, gammas_cumprod=gammas)

    def recipe(scheduler, model, sample):
        return page(ORDERS)["maskgit"](scheduler, model, sample, calls, choice_temperature)

    assert check(recipe, laws.maskgit(calls, choice_temperature), scheduler) > 0.01


@pytest.mark.parametrize("calls, counts", [(4, (1, 1, 1, 1)), (3, (2, 1, 1)), (2, (2, 2))])
def test_llada(calls, counts):
    def recipe(by):
        return lambda *given: page(ORDERS)["llada"](*given, calls, by)

    scheduler = absorbing(calls)
    check(recipe("purity"), laws.low_confidence(counts), scheduler)
    check(recipe("random"), laws.random_argmax(counts), scheduler)


def test_the_counts_of_llada():
    """Of 10 tokens in 4 calls: as many as their code says, the first ones one more."""
    counts = []

    class Counter(VQDiffusionScheduler):
        def step(self, log_p, t, sample, rng, *, unmask):
            step = super().step(log_p, t, sample, rng, unmask=unmask)
            counts.append(step.revealed.sum(1).tolist())
            return step

    names, scheduler = page(ORDERS), Counter(K + 1, timestep_spacing="trailing")
    masks = np.full((2, 12), K)
    masks[:, :2] = 0
    for by in ("purity", "random"):
        counts.clear()
        assert (names["llada"](scheduler, names["network"](K), masks, 4, by) < K).all()
        assert counts == [[3, 3], [3, 3], [2, 2], [2, 2]]


def test_llada_in_blocks():
    def recipe(scheduler, model, sample):
        for block in ((0, 1), (2, 3)):
            positions = np.isin(np.arange(N), block)
            sample = page(ORDERS)["llada"](scheduler, model, sample, 2, positions=positions)
        return sample

    blocks = [(0, 1), (0, 1), (2, 3), (2, 3)]
    check(recipe, laws.low_confidence((1, 1, 1, 1), blocks), absorbing(2))


@pytest.mark.parametrize("threshold", [0.3, 0.55, 0.65, 0.95])
def test_fast_dllm(threshold):
    unmask = Unmask("purity", threshold=threshold, prior_weight=page(ORDERS)["ARGMAX"])
    check(
        lambda *given: page(ORDERS)["until_done"](*given, unmask)[0],
        laws.above_threshold(threshold),
    )


def test_a_confidence_must_exceed_the_threshold():
    """The first pixel is the second surest: theirs reveals it where its p is the threshold."""
    p = np.full((1, K, 2), 0.25)
    p[0, 0], p[0, 1] = (0.5, 0.625), (0.25, 0.125)
    sample = np.full((1, 2), K)
    for threshold, expected in ((0.5, 1), (0.4999, 2)):
        unmask = Unmask("purity", threshold=threshold)
        out = absorbing(4).step(np.log(p), 3, sample, 0, unmask=unmask)
        assert out.revealed.sum() == expected


@pytest.mark.parametrize("gamma, exact", [(0.0, True), (0.9, True), (2.0, False), (9.0, False)])
def test_entropy_bound(gamma, exact):
    """At 0.9 nats two pixels of a call are of two pairs, which know nothing of each other."""
    unmask = Unmask("entropy", entropy_bound=gamma)
    apart = check(
        lambda *given: page(ORDERS)["until_done"](*given, unmask)[0], laws.entropy_bounded(gamma)
    )
    assert (apart < 1e-12) == exact


def test_blocks_by_margin():
    def recipe(scheduler, model, sample):
        for block in ((0, 1), (2, 3)):
            unmask = Unmask("margin", count=1, positions=np.isin(np.arange(N), block))
            while (sample[0, list(block)] == K).any():
                step = scheduler.step(
                    model(sample, 0), 0, sample, None, unmask=unmask, previous_timestep=-1
                )
                sample = step.prev_sample
        return sample

    assert check(recipe, laws.margin_in_blocks([(0, 1), (2, 3)])) < 1e-12


@pytest.mark.parametrize("r", [0.5, 3.0])
def test_tokens_of_the_purity_prior_by_an_even_grid(rng, r):
    """Rows alike, uniforms even: the tokens of each pixel within one of their law's counts."""
    rows = 1 << 12
    p = rng.dirichlet(np.ones(K), N).T
    sample = np.full((rows, N), K)
    u = np.broadcast_to((np.arange(rows)[:, None] + 0.5) / rows, (rows, N)).copy()
    unmask = Unmask("purity", count=N, prior_weight=r)
    log_p = np.broadcast_to(np.log(p), (rows, K, N))
    out = reveal_given(absorbing(4)._chain, 3, 2, log_p, sample, u, None, None, None, unmask)
    sharper = p ** (1 + r * p.max(0) / p.max())
    sharper /= sharper.sum(0)
    for pixel in range(N):
        counts = np.bincount(out.prev_sample[:, pixel], minlength=K)
        assert np.abs(counts - rows * sharper[:, pixel]).max() <= 1


def test_the_explorer_finds_a_wrong_order():
    """Margin in the place of purity ends elsewhere."""

    def recipe(by):
        def run(scheduler, model, sample):
            scheduler.set_timesteps(2)
            for t in scheduler.timesteps.tolist():
                log_p = model(sample, t)
                sample = scheduler.step(log_p, t, sample, None, unmask=Unmask(by)).prev_sample
            return sample

        return law_of(run, absorbing(2))

    assert np.abs(recipe("confidence") - recipe("margin")).max() > 0.01
