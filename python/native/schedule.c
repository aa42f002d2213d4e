/* The functions on noise schedules. */
#include "functions.h"

#include <stddef.h>
#include <string.h>

#include "buffers.h"

typedef vqd_status linear_schedule(int64_t, double, double, double *, double *, vqd_context *);

static int make_linear_schedule(call *self, linear_schedule *fill, const char *step_name,
                                const char *cumulative_name) {
    int64_t num_timesteps, entries;
    double start, end, *step, *cumulative;
    if (!take_int64(self, "num_timesteps", &num_timesteps) || !take_double(self, "start", &start)
        || !take_double(self, "end", &end))
        return RAISED;
    /* a negative number is the library's to refuse */
    entries = num_timesteps < 0 ? ANY_LENGTH : num_timesteps;
    if (!take_output_table(self, step_name, entries, &step)
        || !take_output_table(self, cumulative_name,
                              entries == ANY_LENGTH ? ANY_LENGTH : entries + 1, &cumulative))
        return RAISED;
    RETURN_WITHOUT_GIL(fill(num_timesteps, start, end, step, cumulative, &self->context));
}

int native_alpha_schedules(call *self) {
    return make_linear_schedule(self, vqd_alpha_schedules, "alpha", "alpha_cumulative");
}

int native_gamma_schedules(call *self) {
    return make_linear_schedule(self, vqd_gamma_schedules, "gamma", "gamma_cumulative");
}

int native_schedule_check(call *self) {
    vqd_schedule schedule;
    if (!take_schedule(self, &schedule))
        return RAISED;
    RETURN_WITHOUT_GIL(vqd_schedule_check(&schedule, &self->context));
}

int native_schedule_logs(call *self) {
    vqd_schedule schedule;
    double *alpha, *beta, *gamma, *alpha_cumulative, *beta_cumulative, *gamma_cumulative;
    if (!take_schedule(self, &schedule)
        || !take_output_table(self, "log_alpha", schedule.num_timesteps, &alpha)
        || !take_output_table(self, "log_beta", schedule.num_timesteps, &beta)
        || !take_output_table(self, "log_gamma", schedule.num_timesteps, &gamma)
        || !take_output_table(self, "log_alpha_cumulative", schedule.num_timesteps + 1,
                              &alpha_cumulative)
        || !take_output_table(self, "log_beta_cumulative", schedule.num_timesteps + 1,
                              &beta_cumulative)
        || !take_output_table(self, "log_gamma_cumulative", schedule.num_timesteps + 1,
                              &gamma_cumulative))
        return RAISED;
    RETURN_WITHOUT_GIL(vqd_schedule_logs(&schedule, alpha, beta, gamma, alpha_cumulative,
                                         beta_cumulative, gamma_cumulative, &self->context));
}

/* The fields of vqd_coefficients, in their order. */
#define COEFFICIENTS(FIELD) \
    FIELD(alpha) \
    FIELD(beta) \
    FIELD(gamma) \
    FIELD(alpha_cumulative) \
    FIELD(beta_cumulative) \
    FIELD(gamma_cumulative) \
    FIELD(previous_alpha_cumulative) \
    FIELD(previous_beta_cumulative) \
    FIELD(previous_gamma_cumulative) \
    FIELD(masked_signal) \
    FIELD(masked_level) \
    FIELD(masked_mask) \
    FIELD(other_weight) \
    FIELD(own_weight) \
    FIELD(signal) \
    FIELD(level) \
    FIELD(own_signal) \
    FIELD(own_level) \
    FIELD(mask) \
    FIELD(uniform_share) \
    FIELD(settled) \
    FIELD(own_mask) \
    FIELD(remask)

#define INDEX(field) INDEX_##field,
enum { COEFFICIENTS(INDEX) NUM_COEFFICIENTS };
_Static_assert(sizeof(vqd_coefficients) == NUM_COEFFICIENTS * sizeof(double), "a field is missing");
#define IN_ORDER(field) \
    _Static_assert(offsetof(vqd_coefficients, field) == INDEX_##field * sizeof(double), #field);
COEFFICIENTS(IN_ORDER)

PyObject *step_coefficient_names(void) {
#define NAME(field) #field,
    static const char *const names[] = {COEFFICIENTS(NAME)};
    PyObject *tuple = PyTuple_New(NUM_COEFFICIENTS);
    for (Py_ssize_t index = 0; tuple && index < NUM_COEFFICIENTS; index++) {
        PyObject *name = PyUnicode_FromString(names[index]);
        if (!name || PyTuple_SetItem(tuple, index, name) < 0)
            Py_CLEAR(tuple);
    }
    return tuple;
}

/* The array of results: (rows, NUM_COEFFICIENTS) float64, C-contiguous at any address. */
static bool take_coefficients(call *self, int64_t rows, char **out) {
    static const array_argument argument = {"out", "float64", NULL};
    int32_t dtype;
    char wanted[48];
    const Py_buffer *view = take_buffer(self, &argument, PyBUF_WRITABLE, &dtype);
    if (!view)
        return false;
    if (dtype != VQD_FLOAT64)
        return wrong_dtype(view->obj, view->format, &argument);
    if (view->ndim != 2 || view->shape[0] != rows || view->shape[1] != NUM_COEFFICIENTS) {
        PyOS_snprintf(wanted, sizeof wanted, "(%lld, %d)", (long long)rows, NUM_COEFFICIENTS);
        return wrong_shape(view, argument.name, wanted);
    }
    if (!PyBuffer_IsContiguous(view, 'C')) {
        PyErr_Format(PyExc_ValueError, "%s must be C-contiguous", argument.name);
        return false;
    }
    *out = view->buf;
    return true;
}

/* Every step is computed twice, as nothing is written where one fails. */
static vqd_status fill_coefficients(const vqd_schedule *schedule, const int64_t *timesteps,
                                    const int64_t *previous_timesteps, int64_t count, double remask,
                                    char *out, vqd_context *context) {
    vqd_coefficients row;
    for (int writing = 0; writing <= 1; writing++)
        for (int64_t i = 0; i < count; i++) {
            const vqd_status status = vqd_step_coefficients(
                schedule, timesteps[i], previous_timesteps[i], remask, &row, context);
            if (status != VQD_OK)
                return status;
            if (writing)
                memcpy(out + i * (int64_t)sizeof row, &row, sizeof row);
        }
    return VQD_OK;
}

int native_step_coefficients(call *self) {
    vqd_schedule schedule;
    const int64_t *timesteps, *previous_timesteps;
    int64_t count;
    double remask = 0;
    char *out = NULL;
    if (!take_schedule(self, &schedule)
        || !take_timesteps(self, "timesteps", ANY_LENGTH, &timesteps, &count)
        || !take_timesteps(self, "previous_timesteps", count, &previous_timesteps, &count)
        || !take_coefficients(self, count, &out)
        || (self->left > 0 && !take_double(self, "remask", &remask)))
        return RAISED;
    RETURN_WITHOUT_GIL(fill_coefficients(&schedule, timesteps, previous_timesteps, count, remask,
                                         out, &self->context));
}
