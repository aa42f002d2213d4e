/* The training loss. */
#include "functions.h"

static bool take_optional_output(call *self, const array_argument *argument, vqd_tensor *storage,
                                 const vqd_tensor **tensor) {
    *tensor = storage;
    if (*self->next != Py_None)
        return take_output(self, argument, storage);
    return take_optional_input(self, argument, storage, tensor);
}

int native_loss(call *self) {
    static const array_argument logits_argument = {"logits", FLOATING, "(batch, classes, pixels)"};
    static const array_argument x_0_argument = {"x_0", INTEGER, "(batch, pixels)"};
    static const array_argument x_t_argument = {"x_t", INTEGER, "(batch, pixels)"};
    static const array_argument timesteps_argument = {"timesteps", "int64", "(batch,)"};
    static const array_argument previous_argument = {"previous_timesteps", "int64", "(batch,)"};
    static const array_argument probability_argument = {"probability", "float64", "(batch,)"};
    static const array_argument weights_argument = {"pixel_weights", "float64", "(batch, pixels)"};
    static const array_argument per_row_argument = {"per_row", "float64", "(batch,)"};
    static const array_argument gradient_argument = {"gradient", RESULT,
                                                     "(batch, classes, pixels)"};
    vqd_schedule schedule;
    vqd_tensor logits, x_0, x_t, timesteps, previous, probability, weights, per_row, gradient;
    const vqd_tensor *gradient_or_null;
    vqd_loss_options options;
    double *loss;
    if (!take_schedule(self, &schedule) || !take_input(self, &logits_argument, &logits)
        || !take_input(self, &x_0_argument, &x_0) || !take_input(self, &x_t_argument, &x_t)
        || !take_input(self, &timesteps_argument, &timesteps)
        || !take_input(self, &previous_argument, &previous)
        || !take_double(self, "mask_weight", &options.masked_weight)
        || !take_double(self, "mask_weight", &options.unmasked_weight)
        || !take_double(self, "auxiliary_weight", &options.auxiliary_weight)
        || !take_bool(self, &options.adaptive_auxiliary)
        || !take_optional_input(self, &probability_argument, &probability, &options.probability)
        || !take_optional_input(self, &weights_argument, &weights, &options.pixel_weights)
        || !take_output_table(self, "loss", 1, &loss)
        || !take_output(self, &per_row_argument, &per_row)
        || !take_optional_output(self, &gradient_argument, &gradient, &gradient_or_null)
        || !take_num_threads(self))
        return RAISED;
    RETURN_WITHOUT_GIL(vqd_loss(&schedule, &options, &logits, &x_0, &x_t, &timesteps, &previous,
                                loss, &per_row, NULL, gradient_or_null, &self->context));
}
