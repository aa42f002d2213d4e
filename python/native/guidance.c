/* Guidance and truncation. */
#include "functions.h"

static const array_argument log_p_uncond_argument = {"log_p_uncond", FLOATING,
                                                     "(batch, classes, pixels)"};
static const array_argument log_p_cond_argument = {"log_p_cond", FLOATING,
                                                   "(batch, classes, pixels)"};
static const array_argument out_argument = {"out", RESULT, "(batch, classes, pixels)"};

int native_guide(call *self) {
    double scale;
    vqd_tensor log_p_uncond, log_p_cond, out;
    if (!take_input(self, &log_p_uncond_argument, &log_p_uncond)
        || !take_input(self, &log_p_cond_argument, &log_p_cond)
        || !take_double(self, "scale", &scale) || !take_output(self, &out_argument, &out)
        || !take_num_threads(self))
        return RAISED;
    RETURN_WITHOUT_GIL(vqd_guide(&log_p_uncond, &log_p_cond, scale, &out, &self->context));
}

int native_truncate(call *self) {
    static const array_argument log_p_argument = {"log_p", FLOATING, "(batch, classes, pixels)"};
    double rate, floor, temperature = 1;
    int64_t top_k = 0;
    vqd_tensor log_p, out;
    if (!take_input(self, &log_p_argument, &log_p) || !take_double(self, "rate", &rate)
        || !take_double(self, "floor", &floor) || !take_output(self, &out_argument, &out)
        || (self->left > 0 && !take_int64(self, "top_k", &top_k))
        || (self->left > 0 && !take_double(self, "temperature", &temperature))
        || !take_num_threads(self))
        return RAISED;
    RETURN_WITHOUT_GIL(vqd_truncate(&log_p, rate, floor, top_k, temperature, &out, &self->context));
}
