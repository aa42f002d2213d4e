/* Calls whose results are as large as their inputs, and guidance. */
#include "fuzz.h"

#include <math.h>

static const vqd_schedule *schedule;
static const vqd_tensor *p, *other, *x, *out;
static int64_t t, s, number_of_classes;
static int32_t is_cumulative;
static double scale, rate, lowest, temperature;

static const vqd_tensor *log_p(int64_t rows, int32_t dtype) {
    return input(LOGITS, SHAPE(3, batch, rows, pixels), 0, dtype);
}

static const vqd_tensor *sample(int64_t limit) {
    return input(CLASSES, SHAPE(2, batch, pixels), limit, 0);
}

static vqd_status posterior(vqd_context *context) {
    return vqd_q_posterior(schedule, t, s, p, x, out, context);
}

void fuzz_posterior(void) {
    schedule = any_schedule();
    any_step(&t, &s);
    p = log_p(classes, 0);
    x = sample(classes);
    out = output(result_of(p), SHAPE(3, batch, classes + 1, pixels));
    run("vqd_q_posterior", posterior, NULL);
}

static vqd_status transition_rows(vqd_context *context) {
    return vqd_log_transition_rows(schedule, t, is_cumulative, x, p, out, context);
}

void fuzz_transition_rows(void) {
    schedule = any_schedule();
    any_step(&t, &s);
    is_cumulative = chance(20) ? INT32_MIN : (int32_t)choice(2);
    p = log_p(classes + 1, 0);
    x = sample(classes);
    out = output(result_of(p), SHAPE(3, batch, classes + !is_cumulative, pixels));
    run("vqd_log_transition_rows", transition_rows, NULL);
}

static vqd_status cumulative_transitions(vqd_context *context) {
    return vqd_apply_cumulative_transitions(schedule, t, p, out, context);
}

void fuzz_cumulative_transitions(void) {
    schedule = any_schedule();
    any_step(&t, &s);
    if (chance(4))
        t = -1;
    p = log_p(classes, 0);
    out = output(result_of(p), SHAPE(3, batch, classes + 1, pixels));
    run("vqd_apply_cumulative_transitions", cumulative_transitions, NULL);
}

static vqd_status onehot(vqd_context *context) {
    return vqd_index_to_log_onehot(x, number_of_classes, out, context);
}

void fuzz_onehot(void) {
    number_of_classes = classes;
    x = sample(classes - 1);
    out = output(VQD_FLOAT32, SHAPE(3, batch, classes, pixels));
    if (!whole && chance(8))
        number_of_classes = wild_integer();
    run("vqd_index_to_log_onehot", onehot, NULL);
}

static vqd_status guide(vqd_context *context) {
    return vqd_guide(other, p, scale, out, context);
}

void fuzz_guide(void) {
    p = log_p(classes, 0);
    other = log_p(classes, p ? p->dtype : 0);
    scale = number(-2, 9);
    out = output(result_of(p), SHAPE(3, batch, classes, pixels));
    run("vqd_guide", guide, NULL);
}

static int64_t top_k;

static vqd_status truncate_columns(vqd_context *context) {
    return vqd_truncate(p, rate, lowest, top_k, temperature, out, context);
}

void fuzz_truncate(void) {
    p = log_p(classes, 0);
    rate = number(0, 1);
    lowest = chance(3) ? -INFINITY : number(-100, 0);
    top_k = chance(2) ? 0 : integer(1, classes);
    temperature = chance(2) ? 1 : number(0.1, 3);
    out = output(result_of(p), SHAPE(3, batch, classes, pixels));
    run("vqd_truncate", truncate_columns, NULL);
}

static vqd_status gumbel_noised(vqd_context *context) {
    return vqd_gumbel_noised(p, other, out, context);
}

void fuzz_gumbel_noised(void) {
    p = log_p(classes, 0);
    other = input(NOISE, SHAPE(3, batch, classes, pixels), 0, 0);
    out = output(result_of(p) == VQD_FLOAT64 ? VQD_FLOAT64 : result_of(other),
                 SHAPE(3, batch, classes, pixels));
    run("vqd_gumbel_noised", gumbel_noised, NULL);
}

static vqd_status check_model_output(vqd_context *context) {
    return vqd_check_model_output(p, context);
}

void fuzz_check_model_output(void) {
    p = log_p(classes, 0);
    run("vqd_check_model_output", check_model_output, NULL);
}
