/* Guidance and truncation. */
#include "functions.h"

static const array_argument out_argument = {"out", RESULT, "(batch, classes, pixels)"};

PyObject *native_guide(PyObject *Py_UNUSED(module), PyObject *const *arguments, Py_ssize_t count) {
    static const array_argument log_p_uncond_argument = {"log_p_uncond", FLOATING, "(batch, classes, pixels)"};
    static const array_argument log_p_cond_argument = {"log_p_cond", FLOATING, "(batch, classes, pixels)"};
    call self;
    vqd_status status = VQD_OK;
    double scale;
    vqd_tensor log_p_uncond, log_p_cond, out;
    if (!call_begin(&self, "guide", arguments, count, 4, 5)
        || !take_input(&self, &log_p_uncond_argument, &log_p_uncond)
        || !take_input(&self, &log_p_cond_argument, &log_p_cond)
        || !take_double(&self, "scale", &scale)
        || !take_output(&self, &out_argument, &out)
        || !take_num_threads(&self))
        goto exit;
    WITHOUT_GIL(status = vqd_guide(&log_p_uncond, &log_p_cond, scale, &out, &self.context))
exit:
    return call_result(&self, status);
}

PyObject *native_truncate(PyObject *Py_UNUSED(module), PyObject *const *arguments, Py_ssize_t count) {
    static const array_argument log_p_argument = {"log_p", FLOATING, "(batch, classes, pixels)"};
    call self;
    vqd_status status = VQD_OK;
    double rate, floor;
    vqd_tensor log_p, out;
    if (!call_begin(&self, "truncate", arguments, count, 4, 5)
        || !take_input(&self, &log_p_argument, &log_p)
        || !take_double(&self, "rate", &rate)
        || !take_double(&self, "floor", &floor)
        || !take_output(&self, &out_argument, &out)
        || !take_num_threads(&self))
        goto exit;
    WITHOUT_GIL(status = vqd_truncate(&log_p, rate, floor, &out, &self.context))
exit:
    return call_result(&self, status);
}
