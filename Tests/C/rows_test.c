/* Uniforms by the keys of rows: NumPy's numbers, and refusals. */
#include "abi_test.h"

#include <string.h>

enum { ROWS = 2, COUNT = 6, HALF = 3 };

/* numpy.random.Generator(Philox(key=[7, 3], counter=[0, 50, 1, 0])).random(6), and with the id
 * 2^64 - 1 at timestep 0 */
static const double expected[ROWS][COUNT] = {
    {0x1.35f8442f35bf4p-3, 0x1.3d4c6df138010p-2, 0x1.35c4d83b12ea8p-3, 0x1.01e05fb416d44p-2,
     0x1.c3d1cdd537738p-2, 0x1.9629559799460p-2},
    {0x1.9270b039f4d2cp-3, 0x1.82eeaafe80600p-8, 0x1.dff847e86d41dp-1, 0x1.853e7755672c6p-2,
     0x1.7f369d43d9e17p-1, 0x1.3ae80cd0af03bp-1},
};
/* the first of float32 for the former */
static const float expected_floats[COUNT] = {
    0x1.cd6fdp-1f, 0x1.35f84p-3f, 0x1.380114p-2f, 0x1.3d4c6cp-2f, 0x1.89755cp-2f, 0x1.35c4d8p-3f,
};

static const uint64_t ids[ROWS] = {3, UINT64_MAX};
static const int64_t timesteps[ROWS] = {50, 0}, before[ROWS] = {50, -1};
static double out[ROWS][COUNT];

static bool is_untouched(void) {
    for (size_t i = 0; i < sizeof out; i++)
        if (((const unsigned char *)out)[i] != 0x5a)
            return false;
    return true;
}

static void expect(vqd_status status, vqd_status wanted, vqd_context *context, const char *text) {
    CHECK(status == wanted);
    check(strcmp(context->message, text) == 0, context->message, __FILE__, __LINE__);
    CHECK(is_untouched());
}

void test_rows(void) {
    vqd_context context = {0};
    const vqd_tensor rows = tensor(ids, VQD_UINT64, 1, ROWS, 0, 0),
                     signed_rows = tensor(ids, VQD_INT64, 1, ROWS, 0, 0),
                     first = tensor(ids, VQD_INT64, 1, 1, 0, 0);
    const vqd_tensor steps = tensor(timesteps, VQD_INT64, 1, ROWS, 0, 0),
                     negative = tensor(before, VQD_INT64, 1, ROWS, 0, 0);
    const vqd_tensor to = tensor(out, VQD_FLOAT64, 2, ROWS, COUNT, 0),
                     classes = tensor(out, VQD_FLOAT64, 3, ROWS, COUNT / HALF, HALF),
                     flat = tensor(out, VQD_FLOAT64, 1, ROWS * COUNT, 0, 0),
                     integers = tensor(out, VQD_INT64, 2, ROWS, COUNT, 0);
    float floats[COUNT];
    const vqd_tensor to_floats = tensor(floats, VQD_FLOAT32, 2, 1, COUNT, 0);

    CHECK(vqd_row_uniforms(7, &rows, &steps, 1, &to, &context) == VQD_OK);
    CHECK(memcmp(out, expected, sizeof out) == 0);
    memset(out, 0, sizeof out);
    CHECK(vqd_row_uniforms(7, &rows, &steps, 1, &classes, NULL) == VQD_OK);
    CHECK(memcmp(out, expected, sizeof out) == 0);
    const vqd_tensor step = tensor(timesteps, VQD_INT64, 1, 1, 0, 0);
    CHECK(vqd_row_uniforms(7, &first, &step, 1, &to_floats, NULL) == VQD_OK);
    CHECK(memcmp(floats, expected_floats, sizeof floats) == 0);

    memset(out, 0x5a, sizeof out);
    expect(vqd_row_uniforms(7, &signed_rows, &steps, 1, &to, &context), VQD_VALUE_ERROR, &context,
           "ids must be at least 0, not -1");
    expect(vqd_row_uniforms(7, &rows, &negative, 1, &to, &context), VQD_VALUE_ERROR, &context,
           "timesteps must be at least 0, not -1");
    expect(vqd_row_uniforms(7, &first, &steps, 1, &to, &context), VQD_VALUE_ERROR, &context,
           "timesteps must have shape (1,), not (2,)");
    expect(vqd_row_uniforms(7, &first, &step, 1, &to, &context), VQD_VALUE_ERROR, &context,
           "out must have shape (1, any), not (2, 6)");
    expect(vqd_row_uniforms(7, &rows, &steps, 1, &flat, &context), VQD_VALUE_ERROR, &context,
           "out must have 2 axes, not 1");
    expect(vqd_row_uniforms(7, &rows, &steps, 1, &integers, &context), VQD_TYPE_ERROR, &context,
           "out must be float32 or float64, not int64");
    expect(vqd_row_uniforms(7, &to, &steps, 1, &to, &context), VQD_VALUE_ERROR, &context,
           "ids must have 1 axis, not 2");
    expect(vqd_row_uniforms(7, &flat, &steps, 1, &to, &context), VQD_TYPE_ERROR, &context,
           "ids must be int64 or uint64, not float64");
    expect(vqd_row_uniforms(7, NULL, &steps, 1, &to, &context), VQD_VALUE_ERROR, &context,
           "ids has no data: the pointer is null");
    expect(vqd_row_uniforms(7, &rows, NULL, 1, &to, &context), VQD_VALUE_ERROR, &context,
           "timesteps has no data: the pointer is null");
    expect(vqd_row_uniforms(7, &rows, &steps, 1, NULL, &context), VQD_VALUE_ERROR, &context,
           "out has no data: the pointer is null");

    /* Nothing to draw, in ever so many rows: none is looked at. */
    const vqd_tensor many = {(void *)ids, {1LL << 50, 0, 0}, {0, 0, 0}, 1, VQD_INT64},
                     each = {(void *)timesteps, {1LL << 50, 0, 0}, {0, 0, 0}, 1, VQD_INT64},
                     nothing = tensor(NULL, VQD_FLOAT64, 2, 1LL << 50, 0, 0);
    CHECK(vqd_row_uniforms(7, &many, &each, 1, &nothing, &context) == VQD_OK);
}
