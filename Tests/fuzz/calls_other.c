/* The forward process, uniforms of keys, scores and the loss. */
#include "fuzz.h"

#include <math.h>

static const vqd_schedule *schedule;
static const vqd_tensor *p, *x, *clean, *uniforms, *times, *earlier, *out;
static int64_t from;

static const vqd_tensor *per_pixel(content content, int64_t limit, int32_t dtype) {
    return input(content, SHAPE(2, batch, pixels), limit, dtype);
}

/* ---- The forward process --------------------------------------------------------------------- */

static vqd_status add_noise(vqd_context *context) {
    return vqd_add_noise(schedule, from, x, times, uniforms, out, context);
}

static void check_noise(void) {
    const int64_t *tokens = out->data;
    for (int64_t i = 0; i < count(out); i++)
        if (tokens[i] < 0 || tokens[i] > schedule->num_classes)
            broken("vqd_add_noise", "x_t holds classes and masks");
}

void fuzz_add_noise(void) {
    schedule = any_schedule();
    from = chance(2) ? -1 : integer(-1, 1);
    x = per_pixel(CLASSES, classes, 0);
    times = timesteps(from < 0 ? 0 : from, steps - 1);
    uniforms = per_pixel(UNIFORMS, 0, 0);
    out = output(VQD_INT64, SHAPE(2, batch, pixels));
    run("vqd_add_noise", add_noise, check_noise);
}

/* ---- Uniforms of keys ------------------------------------------------------------------------ */

static const vqd_tensor *ids;
static uint64_t seed, which;

static vqd_status row_uniforms(vqd_context *context) {
    return vqd_row_uniforms(seed, ids, times, which, out, context);
}

static void check_row_uniforms(void) {
    for (int64_t i = 0; i < count(out); i++) {
        const double u = out->dtype == VQD_FLOAT64 ? ((const double *)out->data)[i]
                                                   : (double)((const float *)out->data)[i];
        if (!(u >= 0 && u < 1))
            broken("vqd_row_uniforms", "uniforms are in [0, 1)");
    }
}

void fuzz_row_uniforms(void) {
    seed = random_bits();
    which = chance(2) ? choice(4) : random_bits();
    ids = input(IDS, SHAPE(1, batch), 0, 0);
    times = timesteps(0, INT32_MAX);
    const int32_t dtype = chance(2) ? VQD_FLOAT64 : VQD_FLOAT32;
    out = output(dtype, chance(2) ? SHAPE(2, batch, pixels) : SHAPE(3, batch, classes, pixels));
    run("vqd_row_uniforms", row_uniforms, check_row_uniforms);
}

/* ---- Scores ---------------------------------------------------------------------------------- */

static const vqd_tensor *scores[4];
static double temperature;

static vqd_status token_scores(vqd_context *context) {
    return vqd_token_scores(p, uniforms, temperature, out, scores[0], scores[1], scores[2],
                            scores[3], context);
}

static void check_scores(void) {
    const int64_t *tokens = out->data;
    for (int64_t i = 0; i < count(out); i++) {
        const double probability = scores[0]->dtype == VQD_FLOAT64
                                       ? ((const double *)scores[0]->data)[i]
                                       : (double)((const float *)scores[0]->data)[i];
        if (tokens[i] < 0 || tokens[i] >= p->shape[1])
            broken("vqd_token_scores", "tokens are classes");
        if (!(probability >= 0 && probability <= 1 + 1e-6))
            broken("vqd_token_scores", "a probability is one");
    }
}

void fuzz_token_scores(void) {
    p = input(LOGITS, SHAPE(3, batch, classes, pixels), 0, 0);
    uniforms = chance(3) ? NULL : per_pixel(UNIFORMS, 0, 0);
    temperature = chance(3) ? 1 : number(0, 3);
    out = output(VQD_INT64, SHAPE(2, batch, pixels));
    for (int i = 0; i < 4; i++)
        scores[i] = output(result_of(p), SHAPE(2, batch, pixels));
    run("vqd_token_scores", token_scores, check_scores);
}

/* ---- The loss -------------------------------------------------------------------------------- */

static vqd_loss_options options;
static const vqd_loss_options *given_options;
static double *loss;
static const vqd_tensor *per_row, *auxiliary, *gradient;

static vqd_status whole_loss(vqd_context *context) {
    return vqd_loss(schedule, given_options, p, clean, x, times, earlier, loss, per_row, auxiliary,
                    gradient, context);
}

static void check_gradient(void) {
    /* products of larger weights may overflow */
    const bool is_large =
        fmax(fmax(options.masked_weight, options.unmasked_weight), options.auxiliary_weight) > 1e9;
    if (!whole || (given_options && is_large))
        return;
    for (int64_t b = 0; gradient && b < gradient->shape[0]; b++)
        for (int64_t k = 0; k < gradient->shape[1]; k++)
            for (int64_t n = 0; n < gradient->shape[2]; n++) {
                const char *element = (const char *)gradient->data + b * gradient->strides[0]
                                      + k * gradient->strides[1] + n * gradient->strides[2];
                if (!isfinite(gradient->dtype == VQD_FLOAT64 ? *(const double *)element
                                                             : (double)*(const float *)element))
                    broken("vqd_loss", "the gradient is finite");
            }
}

void fuzz_loss(void) {
    schedule = any_schedule();
    p = input(LOGITS, SHAPE(3, batch, classes, pixels), 0, 0);
    clean = per_pixel(CLASSES, classes - 1, 0);
    x = per_pixel(CLASSES, classes, 0);
    const int64_t least = choice((uint32_t)steps);
    times = timesteps(least, steps - 1);
    earlier = timesteps(-1, least - 1);
    options = (vqd_loss_options){.masked_weight = number(0, 2),
                                 .unmasked_weight = number(0, 2),
                                 .auxiliary_weight = number(0, 1),
                                 .adaptive_auxiliary = (int32_t)choice(2)};
    if (chance(3))
        options.probability = input(PROBABILITIES, SHAPE(1, batch), 0, 0);
    if (chance(3))
        options.pixel_weights = per_pixel(WEIGHTS, 0, 0);
    given_options = chance(3) ? NULL : &options;
    loss = !whole && chance(30) ? NULL : guarded(8, 8, OUTPUT);
    per_row = output(VQD_FLOAT64, SHAPE(1, batch));
    auxiliary = chance(2) ? NULL : output(VQD_FLOAT64, SHAPE(1, batch));
    gradient = chance(3) ? NULL : strided_output(result_of(p), SHAPE(3, batch, classes, pixels));
    run("vqd_loss", whole_loss, check_gradient);
}
