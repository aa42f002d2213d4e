/* Chains without replacement, β̄_t = 0: a pixel that shows a class keeps it, at t = 0 too. */
#include "abi_test.h"

#include <string.h>

enum { STEPS = 16, PIXELS = 40000 };

static double alpha[STEPS], gamma_[STEPS];
static const vqd_schedule absorbing = {K, STEPS, alpha, gamma_};
static float p[K][PIXELS];
static double uniforms[PIXELS];
static int64_t sample[PIXELS], drawn[PIXELS], revealed_at_0[PIXELS];
static uint8_t needed[PIXELS];
static float columns[K * PIXELS];

typedef enum sampler { GUMBEL, INVERSE_CDF, GUIDED_GUMBEL, GUIDED_INVERSE_CDF, PLANNED } sampler;

static vqd_status planned(int64_t t, const vqd_tensor *x, const vqd_tensor *u,
                          const vqd_tensor *to) {
    const vqd_tensor flags = tensor(needed, VQD_BOOL8, 2, 1, PIXELS, 0);
    int64_t count = 0, column = 0, unmasked = 0;
    CHECK(vqd_plan(&absorbing, t, t - 1, x, NULL, u, &flags, NULL) == VQD_OK);
    for (int n = 0; n < PIXELS; n++)
        count += needed[n];
    for (int n = 0; n < PIXELS; n++) {
        if (!needed[n])
            continue;
        unmasked += sample[n] != MASK;
        for (int k = 0; k < K; k++)
            columns[k * count + column] = p[k][n];
        column++;
    }
    CHECK(unmasked == 0);
    const vqd_tensor gathered = tensor(columns, VQD_FLOAT32, 2, K, count, 0);
    return vqd_step(&absorbing, t, t - 1, &gathered, x, INVERSE_CDF_DRAW(u), NULL, to, NULL);
}

static vqd_status step(sampler method, int64_t t, const vqd_tensor *x, vqd_mt19937 *engine,
                       vqd_context *context) {
    const vqd_tensor log_p_x_0 = tensor(p, VQD_FLOAT32, 3, 1, K, PIXELS),
                     to = tensor(drawn, VQD_INT64, 2, 1, PIXELS, 0);
    const vqd_tensor u = tensor(uniforms, VQD_FLOAT64, 2, 1, PIXELS, 0);
    const vqd_draw noise = {.method = VQD_GUMBEL, .engine = engine};
    const vqd_guidance guidance = {&log_p_x_0, 1.5, 0.99, -70, 0, 0};
    const vqd_step_options guided = {.guidance = &guidance};
    for (int n = 0; n < PIXELS; n++)
        uniforms[n] = uniform();
    const vqd_draw *one_each = INVERSE_CDF_DRAW(&u);
    switch (method) {
    case GUMBEL: return vqd_step(&absorbing, t, t - 1, &log_p_x_0, x, &noise, NULL, &to, context);
    case INVERSE_CDF:
        return vqd_step(&absorbing, t, t - 1, &log_p_x_0, x, one_each, NULL, &to, context);
    case GUIDED_GUMBEL:
        return vqd_step(&absorbing, t, t - 1, &log_p_x_0, x, &noise, &guided, &to, context);
    case GUIDED_INVERSE_CDF:
        return vqd_step(&absorbing, t, t - 1, &log_p_x_0, x, one_each, &guided, &to, context);
    case PLANNED: break;
    }
    return planned(t, x, &u, &to);
}

static void test_chain(sampler method) {
    const vqd_tensor x = tensor(sample, VQD_INT64, 2, 1, PIXELS, 0);
    vqd_mt19937 engine, before;
    memset(&engine, 7, sizeof engine);
    engine.position = 3;
    for (int n = 0; n < PIXELS; n++)
        sample[n] = MASK;
    for (int t = STEPS - 1; t >= 0; t--) {
        int changed = 0, left = 0, revealed = 0;
        CHECK(step(method, t, &x, &engine, NULL) == VQD_OK);
        for (int n = 0; n < PIXELS; n++) {
            changed += sample[n] != MASK && drawn[n] != sample[n];
            revealed += sample[n] == MASK && drawn[n] != MASK;
            left += drawn[n] == MASK;
        }
        CHECK(changed == 0 && revealed > 0 && (t == 0) == (left == 0));
        memcpy(sample, drawn, sizeof sample);
    }
    /* The sample is read at t = 0. */
    memcpy(revealed_at_0, drawn, sizeof drawn);
    vqd_context context = {0};
    if (method == PLANNED)
        return;
    before = engine;
    CHECK(step(method, 0, NULL, &engine, &context) == VQD_VALUE_ERROR);
    CHECK(strncmp(context.message, "sample ", 7) == 0);
    sample[5] = K + 1;
    CHECK(step(method, 0, &x, &engine, &context) == VQD_VALUE_ERROR);
    CHECK(memcmp(&before, &engine, sizeof engine) == 0
          && memcmp(drawn, revealed_at_0, sizeof drawn) == 0);
}

/* Where ᾱ_0 = 1 nothing has happened at t = 0: a pixel may be masked there all the same, and is
 * drawn. */
static void test_clean_start(void) {
    const double from[2] = {1, 0.1}, to_mask[2] = {0, 0.6}, u[2] = {0.3, 0.8};
    const vqd_schedule clean = {K, 2, from, to_mask};
    const int64_t shown[2] = {1, MASK};
    int64_t tokens[2];
    const vqd_tensor log_p_x_0 = tensor(log_p, VQD_FLOAT64, 3, 1, K, 2),
                     x = tensor(shown, VQD_INT64, 2, 1, 2, 0);
    const vqd_tensor ours = tensor(u, VQD_FLOAT64, 2, 1, 2, 0),
                     to = tensor(tokens, VQD_INT64, 2, 1, 2, 0);
    CHECK(vqd_step(&clean, 0, -1, &log_p_x_0, &x, INVERSE_CDF_DRAW(&ours), NULL, &to, NULL)
          == VQD_OK);
    CHECK(tokens[0] == 1 && tokens[1] < MASK);
}

void test_absorbing(void) {
    for (int t = 0; t < STEPS; t++) {
        gamma_[t] = (t + 1.0) / STEPS * 0.999;
        alpha[t] = 1 - gamma_[t];
    }
    for (int i = 0; i < K * PIXELS; i++)
        (&p[0][0])[i] = (float)log(0.05 + uniform());
    for (sampler method = GUMBEL; method <= PLANNED; method++)
        test_chain(method);
    test_clean_start();
}
