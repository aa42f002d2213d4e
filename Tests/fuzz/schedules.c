/* Schedules: chains of every kind, and tables that are none. */
#include "fuzz.h"

#include <math.h>
#include <string.h>

static double unit(void) {
    return (double)(random_bits() >> 11) * 0x1p-53;
}

/* γ̄ never falls and ᾱ / (1 - γ̄) never rises. */
static void fill_chain(double *alpha, double *gamma, int64_t length) {
    const uint32_t kind = choice(7);
    double kept = 1, masked = 0;
    for (int64_t t = 0; t < length; t++) {
        const double done = (double)(t + 1) / (double)length;
        switch (kind) {
        case 0: /* absorbing: β̄ = 0 */
            gamma[t] = done;
            alpha[t] = 1 - done;
            continue;
        case 1: /* uniform: no masks */
            gamma[t] = 0;
            alpha[t] = 1 - done;
            continue;
        case 2: /* nothing happens, or all in one step */
            gamma[t] = t == length - 1 && length > 2 ? 1 : 0;
            alpha[t] = 1 - gamma[t];
            continue;
        case 3: /* tiny probabilities */
            gamma[t] = 1e-300 * done;
            alpha[t] = 1e-12 * (1 - done / 2);
            continue;
        case 4: /* steps in which nothing happens */
            if (t % 2 == 0) {
                kept *= unit();
                masked += (1 - masked) * unit() / 2;
            }
            break;
        default: kept *= 1 - unit() / 4; masked += (1 - masked) * unit() / 4;
        }
        gamma[t] = masked;
        alpha[t] = (1 - masked) * kept;
    }
}

const vqd_schedule *any_schedule(void) {
    static vqd_schedule schedule;
    double *alpha = guarded(steps * 8, 8, INPUT), *gamma = guarded(steps * 8, 8, INPUT);
    double table[2][64];
    fill_chain(table[0], table[1], steps);
    const uint32_t breaks = whole || choice(8) ? 0 : 1 + choice(6);
    if (breaks == 1)
        table[choice(2)][choice((uint32_t)steps)] = number(0, 1);
    memcpy(alpha, table[0], (size_t)steps * 8);
    memcpy(gamma, table[1], (size_t)steps * 8);
    schedule = (vqd_schedule){classes, steps, alpha, gamma};
    switch (breaks) {
    case 2: schedule.num_classes = chance(2) ? 0 : INT64_MIN; break;
    case 3:
        schedule.num_timesteps = chance(2) ? (int64_t)choice((uint32_t)steps + 1) : INT64_MIN;
        break;
    case 4: *(chance(2) ? &schedule.alpha_cumulative : &schedule.gamma_cumulative) = NULL; break;
    case 5: return NULL;
    case 6: schedule.num_classes = classes + 1; break;
    default: break;
    }
    return &schedule;
}

void any_step(int64_t *t, int64_t *s) {
    *t = choice((uint32_t)steps);
    *s = chance(2) ? *t - 1 : (int64_t)choice((uint32_t)*t + 1) - 1;
    if (!whole && chance(24))
        *t = integer(0, steps - 1);
    if (!whole && chance(24))
        *s = integer(-1, steps - 1);
}
