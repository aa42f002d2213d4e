/* The C ABI used from plain C. Prints how many checks passed and failed. */
#include "abi_test.h"

#include <stdio.h>

static int passed, failed;

void check(bool holds, const char *what, const char *file, int line) {
    if (holds) {
        passed++;
    } else {
        failed++;
        printf("%s:%d: %s\n", file, line, what);
    }
}

bool near(double a, double b, double tolerance) {
    return a == b || fabs(a - b) <= tolerance;
}

const double alpha_bar[T] = {0.9, 0.7, 0.5, 0.3, 0.1};
const double gamma_bar[T] = {0.05, 0.2, 0.4, 0.6, 0.85};
const vqd_schedule schedule = {K, T, alpha_bar, gamma_bar};

double log_p[B][K][N];
int64_t x_t[B][N] = {{0, 1, 2, MASK}, {MASK, MASK, 0, 2}};

double uniform(void) { /* a small linear congruential generator; any numbers would do */
    static uint64_t state = 1;
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (double)(state >> 11) * 0x1p-53;
}

void make_log_p(void) {
    for (int b = 0; b < B; b++)
        for (int n = 0; n < N; n++) {
            double mass[K], sum = 0;
            for (int k = 0; k < K; k++)
                sum += mass[k] = 0.05 + uniform();
            for (int k = 0; k < K; k++)
                log_p[b][k][n] = log(mass[k] / sum);
        }
}

vqd_tensor tensor(const void *data, vqd_dtype dtype, int32_t rank, int64_t a, int64_t b,
                  int64_t c) {
    const int64_t size = dtype == VQD_INT64 || dtype == VQD_UINT64 || dtype == VQD_FLOAT64 ? 8
                         : dtype == VQD_INT32 || dtype == VQD_FLOAT32                      ? 4
                         : dtype == VQD_UINT8 || dtype == VQD_INT8 || dtype == VQD_BOOL8   ? 1
                                                                                           : 2;
    vqd_tensor view = {.data = (void *)data, .shape = {a, b, c}, .rank = rank, .dtype = dtype};
    int64_t stride = size;
    for (int axis = rank - 1; axis >= 0; axis--) {
        view.strides[axis] = stride;
        stride *= view.shape[axis];
    }
    return view;
}

static double cumulative(const double *table, int64_t t, double clean) {
    return t < 0 ? clean : table[t];
}

void matrix(int64_t s, int64_t t, double q[K + 1][K + 1]) {
    const double a = alpha_bar[t] / cumulative(alpha_bar, s, 1);
    const double g = 1 - (1 - gamma_bar[t]) / (1 - cumulative(gamma_bar, s, 0));
    const double b = (1 - a - g) / K;
    for (int from = 0; from <= K; from++)
        for (int to = 0; to <= K; to++)
            q[from][to] = from == MASK ? to == MASK : to == MASK ? g : from == to ? a + b : b;
}

void bayes(int64_t t, int64_t s, int b, int n, double posterior[K + 1]) {
    double step[K + 1][K + 1], before[K + 1][K + 1], all[K + 1][K + 1];
    matrix(s, t, step);
    matrix(-1, t, all);
    if (s >= 0)
        matrix(-1, s, before);
    for (int k = 0; k <= K; k++) {
        posterior[k] = 0;
        for (int x_0 = 0; x_0 < K; x_0++) {
            const double prior = s >= 0 ? before[x_0][k] : x_0 == k;
            posterior[k] +=
                step[k][x_t[b][n]] * prior * exp(log_p[b][x_0][n]) / all[x_0][x_t[b][n]];
        }
    }
}

int main(void) {
    int major, minor, patch;
    CHECK(sscanf(vqd_version(), "%d.%d.%d", &major, &minor, &patch) == 3);
    make_log_p();
    test_schedules();
    test_posterior();
    test_sampling();
    test_known();
    test_guidance();
    test_loss();
    test_absorbing();
    test_rows();
    test_scores();
    test_unmask();
    test_threads();
    test_huge();
    test_misuse();
    printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}
