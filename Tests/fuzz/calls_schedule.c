/* Calls that take no tensors. */
#include "fuzz.h"

static const vqd_schedule *schedule;
static double *tables[6];
static int64_t length, t, s;
static double first, last;
static vqd_coefficients *coefficients;

static double *table(int64_t length) {
    return !whole && chance(20) ? NULL : guarded(length > 0 ? length * 8 : 0, 8, OUTPUT);
}

static vqd_status alpha_schedules(vqd_context *context) {
    return vqd_alpha_schedules(length, first, last, tables[0], tables[1], context);
}

static vqd_status gamma_schedules(vqd_context *context) {
    return vqd_gamma_schedules(length, first, last, tables[0], tables[1], context);
}

void fuzz_linear_schedules(void) {
    static const int64_t no_length[] = {0, -1, INT64_MIN, -((int64_t)1 << 40), 1};
    length = !whole && chance(6) ? no_length[choice(5)] : 2 + (int64_t)choice(200);
    first = number(0, 1);
    last = number(0, 1);
    tables[0] = table(length);
    tables[1] = table(length < 0 ? 0 : length + 1);
    if (chance(2))
        run("vqd_alpha_schedules", alpha_schedules, NULL);
    else
        run("vqd_gamma_schedules", gamma_schedules, NULL);
}

static vqd_status schedule_check(vqd_context *context) {
    return vqd_schedule_check(schedule, context);
}

void fuzz_schedule_check(void) {
    schedule = any_schedule();
    run("vqd_schedule_check", schedule_check, NULL);
}

static vqd_status schedule_logs(vqd_context *context) {
    return vqd_schedule_logs(schedule, tables[0], tables[1], tables[2], tables[3], tables[4],
                             tables[5], context);
}

void fuzz_schedule_logs(void) {
    schedule = any_schedule();
    for (int i = 0; i < 6; i++)
        tables[i] =
            table(schedule && schedule->num_timesteps > 0 ? schedule->num_timesteps + i / 3 : 0);
    run("vqd_schedule_logs", schedule_logs, NULL);
}

static double remask;

static vqd_status step_coefficients(vqd_context *context) {
    return vqd_step_coefficients(schedule, t, s, remask, coefficients, context);
}

void fuzz_step_coefficients(void) {
    schedule = any_schedule();
    any_step(&t, &s);
    remask = chance(2) ? 0 : number(0, 0.2);
    coefficients = !whole && chance(20) ? NULL : guarded(sizeof *coefficients, 8, OUTPUT);
    run("vqd_step_coefficients", step_coefficients, NULL);
}
