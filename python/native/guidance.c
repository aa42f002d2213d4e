/* Guidance and truncation, alone and followed by a step. */
#include "functions.h"

static const array_argument log_p_uncond_argument = {"log_p_uncond", FLOATING,
                                                     "(batch, classes, pixels)"};
static const array_argument log_p_cond_argument = {"log_p_cond", FLOATING,
                                                   "(batch, classes, pixels)"};
static const array_argument sample_argument = {"sample", INTEGER, "(batch, pixels)"};
static const array_argument prev_sample_argument = {"prev_sample", "int64", "(batch, pixels)"};
static const array_argument out_argument = {"out", RESULT, "(batch, classes, pixels)"};

PyObject *native_guide(PyObject *Py_UNUSED(module), PyObject *const *arguments, Py_ssize_t count) {
    call self;
    vqd_status status = VQD_OK;
    double scale;
    vqd_tensor log_p_uncond, log_p_cond, out;
    if (!call_begin(&self, "guide", arguments, count, 4, 5)
        || !take_input(&self, &log_p_uncond_argument, &log_p_uncond)
        || !take_input(&self, &log_p_cond_argument, &log_p_cond)
        || !take_double(&self, "scale", &scale) || !take_output(&self, &out_argument, &out)
        || !take_num_threads(&self))
        goto exit;
    WITHOUT_GIL(status = vqd_guide(&log_p_uncond, &log_p_cond, scale, &out, &self.context))
exit:
    return call_result(&self, status);
}

PyObject *native_truncate(PyObject *Py_UNUSED(module), PyObject *const *arguments,
                          Py_ssize_t count) {
    static const array_argument log_p_argument = {"log_p", FLOATING, "(batch, classes, pixels)"};
    call self;
    vqd_status status = VQD_OK;
    double rate, floor;
    vqd_tensor log_p, out;
    if (!call_begin(&self, "truncate", arguments, count, 4, 5)
        || !take_input(&self, &log_p_argument, &log_p) || !take_double(&self, "rate", &rate)
        || !take_double(&self, "floor", &floor) || !take_output(&self, &out_argument, &out)
        || !take_num_threads(&self))
        goto exit;
    WITHOUT_GIL(status = vqd_truncate(&log_p, rate, floor, &out, &self.context))
exit:
    return call_result(&self, status);
}

/* The arguments of a guided step in order, but for where its uniforms come from and what
 * follows. */
typedef struct guided_step {
    vqd_schedule schedule;
    int64_t t, s;
    vqd_tensor log_p_uncond, log_p_cond, sample;
    vqd_guided_output model_output;
    const vqd_tensor *sample_or_null;
} guided_step;

static bool take_guided_step(call *self, guided_step *step) {
    step->model_output.log_p_cond = &step->log_p_cond;
    return take_schedule(self, &step->schedule) && take_int64(self, "t", &step->t)
           && take_int64(self, "s", &step->s)
           && take_optional_input(self, &log_p_uncond_argument, &step->log_p_uncond,
                                  &step->model_output.log_p_uncond)
           && take_input(self, &log_p_cond_argument, &step->log_p_cond)
           && take_double(self, "guidance_scale", &step->model_output.guidance_scale)
           && take_double(self, "truncation_rate", &step->model_output.truncation_rate)
           && take_double(self, "floor", &step->model_output.floor)
           && take_optional_input(self, &sample_argument, &step->sample, &step->sample_or_null);
}

PyObject *native_guided_step_gumbel(PyObject *Py_UNUSED(module), PyObject *const *arguments,
                                    Py_ssize_t count) {
    call self;
    vqd_status status = VQD_OK;
    guided_step step;
    vqd_tensor uniforms, prev_sample;
    vqd_noise noise;
    if (!call_begin(&self, "guided_step_gumbel", arguments, count, 13, 14)
        || !take_guided_step(&self, &step) || !take_noise(&self, &uniforms, &noise)
        || !take_output(&self, &prev_sample_argument, &prev_sample) || !take_num_threads(&self))
        goto exit;
    WITHOUT_GIL(status = vqd_guided_step_gumbel(&step.schedule, step.t, step.s, &step.model_output,
                                                step.sample_or_null, &noise, &prev_sample,
                                                &self.context))
exit:
    return call_result(&self, status);
}

PyObject *native_guided_step_inverse_cdf(PyObject *Py_UNUSED(module), PyObject *const *arguments,
                                         Py_ssize_t count) {
    static const array_argument uniforms_argument = {"uniforms", "float64", "(batch, pixels)"};
    call self;
    vqd_status status = VQD_OK;
    guided_step step;
    vqd_tensor uniforms, prev_sample;
    if (!call_begin(&self, "guided_step_inverse_cdf", arguments, count, 13, 14)
        || !take_guided_step(&self, &step) || !take_input(&self, &uniforms_argument, &uniforms)
        || !take_output(&self, &prev_sample_argument, &prev_sample) || !take_num_threads(&self))
        goto exit;
    WITHOUT_GIL(status = vqd_guided_step_inverse_cdf(&step.schedule, step.t, step.s,
                                                     &step.model_output, step.sample_or_null,
                                                     &uniforms, &prev_sample, &self.context))
exit:
    return call_result(&self, status);
}
