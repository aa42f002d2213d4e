"""The noise schedule of a scheduler, in the form that functions of the native module take it in."""

from vqdiffusion import alpha_schedules, gamma_schedules


def schedule_of(scheduler):
    """K, and ᾱ_t and γ̄_t of each t, by the documented functions from the configuration."""
    config = scheduler.config
    steps = config.num_train_timesteps
    alpha = alpha_schedules(steps, config.alpha_cum_start, config.alpha_cum_end)
    gamma = gamma_schedules(steps, config.gamma_cum_start, config.gamma_cum_end)
    return config.num_vec_classes - 1, alpha[1][:steps], gamma[1][:steps]
