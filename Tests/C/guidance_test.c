/* Guidance and truncation, against their formulas. */
#include "abi_test.h"

static void test_guide(void) {
    double conditional[B][K][N], out[B][K][N];
    const double scale = 2.5;
    for (int i = 0; i < B * K * N; i++) (&conditional[0][0][0])[i] = log(0.05 + uniform());
    const vqd_tensor u = tensor(log_p, VQD_FLOAT64, 3, B, K, N), c = tensor(conditional, VQD_FLOAT64, 3, B, K, N);
    const vqd_tensor to = tensor(out, VQD_FLOAT64, 3, B, K, N);
    CHECK(vqd_guide(&u, &c, scale, &to, NULL) == VQD_OK);
    for (int i = 0; i < B * N; i++) {
        const int b = i / N, n = i % N;
        double mass[K], sum = 0;
        for (int k = 0; k < K; k++) {
            mass[k] = exp(log_p[b][k][n] + scale * (conditional[b][k][n] - log_p[b][k][n]));
            sum += mass[k];
        }
        for (int k = 0; k < K; k++) CHECK(near(exp(out[b][k][n]), mass[k] / sum, 1e-13));
    }
    vqd_context context = {0};
    CHECK(vqd_guide(&u, &c, NAN, &to, &context) == VQD_VALUE_ERROR && context.message[0] != '\0');
    CHECK(vqd_guide(&u, NULL, scale, &to, NULL) == VQD_VALUE_ERROR);
}

static void test_truncate(void) {
    double out[B][K][N];
    const vqd_tensor p = tensor(log_p, VQD_FLOAT64, 3, B, K, N), to = tensor(out, VQD_FLOAT64, 3, B, K, N);
    for (double rate = 0; rate < 1; rate += 0.125) {
        CHECK(vqd_truncate(&p, rate, -70, &to, NULL) == VQD_OK);
        for (int i = 0; i < B * N; i++) {
            const int b = i / N, n = i % N;
            for (int k = 0; k < K; k++) {
                double before = 0; /* the probability of the classes that come first */
                for (int j = 0; j < K; j++)
                    if (log_p[b][j][n] > log_p[b][k][n]) before += exp(log_p[b][j][n]);
                CHECK(out[b][k][n] == (before == 0 || before < rate ? log_p[b][k][n] : -70));
            }
        }
    }
    CHECK(vqd_truncate(&p, 0.5, -INFINITY, &to, NULL) == VQD_OK);
    double lowest = 0;
    for (int i = 0; i < B * K * N; i++) lowest = fmin(lowest, (&out[0][0][0])[i]);
    CHECK(lowest == -INFINITY);
    CHECK(vqd_truncate(&p, NAN, -70, &to, NULL) == VQD_VALUE_ERROR);
}

void test_guidance(void) {
    test_guide();
    test_truncate();
}
