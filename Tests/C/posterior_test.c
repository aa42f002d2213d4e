/* The posterior and its parts, over memory of several layouts. */
#include "abi_test.h"

#include <string.h>

static bool matches_bayes(int64_t t, int64_t s, double out[B][K + 1][N]) {
    bool same = true;
    for (int b = 0; b < B; b++)
        for (int n = 0; n < N; n++) {
            double expected[K + 1];
            bayes(t, s, b, n, expected);
            for (int k = 0; k <= K; k++)
                same &= near(exp(out[b][k][n]), expected[k], 1e-13);
        }
    return same;
}

static void test_bayes(void) {
    double out[B][K + 1][N];
    const vqd_tensor p = tensor(log_p, VQD_FLOAT64, 3, B, K, N),
                     x = tensor(x_t, VQD_INT64, 2, B, N, 0);
    const vqd_tensor to = tensor(out, VQD_FLOAT64, 3, B, K + 1, N);
    for (int t = 0; t < T; t++)
        for (int s = -1; s < t; s++) {
            vqd_context context = {.num_threads = 1};
            CHECK(vqd_q_posterior(&schedule, t, s, &p, &x, &to, &context) == VQD_OK);
            CHECK(matches_bayes(t, s, out));
        }

    /* float32 in, float32 out */
    float p_single[B][K][N], out_single[B][K + 1][N];
    for (int i = 0; i < B * K * N; i++)
        (&p_single[0][0][0])[i] = (float)(&log_p[0][0][0])[i];
    const vqd_tensor p32 = tensor(p_single, VQD_FLOAT32, 3, B, K, N);
    const vqd_tensor to32 = tensor(out_single, VQD_FLOAT32, 3, B, K + 1, N);
    CHECK(vqd_q_posterior(&schedule, 3, 2, &p, &x, &to, NULL) == VQD_OK);
    CHECK(vqd_q_posterior(&schedule, 3, 2, &p32, &x, &to32, NULL) == VQD_OK);
    for (int i = 0; i < B * (K + 1) * N; i++)
        CHECK(near((&out_single[0][0][0])[i], (&out[0][0][0])[i], 1e-5));
}

/* The stride of an axis of one element is never used, in an output either. */
static void test_an_axis_of_one(void) {
    double whole[B][K + 1][N], first[K + 1][N] = {{0}};
    vqd_tensor p = tensor(log_p, VQD_FLOAT64, 3, B, K, N), x = tensor(x_t, VQD_INT64, 2, B, N, 0);
    vqd_tensor to = tensor(whole, VQD_FLOAT64, 3, B, K + 1, N);
    CHECK(vqd_q_posterior(&schedule, 3, 2, &p, &x, &to, NULL) == VQD_OK);
    to.data = first;
    p.shape[0] = x.shape[0] = to.shape[0] = 1;
    p.strides[0] = x.strides[0] = to.strides[0] = 3;
    CHECK(vqd_q_posterior(&schedule, 3, 2, &p, &x, &to, NULL) == VQD_OK);
    CHECK(memcmp(whole[0], first, sizeof first) == 0);
}

static void test_strides(void) {
    double out[B][K + 1][N], turned[B][N][K], columns[B][K];
    int32_t backwards[B][N];
    const vqd_tensor x = tensor(x_t, VQD_INT64, 2, B, N, 0),
                     to = tensor(out, VQD_FLOAT64, 3, B, K + 1, N);

    /* (B, N, K) memory, and a sample read from its end */
    for (int b = 0; b < B; b++)
        for (int n = 0; n < N; n++) {
            backwards[B - 1 - b][N - 1 - n] = (int32_t)x_t[b][n];
            for (int k = 0; k < K; k++)
                turned[b][n][k] = log_p[b][k][n];
        }
    vqd_tensor p = {
        turned, {B, K, N}, {sizeof turned[0], sizeof(double), sizeof turned[0][0]}, 3, VQD_FLOAT64};
    vqd_tensor x_from_end = {
        &backwards[B - 1][N - 1], {B, N, 0}, {-(int64_t)sizeof backwards[0], -4, 0}, 2, VQD_INT32};
    CHECK(vqd_q_posterior(&schedule, 3, 1, &p, &x_from_end, &to, NULL) == VQD_OK);
    CHECK(matches_bayes(3, 1, out));

    /* the same column at every pixel: a stride of zero, against the same numbers written out */
    double repeated[B][K][N], expected[B][K + 1][N];
    for (int b = 0; b < B; b++)
        for (int k = 0; k < K; k++) {
            columns[b][k] = log_p[b][k][0];
            for (int n = 0; n < N; n++)
                repeated[b][k][n] = columns[b][k];
        }
    p = (vqd_tensor){columns, {B, K, N}, {sizeof columns[0], sizeof(double), 0}, 3, VQD_FLOAT64};
    CHECK(vqd_q_posterior(&schedule, 3, 1, &p, &x, &to, NULL) == VQD_OK);
    p = tensor(repeated, VQD_FLOAT64, 3, B, K, N);
    const vqd_tensor to_expected = tensor(expected, VQD_FLOAT64, 3, B, K + 1, N);
    CHECK(vqd_q_posterior(&schedule, 3, 1, &p, &x, &to_expected, NULL) == VQD_OK);
    for (int i = 0; i < B * (K + 1) * N; i++)
        CHECK(near((&out[0][0][0])[i], (&expected[0][0][0])[i], 1e-14));
}

static void test_rows_and_onehot(void) {
    float onehot[B][K + 1][N];
    double onehot_double[B][K + 1][N], rows[B][K + 1][N], marginal[B][K + 1][N];
    const vqd_tensor x = tensor(x_t, VQD_INT64, 2, B, N, 0),
                     to = tensor(onehot, VQD_FLOAT32, 3, B, K + 1, N);
    CHECK(vqd_index_to_log_onehot(&x, K + 1, &to, NULL) == VQD_OK);
    for (int b = 0; b < B; b++)
        for (int k = 0; k <= K; k++)
            for (int n = 0; n < N; n++) {
                CHECK(near(onehot[b][k][n], x_t[b][n] == k ? 0 : log(1e-30), 1e-5));
                onehot_double[b][k][n] = onehot[b][k][n];
            }

    double all[K + 1][K + 1], step[K + 1][K + 1];
    matrix(-1, 2, all);
    matrix(1, 2, step);
    const vqd_tensor from = tensor(onehot_double, VQD_FLOAT64, 3, B, K + 1, N);
    const vqd_tensor to_rows = tensor(rows, VQD_FLOAT64, 3, B, K, N);
    const vqd_tensor to_all_rows = tensor(rows, VQD_FLOAT64, 3, B, K + 1, N);
    CHECK(vqd_log_transition_rows(&schedule, 2, 1, &x, &from, &to_rows, NULL) == VQD_OK);
    for (int i = 0; i < B * K * N; i++) {
        const int b = i / (K * N), j = i / N % K, n = i % N;
        CHECK(near(exp((&rows[0][0][0])[i]), all[j][x_t[b][n]], 1e-13));
    }
    CHECK(vqd_log_transition_rows(&schedule, 2, 0, &x, &from, &to_all_rows, NULL) == VQD_OK);
    for (int i = 0; i < B * K * N; i++) {
        const int b = i / (K * N), j = i / N % K, n = i % N;
        CHECK(near(exp(rows[b][j][n]), step[j][x_t[b][n]], 1e-13));
        CHECK(rows[b][K][n] == onehot_double[b][K][n]);
    }

    const vqd_tensor p = tensor(log_p, VQD_FLOAT64, 3, B, K, N);
    const vqd_tensor to_marginal = tensor(marginal, VQD_FLOAT64, 3, B, K + 1, N);
    CHECK(vqd_apply_cumulative_transitions(&schedule, 2, &p, &to_marginal, NULL) == VQD_OK);
    for (int i = 0; i < B * K * N; i++) {
        const int b = i / (K * N), k = i / N % K, n = i % N;
        CHECK(near(exp(marginal[b][k][n]), alpha_bar[2] * exp(log_p[b][k][n]) + all[0][1], 1e-13));
        CHECK(near(exp(marginal[b][K][n]), gamma_bar[2], 1e-13));
    }
}

void test_posterior(void) {
    test_bayes();
    test_strides();
    test_an_axis_of_one();
    test_rows_and_onehot();
}
