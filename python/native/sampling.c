/* The functions that draw. */
#include "functions.h"

static const array_argument model_output_argument = {"model_output", FLOATING,
                                                     "(batch, classes, pixels)"};
static const array_argument columns_argument = {"model_output", FLOATING,
                                                "(classes, needed pixels)"};
static const array_argument sample_argument = {"sample", INTEGER, "(batch, pixels)"};
static const array_argument pixel_uniforms_argument = {"uniforms", "float64", "(batch, pixels)"};
static const array_argument prev_sample_argument = {"prev_sample", "int64", "(batch, pixels)"};

PyObject *native_step_gumbel(PyObject *Py_UNUSED(module), PyObject *const *arguments,
                             Py_ssize_t count) {
    call self;
    vqd_status status = VQD_OK;
    vqd_schedule schedule;
    int64_t t, s;
    vqd_tensor model_output, sample, uniforms, prev_sample;
    const vqd_tensor *sample_or_null;
    vqd_noise noise;
    if (!call_begin(&self, "step_gumbel", arguments, count, 9, 10)
        || !take_schedule(&self, &schedule) || !take_int64(&self, "t", &t)
        || !take_int64(&self, "s", &s) || !take_input(&self, &model_output_argument, &model_output)
        || !take_optional_input(&self, &sample_argument, &sample, &sample_or_null)
        || !take_noise(&self, &uniforms, &noise)
        || !take_output(&self, &prev_sample_argument, &prev_sample) || !take_num_threads(&self))
        goto exit;
    WITHOUT_GIL(status = vqd_step_gumbel(&schedule, t, s, &model_output, sample_or_null, &noise,
                                         &prev_sample, &self.context))
exit:
    return call_result(&self, status);
}

typedef vqd_status inverse_cdf_step(const vqd_schedule *, int64_t, int64_t, const vqd_tensor *,
                                    const vqd_tensor *, const vqd_tensor *, const vqd_tensor *,
                                    vqd_context *);

static PyObject *take_inverse_cdf_step(inverse_cdf_step *step, const char *function,
                                       const array_argument *output_argument,
                                       PyObject *const *arguments, Py_ssize_t count) {
    call self;
    vqd_status status = VQD_OK;
    vqd_schedule schedule;
    int64_t t, s;
    vqd_tensor model_output, sample, uniforms, prev_sample;
    const vqd_tensor *sample_or_null;
    if (!call_begin(&self, function, arguments, count, 9, 10) || !take_schedule(&self, &schedule)
        || !take_int64(&self, "t", &t) || !take_int64(&self, "s", &s)
        || !take_input(&self, output_argument, &model_output)
        || !take_optional_input(&self, &sample_argument, &sample, &sample_or_null)
        || !take_input(&self, &pixel_uniforms_argument, &uniforms)
        || !take_output(&self, &prev_sample_argument, &prev_sample) || !take_num_threads(&self))
        goto exit;
    WITHOUT_GIL(status = step(&schedule, t, s, &model_output, sample_or_null, &uniforms,
                              &prev_sample, &self.context))
exit:
    return call_result(&self, status);
}

PyObject *native_step_inverse_cdf(PyObject *Py_UNUSED(module), PyObject *const *arguments,
                                  Py_ssize_t count) {
    return take_inverse_cdf_step(vqd_step_inverse_cdf, "step_inverse_cdf", &model_output_argument,
                                 arguments, count);
}

PyObject *native_complete_inverse_cdf(PyObject *Py_UNUSED(module), PyObject *const *arguments,
                                      Py_ssize_t count) {
    return take_inverse_cdf_step(vqd_complete_inverse_cdf, "complete_inverse_cdf",
                                 &columns_argument, arguments, count);
}

PyObject *native_plan_inverse_cdf(PyObject *Py_UNUSED(module), PyObject *const *arguments,
                                  Py_ssize_t count) {
    static const array_argument needed_argument = {"needed", "bool", "(batch, pixels)"};
    call self;
    vqd_status status = VQD_OK;
    vqd_schedule schedule;
    int64_t t, s;
    vqd_tensor sample, uniforms, needed;
    const vqd_tensor *sample_or_null;
    if (!call_begin(&self, "plan_inverse_cdf", arguments, count, 8, 9)
        || !take_schedule(&self, &schedule) || !take_int64(&self, "t", &t)
        || !take_int64(&self, "s", &s)
        || !take_optional_input(&self, &sample_argument, &sample, &sample_or_null)
        || !take_input(&self, &pixel_uniforms_argument, &uniforms)
        || !take_output(&self, &needed_argument, &needed) || !take_num_threads(&self))
        goto exit;
    WITHOUT_GIL(status = vqd_plan_inverse_cdf(&schedule, t, s, sample_or_null, &uniforms, &needed,
                                              &self.context))
exit:
    return call_result(&self, status);
}

PyObject *native_check_model_output(PyObject *Py_UNUSED(module), PyObject *const *arguments,
                                    Py_ssize_t count) {
    call self;
    vqd_status status = VQD_OK;
    vqd_tensor model_output;
    if (!call_begin(&self, "check_model_output", arguments, count, 1, 2)
        || !take_input(&self, &model_output_argument, &model_output) || !take_num_threads(&self))
        goto exit;
    WITHOUT_GIL(status = vqd_check_model_output(&model_output, &self.context))
exit:
    return call_result(&self, status);
}

PyObject *native_q_sample(PyObject *Py_UNUSED(module), PyObject *const *arguments,
                          Py_ssize_t count) {
    static const array_argument x_0_argument = {"x_0", INTEGER, "(batch, pixels)"};
    static const array_argument timesteps_argument = {"timesteps", "int64", "(batch,)"};
    static const array_argument out_argument = {"out", "int64", "(batch, pixels)"};
    call self;
    vqd_status status = VQD_OK;
    vqd_schedule schedule;
    vqd_tensor x_0, timesteps, uniforms, out;
    if (!call_begin(&self, "q_sample", arguments, count, 7, 8) || !take_schedule(&self, &schedule)
        || !take_input(&self, &x_0_argument, &x_0)
        || !take_input(&self, &timesteps_argument, &timesteps)
        || !take_input(&self, &pixel_uniforms_argument, &uniforms)
        || !take_output(&self, &out_argument, &out) || !take_num_threads(&self))
        goto exit;
    WITHOUT_GIL(status = vqd_q_sample(&schedule, &x_0, &timesteps, &uniforms, &out, &self.context))
exit:
    return call_result(&self, status);
}

PyObject *native_gumbel_noised(PyObject *Py_UNUSED(module), PyObject *const *arguments,
                               Py_ssize_t count) {
    static const array_argument logits_argument = {"logits", FLOATING, "(batch, classes, pixels)"};
    static const array_argument uniforms_argument = {"uniforms", "float32 or float64",
                                                     "(batch, classes, pixels)"};
    static const array_argument out_argument = {"out", RESULT, "(batch, classes, pixels)"};
    call self;
    vqd_status status = VQD_OK;
    vqd_tensor logits, uniforms, out;
    if (!call_begin(&self, "gumbel_noised", arguments, count, 3, 4)
        || !take_input(&self, &logits_argument, &logits)
        || !take_input(&self, &uniforms_argument, &uniforms)
        || !take_output(&self, &out_argument, &out) || !take_num_threads(&self))
        goto exit;
    WITHOUT_GIL(status = vqd_gumbel_noised(&logits, &uniforms, &out, &self.context))
exit:
    return call_result(&self, status);
}
