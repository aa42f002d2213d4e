"""Under torch's modes: what records a call gets a graph that is right for other input, and other
modes change nothing.
"""

import pytest
import torch
from diffusers_case import Ours, generator, random_classes, random_log_p
from torch.func import linearize
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from vqdiffusion.torch.guidance import guide, truncate
from vqdiffusion.torch.view import numpy_view

K, N, T = 5, 6, 20

CALLS = {
    "q_posterior": lambda s, a, x: s.q_posterior(a, x, 7),
    "q_posterior at 0": lambda s, a, x: s.q_posterior(a, x, 0),
    "q_posterior of rows": lambda s, a, x: s.q_posterior(a, x, [0, 7]),
    "log_Q_t": lambda s, a, x: s.log_Q_t_transitioning_to_known_class(
        t=7, x_t=x, log_onehot_x_t=torch.cat((a, a[:, :1]), 1), cumulative=False
    ),
    "apply_cumulative_transitions": lambda s, a, x: s.apply_cumulative_transitions(a, 7),
    "guide": lambda s, a, x: guide(a, a / 2, 3.0),
    "truncate": lambda s, a, x: truncate(a, 0.8, -70.0),
    "step": lambda s, a, x: s.step(a, 7, x).prev_sample,
    "step at 0": lambda s, a, x: s.step(a, 0, None).prev_sample,
    "guided_step": lambda s, a, x: s.guided_step(a / 2, a, 7, x, truncation_rate=0.9).prev_sample,
}


def case(seed, **kwargs):
    torch.manual_seed(seed)
    return random_log_p(2, K, N, **kwargs), random_classes(2, K, N)


def same(out, expected):
    assert out.dtype == expected.dtype
    torch.testing.assert_close(out, expected, atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("pre_dispatch", [False, True])
@pytest.mark.parametrize("method", ["gumbel", "inverse_cdf"])
@pytest.mark.parametrize("call", CALLS)
def test_a_graph_of_make_fx_is_right_for_other_input(call, method, pre_dispatch):
    scheduler = Ours(K + 1, T, sampling_method=method)
    function = lambda a, x: CALLS[call](scheduler, a, x)  # noqa: E731
    graph = make_fx(function, pre_dispatch=pre_dispatch)(*case(1))
    for seed in (1, 2, 3):
        given = case(seed)
        torch.manual_seed(4)
        expected = function(*given)
        torch.manual_seed(4)
        same(graph(*given), expected)


def test_a_graph_of_a_plan():
    scheduler = Ours(K + 1, T, sampling_method="inverse_cdf")
    graph = make_fx(lambda x: scheduler.plan(7, x).needed)(case(1)[1])
    x = case(2)[1]
    torch.manual_seed(4)
    expected = scheduler.plan(7, x).needed
    torch.manual_seed(4)
    assert torch.equal(graph(x), expected)


class Recorder(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.functions = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.functions.append(function)
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("call", CALLS)
def test_other_modes_change_nothing(call):
    scheduler, (log_p, x) = Ours(K + 1, T), case(1)

    def run():
        torch.manual_seed(4)
        return CALLS[call](scheduler, log_p, x)

    expected = run()
    for mode in (
        Recorder(),
        FlopCounterMode(display=False),
        torch.device("cpu"),
        torch.device("meta"),
    ):
        with mode:
            out = run()
        same(out, expected)
        assert out.device.type == "cpu"


def test_a_mode_sees_what_is_computed():
    scheduler, (log_p, x) = Ours(K + 1, T), case(1)
    with Recorder() as recorder:
        scheduler.q_posterior(log_p, x, 7)
    assert torch.ops.aten.logsumexp.default in recorder.functions
    with Recorder():
        assert numpy_view(log_p, "x") is None and numpy_view(log_p.numpy(), "x") is None
    assert numpy_view(log_p, "x") is not None


@pytest.mark.parametrize("what", ["model_output", "sample"])
def test_a_mode_does_not_switch_the_checks_off(what):
    scheduler, (log_p, x) = Ours(K + 1, T), case(1)
    (log_p if what == "model_output" else x).view(-1)[3] = (
        torch.nan if what == "model_output" else K + 1
    )
    with Recorder(), pytest.raises(ValueError, match=what):
        scheduler.step(log_p, 7, x)


@pytest.mark.filterwarnings("ignore:Attempted to insert a get_attr Node")
def test_linearize():
    scheduler, (log_p, x) = Ours(K + 1, T), case(1, dtype=torch.float64)
    tangent = torch.randn_like(log_p)
    out, of_tangent = linearize(lambda a: scheduler.q_posterior(a, x, 7), log_p)
    same(out, scheduler.q_posterior(log_p, x, 7))
    finite = out.isfinite()
    expected = torch.func.jvp(lambda a: scheduler.q_posterior(a, x, 7), (log_p,), (tangent,))[1]
    torch.testing.assert_close(of_tangent(tangent)[finite], expected[finite])


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@pytest.mark.filterwarnings("ignore:Attempted to insert a get_attr Node")  # both by torch 2.3
@pytest.mark.filterwarnings("ignore:Node .* does not reference an nn.Module")
def test_export_and_trace():
    """Of the posterior, whose graph is then run on other input."""
    scheduler = Ours(K + 1, T)

    class Module(torch.nn.Module):
        def forward(self, log_p, x):
            return scheduler.q_posterior(log_p, x, 7)

    given = case(2)
    for graph in (
        torch.export.export(Module(), case(1), strict=False).module(),
        torch.jit.trace(Module(), case(1), check_trace=False),
    ):
        same(graph(*given), scheduler.q_posterior(*given, 7))


@pytest.mark.skipif(torch.__version__ < "2.4", reason="make_fx of torch 2.3 takes no generators")
def test_tokens_are_those_of_the_class_with_a_generator_of_ones_own():
    scheduler, given = Ours(K + 1, T), case(1)
    drawn = generator(3)
    graph = make_fx(lambda a, x: scheduler.step(a, 7, x, drawn).prev_sample)(*given)
    drawn.manual_seed(3)
    assert torch.equal(
        graph(*given), scheduler.step(*given[:1], 7, given[1], generator(3)).prev_sample
    )
