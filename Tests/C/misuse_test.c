/* Every kind of misuse: the status, the sentence, and outputs left as they were. */
#include "abi_test.h"

#include <stdio.h>
#include <string.h>

static vqd_context report;

/* The status is as wanted, and the message is a sentence that begins with the argument's name. */
static void expect(vqd_status status, vqd_status wanted, const char *name, int line) {
    const bool named = report.message[0] && strncmp(report.message, name, strlen(name)) == 0;
    if (status != wanted || !named)
        printf("status %d, message \"%s\"\n", status, report.message);
    check(status == wanted, "the status is as wanted", __FILE__, line);
    check(named, name, __FILE__, line);
    memset(&report, 0, sizeof report);
}
#define EXPECT(call, wanted, name) expect((call), (wanted), (name), __LINE__)

/* The arguments of a call of vqd_q_posterior that works; each test breaks one. */
typedef struct arguments {
    vqd_schedule schedule;
    int64_t t, s;
    vqd_tensor p, x, out;
} arguments;

static double untouched[B][K + 1][N];

static arguments good(void) {
    return (arguments){schedule,
                       3,
                       2,
                       tensor(log_p, VQD_FLOAT64, 3, B, K, N),
                       tensor(x_t, VQD_INT64, 2, B, N, 0),
                       tensor(untouched, VQD_FLOAT64, 3, B, K + 1, N)};
}

static vqd_status posterior(arguments a) {
    return vqd_q_posterior(&a.schedule, a.t, a.s, &a.p, &a.x, &a.out, &report);
}

#define BROKEN(breakage, wanted, name) \
    do { \
        arguments a = good(); \
        breakage; \
        EXPECT(posterior(a), wanted, name); \
    } while (0)

static void test_tensors(void) {
    memset(untouched, 0x5a, sizeof untouched);
    /* shapes */
    BROKEN(a.p.shape[1] = K + 1, VQD_VALUE_ERROR, "log_p_x_0");
    BROKEN(a.x.shape[1] = N + 1, VQD_VALUE_ERROR, "x_t");
    BROKEN(a.x.shape[0] = 1, VQD_VALUE_ERROR, "x_t");
    BROKEN(a.out.shape[1] = K, VQD_VALUE_ERROR, "out");
    BROKEN(a.p.shape[0] = -1, VQD_VALUE_ERROR, "log_p_x_0");
    BROKEN(a.p.rank = 2, VQD_VALUE_ERROR, "log_p_x_0");
    BROKEN(a.x.rank = 3, VQD_VALUE_ERROR, "x_t");
    BROKEN(a.p.rank = 0, VQD_VALUE_ERROR, "log_p_x_0");
    BROKEN(a.p.rank = 4, VQD_VALUE_ERROR, "log_p_x_0");
    BROKEN(a.p.rank = -1, VQD_VALUE_ERROR, "log_p_x_0");
    /* shapes and strides beyond the address space */
    BROKEN(a.p.shape[2] = a.x.shape[1] = a.out.shape[2] = INT64_MAX, VQD_VALUE_ERROR, "");
    BROKEN(a.p.shape[0] = a.x.shape[0] = a.out.shape[0] = INT64_MAX / 2, VQD_VALUE_ERROR, "");
    BROKEN(a.p.shape[2] = a.x.shape[1] = a.out.shape[2] = (int64_t)1 << 60, VQD_VALUE_ERROR, "");
    BROKEN(a.p.strides[0] = INT64_MAX, VQD_VALUE_ERROR, "log_p_x_0");
    BROKEN(a.p.strides[2] = INT64_MIN, VQD_VALUE_ERROR, "log_p_x_0");
    BROKEN(a.x.strides[1] = INT64_MAX / 2, VQD_VALUE_ERROR, "x_t");
    /* each axis within it, but not their sum */
    BROKEN(a.p.strides[0] = INT64_MAX / 2;
           a.p.strides[1] = INT64_MAX / 4, VQD_VALUE_ERROR, "log_p_x_0");
    /* one number for all elements, of which there are too many */
    BROKEN(a.p.shape[0] = a.p.shape[2] = (int64_t)1 << 32;
           memset(a.p.strides, 0, sizeof a.p.strides), VQD_VALUE_ERROR, "log_p_x_0");
    /* element types */
    BROKEN(a.p.dtype = VQD_INT32, VQD_TYPE_ERROR, "log_p_x_0");
    BROKEN(a.p.dtype = VQD_BOOL8, VQD_TYPE_ERROR, "log_p_x_0");
    BROKEN(a.p.dtype = 0, VQD_TYPE_ERROR, "log_p_x_0");
    BROKEN(a.p.dtype = 99, VQD_TYPE_ERROR, "log_p_x_0");
    BROKEN(a.x.dtype = VQD_FLOAT64, VQD_TYPE_ERROR, "x_t");
    BROKEN(a.x.dtype = VQD_BOOL8, VQD_TYPE_ERROR, "x_t");
    BROKEN(a.x.dtype = -1, VQD_TYPE_ERROR, "x_t");
    BROKEN(a.out.dtype = VQD_FLOAT32, VQD_TYPE_ERROR, "out");
    BROKEN(a.out.dtype = VQD_INT64, VQD_TYPE_ERROR, "out");
    /* outputs in one piece */
    BROKEN(a.out.strides[2] = 16, VQD_VALUE_ERROR, "out");
    BROKEN(a.out.strides[0] = 0, VQD_VALUE_ERROR, "out");
    BROKEN(a.out.strides[2] = -8, VQD_VALUE_ERROR, "out");
    /* null pointers */
    BROKEN(a.p.data = NULL, VQD_VALUE_ERROR, "log_p_x_0");
    BROKEN(a.x.data = NULL, VQD_VALUE_ERROR, "x_t");
    BROKEN(a.out.data = NULL, VQD_VALUE_ERROR, "out");
    const arguments a = good();
    EXPECT(vqd_q_posterior(NULL, 3, 2, &a.p, &a.x, &a.out, &report), VQD_VALUE_ERROR, "schedule");
    EXPECT(vqd_q_posterior(&schedule, 3, 2, NULL, &a.x, &a.out, &report), VQD_VALUE_ERROR,
           "log_p_x_0");
    EXPECT(vqd_q_posterior(&schedule, 3, 2, &a.p, NULL, &a.out, &report), VQD_VALUE_ERROR, "x_t");
    EXPECT(vqd_q_posterior(&schedule, 3, 2, &a.p, &a.x, NULL, &report), VQD_VALUE_ERROR, "out");
    CHECK(vqd_q_posterior(NULL, 3, 2, NULL, NULL, NULL, NULL) == VQD_VALUE_ERROR);
}

static bool untouched_bytes(const void *memory, size_t bytes) {
    for (size_t i = 0; i < bytes; i++)
        if (((const unsigned char *)memory)[i] != 0x5a)
            return false;
    return true;
}

static void no_uniforms(void *context, float *uniforms, int64_t count) {
    (void)context, (void)uniforms, (void)count;
    CHECK(false);
}

static void test_numbers(void) {
    /* timesteps */
    BROKEN(a.t = T, VQD_VALUE_ERROR, "t ");
    BROKEN(a.t = -1, VQD_VALUE_ERROR, "t ");
    BROKEN(a.t = INT64_MAX, VQD_VALUE_ERROR, "t ");
    BROKEN(a.s = 3, VQD_VALUE_ERROR, "s ");
    BROKEN(a.s = -2, VQD_VALUE_ERROR, "s ");
    BROKEN(a.s = INT64_MIN, VQD_VALUE_ERROR, "s ");
    /* schedules */
    BROKEN(a.schedule.num_classes = 0, VQD_VALUE_ERROR, "num_classes");
    BROKEN(a.schedule.num_classes = INT64_MAX, VQD_VALUE_ERROR, "");
    BROKEN(a.schedule.num_timesteps = 0, VQD_VALUE_ERROR, "num_timesteps");
    BROKEN(a.schedule.alpha_cumulative = NULL, VQD_VALUE_ERROR, "alpha_cumulative");
    BROKEN(a.schedule.gamma_cumulative = NULL, VQD_VALUE_ERROR, "gamma_cumulative");
    static const double rising[T] = {0.1, 0.3, 0.5, 0.7, 0.9},
                        not_a_number[T] = {0.9, NAN, 0.5, 0.3, 0.1};
    vqd_schedule wrong = {K, T, rising, gamma_bar};
    CHECK(vqd_schedule_check(&wrong, &report) == VQD_VALUE_ERROR && strlen(report.message) > 10);
    wrong.alpha_cumulative = not_a_number;
    CHECK(vqd_schedule_check(&wrong, &report) == VQD_VALUE_ERROR && strlen(report.message) > 10);
    double step[T], cumulative_table[T + 1];
    EXPECT(vqd_alpha_schedules(1, 0.9, 0.1, step, cumulative_table, &report), VQD_VALUE_ERROR,
           "num_timesteps");
    EXPECT(vqd_gamma_schedules(INT64_MIN, 0.1, 0.9, step, cumulative_table, &report),
           VQD_VALUE_ERROR, "num_timesteps");
    EXPECT(vqd_alpha_schedules(T, NAN, 0.1, step, cumulative_table, &report), VQD_VALUE_ERROR,
           "alpha_cum_start");
    EXPECT(vqd_gamma_schedules(T, 0.1, 1.5, step, cumulative_table, &report), VQD_VALUE_ERROR,
           "gamma_cum_end");
    EXPECT(vqd_alpha_schedules(T, 0.9, 0.1, NULL, cumulative_table, &report), VQD_VALUE_ERROR,
           "alpha");
    vqd_coefficients coefficients;
    memset(&coefficients, 0x5a, sizeof coefficients);
    EXPECT(vqd_step_coefficients(&schedule, 3, 2, 0, NULL, &report), VQD_VALUE_ERROR, "out");
    EXPECT(vqd_step_coefficients(NULL, 3, 2, 0, &coefficients, &report), VQD_VALUE_ERROR,
           "schedule");
    EXPECT(vqd_step_coefficients(&schedule, T, 2, 0, &coefficients, &report), VQD_VALUE_ERROR,
           "timestep");
    EXPECT(vqd_step_coefficients(&schedule, 3, 3, 0, &coefficients, &report), VQD_VALUE_ERROR,
           "previous_timestep");
    CHECK(untouched_bytes(&coefficients, sizeof coefficients));
    double *t = cumulative_table;
    EXPECT(vqd_schedule_logs(&schedule, step, NULL, step, t, t, t, &report), VQD_VALUE_ERROR,
           "log_beta");

    /* what is read */
    double bad_p[B][K][N];
    int64_t bad_x[B][N];
    memcpy(bad_p, log_p, sizeof bad_p);
    memcpy(bad_x, x_t, sizeof bad_x);
    bad_p[1][2][3] = NAN;
    BROKEN(a.p.data = bad_p, VQD_VALUE_ERROR, "log_p_x_0");
    bad_p[1][2][3] = INFINITY;
    BROKEN(a.p.data = bad_p, VQD_VALUE_ERROR, "log_p_x_0");
    for (int k = 0; k < K; k++)
        bad_p[1][k][3] = -INFINITY;
    BROKEN(a.p.data = bad_p, VQD_VALUE_ERROR, "log_p_x_0");
    bad_x[1][3] = K + 1;
    BROKEN(a.x.data = bad_x, VQD_VALUE_ERROR, "x_t");
    BROKEN(a.x.data = bad_x, VQD_VALUE_ERROR, "x_t must hold classes 0 ... 3, not 4 as at [1, 3");
    bad_x[1][3] = INT64_MIN; /* and as an unsigned number */
    BROKEN(a.x.data = bad_x, VQD_VALUE_ERROR,
           "x_t must hold classes 0 ... 3, not -9223372036854775808 as at [1, 3");
    BROKEN(a.x.data = bad_x; a.x.dtype = VQD_UINT64, VQD_VALUE_ERROR,
                             "x_t must hold classes 0 ... 3, not 9223372036854775808 as at [1, 3");
    bad_x[1][3] = -1;
    BROKEN(a.x.data = bad_x; a.x.dtype = VQD_UINT64, VQD_VALUE_ERROR,
                             "x_t must hold classes 0 ... 3, not 18446744073709551615 as at [1, 3");

    double uniforms[B][N] = {{0}};
    int64_t drawn[B][N], timesteps[B] = {0, T};
    memset(drawn, 0x5a, sizeof drawn);
    const arguments a = good();
    const vqd_tensor u = tensor(uniforms, VQD_FLOAT64, 2, B, N, 0),
                     to = tensor(drawn, VQD_INT64, 2, B, N, 0);
    const vqd_tensor steps = tensor(timesteps, VQD_INT64, 1, B, 0, 0),
                     u32 = tensor(uniforms, VQD_FLOAT32, 2, B, N, 0);
    EXPECT(vqd_step(&schedule, 3, 2, &a.p, NULL, INVERSE_CDF_DRAW(&u), NULL, &to, &report),
           VQD_VALUE_ERROR, "sample");
    EXPECT(vqd_step(&schedule, 3, 2, &a.p, &a.x, INVERSE_CDF_DRAW(&u32), NULL, &to, &report),
           VQD_TYPE_ERROR, "uniforms");
    EXPECT(vqd_add_noise(&schedule, -1, &a.x, &steps, &u, &to, &report), VQD_VALUE_ERROR,
           "timesteps");
    timesteps[1] = T - 1;
    EXPECT(vqd_add_noise(&schedule, 1, &a.x, &steps, &u, &to, &report), VQD_VALUE_ERROR,
           "timesteps must be in 1 ... 4, not 0");
    EXPECT(vqd_add_noise(&schedule, -2, &a.x, &steps, &u, &to, &report), VQD_VALUE_ERROR,
           "from_timestep must be in -1 ... 4, not -2");
    EXPECT(vqd_add_noise(&schedule, T, &a.x, &steps, &u, &to, &report), VQD_VALUE_ERROR,
           "from_timestep");
    uniforms[1][3] = 1;
    EXPECT(vqd_step(&schedule, 3, 2, &a.p, &a.x, INVERSE_CDF_DRAW(&u), NULL, &to, &report),
           VQD_VALUE_ERROR, "uniforms");
    uniforms[1][3] = NAN;
    timesteps[1] = 0;
    EXPECT(vqd_add_noise(&schedule, -1, &a.x, &steps, &u, &to, &report), VQD_VALUE_ERROR,
           "uniforms");
    float onehot[B][3][N];
    const vqd_tensor to_onehot = tensor(onehot, VQD_FLOAT32, 3, B, 3, N);
    EXPECT(vqd_index_to_log_onehot(&a.x, 3, &to_onehot, &report), VQD_VALUE_ERROR, "x");

    /* draws and sources of noise */
    vqd_mt19937 engine, engine_before;
    memset(&engine, 1, sizeof engine);
    engine.position = 625;
    engine_before = engine;
    const vqd_draw nowhere = {.method = VQD_GUMBEL, .uniforms = NULL},
                   overdrawn = {.method = VQD_GUMBEL, .engine = &engine};
    EXPECT(vqd_step(&schedule, 3, 2, &a.p, &a.x, NULL, NULL, &to, &report), VQD_VALUE_ERROR,
           "draw");
    EXPECT(vqd_step(&schedule, 3, 2, &a.p, &a.x, &nowhere, NULL, &to, &report), VQD_VALUE_ERROR,
           "uniforms");
    EXPECT(vqd_step(&schedule, 3, 2, &a.p, &a.x, &overdrawn, NULL, &to, &report), VQD_VALUE_ERROR,
           "engine");
    engine.position = engine_before.position = 7;
    EXPECT(vqd_step(&schedule, 3, 2, &a.p, NULL, &overdrawn, NULL, &to, &report), VQD_VALUE_ERROR,
           "sample");
#define DRAW(wanted, name, ...) \
    EXPECT(vqd_step(&schedule, 3, 2, &a.p, &a.x, &(vqd_draw){__VA_ARGS__}, NULL, &to, &report), \
           wanted, name)
    DRAW(VQD_VALUE_ERROR, "method must be a vqd_draw_method, not 0", .uniforms = &u);
    DRAW(VQD_VALUE_ERROR, "method must be a vqd_draw_method, not -2147483648", .method = INT32_MIN);
    DRAW(VQD_VALUE_ERROR, "method must be a vqd_draw_method, not 3", .method = 3,
         .engine = &engine);
    DRAW(VQD_VALUE_ERROR, "uniforms", .method = VQD_INVERSE_CDF);
    DRAW(VQD_VALUE_ERROR, "engine must be NULL where the method is VQD_INVERSE_CDF",
         .method = VQD_INVERSE_CDF, .uniforms = &u, .engine = &engine);
    DRAW(VQD_VALUE_ERROR, "fill must be NULL where the method is VQD_INVERSE_CDF",
         .method = VQD_INVERSE_CDF, .fill = no_uniforms);
    DRAW(VQD_VALUE_ERROR, "engine must be NULL where uniforms are given", .method = VQD_GUMBEL,
         .uniforms = &u, .engine = &engine);
    DRAW(VQD_VALUE_ERROR, "fill must be NULL where uniforms are given", .method = VQD_GUMBEL,
         .uniforms = &u, .fill = no_uniforms);
    DRAW(VQD_VALUE_ERROR, "fill must be NULL where an engine is given", .method = VQD_GUMBEL,
         .engine = &engine, .fill = no_uniforms);
    DRAW(VQD_VALUE_ERROR, "uniforms must have 2 axes, not 3", .method = VQD_INVERSE_CDF,
         .uniforms = &a.p);
    DRAW(VQD_VALUE_ERROR, "uniforms must have 3 axes, not 2", .method = VQD_GUMBEL, .uniforms = &u);
    CHECK(memcmp(&engine, &engine_before, sizeof engine) == 0);

    /* one column for each needed pixel goes with VQD_INVERSE_CDF alone, and without guidance */
    const vqd_tensor columns = tensor(log_p, VQD_FLOAT64, 2, K, B * N, 0);
    const vqd_guidance guidance = {NULL, 1, 1, -70, 0, 0};
    const vqd_step_options options = {.guidance = &guidance};
    const vqd_draw drawn_by_engine = {.method = VQD_GUMBEL, .engine = &engine};
    EXPECT(vqd_step(&schedule, 3, 2, &columns, &a.x, &drawn_by_engine, NULL, &to, &report),
           VQD_VALUE_ERROR, "model_output must have 3 axes, not 2");
    EXPECT(vqd_step(&schedule, 3, 2, &columns, &a.x, INVERSE_CDF_DRAW(&u), &options, &to, &report),
           VQD_VALUE_ERROR, "log_p_cond must have 3 axes, not 2");

    /* none of the errors above has written anything */
    bool clean = true;
    for (size_t i = 0; i < sizeof untouched; i++)
        clean &= ((unsigned char *)untouched)[i] == 0x5a;
    for (size_t i = 0; i < sizeof drawn; i++)
        clean &= ((unsigned char *)drawn)[i] == 0x5a;
    CHECK(clean);
}

static void test_plans(void) {
    double uniforms[B][N], columns[K][B * N];
    uint8_t needed[B][N];
    int64_t drawn[B][N], bad_x[B][N];
    memset(needed, 0x5a, sizeof needed);
    memset(drawn, 0x5a, sizeof drawn);
    for (int i = 0; i < B * N; i++)
        (&uniforms[0][0])[i] = 1 - 0x1p-53; /* every column is needed */
    for (int i = 0; i < K * B * N; i++)
        (&columns[0][0])[i] = -1;
    memcpy(bad_x, x_t, sizeof bad_x);
    bad_x[1][2] = K + 1;
    const vqd_tensor x = tensor(x_t, VQD_INT64, 2, B, N, 0),
                     u = tensor(uniforms, VQD_FLOAT64, 2, B, N, 0);
    const vqd_tensor wrong_x = tensor(bad_x, VQD_INT64, 2, B, N, 0),
                     short_x = tensor(x_t, VQD_INT64, 2, B, N - 1, 0);
    const vqd_tensor u32 = tensor(uniforms, VQD_FLOAT32, 2, B, N, 0),
                     flags = tensor(needed, VQD_BOOL8, 2, B, N, 0);
    const vqd_tensor bytes = tensor(needed, VQD_UINT8, 2, B, N, 0),
                     few = tensor(needed, VQD_BOOL8, 2, B, N - 1, 0);
    const vqd_tensor p = tensor(columns, VQD_FLOAT64, 2, K, B * N, 0),
                     to = tensor(drawn, VQD_INT64, 2, B, N, 0);
    const vqd_tensor narrow = tensor(columns, VQD_FLOAT64, 2, K, B * N - 1, 0);
    const vqd_tensor wide = tensor(columns, VQD_FLOAT64, 2, K - 1, B * N, 0);
    const vqd_tensor rank_3 = tensor(columns, VQD_FLOAT64, 3, 1, K, B * N);
    const vqd_tensor integers = tensor(columns, VQD_INT64, 2, K, B * N, 0);
#define PLAN(t, x, u, flags, wanted, name) \
    EXPECT(vqd_plan(&schedule, t, 2, x, NULL, u, flags, &report), wanted, name)
    PLAN(T, &x, &u, &flags, VQD_VALUE_ERROR, "timestep");
    PLAN(2, &x, &u, &flags, VQD_VALUE_ERROR, "previous_timestep");
    PLAN(3, NULL, &u, &flags, VQD_VALUE_ERROR, "sample");
    PLAN(3, &short_x, &u, &flags, VQD_VALUE_ERROR, "sample");
    PLAN(3, &wrong_x, &u, &flags, VQD_VALUE_ERROR, "sample");
    PLAN(3, &u, &u, &flags, VQD_TYPE_ERROR, "sample");
    PLAN(3, &x, NULL, &flags, VQD_VALUE_ERROR, "uniforms");
    PLAN(3, &x, &u32, &flags, VQD_TYPE_ERROR, "uniforms");
    PLAN(3, &x, &u, NULL, VQD_VALUE_ERROR, "needed");
    PLAN(3, &x, &u, &bytes, VQD_TYPE_ERROR, "needed");
    PLAN(3, &x, &u, &few, VQD_VALUE_ERROR, "needed");
    EXPECT(vqd_plan(NULL, 3, 2, &x, NULL, &u, &flags, &report), VQD_VALUE_ERROR, "schedule");
#define COMPLETE(p, x, u, to, wanted, name) \
    EXPECT(vqd_step(&schedule, 3, 2, p, x, INVERSE_CDF_DRAW(u), NULL, to, &report), wanted, name)
    COMPLETE(NULL, &x, &u, &to, VQD_VALUE_ERROR, "model_output");
    COMPLETE(&narrow, &x, &u, &to, VQD_VALUE_ERROR,
             "model_output must have shape (3, 8), not (3, 7");
    COMPLETE(&wide, &x, &u, &to, VQD_VALUE_ERROR, "model_output must have shape (3, 8), not (2, 8");
    COMPLETE(&rank_3, &x, &u, &to, VQD_VALUE_ERROR, "prev_sample"); /* of a grid of (1, 8) */
    COMPLETE(&integers, &x, &u, &to, VQD_TYPE_ERROR, "model_output");
    COMPLETE(&p, NULL, &u, &to, VQD_VALUE_ERROR, "sample");
    COMPLETE(&p, &wrong_x, &u, &to, VQD_VALUE_ERROR, "sample");
    COMPLETE(&p, &x, &u32, &to, VQD_TYPE_ERROR, "uniforms");
    COMPLETE(&p, &x, &u, &short_x, VQD_VALUE_ERROR, "prev_sample");
    COMPLETE(&p, &x, &u, NULL, VQD_VALUE_ERROR, "prev_sample");
    columns[1][6] = NAN;
    COMPLETE(&p, &x, &u, &to, VQD_VALUE_ERROR,
             "model_output must hold finite numbers or -inf, not NaN or +inf as at [1, 6");
    for (int k = 0; k < K; k++)
        columns[k][6] = -INFINITY;
    COMPLETE(&p, &x, &u, &to, VQD_VALUE_ERROR,
             "model_output must give every pixel a class of nonzero probability; all are -inf in "
             "column ");
    uniforms[1][3] = 1;
    PLAN(3, &x, &u, &flags, VQD_VALUE_ERROR, "uniforms");
    COMPLETE(&p, &x, &u, &to, VQD_VALUE_ERROR, "uniforms");
    CHECK(untouched_bytes(needed, sizeof needed) && untouched_bytes(drawn, sizeof drawn));
}

static void test_check(void) {
    double p[B][K][N];
    memcpy(p, log_p, sizeof p);
    const vqd_tensor view = tensor(p, VQD_FLOAT64, 3, B, K, N),
                     flat = tensor(p, VQD_FLOAT64, 2, B, K, 0);
    const vqd_tensor integers = tensor(p, VQD_INT64, 3, B, K, N);
    CHECK(vqd_check_model_output(&view, NULL) == VQD_OK);
    EXPECT(vqd_check_model_output(NULL, &report), VQD_VALUE_ERROR, "model_output");
    EXPECT(vqd_check_model_output(&flat, &report), VQD_VALUE_ERROR, "model_output");
    EXPECT(vqd_check_model_output(&integers, &report), VQD_TYPE_ERROR, "model_output");
    p[0][1][2] = -INFINITY; /* a class may be impossible */
    CHECK(vqd_check_model_output(&view, &report) == VQD_OK);
    for (int k = 0; k < K; k++)
        p[0][k][3] = p[1][k][0] = -INFINITY;
    EXPECT(vqd_check_model_output(&view, &report), VQD_VALUE_ERROR,
           "model_output must give every pixel a class of nonzero probability; all are -inf at row "
           "0, pixel ");
    p[1][2][1] = INFINITY;
    p[1][1][3] = NAN;
    EXPECT(vqd_check_model_output(&view, &report), VQD_VALUE_ERROR,
           "model_output must hold finite numbers or -inf, not NaN or +inf as at [1, 1, 3");
}

static void test_empty(void) {
    for (int i = 0; i < 2; i++) {
        const int64_t batch = i ? 0 : B, pixels = i ? N : 0;
        const vqd_tensor p = tensor(NULL, VQD_FLOAT32, 3, batch, K, pixels);
        const vqd_tensor x = tensor(NULL, VQD_INT64, 2, batch, pixels, 0);
        const vqd_tensor out = tensor(NULL, VQD_FLOAT32, 3, batch, K + 1, pixels);
        const vqd_tensor u = tensor(NULL, VQD_FLOAT64, 2, batch, pixels, 0);
        const vqd_tensor to = tensor(NULL, VQD_INT64, 2, batch, pixels, 0);
        CHECK(vqd_q_posterior(&schedule, 3, 2, &p, &x, &out, NULL) == VQD_OK);
        CHECK(vqd_step(&schedule, 3, 2, &p, &x, INVERSE_CDF_DRAW(&u), NULL, &to, NULL) == VQD_OK);
        const vqd_tensor flags = tensor(NULL, VQD_BOOL8, 2, batch, pixels, 0),
                         columns = tensor(NULL, VQD_FLOAT32, 2, K, 0, 0);
        CHECK(vqd_plan(&schedule, 3, 2, &x, NULL, &u, &flags, NULL) == VQD_OK);
        CHECK(vqd_step(&schedule, 3, 2, &columns, &x, INVERSE_CDF_DRAW(&u), NULL, &to, NULL)
              == VQD_OK);
        CHECK(vqd_check_model_output(&p, NULL) == VQD_OK);
        const vqd_draw given = {.method = VQD_GUMBEL, .uniforms = &out},
                       given_clean = {.method = VQD_GUMBEL, .uniforms = &p};
        CHECK(vqd_step(&schedule, 3, 2, &p, &x, &given, NULL, &to, NULL) == VQD_OK);
        CHECK(vqd_step(&schedule, 0, -1, &p, NULL, &given_clean, NULL, &to, NULL) == VQD_OK);
        CHECK(vqd_gumbel_noised(&p, &p, &p, NULL) == VQD_OK);
        CHECK(vqd_apply_cumulative_transitions(&schedule, -1, &p, &out, NULL) == VQD_OK);
    }
}

void test_misuse(void) {
    test_tensors();
    test_numbers();
    test_plans();
    test_check();
    test_empty();
}
