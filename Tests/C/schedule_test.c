/* Schedule tables and transition probabilities. */
#include "abi_test.h"

/* Eq. 11 by the coefficients, against Bayes by its definition. */
static void check_posterior(const vqd_coefficients *step, int64_t t, int64_t s) {
    for (int i = 0; i < B * N; i++) {
        const int b = i / N, n = i % N;
        const bool masked = x_t[b][n] == MASK;
        double expected[K + 1], mass = 0;
        bayes(t, s, b, n, expected);
        for (int k = 0; k < K; k++)
            mass += exp(log_p[b][k][n])
                    * (masked           ? 1
                       : k == x_t[b][n] ? step->own_weight
                                        : step->other_weight);
        for (int k = 0; k < K; k++) {
            const bool own = k == x_t[b][n];
            const double signal = masked ? step->masked_signal
                                  : own  ? step->own_signal
                                         : step->signal;
            const double level = masked ? step->masked_level : own ? step->own_level : step->level;
            CHECK(near(signal * exp(log_p[b][k][n]) + level * mass, expected[k], 1e-14));
        }
        CHECK(near((masked ? step->masked_mask : step->mask) * mass, expected[MASK], 1e-14));
    }
}

/* What a uniform decides, against the rates. */
static void check_decisions(const vqd_coefficients *step) {
    const double beta_s = step->previous_beta_cumulative;
    CHECK(near(step->uniform_share, K * beta_s / (1 - step->previous_gamma_cumulative), 1e-15));
    CHECK(near(step->settled, (step->alpha + step->beta) * beta_s / step->beta_cumulative, 1e-15));
    CHECK(near(step->masked_mask, step->previous_gamma_cumulative / step->gamma_cumulative, 1e-15));
    CHECK(near(step->alpha_cumulative + K * step->beta_cumulative + step->gamma_cumulative, 1,
               1e-15));
    CHECK(near(step->previous_alpha_cumulative + K * beta_s + step->previous_gamma_cumulative, 1,
               1e-15));
}

static void check_absorbing(void) {
    const double alpha[2] = {1, 0.25}, gamma[2] = {0, 0.75};
    const vqd_schedule absorbing = {K, 2, alpha, gamma};
    vqd_coefficients step;
    CHECK(vqd_step_coefficients(&absorbing, 1, 0, 0, &step, NULL) == VQD_OK);
    CHECK(step.own_level == 1 && step.own_signal == 0 && step.signal == 0 && step.level == 0);
    CHECK(step.other_weight == 1 && step.own_weight == 1 && step.mask == 0 && step.settled == 1);
    CHECK(step.masked_signal == 1 && step.masked_level == 0 && step.masked_mask == 0);
    CHECK(step.uniform_share == 0);
}

void test_schedules(void) {
    double alpha[T], alpha_cumulative[T + 1], gamma[T], gamma_cumulative[T + 1];
    vqd_context context = {0};
    CHECK(vqd_alpha_schedules(T, 0.9, 0.1, alpha, alpha_cumulative, &context) == VQD_OK);
    CHECK(vqd_gamma_schedules(T, 0.05, 0.85, gamma, gamma_cumulative, NULL) == VQD_OK);
    for (int t = 0; t < T; t++) {
        CHECK(near(alpha_cumulative[t], 0.9 - 0.2 * t, 1e-15));
        CHECK(near(gamma_cumulative[t], 0.05 + 0.2 * t, 1e-15));
        CHECK(near(alpha[t], alpha_cumulative[t] / (t ? alpha_cumulative[t - 1] : 1), 1e-15));
        CHECK(near(gamma[t], 1 - (1 - gamma_cumulative[t]) / (t ? 1 - gamma_cumulative[t - 1] : 1),
                   1e-15));
    }
    CHECK(alpha_cumulative[T] == 1 && gamma_cumulative[T] == 0);
    CHECK(vqd_schedule_check(&schedule, &context) == VQD_OK);

    double logs[6][T + 1];
    CHECK(
        vqd_schedule_logs(&schedule, logs[0], logs[1], logs[2], logs[3], logs[4], logs[5], &context)
        == VQD_OK);
    for (int t = 0; t < T; t++) {
        double step[K + 1][K + 1], all[K + 1][K + 1];
        matrix(t - 1, t, step);
        matrix(-1, t, all);
        CHECK(near(exp(logs[0][t]), step[0][0] - step[0][1], 1e-14));
        CHECK(near(exp(logs[1][t]), step[0][1], 1e-14));
        CHECK(near(exp(logs[2][t]), step[0][MASK], 1e-14));
        CHECK(near(exp(logs[3][t]), alpha_bar[t], 1e-14));
        CHECK(near(exp(logs[4][t]), all[0][1], 1e-14));
        CHECK(near(exp(logs[5][t]), gamma_bar[t], 1e-14));
    }
    CHECK(logs[3][T] == 0 && logs[4][T] == -INFINITY && logs[5][T] == -INFINITY);

    for (int t = 0; t < T; t++)
        for (int s = -1; s < t; s++) {
            vqd_coefficients step;
            double q[K + 1][K + 1];
            matrix(s, t, q);
            CHECK(vqd_step_coefficients(&schedule, t, s, 0, &step, &context) == VQD_OK);
            CHECK(near(step.alpha + step.beta, q[0][0], 1e-14));
            CHECK(near(step.beta, q[0][1], 1e-14) && near(step.gamma, q[0][MASK], 1e-14));
            check_posterior(&step, t, s);
            check_decisions(&step);
        }
    check_absorbing();
}
