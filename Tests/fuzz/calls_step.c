/* Steps and plans, with every option. */
#include "fuzz.h"

#include <math.h>
#include <stddef.h>

static const vqd_schedule *schedule;
static const vqd_tensor *p, *x, *out;
static int64_t t, s;
static vqd_draw draw;
static const vqd_draw *given_draw;
static vqd_guidance guidance;
static vqd_unmask unmask;
static vqd_step_options options;
static const vqd_step_options *given_options;

/* ---- Sources of noise ------------------------------------------------------------------------ */

typedef struct noise {
    uint64_t seed, state;
} noise;
static noise noise_of_function;

static void fill(void *context, float *uniforms, int64_t count) {
    noise *noise = context;
    for (int64_t i = 0; i < count; i++) {
        noise->state = noise->state * 6364136223846793005u + 1442695040888963407u;
        uniforms[i] = (float)(noise->state >> 40) * 0x1p-24f;
        if (noise->seed % 16 == 0 && i % 251 == 250) /* what it must not write */
            uniforms[i] = noise->state >> 63 ? NAN : noise->state >> 62 ? 1 : -5;
    }
}

static void fill_engine(vqd_mt19937 *engine) {
    for (int i = 0; i < 624; i++)
        engine->words[i] = (uint32_t)random_bits();
    engine->position = !whole && chance(12) ? (uint32_t)wild_integer() : choice(625);
}

static void any_noise(void) {
    const uint32_t kind = choice(3);
    if (kind == 0 || (!whole && chance(20)))
        draw.uniforms = input(NOISE, SHAPE(3, batch, classes + (s >= 0), pixels), 0, 0);
    if (kind == 1 || (!whole && chance(20))) {
        draw.engine = guarded(sizeof *draw.engine, 4, STATE);
        fill_engine(draw.engine);
    }
    if (kind == 2 || (!whole && chance(20))) {
        draw.fill = fill;
        draw.fill_context = &noise_of_function;
        noise_of_function.seed = random_bits();
    }
}

static void any_draw(int32_t method) {
    static const int32_t no_method[] = {0, 3, -1, INT32_MAX, INT32_MIN};
    draw = (vqd_draw){.method = !whole && chance(24) ? no_method[choice(5)] : method};
    if (method == VQD_GUMBEL)
        any_noise();
    else
        draw.uniforms = input(UNIFORMS, SHAPE(2, batch, pixels), 0, 0);
    given_draw = !whole && chance(30) ? NULL : &draw;
}

/* ---- Options --------------------------------------------------------------------------------- */

static void any_guidance(int32_t dtype) {
    guidance = (vqd_guidance){.scale = number(-1, 8),
                              .truncation_rate = number(0, 1),
                              .floor = chance(2) ? -70 : number(-100, 0),
                              .top_k = chance(2) ? 0 : integer(1, classes),
                              .temperature = chance(2) ? 0 : number(0.2, 2)};
    if (!chance(4))
        guidance.log_p_uncond = input(LOGITS, SHAPE(3, batch, classes, pixels), 0, dtype);
    options.guidance = &guidance;
}

/* `writes`: of a step, whose results vqd_plan does not look at. */
static void any_unmask(bool writes) {
    unmask = (vqd_unmask){.order = (int32_t)integer(VQD_RANDOM, VQD_CONFIDENCE),
                          .rule = (int32_t)integer(VQD_DUE, VQD_ENTROPY_BOUND),
                          .bound = number(0, 1),
                          .temperature = chance(2) ? 0 : number(0, 4),
                          .prior_weight = chance(2) ? 0 : number(0, 4)};
    if (chance(3))
        unmask.count = input(COUNTS, SHAPE(1, batch), 0, 0);
    if (chance(3))
        unmask.positions =
            input(FLAGS, chance(2) ? SHAPE(1, pixels) : SHAPE(2, batch, pixels), 0, 0);
    if (whole || !chance(8))
        unmask.order_uniforms = input(UNIFORMS, SHAPE(2, batch, pixels), 0, 0);
    if (writes && chance(2))
        unmask.revealed = output(VQD_BOOL8, SHAPE(2, batch, pixels));
    if (writes && chance(2))
        unmask.scores = output(VQD_FLOAT64, SHAPE(2, batch, pixels));
    options.unmask = &unmask;
}

static void any_options(bool writes, bool may_guide, bool may_reveal) {
    options = (vqd_step_options){0};
    if (may_guide && chance(3))
        any_guidance(p ? p->dtype : 0);
    if (chance(4))
        options.known = input(KNOWN, SHAPE(2, batch, pixels), classes - 1, 0);
    if (chance(5))
        options.remask = number(0, 0.1);
    else if (may_reveal && chance(3))
        any_unmask(writes);
    given_options = chance(3) && !options.unmask ? NULL : &options;
}

/* ---- Calls ----------------------------------------------------------------------------------- */

static vqd_status step(vqd_context *context) {
    noise_of_function.state = noise_of_function.seed;
    return vqd_step(schedule, t, s, p, x, given_draw, given_options, out, context);
}

static void check_step(void) {
    const int64_t *tokens = out->data, mask = schedule->num_classes;
    const int64_t most = s < 0 && !(given_options && options.unmask) ? mask - 1 : mask;
    for (int64_t i = 0; i < count(out); i++)
        if (tokens[i] < 0 || tokens[i] > most)
            broken("vqd_step", "tokens are classes, and the mask where it may be drawn");
    if (!given_options || !options.unmask || !unmask.revealed)
        return;
    const uint8_t *revealed = unmask.revealed->data;
    for (int64_t i = 0; i < count(out); i++)
        if (revealed[i] > 1 || (revealed[i] && tokens[i] == mask))
            broken("vqd_step", "pixels that are revealed show a class");
}

void fuzz_step(void) {
    schedule = any_schedule();
    any_step(&t, &s);
    const int32_t method = VQD_GUMBEL + (int32_t)choice(2);
    p = input(LOGITS, SHAPE(3, batch, classes, pixels), 0, 0);
    x = s < 0 && chance(3) ? NULL : input(CLASSES, SHAPE(2, batch, pixels), classes, 0);
    any_draw(method);
    any_options(true, true, !whole || method == VQD_INVERSE_CDF);
    out = output(VQD_INT64, SHAPE(2, batch, pixels));
    run("vqd_step", step, check_step);
}

static const vqd_tensor *needed;
static int64_t columns;

static vqd_status plan(vqd_context *context) {
    return vqd_plan(schedule, t, s, x, given_options, draw.uniforms, needed, context);
}

static void check_plan(void) {
    const uint8_t *flags = needed->data;
    columns = 0;
    for (int64_t i = 0; i < count(needed); i++) {
        if (flags[i] > 1)
            broken("vqd_plan", "a byte is 1 or 0");
        columns += flags[i];
    }
}

void fuzz_plan(void) {
    schedule = any_schedule();
    any_step(&t, &s);
    p = NULL;
    x = s < 0 && chance(3) ? NULL : input(CLASSES, SHAPE(2, batch, pixels), classes, 0);
    any_draw(VQD_INVERSE_CDF);
    any_options(false, false, true);
    needed = output(VQD_BOOL8, SHAPE(2, batch, pixels));
    run("vqd_plan", plan, check_plan);
}

/* The columns that a plan calls needed, or one more. */
void fuzz_planned_step(void) {
    columns = -1; /* of a plan that fails */
    fuzz_plan();
    if (columns < 0)
        return;
    change_role(needed->data, OTHER);
    const int64_t lacking = !whole && chance(6) ? 1 : 0;
    p = input(LOGITS, SHAPE(2, classes, columns + lacking), 0, 0);
    out = output(VQD_INT64, SHAPE(2, batch, pixels));
    given_draw = &draw;
    run("vqd_step with a plan", step, check_step);
}
