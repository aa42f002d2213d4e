/* The functions on noise schedules. */
#include "functions.h"

typedef vqd_status linear_schedule(int64_t, double, double, double *, double *, vqd_context *);

static PyObject *make_linear_schedule(linear_schedule *fill, const char *function,
                                      const char *step_name, const char *cumulative_name,
                                      PyObject *const *arguments, Py_ssize_t count) {
    call self;
    vqd_status status = VQD_OK;
    int64_t num_timesteps, entries;
    double start, end, *step, *cumulative;
    if (!call_begin(&self, function, arguments, count, 5, 5)
        || !take_int64(&self, "num_timesteps", &num_timesteps)
        || !take_double(&self, "start", &start) || !take_double(&self, "end", &end))
        goto exit;
    /* a negative number is the library's to refuse */
    entries = num_timesteps < 0 ? ANY_LENGTH : num_timesteps;
    if (!take_output_table(&self, step_name, entries, &step)
        || !take_output_table(&self, cumulative_name,
                              entries == ANY_LENGTH ? ANY_LENGTH : entries + 1, &cumulative))
        goto exit;
    WITHOUT_GIL(status = fill(num_timesteps, start, end, step, cumulative, &self.context))
exit:
    return call_result(&self, status);
}

PyObject *native_alpha_schedules(PyObject *Py_UNUSED(module), PyObject *const *arguments,
                                 Py_ssize_t count) {
    return make_linear_schedule(vqd_alpha_schedules, "alpha_schedules", "alpha", "alpha_cumulative",
                                arguments, count);
}

PyObject *native_gamma_schedules(PyObject *Py_UNUSED(module), PyObject *const *arguments,
                                 Py_ssize_t count) {
    return make_linear_schedule(vqd_gamma_schedules, "gamma_schedules", "gamma", "gamma_cumulative",
                                arguments, count);
}

PyObject *native_schedule_check(PyObject *Py_UNUSED(module), PyObject *const *arguments,
                                Py_ssize_t count) {
    call self;
    vqd_status status = VQD_OK;
    vqd_schedule schedule;
    if (!call_begin(&self, "schedule_check", arguments, count, 3, 3)
        || !take_schedule(&self, &schedule))
        goto exit;
    WITHOUT_GIL(status = vqd_schedule_check(&schedule, &self.context))
exit:
    return call_result(&self, status);
}

PyObject *native_schedule_logs(PyObject *Py_UNUSED(module), PyObject *const *arguments,
                               Py_ssize_t count) {
    call self;
    vqd_status status = VQD_OK;
    vqd_schedule schedule;
    double *alpha, *beta, *gamma, *alpha_cumulative, *beta_cumulative, *gamma_cumulative;
    if (!call_begin(&self, "schedule_logs", arguments, count, 9, 9)
        || !take_schedule(&self, &schedule)
        || !take_output_table(&self, "log_alpha", schedule.num_timesteps, &alpha)
        || !take_output_table(&self, "log_beta", schedule.num_timesteps, &beta)
        || !take_output_table(&self, "log_gamma", schedule.num_timesteps, &gamma)
        || !take_output_table(&self, "log_alpha_cumulative", schedule.num_timesteps + 1,
                              &alpha_cumulative)
        || !take_output_table(&self, "log_beta_cumulative", schedule.num_timesteps + 1,
                              &beta_cumulative)
        || !take_output_table(&self, "log_gamma_cumulative", schedule.num_timesteps + 1,
                              &gamma_cumulative))
        goto exit;
    WITHOUT_GIL(status = vqd_schedule_logs(&schedule, alpha, beta, gamma, alpha_cumulative,
                                           beta_cumulative, gamma_cumulative, &self.context))
exit:
    return call_result(&self, status);
}

PyObject *native_transition(PyObject *Py_UNUSED(module), PyObject *const *arguments,
                            Py_ssize_t count) {
    call self;
    vqd_status status = VQD_OK;
    vqd_schedule schedule;
    int64_t s, t;
    double probabilities[3];
    if (!call_begin(&self, "transition", arguments, count, 5, 5) || !take_schedule(&self, &schedule)
        || !take_int64(&self, "s", &s) || !take_int64(&self, "t", &t))
        goto exit;
    WITHOUT_GIL(status = vqd_transition(&schedule, s, t, probabilities, &self.context))
exit:
    if (!call_end(&self, status))
        return NULL;
    return Py_BuildValue("(ddd)", probabilities[0], probabilities[1], probabilities[2]);
}
