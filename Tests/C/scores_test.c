/* Scores of tokens: against the formulas in double, and refusals. */
#include "abi_test.h"

#include <string.h>

enum { CLASSES = 5, PIXELS = 2 };

static const double logits[CLASSES][PIXELS] = {{0, 1}, {3, -INFINITY}, {-2, 2}, {1, 2}, {3, 0}};
static const double cumulative_uniforms[PIXELS] = {0.99, 0.5};

typedef struct results {
    int64_t token[PIXELS];
    double numbers[4][PIXELS];
} results;

static vqd_status score(const vqd_tensor *x, const vqd_tensor *uniforms, double temperature,
                        results *to, vqd_context *context) {
    const vqd_tensor token = tensor(to->token, VQD_INT64, 2, 1, PIXELS, 0);
    vqd_tensor numbers[4];
    for (int i = 0; i < 4; i++)
        numbers[i] = tensor(to->numbers[i], VQD_FLOAT64, 2, 1, PIXELS, 0);
    return vqd_token_scores(x, uniforms, temperature, &token, &numbers[0], &numbers[1], &numbers[2],
                            &numbers[3], context);
}

static void expect_scores(const results *of, int n, int64_t token) {
    double mass = 0, entropy = 0, first = 0, second = 0;
    for (int k = 0; k < CLASSES; k++)
        mass += exp(logits[k][n]);
    for (int k = 0; k < CLASSES; k++) {
        const double p = exp(logits[k][n]) / mass;
        entropy -= p > 0 ? p * log(p) : 0;
        if (p > first) {
            second = first;
            first = p;
        } else if (p > second) {
            second = p;
        }
    }
    CHECK(of->token[n] == token);
    CHECK(near(of->numbers[0][n], exp(logits[token][n]) / mass, 1e-14));
    CHECK(near(of->numbers[1][n], entropy, 1e-14));
    CHECK(near(of->numbers[2][n], first - second, 1e-14));
    CHECK(near(of->numbers[3][n], log(mass), 1e-14));
}

static void refuse(const vqd_tensor *x, const vqd_tensor *uniforms, double temperature,
                   vqd_status wanted, const char *text) {
    vqd_context context = {0};
    results to, before;
    memset(&to, 0x5a, sizeof to);
    before = to;
    CHECK(score(x, uniforms, temperature, &to, &context) == wanted);
    check(strcmp(context.message, text) == 0, context.message, __FILE__, __LINE__);
    CHECK(memcmp(&to, &before, sizeof to) == 0);
}

void test_scores(void) {
    results to;
    const vqd_tensor x = tensor(logits, VQD_FLOAT64, 3, 1, CLASSES, PIXELS),
                     u = tensor(cumulative_uniforms, VQD_FLOAT64, 2, 1, PIXELS, 0);
    CHECK(score(&x, NULL, 1, &to, NULL) == VQD_OK);
    expect_scores(&to, 0, 1);
    expect_scores(&to, 1, 2);
    CHECK(score(&x, &u, 0, &to, NULL) == VQD_OK);
    expect_scores(&to, 0, 1);
    expect_scores(&to, 1, 2);
    CHECK(score(&x, &u, 1, &to, NULL) == VQD_OK);
    expect_scores(&to, 0, 4);
    expect_scores(&to, 1, 2);

    const double outside[PIXELS] = {0.5, 1}, bad[CLASSES][PIXELS] = {{0, 0}, {0, NAN}};
    const vqd_tensor one = tensor(outside, VQD_FLOAT64, 2, 1, PIXELS, 0),
                     nan_logits = tensor(bad, VQD_FLOAT64, 3, 1, CLASSES, PIXELS),
                     narrow = tensor(cumulative_uniforms, VQD_FLOAT32, 2, 1, PIXELS, 0),
                     integers = tensor(logits, VQD_INT64, 3, 1, CLASSES, PIXELS),
                     flat = tensor(logits, VQD_FLOAT64, 2, CLASSES, PIXELS, 0),
                     wide = tensor(logits, VQD_FLOAT64, 3, 1, PIXELS, CLASSES);
    refuse(&x, &u, -1, VQD_VALUE_ERROR, "temperature must be a finite number from 0 on, not -1");
    refuse(&x, &one, 0, VQD_VALUE_ERROR, "uniforms must be in [0, 1), not 1");
    refuse(&x, &narrow, 1, VQD_TYPE_ERROR, "uniforms must be float64, not float32");
    refuse(&nan_logits, &u, 1, VQD_VALUE_ERROR,
           "logits must hold finite numbers or -inf, not NaN or +inf as at [0, 1, 1]");
    refuse(&integers, &u, 1, VQD_TYPE_ERROR,
           "logits must be float16, bfloat16, float32 or float64, not int64");
    refuse(&flat, &u, 1, VQD_VALUE_ERROR, "logits must have 3 axes, not 2");
    refuse(&wide, NULL, 1, VQD_VALUE_ERROR, "token must have shape (1, 5), not (1, 2)");
    refuse(NULL, &u, 1, VQD_VALUE_ERROR, "logits has no data: the pointer is null");
}
