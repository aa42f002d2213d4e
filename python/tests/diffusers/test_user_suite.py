"""The tests a user of diffusers' scheduler would write, run with the class swapped and nothing
else.

The wheels of diffusers hold no tests of their own; these follow the way its users work with
schedulers: loops, saving and loading, changed configurations, outputs, dtypes.
"""

import inspect
import tempfile

import diffusers
import pytest
import torch
import torch.nn.functional as F

import vqdiffusion.diffusers


@pytest.fixture(
    params=[diffusers.VQDiffusionScheduler, vqdiffusion.diffusers.VQDiffusionScheduler],
    ids=["theirs", "ours"],
)
def scheduler_class(request):
    return request.param


def get_scheduler_config(**changes):
    config = {
        "num_vec_classes": 4097,
        "alpha_cum_start": 0.99999,
        "alpha_cum_end": 0.000009,
        "gamma_cum_start": 0.000009,
        "gamma_cum_end": 0.99999,
    }
    config.update(**changes)
    return config


def dummy_sample(num_vec_classes):
    return torch.randint(0, num_vec_classes, (4, 8 * 8), generator=torch.manual_seed(0))


def dummy_model(num_vec_classes):
    def model(sample, t, *args):
        generator = torch.Generator().manual_seed(int(t) + 1)
        logits = torch.rand(
            (sample.shape[0], num_vec_classes - 1, sample.shape[1]), generator=generator
        )
        return F.log_softmax(logits.double(), dim=1).float()

    return model


@pytest.mark.parametrize(
    "changes",
    [{"num_train_timesteps": n} for n in (2, 5, 100, 1000)]
    + [{"num_vec_classes": n} for n in (5, 100, 1000)],
)
def test_saved_and_loaded_it_steps_the_same(scheduler_class, changes):
    config = get_scheduler_config(**changes)
    scheduler = scheduler_class(**config)
    sample, model = dummy_sample(config["num_vec_classes"]), dummy_model(config["num_vec_classes"])
    with tempfile.TemporaryDirectory() as folder:
        scheduler.save_config(folder)
        loaded = scheduler_class.from_pretrained(folder)
    t = scheduler.timesteps[0]
    outputs = [
        one.step(model(sample, t), t, sample, generator=torch.manual_seed(0)).prev_sample
        for one in (scheduler, loaded)
    ]
    assert torch.sum(torch.abs(outputs[0] - outputs[1])) < 1e-5


@pytest.mark.parametrize("t", [0, 50, 99])
def test_time_indices(scheduler_class, t):
    scheduler = scheduler_class(**get_scheduler_config())
    sample = dummy_sample(4097)
    out = scheduler.step(dummy_model(4097)(sample, t), t, sample)
    assert out.prev_sample.shape == sample.shape and out.prev_sample.dtype == sample.dtype


def test_from_pretrained_config_and_kwargs(scheduler_class, tmp_path):
    scheduler_class(**get_scheduler_config()).save_pretrained(tmp_path)
    scheduler = scheduler_class.from_pretrained(tmp_path, num_train_timesteps=10)
    assert scheduler.config.num_train_timesteps == 10 and len(scheduler.timesteps) == 10
    again = scheduler_class.from_config(scheduler.config)
    assert again.config == scheduler.config or dict(again.config) == dict(scheduler.config)
    assert scheduler.config["num_vec_classes"] == 4097
    assert isinstance(scheduler, diffusers.SchedulerMixin)


def test_step_shape(scheduler_class):
    scheduler = scheduler_class(**get_scheduler_config())
    sample, model = dummy_sample(4097), dummy_model(4097)
    scheduler.set_timesteps(100)
    first = scheduler.step(model(sample, 1), 1, sample).prev_sample
    second = scheduler.step(model(sample, 0), 0, sample).prev_sample
    assert first.shape == second.shape == sample.shape


def test_outputs_as_tuples_and_as_objects(scheduler_class):
    scheduler = scheduler_class(**get_scheduler_config(num_vec_classes=100))
    sample, model = dummy_sample(100), dummy_model(100)
    pair = scheduler.step(
        model(sample, 5), 5, sample, return_dict=False, generator=torch.manual_seed(0)
    )
    output = scheduler.step(model(sample, 5), 5, sample, generator=torch.manual_seed(0))
    assert (
        isinstance(pair, tuple)
        and torch.equal(pair[0], output.prev_sample)
        and torch.equal(pair[0], output[0])
    )
    assert torch.equal(output.to_tuple()[0], pair[0]) and list(output.keys()) == ["prev_sample"]


def test_the_parameters_a_pipeline_looks_for(scheduler_class):
    parameters = set(inspect.signature(scheduler_class.step).parameters)
    assert {"generator", "return_dict"} <= parameters and "eta" not in parameters


def test_a_full_loop(scheduler_class):
    config = get_scheduler_config(num_vec_classes=65, num_train_timesteps=20)
    scheduler, model = scheduler_class(**config), dummy_model(65)
    scheduler.set_timesteps(20, device="cpu")
    generator = torch.manual_seed(0)
    sample = torch.full((2, 16), scheduler.mask_class)
    masked = []
    for t in scheduler.timesteps:
        sample = scheduler.step(model(sample, t), t, sample, generator=generator).prev_sample
        masked.append(int((sample == scheduler.mask_class).sum()))
    assert masked == sorted(masked, reverse=True) and masked[-1] == 0
    assert sample.min() >= 0 and sample.max() < 64


def test_both_classes_make_the_same_sample():
    samples = []
    for cls in (diffusers.VQDiffusionScheduler, vqdiffusion.diffusers.VQDiffusionScheduler):
        scheduler, model = (
            cls(**get_scheduler_config(num_vec_classes=65, num_train_timesteps=20)),
            dummy_model(65),
        )
        generator = torch.manual_seed(0)
        sample = torch.full((2, 16), scheduler.mask_class)
        for t in scheduler.timesteps:
            sample = scheduler.step(model(sample, t), t, sample, generator=generator).prev_sample
        samples.append(sample)
    assert torch.equal(*samples)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_dtypes_of_the_model_output(scheduler_class, dtype):
    scheduler = scheduler_class(**get_scheduler_config(num_vec_classes=65))
    sample = dummy_sample(65)
    out = scheduler.step(dummy_model(65)(sample, 9).to(dtype), 9, sample).prev_sample
    assert out.dtype == torch.int64 and out.shape == sample.shape


def test_the_posterior_of_a_masked_image(scheduler_class):
    scheduler = scheduler_class(**get_scheduler_config(num_vec_classes=65))
    sample = torch.full((1, 16), 64)
    log_p = dummy_model(65)(sample, 9)
    posterior = scheduler.q_posterior(log_p, sample, torch.tensor(9))
    assert posterior.shape == (1, 65, 16)
    torch.testing.assert_close(posterior.exp().sum(1), torch.ones(1, 16), atol=1e-4, rtol=0)


def test_the_tables(scheduler_class):
    scheduler = scheduler_class(**get_scheduler_config())
    assert scheduler.log_at.shape == scheduler.log_bt.shape == scheduler.log_ct.shape == (100,)
    assert scheduler.log_cumprod_at.shape == (101,)
    total = (
        scheduler.log_cumprod_at.exp()
        + 4096 * scheduler.log_cumprod_bt.exp()
        + scheduler.log_cumprod_ct.exp()
    )
    torch.testing.assert_close(total, torch.ones(101), atol=1e-5, rtol=0)


def test_equality_with_the_reference_s_functions(scheduler_class):
    """Code that calls the parts by hand gets the whole."""
    from diffusers.schedulers.scheduling_vq_diffusion import index_to_log_onehot

    scheduler = scheduler_class(**get_scheduler_config(num_vec_classes=65))
    sample, t = dummy_sample(65), torch.tensor(40)
    log_p, onehot = dummy_model(65)(sample, t), index_to_log_onehot(sample, 65)
    rows = [
        scheduler.log_Q_t_transitioning_to_known_class(
            t=t, x_t=sample, log_onehot_x_t=onehot, cumulative=cumulative
        )
        for cumulative in (True, False)
    ]
    q = log_p - rows[0]
    total = q.logsumexp(1, keepdim=True)
    by_hand = scheduler.apply_cumulative_transitions(q - total, t - 1) + rows[1] + total
    torch.testing.assert_close(
        scheduler.q_posterior(log_p, sample, t), by_hand, atol=1e-4, rtol=1e-5
    )
