/* The functions that draw. */
#include "functions.h"

#include <string.h>

static const array_argument model_output_argument = {"model_output", FLOATING,
                                                     "(batch, classes, pixels)"};
static const array_argument log_p_cond_argument = {"log_p_cond", FLOATING,
                                                   "(batch, classes, pixels)"};
static const array_argument log_p_uncond_argument = {"log_p_uncond", FLOATING,
                                                     "(batch, classes, pixels)"};
static const array_argument sample_argument = {"sample", INTEGER, "(batch, pixels)"};
static const array_argument pixel_uniforms_argument = {"uniforms", "float64", "(batch, pixels)"};
static const array_argument known_argument = {"known", INTEGER, "(batch, pixels)"};
static const array_argument prev_sample_argument = {"prev_sample", "int64", "(batch, pixels)"};

/* Where the arguments go on after a tuple. */
typedef struct {
    PyObject *const *next;
    Py_ssize_t left;
} place;

/* Takes an optional argument that is None or a tuple of `least` or `most` items, and goes into it:
 * what is taken next is taken from `items`, until leave_tuple. `*is_given` says whether it is
 * there; `wanted` is the error for anything else. */
static bool enter_tuple(call *self, Py_ssize_t least, Py_ssize_t most, const char *wanted,
                        PyObject **items, place *after, bool *is_given) {
    *is_given = false;
    if (self->left == 0)
        return true;
    PyObject *tuple = *self->next++;
    self->left--;
    if (tuple == Py_None)
        return true;
    const Py_ssize_t count = PyTuple_Check(tuple) ? PyTuple_Size(tuple) : 0;
    if (count != least && count != most) {
        PyErr_SetString(PyExc_TypeError, wanted);
        return false;
    }
    for (Py_ssize_t index = 0; index < count; index++)
        items[index] = PyTuple_GetItem(tuple, index);
    *after = (place){self->next, self->left};
    self->next = items;
    self->left = count;
    *is_given = true;
    return true;
}

static void leave_tuple(call *self, place after) {
    self->next = after.next;
    self->left = after.left;
}

/* The optional argument guidance: None, or a tuple of what vqd_guidance consists of. NULL in
 * *guidance for None. */
static bool take_guidance(call *self, vqd_tensor *log_p_uncond, vqd_guidance *storage,
                          const vqd_guidance **guidance) {
    enum { LEAST = 4, ITEMS = 6 };
    PyObject *items[ITEMS];
    place after;
    bool is_given;
    *guidance = NULL;
    if (!enter_tuple(self, LEAST, ITEMS,
                     "guidance must be None or a tuple (log_p_uncond, guidance_scale, "
                     "truncation_rate, floor), and perhaps top_k and temperature",
                     items, &after, &is_given))
        return false;
    if (!is_given)
        return true;
    storage->top_k = 0;
    storage->temperature = 1;
    if (!take_optional_input(self, &log_p_uncond_argument, log_p_uncond, &storage->log_p_uncond)
        || !take_double(self, "guidance_scale", &storage->scale)
        || !take_double(self, "truncation_rate", &storage->truncation_rate)
        || !take_double(self, "floor", &storage->floor)
        || (self->left > 0 && !take_int64(self, "top_k", &storage->top_k))
        || (self->left > 0 && !take_double(self, "temperature", &storage->temperature)))
        return false;
    *guidance = storage;
    leave_tuple(self, after);
    return true;
}

/* The optional argument known. */
static bool take_known(call *self, vqd_tensor *storage, const vqd_tensor **known) {
    *known = NULL;
    return self->left == 0 || take_optional_input(self, &known_argument, storage, known);
}

/* The optional argument unmask: None, or a tuple of what vqd_unmask consists of. NULL in
 * options->unmask for None. The two results are of a step alone. */
static bool take_unmask(call *self, vqd_unmask *unmask, vqd_tensor tensors[5],
                        vqd_step_options *options) {
    static const array_argument inputs[] = {{"count", "int64", "(batch,)"},
                                            {"positions", "bool", "(pixels,) or (batch, pixels)"},
                                            {"order_uniforms", "float64", "(batch, pixels)"}};
    static const array_argument revealed = {"revealed", "bool", "(batch, pixels)"},
                                scores = {"scores", "float64", "(batch, pixels)"};
    enum { ITEMS = 10 };
    PyObject *items[ITEMS];
    place after;
    bool is_given;
    if (!enter_tuple(self, ITEMS, ITEMS,
                     "unmask must be None or a tuple (order, rule, bound, temperature, "
                     "prior_weight, count, positions, order_uniforms, revealed, scores)",
                     items, &after, &is_given))
        return false;
    if (!is_given)
        return true;
    const bool has_results = items[8] != Py_None;
    int64_t order, rule;
    memset(unmask, 0, sizeof *unmask);
    if (!take_int64(self, "order", &order) || !take_int64(self, "rule", &rule)
        || !take_double(self, "bound", &unmask->bound)
        || !take_double(self, "temperature", &unmask->temperature)
        || !take_double(self, "prior_weight", &unmask->prior_weight)
        || !take_optional_input(self, &inputs[0], &tensors[0], &unmask->count)
        || !take_optional_input(self, &inputs[1], &tensors[1], &unmask->positions)
        || !take_optional_input(self, &inputs[2], &tensors[2], &unmask->order_uniforms))
        return false;
    if (has_results) {
        if (!take_output(self, &revealed, &tensors[3]) || !take_output(self, &scores, &tensors[4]))
            return false;
        unmask->revealed = &tensors[3];
        unmask->scores = &tensors[4];
    }
    /* One that is too large is none: -1, which vqd_step refuses. */
    unmask->order = order == (int32_t)order ? (int32_t)order : -1;
    unmask->rule = rule == (int32_t)rule ? (int32_t)rule : -1;
    options->unmask = unmask;
    leave_tuple(self, after);
    return true;
}

/* The optional arguments known, remask, unmask and num_threads. */
static bool take_options(call *self, vqd_tensor *known, vqd_unmask *unmask, vqd_tensor tensors[5],
                         vqd_step_options *options) {
    options->remask = 0;
    options->unmask = NULL;
    return take_known(self, known, &options->known)
           && (self->left == 0 || take_double(self, "remask", &options->remask))
           && take_unmask(self, unmask, tensors, options) && take_num_threads(self);
}

int native_step(call *self) {
    enum { GUIDANCE = 10 }; /* this argument decides on the name of the model output */
    const bool guided = self->left > GUIDANCE && self->next[GUIDANCE] != Py_None;
    vqd_schedule schedule;
    int64_t t, s;
    vqd_tensor model_output, sample, uniforms, prev_sample, log_p_uncond, known;
    const vqd_tensor *sample_or_null;
    vqd_draw draw;
    vqd_guidance guidance;
    vqd_unmask unmask;
    vqd_tensor tensors[5];
    vqd_step_options options;
    if (!take_schedule(self, &schedule) || !take_int64(self, "t", &t) || !take_int64(self, "s", &s)
        || !take_input(self, guided ? &log_p_cond_argument : &model_output_argument, &model_output)
        || !take_optional_input(self, &sample_argument, &sample, &sample_or_null)
        || !take_draw(self, &uniforms, &draw)
        || !take_output(self, &prev_sample_argument, &prev_sample)
        || !take_guidance(self, &log_p_uncond, &guidance, &options.guidance)
        || !take_options(self, &known, &unmask, tensors, &options))
        return RAISED;
    RETURN_WITHOUT_GIL(vqd_step(&schedule, t, s, &model_output, sample_or_null, &draw, &options,
                                &prev_sample, &self->context));
}

int native_plan(call *self) {
    static const array_argument needed_argument = {"needed", "bool", "(batch, pixels)"};
    vqd_schedule schedule;
    int64_t t, s;
    vqd_tensor sample, uniforms, needed, known;
    const vqd_tensor *sample_or_null;
    vqd_unmask unmask;
    vqd_tensor tensors[5];
    vqd_step_options options = {.guidance = NULL};
    if (!take_schedule(self, &schedule) || !take_int64(self, "t", &t) || !take_int64(self, "s", &s)
        || !take_optional_input(self, &sample_argument, &sample, &sample_or_null)
        || !take_input(self, &pixel_uniforms_argument, &uniforms)
        || !take_output(self, &needed_argument, &needed)
        || !take_options(self, &known, &unmask, tensors, &options))
        return RAISED;
    RETURN_WITHOUT_GIL(
        vqd_plan(&schedule, t, s, sample_or_null, &options, &uniforms, &needed, &self->context));
}

int native_check_model_output(call *self) {
    vqd_tensor model_output;
    if (!take_input(self, &model_output_argument, &model_output) || !take_num_threads(self))
        return RAISED;
    RETURN_WITHOUT_GIL(vqd_check_model_output(&model_output, &self->context));
}

int native_add_noise(call *self) {
    static const array_argument original_samples_argument = {"original_samples", INTEGER,
                                                             "(batch, pixels)"};
    static const array_argument timesteps_argument = {"timesteps", "int64", "(batch,)"};
    static const array_argument out_argument = {"out", "int64", "(batch, pixels)"};
    vqd_schedule schedule;
    int64_t from_timestep;
    vqd_tensor original_samples, timesteps, uniforms, out;
    if (!take_schedule(self, &schedule) || !take_int64(self, "from_timestep", &from_timestep)
        || !take_input(self, &original_samples_argument, &original_samples)
        || !take_input(self, &timesteps_argument, &timesteps)
        || !take_input(self, &pixel_uniforms_argument, &uniforms)
        || !take_output(self, &out_argument, &out) || !take_num_threads(self))
        return RAISED;
    RETURN_WITHOUT_GIL(vqd_add_noise(&schedule, from_timestep, &original_samples, &timesteps,
                                     &uniforms, &out, &self->context));
}

int native_gumbel_noised(call *self) {
    static const array_argument logits_argument = {"logits", FLOATING, "(batch, classes, pixels)"};
    static const array_argument uniforms_argument = {"uniforms", "float32 or float64",
                                                     "(batch, classes, pixels)"};
    static const array_argument out_argument = {"out", RESULT, "(batch, classes, pixels)"};
    vqd_tensor logits, uniforms, out;
    if (!take_input(self, &logits_argument, &logits)
        || !take_input(self, &uniforms_argument, &uniforms)
        || !take_output(self, &out_argument, &out) || !take_num_threads(self))
        return RAISED;
    RETURN_WITHOUT_GIL(vqd_gumbel_noised(&logits, &uniforms, &out, &self->context));
}
