/* Steps that reveal and steps that mask again: what they draw, and refusals. */
#include "abi_test.h"

#include <string.h>

static double uniforms[B][N], order[B][N], scores[B][N];
static int64_t drawn[B][N];
static uint8_t revealed[B][N], needed[B][N];

static vqd_status reveal(const vqd_unmask *unmask, double remask, int method, vqd_context *report) {
    const vqd_tensor p = tensor(log_p, VQD_FLOAT64, 3, B, K, N),
                     x = tensor(x_t, VQD_INT64, 2, B, N, 0),
                     u = tensor(uniforms, VQD_FLOAT64, 2, B, N, 0),
                     to = tensor(drawn, VQD_INT64, 2, B, N, 0);
    const vqd_draw draw = {.method = method, .uniforms = &u};
    const vqd_step_options options = {.remask = remask, .unmask = unmask};
    return vqd_step(&schedule, 3, 2, &p, &x, &draw, &options, &to, report);
}

static void test_revealed(void) {
    const vqd_tensor noise = tensor(order, VQD_FLOAT64, 2, B, N, 0),
                     flags = tensor(revealed, VQD_BOOL8, 2, B, N, 0),
                     keys = tensor(scores, VQD_FLOAT64, 2, B, N, 0);
    int64_t counts[B];
    for (int b = 0; b < B; b++)
        counts[b] = 1;
    const vqd_tensor count = tensor(counts, VQD_INT64, 1, B, 0, 0);
    for (int i = 0; i < B * N; i++) {
        (&uniforms[0][0])[i] = uniform();
        (&order[0][0])[i] = uniform();
    }
    for (int by = VQD_RANDOM; by <= VQD_CONFIDENCE; by++) {
        const vqd_unmask unmask = {.order = by,
                                   .count = &count,
                                   .order_uniforms = &noise,
                                   .revealed = &flags,
                                   .scores = &keys};
        CHECK(reveal(&unmask, 0, VQD_INVERSE_CDF, NULL) == VQD_OK);
        for (int b = 0; b < B; b++) {
            int masked = 0, shown = 0;
            for (int n = 0; n < N; n++) {
                masked += x_t[b][n] == MASK;
                shown += revealed[b][n];
                CHECK(revealed[b][n] ? x_t[b][n] == MASK && drawn[b][n] < K
                                     : drawn[b][n] == x_t[b][n]);
                CHECK(isnan(scores[b][n])
                      == (by == VQD_RANDOM ? !revealed[b][n] : x_t[b][n] != MASK));
            }
            CHECK(shown == (masked > 0));
        }
        const vqd_tensor x = tensor(x_t, VQD_INT64, 2, B, N, 0),
                         u = tensor(uniforms, VQD_FLOAT64, 2, B, N, 0),
                         to = tensor(needed, VQD_BOOL8, 2, B, N, 0);
        const vqd_step_options options = {.unmask = &unmask};
        CHECK(vqd_plan(&schedule, 3, 2, &x, &options, &u, &to, NULL) == VQD_OK);
        for (int i = 0; i < B * N; i++)
            CHECK((&needed[0][0])[i] != isnan((&scores[0][0])[i]));
    }
}

/* Tables that describe no chain, which vqd_schedule_check refuses and a step need not. */
static void test_wild_tables(void) {
    static const double wild[] = {NAN, INFINITY, -INFINITY, 5e-324, -5e-324, -0.5, 1e308};
    const vqd_unmask unmask = {.order = VQD_PURITY};
    for (int i = 0; i < 7; i++)
        for (int at = 2; at < 4; at++) {
            double gamma[T];
            memcpy(gamma, gamma_bar, sizeof gamma);
            gamma[at] = wild[i];
            const vqd_schedule tables = {K, T, alpha_bar, gamma};
            const vqd_tensor p = tensor(log_p, VQD_FLOAT64, 3, B, K, N),
                             x = tensor(x_t, VQD_INT64, 2, B, N, 0),
                             u = tensor(uniforms, VQD_FLOAT64, 2, B, N, 0),
                             to = tensor(drawn, VQD_INT64, 2, B, N, 0);
            const vqd_draw draw = {.method = VQD_INVERSE_CDF, .uniforms = &u};
            const vqd_step_options options = {.unmask = &unmask};
            const vqd_status status = vqd_step(&tables, 3, 2, &p, &x, &draw, &options, &to, NULL);
            CHECK(status == VQD_OK || status == VQD_VALUE_ERROR);
            for (int n = 0; status == VQD_OK && n < B * N; n++)
                CHECK((&drawn[0][0])[n] >= 0 && (&drawn[0][0])[n] <= K);
        }
}

static void refused(const vqd_unmask *unmask, double remask, int method, const char *name) {
    vqd_context report = {0};
    memset(drawn, 7, sizeof drawn);
    const int64_t before = drawn[0][0];
    CHECK(reveal(unmask, remask, method, &report) != VQD_OK);
    CHECK(strncmp(report.message, name, strlen(name)) == 0);
    CHECK(drawn[0][0] == before);
}

static void test_refused(void) {
    const vqd_tensor wrong = tensor(order, VQD_FLOAT64, 2, B, N, 0),
                     flags = tensor(needed, VQD_BOOL8, 1, N + 1, 0, 0);
    const vqd_unmask good = {.order = VQD_MARGIN};
    refused(&good, 0.1, VQD_INVERSE_CDF, "remask ");
    refused(&good, 0, VQD_GUMBEL, "method ");
    refused(NULL, 1.5, VQD_INVERSE_CDF, "remask ");
    refused(NULL, NAN, VQD_INVERSE_CDF, "remask ");
    const vqd_unmask bad[] = {
        {.order = 6},
        {.order = VQD_MARGIN, .rule = 3},
        {.order = VQD_MARGIN, .temperature = -1},
        {.order = VQD_MARGIN, .prior_weight = NAN},
        {.order = VQD_MARGIN, .rule = VQD_THRESHOLD, .bound = 2},
        {.order = VQD_MARGIN, .rule = VQD_ENTROPY_BOUND, .bound = INFINITY},
        {.order = VQD_RANDOM},
        {.order = VQD_MARGIN, .count = &wrong},
        {.order = VQD_MARGIN, .positions = &wrong},
        {.order = VQD_MARGIN, .positions = &flags},
        {.order = VQD_MARGIN, .revealed = &wrong},
    };
    const char *names[] = {"order ",     "rule ",          "temperature ",    "prior_weight ",
                           "threshold ", "entropy_bound ", "order_uniforms ", "count ",
                           "positions ", "positions ",     "revealed "};
    for (int i = 0; i < 11; i++)
        refused(&bad[i], 0, VQD_INVERSE_CDF, names[i]);
}

void test_unmask(void) {
    test_revealed();
    test_wild_tables();
    test_refused();
}
