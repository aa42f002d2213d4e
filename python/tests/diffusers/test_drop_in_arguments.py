"""Every form of an argument that diffusers' class takes, and what it gives for it."""

import numpy as np
import pytest
import torch
from diffusers_case import (
    Ours, both, generator, log_onehot, random_classes, random_log_p, same_cells,
)  # fmt: skip

K, N, T = 6, 9, 40

ONE_TIMESTEP = {
    "int": 30,
    "np.int32": np.int32(30),
    "np.uint8": np.uint8(30),
    "0-d array": np.array(30),
    "1-d array": np.array([30]),
    "0-d tensor": torch.tensor(30),
    "int16 tensor": torch.tensor(30, dtype=torch.int16),
    "(1,) tensor": torch.tensor([30]),
    "(1, 1) tensor": torch.tensor([[30]]),
    "(1, 1, 1) tensor": torch.tensor([[[30]]]),
    "list": [30],
    "tuple": (30,),
}


@pytest.fixture
def case():
    return random_log_p(3, K, N), random_classes(3, K, N)


@pytest.fixture(params=["native", "torch"])
def way(request, case):
    if request.param == "torch":
        case[0].requires_grad_()
    return request.param


@pytest.mark.parametrize("t", ONE_TIMESTEP.values(), ids=ONE_TIMESTEP)
def test_one_timestep(case, way, t):
    (reference, ours), (log_p, x) = both(K, T), case
    step = lambda s, t: s.step(log_p, t, x, generator(1)).prev_sample  # noqa: E731
    calls = [
        lambda s, t: s.q_posterior(log_p, x, t),
        lambda s, t: s.apply_cumulative_transitions(log_p, t),
        lambda s, t: s.log_Q_t_transitioning_to_known_class(
            t=t, x_t=x, log_onehot_x_t=log_onehot(x.long(), K + 1), cumulative=True
        ),
        lambda s, t: s.log_Q_t_transitioning_to_known_class(
            t=t, x_t=x, log_onehot_x_t=log_onehot(x.long(), K + 1), cumulative=False
        ),
    ]
    assert torch.equal(step(ours, t), step(reference, 30))
    for call in calls:
        same_cells(call(ours, t), call(reference, 30))
    assert torch.equal(ours.add_noise(x, t, generator(1)), ours.add_noise(x, 30, generator(1)))


@pytest.mark.parametrize("t", ONE_TIMESTEP.values(), ids=ONE_TIMESTEP)
def test_the_reference_takes_them_too(case, t):
    """So that none of them is here for its own sake."""
    reference, log_p = both(K, T)[0], case[0]
    out = reference.apply_cumulative_transitions(log_p, t)
    assert torch.equal(out.float(), reference.apply_cumulative_transitions(log_p, 30))


@pytest.mark.parametrize("shape", [(3,), (3, 1), (3, 1, 1)])
@pytest.mark.parametrize("kind", [torch.tensor, np.array])
@pytest.mark.parametrize("values", [(0, 7, 30), (-1, 0, 39)], ids=str)
def test_one_timestep_for_each_row(case, way, shape, kind, values):
    """The reference takes (B, 1, 1), and gives each row what it gives that row alone."""
    (reference, ours), (log_p, x) = both(K, T), case
    t = kind(values).reshape(shape)
    theirs = reference.apply_cumulative_transitions(log_p, torch.tensor(values).view(3, 1, 1))
    same_cells(ours.apply_cumulative_transitions(log_p, t), theirs)
    rows = [
        reference.log_Q_t_transitioning_to_known_class(
            t=one,
            x_t=x[row : row + 1],
            log_onehot_x_t=log_onehot(x[row : row + 1].long(), K + 1),
            cumulative=True,
        )
        for row, one in enumerate(values)
    ]
    given = log_onehot(x.long(), K + 1).requires_grad_(way == "torch")
    out = ours.log_Q_t_transitioning_to_known_class(
        t=t, x_t=x, log_onehot_x_t=given, cumulative=True
    )
    same_cells(out, torch.cat(rows))
    if -1 in values:
        return
    theirs = [
        reference.q_posterior(log_p[row : row + 1], x[row : row + 1], one)
        for row, one in enumerate(values)
    ]
    same_cells(ours.q_posterior(log_p, x, t), torch.cat(theirs))
    tokens = ours.step(log_p, t, x, [generator(row) for row in range(3)]).prev_sample
    for row, one in enumerate(values):
        alone = reference.step(
            log_p[row : row + 1], one, x[row : row + 1], generator(row)
        ).prev_sample
        assert torch.equal(tokens[row : row + 1], alone)


@pytest.mark.parametrize("t", [-1, torch.tensor(-1), [-1], np.int32(-1)], ids=repr)
def test_minus_one_is_clean_data(case, way, t):
    (reference, ours), (log_p, x) = both(K, T), case
    same_cells(
        ours.apply_cumulative_transitions(log_p, t),
        reference.apply_cumulative_transitions(log_p, -1),
    )
    given = log_onehot(x.long(), K + 1).requires_grad_(way == "torch")
    out, theirs = (
        s.log_Q_t_transitioning_to_known_class(t=one, x_t=x, log_onehot_x_t=given, cumulative=True)
        for s, one in ((ours, t), (reference, -1))
    )
    same_cells(out, theirs)


@pytest.mark.parametrize(
    "t", [torch.zeros(3, 2, dtype=int), np.zeros((1, 3), int), torch.zeros(3, 1, 2, dtype=int)]
)
def test_shapes_that_are_no_timesteps(case, way, t):
    ours, (log_p, x) = Ours(K + 1, T), case
    for name, call in (
        ("timestep", lambda: ours.step(log_p, t, x)),
        ("t", lambda: ours.q_posterior(log_p, x, t)),
        ("t", lambda: ours.apply_cumulative_transitions(log_p, t)),
        ("timesteps", lambda: ours.add_noise(x, t)),
    ):
        with pytest.raises(
            ValueError, match=f"^{name} must have one entry for each batch row, not shape"
        ):
            call()


def test_lists_as_samples(case):
    (reference, ours), (log_p, x) = both(K, T), case
    log_p = log_p.detach()
    expected = reference.step(log_p, 7, x, generator(1)).prev_sample
    for sample in (x.tolist(), tuple(map(tuple, x.tolist())), x.numpy(), x.to(torch.int8)):
        assert torch.equal(ours.step(log_p, 7, sample, generator(1)).prev_sample, expected)
        assert torch.equal(
            ours.add_noise(sample, 7, generator(1)), ours.add_noise(x, 7, generator(1))
        )
    same_cells(ours.q_posterior(log_p, x.tolist(), 7), reference.q_posterior(log_p, x, 7))
