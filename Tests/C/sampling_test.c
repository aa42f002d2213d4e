/* Draws, against their own formulas and against probabilities. */
#include "abi_test.h"

#include <stdlib.h>
#include <string.h>

static double gumbel(double u) {
    return -log(-log(u + 1e-30) + 1e-30);
}

static void test_gumbel(void) {
    double uniforms[B][K + 1][N], logits[B][K + 1][N], noised[B][K + 1][N];
    int64_t drawn[B][N];
    const vqd_tensor p = tensor(log_p, VQD_FLOAT64, 3, B, K, N),
                     x = tensor(x_t, VQD_INT64, 2, B, N, 0);
    const vqd_tensor u = tensor(uniforms, VQD_FLOAT64, 3, B, K + 1, N),
                     to = tensor(drawn, VQD_INT64, 2, B, N, 0);
    const vqd_draw noise = {.method = VQD_GUMBEL, .uniforms = &u};
    const vqd_tensor q = tensor(logits, VQD_FLOAT64, 3, B, K + 1, N);
    const vqd_tensor to_noised = tensor(noised, VQD_FLOAT64, 3, B, K + 1, N);
    for (int repeat = 0; repeat < 100; repeat++) {
        for (int i = 0; i < B * (K + 1) * N; i++)
            (&uniforms[0][0][0])[i] = uniform();
        CHECK(vqd_q_posterior(&schedule, 3, 2, &p, &x, &q, NULL) == VQD_OK);
        CHECK(vqd_step(&schedule, 3, 2, &p, &x, &noise, NULL, &to, NULL) == VQD_OK);
        CHECK(vqd_gumbel_noised(&q, &u, &to_noised, NULL) == VQD_OK);
        for (int i = 0; i < B * N; i++) {
            const int b = i / N, n = i % N;
            int best = 0;
            for (int k = 0; k <= K; k++) {
                CHECK(near(noised[b][k][n], logits[b][k][n] + gumbel(uniforms[b][k][n]), 1e-12));
                if (noised[b][k][n] > noised[b][best][n])
                    best = k;
            }
            CHECK(drawn[b][n] == best);
        }
    }
    /* t = 0: from the model output itself, without a sample */
    const vqd_tensor u_clean = tensor(uniforms, VQD_FLOAT64, 3, B, K, N);
    const vqd_draw noise_clean = {.method = VQD_GUMBEL, .uniforms = &u_clean};
    CHECK(vqd_step(&schedule, 0, -1, &p, NULL, &noise_clean, NULL, &to, NULL) == VQD_OK);
    for (int i = 0; i < B * N; i++) {
        const int b = i / N, n = i % N;
        int best = 0;
        for (int k = 0; k < K; k++) {
            const double *flat = &uniforms[0][0][0] + b * K * N;
            if (log_p[b][k][n] + gumbel(flat[k * N + n])
                > log_p[b][best][n] + gumbel(flat[best * N + n]))
                best = k;
        }
        CHECK(drawn[b][n] == best);
    }
}

/* MT19937 by its definition (Matsumoto and Nishimura 1998). */
static void seed(vqd_mt19937 *engine, uint32_t value) {
    for (uint32_t i = 0; i < 624; i++) {
        engine->words[i] = value;
        value = 1812433253u * (value ^ (value >> 30)) + i + 1;
    }
    engine->position = 624;
}

static uint32_t next_word(vqd_mt19937 *engine) {
    uint32_t *x = engine->words;
    if (engine->position == 624) {
        for (int i = 0; i < 624; i++) {
            const uint32_t y = (x[i] & 0x80000000u) | (x[(i + 1) % 624] & 0x7fffffffu);
            x[i] = x[(i + 397) % 624] ^ (y >> 1) ^ (y & 1 ? 0x9908b0dfu : 0);
        }
        engine->position = 0;
    }
    uint32_t y = x[engine->position++];
    y ^= y >> 11;
    y ^= (y << 7) & 0x9d2c5680u;
    y ^= (y << 15) & 0xefc60000u;
    return y ^ (y >> 18);
}

static void fill_from_engine(void *engine, float *uniforms, int64_t count) {
    for (int64_t i = 0; i < count; i++)
        uniforms[i] = (float)(next_word(engine) & 0xffffff) * 0x1p-24f;
}

/* Noise that is given, drawn from an engine or written by a function is the same noise. */
static void test_noise_sources(void) {
    enum { CLASSES = 400, PIXELS = 333, ROWS = 2 }; /* enough for threads to be started */
    static float p_values[ROWS][CLASSES][PIXELS], uniforms[ROWS][CLASSES + 1][PIXELS];
    static int64_t x_values[ROWS][PIXELS], expected[ROWS][PIXELS], drawn[ROWS][PIXELS];
    double alpha[2] = {0.9, 0.1}, gamma[2] = {0.05, 0.8};
    const vqd_schedule two_steps = {CLASSES, 2, alpha, gamma};
    const vqd_tensor p = tensor(p_values, VQD_FLOAT32, 3, ROWS, CLASSES, PIXELS),
                     x = tensor(x_values, VQD_INT64, 2, ROWS, PIXELS, 0);
    const vqd_tensor to_expected = tensor(expected, VQD_INT64, 2, ROWS, PIXELS, 0),
                     to = tensor(drawn, VQD_INT64, 2, ROWS, PIXELS, 0);
    vqd_mt19937 engine;
    seed(&engine, 5489);
    for (int i = 1; i < 10000; i++)
        next_word(&engine);
    CHECK(next_word(&engine) == 4123659995u); /* what the C++ standard demands of the 10000th */
    for (int i = 0; i < ROWS * CLASSES * PIXELS; i++)
        (&p_values[0][0][0])[i] = (float)(4 * uniform());
    for (int i = 0; i < ROWS * PIXELS; i++)
        (&x_values[0][0])[i] = (int64_t)(uniform() * (CLASSES + 1));
    for (int t = 0; t < 2; t++) {
        for (int threads = 1; threads <= 5; threads++) {
            vqd_mt19937 before = engine, by_function = engine;
            vqd_context context = {.num_threads = threads};
            const int rows = CLASSES + (t > 0);
            const vqd_tensor u = tensor(uniforms, VQD_FLOAT32, 3, ROWS, rows, PIXELS);
            fill_from_engine(&before, &uniforms[0][0][0], (int64_t)ROWS * rows * PIXELS);
            const vqd_draw given = {.method = VQD_GUMBEL, .uniforms = &u},
                           from_engine = {.method = VQD_GUMBEL, .engine = &engine};
            const vqd_draw from_function = {
                .method = VQD_GUMBEL, .fill = fill_from_engine, .fill_context = &by_function};
            CHECK(vqd_step(&two_steps, t, t - 1, &p, &x, &given, NULL, &to_expected, &context)
                  == VQD_OK);
            CHECK(vqd_step(&two_steps, t, t - 1, &p, &x, &from_engine, NULL, &to, &context)
                  == VQD_OK);
            CHECK(memcmp(drawn, expected, sizeof drawn) == 0);
            CHECK(memcmp(&engine, &before, sizeof engine) == 0);
            CHECK(vqd_step(&two_steps, t, t - 1, &p, &x, &from_function, NULL, &to, &context)
                  == VQD_OK);
            CHECK(memcmp(drawn, expected, sizeof drawn) == 0);
            CHECK(memcmp(&by_function, &before, sizeof engine) == 0);
        }
    }
}

enum { GRID = 4000 };

/* Uniforms on a grid draw each value as often as its probability says, up to one grid point for
 * each end of an interval; a value owns three intervals at most. */
static bool counts_match(const int64_t *drawn, const double *probabilities, int values) {
    bool same = true;
    for (int value = 0; value < values; value++) {
        int count = 0;
        for (int i = 0; i < GRID; i++)
            count += drawn[i] == value;
        same &= fabs(count - probabilities[value] * GRID) <= 6;
    }
    return same;
}

static void test_inverse_cdf(void) {
    static double uniforms[GRID];
    static int64_t drawn[GRID];
    for (int i = 0; i < GRID; i++)
        uniforms[i] = (i + 0.5) / GRID;
    const vqd_tensor u = tensor(uniforms, VQD_FLOAT64, 2, 1, GRID, 0),
                     to = tensor(drawn, VQD_INT64, 2, 1, GRID, 0);
    for (int i = 0; i < B * N; i++) {
        const int b = i / N, n = i % N;
        /* the same pixel everywhere */
        const vqd_tensor p = {
            &log_p[b][0][n], {1, K, GRID}, {0, sizeof log_p[0][0], 0}, 3, VQD_FLOAT64};
        const vqd_tensor x = {&x_t[b][n], {1, GRID, 0}, {0, 0, 0}, 2, VQD_INT64};
        double expected[K + 1];
        for (int t = 1; t < T; t++) {
            bayes(t, t - 1, b, n, expected);
            CHECK(vqd_step(&schedule, t, t - 1, &p, &x, INVERSE_CDF_DRAW(&u), NULL, &to, NULL)
                  == VQD_OK);
            CHECK(counts_match(drawn, expected, K + 1));
        }
        for (int k = 0; k < K; k++)
            expected[k] = exp(log_p[b][k][n]);
        expected[MASK] = 0;
        CHECK(vqd_step(&schedule, 0, -1, &p, NULL, INVERSE_CDF_DRAW(&u), NULL, &to, NULL)
              == VQD_OK);
        CHECK(counts_match(drawn, expected, K + 1));
    }
}

static void test_plan(void) {
    enum { CLASSES = 70, PIXELS = 50 };
    static double p[B][CLASSES][PIXELS], columns[CLASSES * B * PIXELS], uniforms[B][PIXELS];
    static int64_t classes[B][PIXELS], drawn[B][PIXELS], completed[B][PIXELS];
    static uint8_t needed[B][PIXELS];
    const vqd_schedule many = {CLASSES, T, alpha_bar, gamma_bar};
    for (int i = 0; i < B * CLASSES * PIXELS; i++)
        (&p[0][0][0])[i] = log(0.01 + uniform());
    for (int i = 0; i < B * PIXELS; i++)
        (&classes[0][0])[i] = i % 3 ? CLASSES : i % CLASSES;
    const vqd_tensor x = tensor(classes, VQD_INT64, 2, B, PIXELS, 0),
                     u = tensor(uniforms, VQD_FLOAT64, 2, B, PIXELS, 0);
    const vqd_tensor all = tensor(p, VQD_FLOAT64, 3, B, CLASSES, PIXELS);
    const vqd_tensor flags = tensor(needed, VQD_BOOL8, 2, B, PIXELS, 0);
    const vqd_tensor to = tensor(drawn, VQD_INT64, 2, B, PIXELS, 0),
                     to_other = tensor(completed, VQD_INT64, 2, B, PIXELS, 0);
    for (int t = 0; t < T; t++) {
        for (int i = 0; i < B * PIXELS; i++)
            (&uniforms[0][0])[i] = uniform();
        memset(needed, 0x5a, sizeof needed);
        CHECK(vqd_step(&many, t, t - 1, &all, &x, INVERSE_CDF_DRAW(&u), NULL, &to, NULL) == VQD_OK);
        CHECK(vqd_plan(&many, t, t - 1, t ? &x : NULL, NULL, &u, &flags, NULL) == VQD_OK);
        int64_t count = 0;
        for (int i = 0; i < B * PIXELS; i++) {
            const uint8_t flag = (&needed[0][0])[i];
            CHECK(flag == 1 || (flag == 0 && t > 0));
            count += flag;
        }
        CHECK(count > 0 && (t == 0 || count < B * PIXELS));
        int64_t column = 0;
        for (int i = 0; i < B * PIXELS; i++) {
            if (!(&needed[0][0])[i])
                continue;
            for (int k = 0; k < CLASSES; k++)
                columns[k * count + column] = p[i / PIXELS][k][i % PIXELS];
            column++;
        }
        const vqd_tensor gathered = tensor(columns, VQD_FLOAT64, 2, CLASSES, count, 0);
        CHECK(vqd_step(&many, t, t - 1, &gathered, t ? &x : NULL, INVERSE_CDF_DRAW(&u), NULL,
                       &to_other, NULL)
              == VQD_OK);
        CHECK(memcmp(drawn, completed, sizeof drawn) == 0);
        /* what is needed is what is read: anything else may be NaN */
        static double holes[B][CLASSES][PIXELS];
        for (int i = 0; i < B * CLASSES * PIXELS; i++)
            (&holes[0][0][0])[i] =
                needed[i / (CLASSES * PIXELS)][i % PIXELS] ? (&p[0][0][0])[i] : NAN;
        const vqd_tensor with_holes = tensor(holes, VQD_FLOAT64, 3, B, CLASSES, PIXELS);
        CHECK(
            vqd_step(&many, t, t - 1, &with_holes, &x, INVERSE_CDF_DRAW(&u), NULL, &to_other, NULL)
            == VQD_OK);
        CHECK(memcmp(drawn, completed, sizeof drawn) == 0);
    }
}

static void test_add_noise(void) {
    static double uniforms[GRID];
    static int64_t drawn[GRID];
    double all[K + 1][K + 1];
    for (int i = 0; i < GRID; i++)
        uniforms[i] = (i + 0.5) / GRID;
    const vqd_tensor u = tensor(uniforms, VQD_FLOAT64, 2, 1, GRID, 0),
                     to = tensor(drawn, VQD_INT64, 2, 1, GRID, 0);
    for (int64_t t = 0; t < T; t++) {
        const vqd_tensor timesteps = tensor(&t, VQD_INT64, 1, 1, 0, 0);
        for (int64_t s = -1; s <= t; s++) {
            matrix(s, t, all); /* at s = t the identity */
            for (uint8_t x_s = 0; x_s <= K; x_s++) {
                const vqd_tensor x = {&x_s, {1, GRID, 0}, {0, 0, 0}, 2, VQD_UINT8};
                CHECK(vqd_add_noise(&schedule, s, &x, &timesteps, &u, &to, NULL) == VQD_OK);
                CHECK(counts_match(drawn, all[x_s], K + 1));
                for (int i = 0; i < GRID && s == t; i++)
                    CHECK(drawn[i] == x_s);
            }
        }
    }
}

static void test_numbers_of_threads(void) {
    enum { PIXELS = 5000, CLASSES = 50 };
    float *p = malloc(sizeof(float) * CLASSES * PIXELS);
    double *uniforms = malloc(sizeof(double) * PIXELS);
    int64_t *drawn[2] = {malloc(sizeof(int64_t) * PIXELS), malloc(sizeof(int64_t) * PIXELS)};
    const int64_t masked = CLASSES;
    for (int i = 0; i < CLASSES * PIXELS; i++)
        p[i] = (float)log(uniform() / CLASSES);
    for (int i = 0; i < PIXELS; i++)
        uniforms[i] = uniform();
    const vqd_schedule many = {CLASSES, T, alpha_bar, gamma_bar};
    const vqd_tensor model_output = tensor(p, VQD_FLOAT32, 3, 1, CLASSES, PIXELS);
    const vqd_tensor u = tensor(uniforms, VQD_FLOAT64, 2, 1, PIXELS, 0);
    const vqd_tensor x = {(void *)&masked, {1, PIXELS, 0}, {0, 0, 0}, 2, VQD_INT64};
    for (int i = 0; i < 2; i++) {
        const vqd_tensor to = tensor(drawn[i], VQD_INT64, 2, 1, PIXELS, 0);
        vqd_context context = {.num_threads = i ? 7 : 1};
        CHECK(vqd_step(&many, 3, 2, &model_output, &x, INVERSE_CDF_DRAW(&u), NULL, &to, &context)
              == VQD_OK);
    }
    CHECK(memcmp(drawn[0], drawn[1], sizeof(int64_t) * PIXELS) == 0);
    free(p);
    free(uniforms);
    free(drawn[0]);
    free(drawn[1]);
}

void test_sampling(void) {
    test_gumbel();
    test_noise_sources();
    test_inverse_cdf();
    test_plan();
    test_add_noise();
    test_numbers_of_threads();
}
