/* Guidance and truncation, against their formulas. */
#include "abi_test.h"

#include <string.h>

static void test_guide(void) {
    double conditional[B][K][N], out[B][K][N];
    const double scale = 2.5;
    for (int i = 0; i < B * K * N; i++)
        (&conditional[0][0][0])[i] = log(0.05 + uniform());
    const vqd_tensor u = tensor(log_p, VQD_FLOAT64, 3, B, K, N),
                     c = tensor(conditional, VQD_FLOAT64, 3, B, K, N);
    const vqd_tensor to = tensor(out, VQD_FLOAT64, 3, B, K, N);
    CHECK(vqd_guide(&u, &c, scale, &to, NULL) == VQD_OK);
    for (int i = 0; i < B * N; i++) {
        const int b = i / N, n = i % N;
        double mass[K], sum = 0;
        for (int k = 0; k < K; k++) {
            mass[k] = exp(log_p[b][k][n] + scale * (conditional[b][k][n] - log_p[b][k][n]));
            sum += mass[k];
        }
        for (int k = 0; k < K; k++)
            CHECK(near(exp(out[b][k][n]), mass[k] / sum, 1e-13));
    }
    vqd_context context = {0};
    CHECK(vqd_guide(&u, &c, NAN, &to, &context) == VQD_VALUE_ERROR && context.message[0] != '\0');
    CHECK(vqd_guide(&u, NULL, scale, &to, NULL) == VQD_VALUE_ERROR);
}

/* What could overflow counts as -inf, or is refused by its own name. */
static void test_extremes(void) {
    static float low[K][N], none[K][N], out[K][N], expected[K][N];
    const vqd_tensor u = tensor(low, VQD_FLOAT32, 3, 1, K, N),
                     plain = tensor(none, VQD_FLOAT32, 3, 1, K, N);
    const vqd_tensor to = tensor(out, VQD_FLOAT32, 3, 1, K, N),
                     to_expected = tensor(expected, VQD_FLOAT32, 3, 1, K, N);
    static float cond[K][N];
    const vqd_tensor c = tensor(cond, VQD_FLOAT32, 3, 1, K, N);
    for (int i = 0; i < K * N; i++)
        (&low[0][0])[i] = (&none[0][0])[i] = (float)log(0.05 + uniform());
    for (int i = 0; i < K * N; i++)
        (&cond[0][0])[i] = (float)log(0.05 + uniform());
    for (double scale = -1; scale < 8; scale += 0.5) {
        low[1][2] = scale < 2 ? -0x1.fffffep127f
                              : (float)(-0x1.fffffep127 / (4 * (1 + fabs(scale))) * 1.0001);
        none[1][2] = -INFINITY;
        CHECK(vqd_guide(&u, &c, scale, &to, NULL) == VQD_OK
              && vqd_guide(&plain, &c, scale, &to_expected, NULL) == VQD_OK);
        CHECK(out[1][2] == -INFINITY && memcmp(out, expected, sizeof out) == 0);
        CHECK(vqd_guide(&c, &u, scale, &to, NULL) == VQD_OK
              && vqd_guide(&c, &plain, scale, &to_expected, NULL) == VQD_OK);
        CHECK(out[1][2] == -INFINITY && memcmp(out, expected, sizeof out) == 0);
    }
    vqd_context context = {0};
    const char *text = " must hold numbers that guidance at this scale keeps finite, not 3";
    cond[2][3] = 3e38f;
    memset(out, 0x5a, sizeof out);
    CHECK(vqd_guide(&plain, &c, 5, &to, &context) == VQD_VALUE_ERROR);
    CHECK(strncmp(context.message, "log_p_cond", 10) == 0
          && strncmp(context.message + 10, text, strlen(text)) == 0);
    CHECK(vqd_guide(&c, &plain, -5, &to, &context) == VQD_VALUE_ERROR);
    CHECK(strncmp(context.message, "log_p_uncond", 12) == 0
          && strncmp(context.message + 12, text, strlen(text)) == 0);
    bool untouched = true;
    for (size_t i = 0; i < sizeof out; i++)
        untouched &= ((unsigned char *)out)[i] == 0x5a;
    CHECK(untouched);
}

static void test_truncate(void) {
    double out[B][K][N];
    const vqd_tensor p = tensor(log_p, VQD_FLOAT64, 3, B, K, N),
                     to = tensor(out, VQD_FLOAT64, 3, B, K, N);
    for (double rate = 0; rate < 1; rate += 0.125) {
        CHECK(vqd_truncate(&p, rate, -70, 0, 1, &to, NULL) == VQD_OK);
        for (int i = 0; i < B * N; i++) {
            const int b = i / N, n = i % N;
            for (int k = 0; k < K; k++) {
                double before = 0; /* the probability of the classes that come first */
                for (int j = 0; j < K; j++)
                    if (log_p[b][j][n] > log_p[b][k][n])
                        before += exp(log_p[b][j][n]);
                CHECK(out[b][k][n] == (before == 0 || before < rate ? log_p[b][k][n] : -70));
            }
        }
    }
    CHECK(vqd_truncate(&p, 0.5, -INFINITY, 0, 1, &to, NULL) == VQD_OK);
    double lowest = 0;
    for (int i = 0; i < B * K * N; i++)
        lowest = fmin(lowest, (&out[0][0][0])[i]);
    CHECK(lowest == -INFINITY);
    CHECK(vqd_truncate(&p, NAN, -70, 0, 1, &to, NULL) == VQD_VALUE_ERROR);
}

/* The two most probable of three classes, and the first of them by the rate of their mass. */
static void test_truncate_by_count(void) {
    double out[B][K][N];
    const vqd_tensor p = tensor(log_p, VQD_FLOAT64, 3, B, K, N),
                     to = tensor(out, VQD_FLOAT64, 3, B, K, N);
    vqd_context context = {0};
    for (int by_rate = 0; by_rate < 2; by_rate++)
        for (int hot = 0; hot < 2; hot++) {
            const double temperature = hot ? 2 : 1, rate = by_rate ? 0.7 : 1;
            CHECK(vqd_truncate(&p, rate, -INFINITY, 2, temperature, &to, NULL) == VQD_OK);
            for (int i = 0; i < B * N; i++) {
                const int b = i / N, n = i % N;
                double mass = 0, least = 0, most = -INFINITY;
                for (int k = 0; k < K; k++) {
                    mass += exp(log_p[b][k][n] / temperature);
                    least = fmin(least, log_p[b][k][n]);
                    most = fmax(most, log_p[b][k][n]);
                }
                const double kept = mass - exp(least / temperature);
                const bool one = exp(most / temperature) / kept >= rate;
                for (int k = 0; k < K; k++) {
                    const double x = log_p[b][k][n];
                    if (x == least || (one && x < most))
                        CHECK(out[b][k][n] == -INFINITY);
                    else
                        CHECK(near(out[b][k][n], hot ? x / 2 - log(mass) : x, 1e-12));
                }
            }
        }
    CHECK(vqd_truncate(&p, 1, -70, -1, 1, &to, &context) == VQD_VALUE_ERROR);
    CHECK(strcmp(context.message, "top_k must be at least 1, not -1") == 0);
    CHECK(vqd_truncate(&p, 1, -70, 0, 0, &to, &context) == VQD_VALUE_ERROR);
    CHECK(strcmp(context.message, "temperature must be in 1e-06 ... 1000000, not 0") == 0);
}

/* One call for what takes three. */
static void test_guided_step(void) {
    double conditional[B][K][N], guided[B][K][N], truncated[B][K][N], uniforms[B][K + 1][N],
        pixel_uniforms[B][N];
    int64_t expected[B][N], drawn[B][N];
    const vqd_tensor u = tensor(log_p, VQD_FLOAT64, 3, B, K, N),
                     c = tensor(conditional, VQD_FLOAT64, 3, B, K, N);
    const vqd_tensor to_guided = tensor(guided, VQD_FLOAT64, 3, B, K, N);
    const vqd_tensor to_truncated = tensor(truncated, VQD_FLOAT64, 3, B, K, N);
    const vqd_tensor x = tensor(x_t, VQD_INT64, 2, B, N, 0),
                     to = tensor(drawn, VQD_INT64, 2, B, N, 0);
    const vqd_tensor to_expected = tensor(expected, VQD_INT64, 2, B, N, 0);
    const vqd_tensor class_uniforms = tensor(uniforms, VQD_FLOAT64, 3, B, K + 1, N);
    const vqd_tensor one_each = tensor(pixel_uniforms, VQD_FLOAT64, 2, B, N, 0);
    const vqd_draw noise = {.method = VQD_GUMBEL, .uniforms = &class_uniforms};
    const vqd_draw *pixel_noise = INVERSE_CDF_DRAW(&one_each);
    vqd_guidance guidance = {.scale = 2, .truncation_rate = 0.6, .floor = -70};
    const vqd_step_options options = {.guidance = &guidance};
    for (int repeat = 0; repeat < 100; repeat++) {
        for (int i = 0; i < B * K * N; i++)
            (&conditional[0][0][0])[i] = log(0.05 + uniform());
        for (int i = 0; i < B * (K + 1) * N; i++)
            (&uniforms[0][0][0])[i] = uniform();
        for (int i = 0; i < B * N; i++)
            (&pixel_uniforms[0][0])[i] = uniform();
        guidance.log_p_uncond = repeat % 3 ? &u : NULL; /* without: no guidance */
        CHECK(vqd_guide(&u, &c, 2, &to_guided, NULL) == VQD_OK);
        guidance.top_k = repeat % 4 == 1 ? 2 : 0;
        guidance.temperature = repeat % 5 == 1 ? 0.7 : 0; /* 0 stands for 1 */
        CHECK(vqd_truncate(guidance.log_p_uncond ? &to_guided : &c, 0.6, -70, guidance.top_k,
                           guidance.temperature > 0 ? 0.7 : 1, &to_truncated, NULL)
              == VQD_OK);
        CHECK(vqd_step(&schedule, 3, 2, &to_truncated, &x, &noise, NULL, &to_expected, NULL)
              == VQD_OK);
        CHECK(vqd_step(&schedule, 3, 2, &c, &x, &noise, &options, &to, NULL) == VQD_OK);
        CHECK(memcmp(drawn, expected, sizeof drawn) == 0);
        CHECK(vqd_step(&schedule, 3, 2, &to_truncated, &x, pixel_noise, NULL, &to_expected, NULL)
              == VQD_OK);
        CHECK(vqd_step(&schedule, 3, 2, &c, &x, pixel_noise, &options, &to, NULL) == VQD_OK);
        CHECK(memcmp(drawn, expected, sizeof drawn) == 0);
    }
    vqd_context context = {0};
    memset(drawn, -1, sizeof drawn);
    CHECK(vqd_step(&schedule, 3, 2, NULL, &x, &noise, &options, &to, &context) == VQD_VALUE_ERROR
          && strncmp(context.message, "log_p_cond ", 11) == 0);
    CHECK(vqd_step(&schedule, 3, 2, &c, &x, NULL, &options, &to, NULL) == VQD_VALUE_ERROR);
    CHECK(vqd_step(&schedule, 3, 2, NULL, &x, pixel_noise, &options, &to, NULL) == VQD_VALUE_ERROR);
    guidance.truncation_rate = NAN;
    CHECK(vqd_step(&schedule, 3, 2, &c, &x, &noise, &options, &to, NULL) == VQD_VALUE_ERROR);
    guidance.truncation_rate = 0.6;
    conditional[1][2][3] = NAN;
    CHECK(vqd_step(&schedule, 3, 2, &c, &x, &noise, &options, &to, NULL) == VQD_VALUE_ERROR);
    for (int i = 0; i < B * N; i++)
        CHECK((&drawn[0][0])[i] == -1);
}

void test_guidance(void) {
    test_guide();
    test_extremes();
    test_truncate();
    test_truncate_by_count();
    test_guided_step();
}
