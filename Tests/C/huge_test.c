/* Shapes with a huge axis and an empty one: nothing is to be computed, and every call returns at
 * once. */
#include "abi_test.h"

#include <time.h>

static void check_shape(int64_t batch, int64_t pixels) {
    const vqd_tensor p = tensor(NULL, VQD_FLOAT32, 3, batch, K, pixels),
                     q = tensor(NULL, VQD_FLOAT32, 3, batch, K + 1, pixels);
    const vqd_tensor x = tensor(NULL, VQD_INT64, 2, batch, pixels, 0),
                     u = tensor(NULL, VQD_FLOAT64, 2, batch, pixels, 0);
    const vqd_tensor flags = tensor(NULL, VQD_BOOL8, 2, batch, pixels, 0),
                     columns = tensor(NULL, VQD_FLOAT32, 2, K, 0, 0);
    const int64_t zero = 0;
    const vqd_tensor steps = {(void *)&zero, {batch, 0, 0}, {0, 0, 0}, 1, VQD_INT64};
    const vqd_guidance guidance = {&p, 2, 0.9, -70, 0, 0};
    const vqd_step_options guided = {.guidance = &guidance}, known = {.known = &x};
    vqd_mt19937 engine = {.position = 624};
    const vqd_draw given = {.method = VQD_GUMBEL, .uniforms = &q},
                   drawn = {.method = VQD_GUMBEL, .engine = &engine};
    const time_t start = time(NULL);
    CHECK(vqd_q_posterior(&schedule, 3, 2, &p, &x, &q, NULL) == VQD_OK);
    CHECK(vqd_log_transition_rows(&schedule, 3, 0, &x, &q, &q, NULL) == VQD_OK);
    CHECK(vqd_log_transition_rows(&schedule, 3, 1, &x, &q, &p, NULL) == VQD_OK);
    CHECK(vqd_apply_cumulative_transitions(&schedule, 3, &p, &q, NULL) == VQD_OK);
    CHECK(vqd_index_to_log_onehot(&x, K, &p, NULL) == VQD_OK);
    CHECK(vqd_step(&schedule, 3, 2, &p, &x, &given, NULL, &x, NULL) == VQD_OK);
    CHECK(vqd_step(&schedule, 3, 2, &p, &x, &drawn, NULL, &x, NULL) == VQD_OK);
    CHECK(vqd_step(&schedule, 0, -1, &p, NULL, &drawn, NULL, &x, NULL) == VQD_OK);
    CHECK(vqd_step(&schedule, 3, 2, &p, &x, INVERSE_CDF_DRAW(&u), NULL, &x, NULL) == VQD_OK);
    CHECK(vqd_step(&schedule, 0, -1, &p, NULL, INVERSE_CDF_DRAW(&u), NULL, &x, NULL) == VQD_OK);
    CHECK(vqd_plan(&schedule, 3, 2, &x, &known, &u, &flags, NULL) == VQD_OK);
    CHECK(vqd_step(&schedule, 3, 2, &columns, &x, INVERSE_CDF_DRAW(&u), NULL, &x, NULL) == VQD_OK);
    CHECK(vqd_step(&schedule, 3, 2, &p, &x, INVERSE_CDF_DRAW(&u), &known, &x, NULL) == VQD_OK);
    CHECK(vqd_step(&schedule, 3, 2, &p, &x, &given, &known, &x, NULL) == VQD_OK);
    CHECK(vqd_check_model_output(&p, NULL) == VQD_OK);
    CHECK(vqd_add_noise(&schedule, -1, &x, &steps, &u, &x, NULL) == VQD_OK);
    CHECK(vqd_gumbel_noised(&p, &p, &p, NULL) == VQD_OK);
    CHECK(vqd_guide(&p, &p, 2, &p, NULL) == VQD_OK);
    CHECK(vqd_truncate(&p, 0.9, -70, 0, 1, &p, NULL) == VQD_OK);
    CHECK(vqd_step(&schedule, 3, 2, &p, &x, &given, &guided, &x, NULL) == VQD_OK);
    CHECK(vqd_step(&schedule, 3, 2, &p, &x, INVERSE_CDF_DRAW(&u), &guided, &x, NULL) == VQD_OK);
    CHECK(difftime(time(NULL), start) <= 1);
}

/* Pixels without a class have nothing to be drawn from. */
static void check_no_classes(int64_t batch, int64_t pixels) {
    const vqd_tensor p = tensor(NULL, VQD_FLOAT32, 3, batch, 0, pixels);
    const time_t start = time(NULL);
    CHECK(vqd_check_model_output(&p, NULL) == VQD_VALUE_ERROR);
    CHECK(vqd_guide(&p, &p, 2, &p, NULL) == VQD_VALUE_ERROR);
    CHECK(vqd_truncate(&p, 0.9, -70, 0, 1, &p, NULL) == VQD_VALUE_ERROR);
    CHECK(vqd_gumbel_noised(&p, &p, &p, NULL) == VQD_OK);
    CHECK(difftime(time(NULL), start) <= 1);
}

void test_huge(void) {
    static const int64_t huge[] = {((int64_t)1 << 31) + 1, (int64_t)1 << 40, (int64_t)1 << 50};
    for (int i = 0; i < 3; i++) {
        check_shape(huge[i], 0);
        check_shape(0, huge[i]);
        check_no_classes(huge[i], 3);
        check_no_classes(3, huge[i]);
    }
}
