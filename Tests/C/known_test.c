/* Known tokens: the others are drawn as without, and their columns alone are read. */
#include "abi_test.h"

#include <string.h>

static int8_t known[B][N] = {{-1, 2, 0, -1}, {1, -1, -1, 0}};

static bool is_known(int pixel) {
    return (&known[0][0])[pixel] >= 0;
}

/* One step with known tokens and one without. */
static void check_step(int64_t t, int64_t s, const vqd_draw *draw, const vqd_guidance *guidance) {
    int64_t plain[B][N], drawn[B][N];
    const vqd_tensor p = tensor(log_p, VQD_FLOAT64, 3, B, K, N),
                     x = tensor(x_t, VQD_INT64, 2, B, N, 0),
                     given = tensor(known, VQD_INT8, 2, B, N, 0),
                     to_plain = tensor(plain, VQD_INT64, 2, B, N, 0),
                     to = tensor(drawn, VQD_INT64, 2, B, N, 0);
    const vqd_step_options without = {.guidance = guidance},
                           with = {.guidance = guidance, .known = &given};
    CHECK(vqd_step(&schedule, t, s, &p, &x, draw, &without, &to_plain, NULL) == VQD_OK);
    CHECK(vqd_step(&schedule, t, s, &p, &x, draw, &with, &to, NULL) == VQD_OK);
    for (int i = 0; i < B * N; i++)
        CHECK((&drawn[0][0])[i] == (is_known(i) ? (&known[0][0])[i] : (&plain[0][0])[i]));
}

static void test_steps(void) {
    static const int64_t ends[][2] = {{3, 2}, {4, 1}, {2, 0}, {0, -1}, {3, -1}};
    static double uniforms[B][N], of_classes[B][K + 1][N];
    const vqd_tensor u = tensor(uniforms, VQD_FLOAT64, 2, B, N, 0),
                     p = tensor(log_p, VQD_FLOAT64, 3, B, K, N);
    const vqd_guidance guidance = {&p, 3, 0.9, -70, 0, 0};
    for (int i = 0; i < 100; i++) {
        const int64_t t = ends[i % 5][0], s = ends[i % 5][1];
        const vqd_tensor all = tensor(of_classes, VQD_FLOAT64, 3, B, s < 0 ? K : K + 1, N);
        for (int n = 0; n < B * N; n++)
            (&uniforms[0][0])[n] = uniform();
        for (int n = 0; n < B * (K + 1) * N; n++)
            (&of_classes[0][0][0])[n] = uniform();
        check_step(t, s, INVERSE_CDF_DRAW(&u), NULL);
        check_step(t, s, INVERSE_CDF_DRAW(&u), &guidance);
        check_step(t, s, GUMBEL_DRAW(&all), NULL);
        check_step(t, s, GUMBEL_DRAW(&all), &guidance);
    }
}

/* A plan needs the others alone, and a step from their columns gives the step's tokens. */
static void test_planned(void) {
    static double uniforms[B][N], holes[B][K][N], columns[K * B * N];
    static uint8_t needed[B][N];
    static int64_t drawn[B][N], completed[B][N];
    const vqd_tensor u = tensor(uniforms, VQD_FLOAT64, 2, B, N, 0),
                     given = tensor(known, VQD_INT8, 2, B, N, 0),
                     p = tensor(holes, VQD_FLOAT64, 3, B, K, N),
                     flags = tensor(needed, VQD_BOOL8, 2, B, N, 0),
                     to = tensor(drawn, VQD_INT64, 2, B, N, 0),
                     to_other = tensor(completed, VQD_INT64, 2, B, N, 0);
    const vqd_step_options with = {.known = &given};
    for (int i = 0; i < B * N; i++)
        (&uniforms[0][0])[i] = uniform();
    memcpy(holes, log_p, sizeof holes);
    for (int i = 0; i < B * N; i++)
        if (is_known(i))
            holes[i / N][1][i % N] = NAN;
    CHECK(vqd_plan(&schedule, 0, -1, NULL, &with, &u, &flags, NULL) == VQD_OK);
    int64_t count = 0, column = 0;
    for (int i = 0; i < B * N; i++) {
        CHECK((&needed[0][0])[i] == !is_known(i));
        count += !is_known(i);
    }
    for (int i = 0; i < B * N; i++) {
        for (int k = 0; k < K && !is_known(i); k++)
            columns[k * count + column] = log_p[i / N][k][i % N];
        column += !is_known(i);
    }
    const vqd_tensor gathered = tensor(columns, VQD_FLOAT64, 2, K, count, 0);
    const vqd_draw *draw = INVERSE_CDF_DRAW(&u);
    CHECK(vqd_step(&schedule, 0, -1, &p, NULL, draw, &with, &to, NULL) == VQD_OK);
    CHECK(vqd_step(&schedule, 0, -1, &gathered, NULL, draw, &with, &to_other, NULL) == VQD_OK);
    CHECK(memcmp(drawn, completed, sizeof drawn) == 0);
    CHECK(vqd_step(&schedule, 0, -1, &gathered, NULL, draw, NULL, &to_other, NULL)
          == VQD_VALUE_ERROR);
}

static void check_refused(const vqd_tensor *given, vqd_status wanted, const char *message) {
    const double uniforms[B][K + 1][N] = {{{0.5}}};
    int64_t drawn[B][N], before[B][N];
    uint8_t needed[B][N], unwritten[B][N];
    memset(drawn, 0x5a, sizeof drawn);
    memset(before, 0x5a, sizeof before);
    memset(needed, 0x5a, sizeof needed);
    memset(unwritten, 0x5a, sizeof unwritten);
    const vqd_tensor p = tensor(log_p, VQD_FLOAT64, 3, B, K, N),
                     x = tensor(x_t, VQD_INT64, 2, B, N, 0),
                     to = tensor(drawn, VQD_INT64, 2, B, N, 0),
                     u = tensor(uniforms, VQD_FLOAT64, 2, B, N, 0),
                     all = tensor(uniforms, VQD_FLOAT64, 3, B, K + 1, N),
                     flags = tensor(needed, VQD_BOOL8, 2, B, N, 0);
    const vqd_guidance guidance = {&p, 3, 0.9, -70, 0, 0};
    const vqd_draw *draws[] = {INVERSE_CDF_DRAW(&u), GUMBEL_DRAW(&all)};
    for (int i = 0; i < 4; i++) {
        const vqd_step_options options = {.guidance = i % 2 ? &guidance : NULL, .known = given};
        vqd_context report = {0};
        CHECK(vqd_step(&schedule, 3, 2, &p, &x, draws[i / 2], &options, &to, &report) == wanted);
        CHECK(strcmp(report.message, message) == 0);
    }
    const vqd_step_options planned = {.known = given};
    vqd_context report = {0};
    CHECK(vqd_plan(&schedule, 3, 2, &x, &planned, &u, &flags, &report) == wanted);
    CHECK(strcmp(report.message, message) == 0);
    CHECK(memcmp(drawn, before, sizeof drawn) == 0);
    CHECK(memcmp(needed, unwritten, sizeof needed) == 0);
}

static void test_refused(void) {
    int8_t bad[B][N] = {{-1, -1, -1, -1}, {0, 0, 0, MASK}};
    const vqd_tensor values = tensor(bad, VQD_INT8, 2, B, N, 0),
                     short_rows = tensor(known, VQD_INT8, 2, B, N - 1, 0),
                     floats = tensor(log_p, VQD_FLOAT64, 2, B, N, 0),
                     nothing = tensor(NULL, VQD_INT8, 2, B, N, 0);
    check_refused(&values, VQD_VALUE_ERROR,
                  "known must hold classes 0 ... 2, or -1 where unknown, not 3 as at [1, 3]");
    bad[1][3] = -2;
    check_refused(&values, VQD_VALUE_ERROR,
                  "known must hold classes 0 ... 2, or -1 where unknown, not -2 as at [1, 3]");
    check_refused(&short_rows, VQD_VALUE_ERROR, "known must have shape (2, 4), not (2, 3)");
    check_refused(&floats, VQD_TYPE_ERROR, "known must be of an integer type, not float64");
    check_refused(&nothing, VQD_VALUE_ERROR, "known has no data: the pointer is null");
}

void test_known(void) {
    test_steps();
    test_planned();
    test_refused();
}
