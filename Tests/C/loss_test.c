/* The training loss, against Bayes and differences of it. */
#include "abi_test.h"

#include <string.h>

static const int64_t x_0[B][N] = {{0, 2, 2, 1}, {0, 1, 0, 1}};
static const int64_t t[B] = {3, 4}, s[B] = {1, -1};

/* KL(q(x_s | x_t, x_0) || p(x_s | x_t)) of one pixel, p being the softmax of log_p; -log p(x_0)
 * at s = -1. */
static double kl(int b, int n) {
    double kept[K], total = 0, truth[K + 1], model[K + 1], sum = 0;
    const int j = (int)x_0[b][n];
    for (int k = 0; k < K; k++)
        total += exp(kept[k] = log_p[b][k][n]);
    if (s[b] < 0)
        return log(total) - kept[j];
    for (int k = 0; k < K; k++)
        log_p[b][k][n] = k == j ? 0 : -INFINITY;
    bayes(t[b], s[b], b, n, truth);
    for (int k = 0; k < K; k++)
        log_p[b][k][n] = kept[k] - log(total);
    bayes(t[b], s[b], b, n, model);
    for (int k = 0; k < K; k++)
        log_p[b][k][n] = kept[k];
    for (int k = 0; k <= K; k++)
        sum += truth[k] > 0 ? truth[k] * log(truth[k] / model[k]) : 0;
    return sum;
}

static vqd_status loss_of(const vqd_loss_options *options, const vqd_tensor *logits, double *loss,
                          double per_row[B], const vqd_tensor *gradient, vqd_context *context) {
    const vqd_tensor clean = tensor(x_0, VQD_INT64, 2, B, N, 0),
                     shown = tensor(x_t, VQD_INT64, 2, B, N, 0);
    const vqd_tensor now = tensor(t, VQD_INT64, 1, B, 0, 0),
                     earlier = tensor(s, VQD_INT64, 1, B, 0, 0);
    const vqd_tensor rows = tensor(per_row, VQD_FLOAT64, 1, B, 0, 0);
    return vqd_loss(&schedule, options, logits, &clean, &shown, &now, &earlier, loss, &rows, NULL,
                    gradient, context);
}

static void test_values(void) {
    double loss, per_row[B], gradient[B][K][N], truth = 0;
    const vqd_tensor logits = tensor(log_p, VQD_FLOAT64, 3, B, K, N),
                     to = tensor(gradient, VQD_FLOAT64, 3, B, K, N);
    CHECK(loss_of(NULL, &logits, &loss, per_row, &to, NULL) == VQD_OK);
    for (int b = 0; b < B; b++) {
        double sum = 0;
        for (int n = 0; n < N; n++)
            sum += kl(b, n);
        CHECK(near(per_row[b], sum, 1e-12));
        truth += sum * T / (B * N);
    }
    CHECK(near(loss, truth, 1e-12));
    for (int b = 0; b < B; b++)
        for (int k = 0; k < K; k++)
            for (int n = 0; n < N; n++) {
                const double kept = log_p[b][k][n], step = 1e-5;
                log_p[b][k][n] = kept + step;
                const double up = kl(b, n);
                log_p[b][k][n] = kept - step;
                const double down = kl(b, n);
                log_p[b][k][n] = kept;
                CHECK(near(gradient[b][k][n], (up - down) / (2 * step) * T / (B * N), 1e-8));
            }

    /* (B, N, K) memory, float32, without a gradient or with one in (B, N, K) memory */
    float turned[B][N][K], of_turned[B][N][K];
    for (int i = 0; i < B * N * K; i++)
        (&turned[0][0][0])[i] = (float)log_p[i / (N * K)][i % K][i / K % N];
    vqd_tensor view = {
        turned, {B, K, N}, {sizeof turned[0], 4, sizeof turned[0][0]}, 3, VQD_FLOAT32};
    vqd_tensor to_view = view;
    to_view.data = of_turned;
    double same;
    CHECK(loss_of(NULL, &view, &same, per_row, NULL, NULL) == VQD_OK);
    CHECK(near(same, loss, 1e-6 * loss));
    CHECK(loss_of(NULL, &view, &same, per_row, &to_view, NULL) == VQD_OK);
    for (int i = 0; i < B * N * K; i++)
        CHECK(near((&of_turned[0][0][0])[i], gradient[i / (N * K)][i % K][i / K % N], 1e-6));
}

static void test_options(void) {
    double plain, weighted, per_row[B], of_weighted[B], gradient[B][K][N];
    const double probability[B] = {0.5, 0.125}, weights[B][N] = {{1, 0, 2, 1}, {0, 0, 0, 0}};
    const vqd_tensor logits = tensor(log_p, VQD_FLOAT64, 3, B, K, N),
                     to = tensor(gradient, VQD_FLOAT64, 3, B, K, N),
                     drawn = tensor(probability, VQD_FLOAT64, 1, B, 0, 0),
                     by_pixel = tensor(weights, VQD_FLOAT64, 2, B, N, 0);
    vqd_loss_options options = {2, 3, 0, 1, &drawn, NULL};
    CHECK(loss_of(NULL, &logits, &plain, per_row, NULL, NULL) == VQD_OK);
    CHECK(loss_of(&options, &logits, &weighted, of_weighted, NULL, NULL) == VQD_OK);
    double sum = 0;
    for (int n = 0; n < N; n++)
        sum += kl(0, n) * (x_t[0][n] == MASK ? 2 : 3);
    CHECK(near(of_weighted[0], sum, 1e-12));
    CHECK(near(of_weighted[1], per_row[1], 1e-12)); /* s = -1 */
    CHECK(near(weighted, (sum / 0.5 + per_row[1] / 0.125) / (B * N), 1e-12));

    options = (vqd_loss_options){1, 1, 0.5, 1, NULL, &by_pixel};
    CHECK(loss_of(&options, &logits, &weighted, of_weighted, &to, NULL) == VQD_OK);
    CHECK(near(of_weighted[0], kl(0, 0) + 2 * kl(0, 2) + kl(0, 3), 1e-12) && of_weighted[1] == 0);
    double entropy = 0;
    for (int n = 0; n < N; n++)
        entropy -= weights[0][n] * log_p[0][x_0[0][n]][n];
    const double auxiliary = 0.5 * (2 - 3.0 / T) * entropy;
    CHECK(near(weighted, (of_weighted[0] + auxiliary) * T / (B * N), 1e-12));
    for (int k = 0; k < K; k++)
        CHECK(gradient[0][k][1] == 0 && gradient[1][k][0] == 0);
}

static bool is_untouched(double gradient[B][K][N], double per_row[B], double loss) {
    bool untouched = loss == -7 && per_row[0] == -7 && per_row[1] == -7;
    for (int i = 0; i < B * K * N; i++)
        untouched &= (&gradient[0][0][0])[i] == -7;
    return untouched;
}

static void test_errors(void) {
    double loss = -7, per_row[B] = {-7, -7}, gradient[B][K][N];
    static double bad[B][K][N];
    for (int i = 0; i < B * K * N; i++)
        (&gradient[0][0][0])[i] = -7;
    const vqd_tensor logits = tensor(bad, VQD_FLOAT64, 3, B, K, N),
                     to = tensor(gradient, VQD_FLOAT64, 3, B, K, N),
                     to_single = tensor(gradient, VQD_FLOAT32, 3, B, K, N);
    vqd_context context = {.num_threads = 1};
    memcpy(bad, log_p, sizeof bad);
    bad[1][2][3] = NAN; /* the last element */
    CHECK(loss_of(NULL, &logits, &loss, per_row, &to, &context) == VQD_VALUE_ERROR);
    CHECK(strstr(context.message, "logits") && strstr(context.message, "[1, 2, 3]"));
    for (int k = 0; k < K; k++)
        bad[1][k][3] = -INFINITY;
    CHECK(loss_of(NULL, &logits, &loss, per_row, &to, &context) == VQD_VALUE_ERROR);
    CHECK(strstr(context.message, "row 1, pixel 3") != NULL);
    CHECK(is_untouched(gradient, per_row, loss));

    memcpy(bad, log_p, sizeof bad);
    const vqd_loss_options negative = {1, -1, 0, 0, NULL, NULL};
    CHECK(loss_of(&negative, &logits, &loss, per_row, &to, &context) == VQD_VALUE_ERROR);
    CHECK(strstr(context.message, "mask_weight") != NULL);
    CHECK(loss_of(NULL, &logits, &loss, per_row, &to_single, &context) == VQD_TYPE_ERROR);
    CHECK(strcmp(context.message, "gradient must be float64, not float32") == 0);
    const vqd_tensor clean = tensor(x_t, VQD_INT64, 2, B, N, 0); /* which holds masks */
    const vqd_tensor now = tensor(t, VQD_INT64, 1, B, 0, 0),
                     earlier = tensor(s, VQD_INT64, 1, B, 0, 0),
                     rows = tensor(per_row, VQD_FLOAT64, 1, B, 0, 0);
    CHECK(vqd_loss(&schedule, NULL, &logits, &clean, &clean, &now, &earlier, &loss, &rows, NULL,
                   &to, &context)
          == VQD_VALUE_ERROR);
    CHECK(strcmp(context.message, "x_0 must hold classes 0 ... 2, not 3 as at [0, 3]") == 0);
    CHECK(vqd_loss(&schedule, NULL, &logits, &clean, &clean, &now, &now, &loss, &rows, NULL, &to,
                   &context)
          == VQD_VALUE_ERROR);
    CHECK(strcmp(context.message, "previous_timesteps must be in -1 ... 2, not 3") == 0);
    CHECK(is_untouched(gradient, per_row, loss));
}

void test_loss(void) {
    test_values();
    test_options();
    test_errors();
}
