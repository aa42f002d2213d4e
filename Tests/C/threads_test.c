/* Every call that may start threads, on arrays large enough for them: several threads give the
 * bytes that one gives. */
#include "abi_test.h"

#include <string.h>

/* 144,000 elements: more than the 2^17 below which one thread does all. */
enum { ROWS = 3, CLASSES = 150, PIXELS = 320, STEPS = 2, COUNT = ROWS * CLASSES * PIXELS };

static float log_probabilities[ROWS][CLASSES + 1][PIXELS], unguided[ROWS][CLASSES][PIXELS];
static float noise[ROWS][CLASSES + 1][PIXELS];
static double uniforms[ROWS][PIXELS];
static int64_t samples[ROWS][PIXELS], clean[ROWS][PIXELS], known[ROWS][PIXELS];
static uint8_t needed[ROWS][PIXELS];
static const double alpha[STEPS] = {0.9, 0.1}, gamma_[STEPS] = {0.05, 0.8};
static const int64_t times[ROWS] = {1, 0, 1}, earlier[ROWS] = {0, -1, -1};
static const vqd_schedule chain = {CLASSES, STEPS, alpha, gamma_};

/* What a call writes. */
static struct results {
    float large[ROWS][CLASSES + 1][PIXELS];
    int64_t tokens[ROWS][PIXELS];
    float scores[4][ROWS][PIXELS];
    double keys[ROWS][PIXELS], wide[ROWS][CLASSES][PIXELS], loss, per_row[ROWS];
    uint8_t revealed[ROWS][PIXELS];
} results, expected;

static vqd_tensor classwise(const void *data, int rows) {
    return tensor(data, VQD_FLOAT32, 3, ROWS, rows, PIXELS);
}

static vqd_tensor pixelwise(const void *data, vqd_dtype dtype) {
    return tensor(data, dtype, 2, ROWS, PIXELS, 0);
}

static vqd_status posterior(vqd_context *context) {
    const vqd_tensor p = classwise(unguided, CLASSES), x = pixelwise(samples, VQD_INT64),
                     out = classwise(results.large, CLASSES + 1);
    return vqd_q_posterior(&chain, 1, 0, &p, &x, &out, context);
}

static vqd_status transition_rows(vqd_context *context) {
    const vqd_tensor p = classwise(log_probabilities, CLASSES + 1),
                     x = pixelwise(samples, VQD_INT64), out = classwise(results.large, CLASSES);
    return vqd_log_transition_rows(&chain, 1, 1, &x, &p, &out, context);
}

static vqd_status cumulative_transitions(vqd_context *context) {
    const vqd_tensor p = classwise(unguided, CLASSES), out = classwise(results.large, CLASSES + 1);
    return vqd_apply_cumulative_transitions(&chain, 1, &p, &out, context);
}

static vqd_status guide(vqd_context *context) {
    const vqd_tensor u = classwise(unguided, CLASSES), c = classwise(noise, CLASSES),
                     out = classwise(results.large, CLASSES);
    return vqd_guide(&u, &c, 2, &out, context);
}

static vqd_status truncate_columns(vqd_context *context) {
    const vqd_tensor p = classwise(unguided, CLASSES), out = classwise(results.large, CLASSES);
    return vqd_truncate(&p, 0.8, -70, 20, 0.7, &out, context);
}

static vqd_status noised(vqd_context *context) {
    const vqd_tensor p = classwise(unguided, CLASSES), u = classwise(noise, CLASSES),
                     out = classwise(results.large, CLASSES);
    return vqd_gumbel_noised(&p, &u, &out, context);
}

static vqd_status check_model_output(vqd_context *context) {
    const vqd_tensor p = classwise(unguided, CLASSES);
    return vqd_check_model_output(&p, context);
}

static vqd_status row_uniforms(vqd_context *context) {
    const vqd_tensor ids = tensor(times, VQD_INT64, 1, ROWS, 0, 0),
                     out = tensor(results.wide, VQD_FLOAT64, 3, ROWS, CLASSES, PIXELS);
    return vqd_row_uniforms(7, &ids, &ids, 1, &out, context);
}

static vqd_status token_scores(vqd_context *context) {
    const vqd_tensor p = classwise(unguided, CLASSES), u = pixelwise(uniforms, VQD_FLOAT64),
                     token = pixelwise(results.tokens, VQD_INT64);
    vqd_tensor scores[4];
    for (int i = 0; i < 4; i++)
        scores[i] = pixelwise(results.scores[i], VQD_FLOAT32);
    return vqd_token_scores(&p, &u, 0.9, &token, &scores[0], &scores[1], &scores[2], &scores[3],
                            context);
}

static vqd_status loss(vqd_context *context) {
    const vqd_tensor p = classwise(unguided, CLASSES), x_0 = pixelwise(clean, VQD_INT64),
                     x = pixelwise(samples, VQD_INT64), t = tensor(times, VQD_INT64, 1, ROWS, 0, 0),
                     s = tensor(earlier, VQD_INT64, 1, ROWS, 0, 0),
                     per_row = tensor(results.per_row, VQD_FLOAT64, 1, ROWS, 0, 0),
                     gradient = classwise(results.large, CLASSES);
    return vqd_loss(&chain, NULL, &p, &x_0, &x, &t, &s, &results.loss, &per_row, NULL, &gradient,
                    context);
}

/* ---- Steps ----------------------------------------------------------------------------------- */

static vqd_status step(int64_t t, const vqd_draw *draw, const vqd_step_options *options,
                       vqd_context *context) {
    const vqd_tensor p = classwise(log_probabilities, CLASSES), x = pixelwise(samples, VQD_INT64),
                     to = pixelwise(results.tokens, VQD_INT64);
    /* (B, K, N) of an array of K + 1 rows */
    vqd_tensor rows = p;
    rows.strides[0] = (int64_t)sizeof log_probabilities[0];
    return vqd_step(&chain, t, t - 1, &rows, &x, draw, options, &to, context);
}

static vqd_status gumbel(vqd_context *context) {
    const vqd_tensor u = classwise(noise, CLASSES + 1);
    return step(1, GUMBEL_DRAW(&u), NULL, context);
}

static void make_engine(vqd_mt19937 *engine) {
    for (uint32_t i = 0; i < 624; i++)
        engine->words[i] = i * 2654435761u + 12345;
    engine->position = 600;
}

static vqd_status with_engine(int64_t t, const vqd_step_options *options, vqd_context *context) {
    vqd_mt19937 engine;
    make_engine(&engine);
    return step(t, &(vqd_draw){.method = VQD_GUMBEL, .engine = &engine}, options, context);
}

static vqd_status from_engine(vqd_context *context) {
    return with_engine(1, NULL, context);
}

static vqd_status last_from_engine(vqd_context *context) {
    const vqd_tensor given = pixelwise(known, VQD_INT64);
    return with_engine(0, &(vqd_step_options){.known = &given}, context);
}

static void fill(void *state, float *numbers, int64_t count) {
    uint32_t *drawn = state;
    for (int64_t i = 0; i < count; i++)
        numbers[i] = (float)((*drawn = *drawn * 1664525u + 1013904223u) >> 8) * 0x1p-24f;
}

static vqd_status from_function(vqd_context *context) {
    uint32_t state = 1;
    return step(1, &(vqd_draw){.method = VQD_GUMBEL, .fill = fill, .fill_context = &state}, NULL,
                context);
}

static vqd_status inverse_cdf(vqd_context *context) {
    const vqd_tensor u = pixelwise(uniforms, VQD_FLOAT64);
    return step(0, INVERSE_CDF_DRAW(&u), NULL, context);
}

static vqd_status guided(vqd_draw draw, vqd_context *context) {
    const vqd_tensor u = classwise(unguided, CLASSES);
    const vqd_guidance guidance = {&u, 3, 0.8, -70, 0, 0};
    return step(1, &draw, &(vqd_step_options){.guidance = &guidance}, context);
}

static vqd_status guided_gumbel(vqd_context *context) {
    const vqd_tensor u = classwise(noise, CLASSES + 1);
    return guided((vqd_draw){.method = VQD_GUMBEL, .uniforms = &u}, context);
}

static vqd_status guided_from_engine(vqd_context *context) {
    vqd_mt19937 engine;
    make_engine(&engine);
    return guided((vqd_draw){.method = VQD_GUMBEL, .engine = &engine}, context);
}

static vqd_status guided_inverse_cdf(vqd_context *context) {
    const vqd_tensor u = pixelwise(uniforms, VQD_FLOAT64);
    return guided((vqd_draw){.method = VQD_INVERSE_CDF, .uniforms = &u}, context);
}

static vqd_status reveal(vqd_context *context) {
    const vqd_tensor u = pixelwise(uniforms, VQD_FLOAT64),
                     flags = pixelwise(results.revealed, VQD_BOOL8),
                     keys = pixelwise(results.keys, VQD_FLOAT64);
    const vqd_unmask unmask = {.order = VQD_ENTROPY,
                               .prior_weight = 1.5,
                               .temperature = 0.5,
                               .order_uniforms = &u,
                               .revealed = &flags,
                               .scores = &keys};
    return step(1, INVERSE_CDF_DRAW(&u), &(vqd_step_options){.unmask = &unmask}, context);
}

/* The columns of the needed pixels, which are all: there are as many as there is memory for. */
static vqd_status planned(vqd_context *context) {
    const vqd_tensor u = pixelwise(uniforms, VQD_FLOAT64), x = pixelwise(samples, VQD_INT64),
                     flags = pixelwise(needed, VQD_BOOL8),
                     to = pixelwise(results.tokens, VQD_INT64);
    int64_t columns = 0;
    if (vqd_plan(&chain, 0, -1, &x, NULL, &u, &flags, context) != VQD_OK)
        return VQD_VALUE_ERROR;
    for (int i = 0; i < ROWS * PIXELS; i++)
        columns += (&needed[0][0])[i];
    const vqd_tensor p = tensor(log_probabilities, VQD_FLOAT32, 2, CLASSES, columns, 0);
    return vqd_step(&chain, 0, -1, &p, &x, INVERSE_CDF_DRAW(&u), NULL, &to, context);
}

static void make_arrays(void) {
    for (int i = 0; i < ROWS * (CLASSES + 1) * PIXELS; i++) {
        (&log_probabilities[0][0][0])[i] = (float)(-8 * uniform());
        (&noise[0][0][0])[i] = (float)(uniform() * (1 - 0x1p-20));
    }
    for (int i = 0; i < COUNT; i++)
        (&unguided[0][0][0])[i] = (float)(-8 * uniform());
    for (int i = 0; i < ROWS * PIXELS; i++) {
        (&uniforms[0][0])[i] = uniform();
        (&samples[0][0])[i] = i % 3 ? CLASSES : i % CLASSES;
        (&clean[0][0])[i] = i % CLASSES;
        (&known[0][0])[i] = i % 5 ? -1 : i % CLASSES;
    }
}

void test_threads(void) {
    static vqd_status (*const calls[])(vqd_context *) = {posterior,
                                                         transition_rows,
                                                         cumulative_transitions,
                                                         guide,
                                                         noised,
                                                         truncate_columns,
                                                         check_model_output,
                                                         row_uniforms,
                                                         token_scores,
                                                         loss,
                                                         gumbel,
                                                         from_engine,
                                                         inverse_cdf,
                                                         last_from_engine,
                                                         from_function,
                                                         guided_gumbel,
                                                         reveal,
                                                         planned,
                                                         guided_from_engine,
                                                         guided_inverse_cdf};
    static const int32_t numbers[] = {1, 2, 3, 8};
    make_arrays();
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
        for (int j = 0; j < 4; j++) {
            vqd_context context = {.num_threads = numbers[j]};
            memset(&results, 0x5a, sizeof results);
            CHECK(calls[i](&context) == VQD_OK);
            if (j == 0)
                memcpy(&expected, &results, sizeof results);
            CHECK(memcmp(&results, &expected, sizeof results) == 0);
        }
}
