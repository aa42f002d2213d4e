/* Schedule tables and transition probabilities. */
#include "abi_test.h"

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
            double law[3], q[K + 1][K + 1];
            matrix(s, t, q);
            CHECK(vqd_transition(&schedule, s, t, law, &context) == VQD_OK);
            CHECK(near(law[0] + law[1], q[0][0], 1e-14));
            CHECK(near(law[1], q[0][1], 1e-14) && near(law[2], q[0][MASK], 1e-14));
        }
}
