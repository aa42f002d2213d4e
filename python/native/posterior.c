/* The functions on distributions. */
#include "functions.h"

static const array_argument x_t_argument = {"x_t", INTEGER, "(batch, pixels)"};

int native_q_posterior(call *self) {
    static const array_argument log_p_x_0_argument = {"log_p_x_0", FLOATING,
                                                      "(batch, classes, pixels)"};
    static const array_argument out_argument = {"out", RESULT, "(batch, classes + 1, pixels)"};
    vqd_schedule schedule;
    int64_t t, s;
    vqd_tensor log_p_x_0, x_t, out;
    if (!take_schedule(self, &schedule) || !take_int64(self, "t", &t) || !take_int64(self, "s", &s)
        || !take_input(self, &log_p_x_0_argument, &log_p_x_0)
        || !take_input(self, &x_t_argument, &x_t) || !take_output(self, &out_argument, &out)
        || !take_num_threads(self))
        return RAISED;
    RETURN_WITHOUT_GIL(vqd_q_posterior(&schedule, t, s, &log_p_x_0, &x_t, &out, &self->context));
}

int native_log_transition_rows(call *self) {
    static const array_argument log_onehot_x_t_argument = {"log_onehot_x_t", FLOATING,
                                                           "(batch, classes + 1, pixels)"};
    static const array_argument out_argument = {"out", RESULT, "(batch, rows, pixels)"};
    vqd_schedule schedule;
    int64_t t;
    int32_t cumulative;
    vqd_tensor x_t, log_onehot_x_t, out;
    if (!take_schedule(self, &schedule) || !take_int64(self, "t", &t)
        || !take_bool(self, &cumulative) || !take_input(self, &x_t_argument, &x_t)
        || !take_input(self, &log_onehot_x_t_argument, &log_onehot_x_t)
        || !take_output(self, &out_argument, &out) || !take_num_threads(self))
        return RAISED;
    RETURN_WITHOUT_GIL(vqd_log_transition_rows(&schedule, t, cumulative, &x_t, &log_onehot_x_t,
                                               &out, &self->context));
}

int native_apply_cumulative_transitions(call *self) {
    static const array_argument q_argument = {"q", FLOATING, "(batch, classes, pixels)"};
    static const array_argument out_argument = {"out", RESULT, "(batch, classes + 1, pixels)"};
    vqd_schedule schedule;
    int64_t t;
    vqd_tensor q, out;
    if (!take_schedule(self, &schedule) || !take_int64(self, "t", &t)
        || !take_input(self, &q_argument, &q) || !take_output(self, &out_argument, &out)
        || !take_num_threads(self))
        return RAISED;
    RETURN_WITHOUT_GIL(vqd_apply_cumulative_transitions(&schedule, t, &q, &out, &self->context));
}

int native_index_to_log_onehot(call *self) {
    static const array_argument x_argument = {"x", INTEGER, "(batch, pixels)"};
    static const array_argument out_argument = {"out", "float32", "(batch, classes, pixels)"};
    int64_t num_classes;
    vqd_tensor x, out;
    if (!take_input(self, &x_argument, &x) || !take_int64(self, "num_classes", &num_classes)
        || !take_output(self, &out_argument, &out) || !take_num_threads(self))
        return RAISED;
    RETURN_WITHOUT_GIL(vqd_index_to_log_onehot(&x, num_classes, &out, &self->context));
}
