/* The fuzzer of the C ABI: each input makes calls of random entry points. Prints at the end how
 * many calls of each there were, and how many returned VQD_OK. */
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CALLS = 32, THREADED = 1 << 17 };

int64_t batch, classes, pixels, steps;
bool whole;

/* ---- What is counted ------------------------------------------------------------------------- */

enum { FUNCTIONS = 32 };
static struct {
    const char *name;
    uint64_t calls, ok, no_memory;
} counts[FUNCTIONS];
static uint64_t all_calls;

static void print_counts(void) {
    printf("%llu calls\n%-36s %12s %12s %12s\n", (unsigned long long)all_calls, "of", "calls",
           "VQD_OK", "no memory");
    for (int i = 0; i < FUNCTIONS && counts[i].name; i++)
        printf("%-36s %12llu %12llu %12llu\n", counts[i].name, (unsigned long long)counts[i].calls,
               (unsigned long long)counts[i].ok, (unsigned long long)counts[i].no_memory);
}

static void count_call(const char *name, vqd_status status) {
    int i = 0;
    while (counts[i].name && strcmp(counts[i].name, name) != 0)
        i++;
    counts[i].name = name;
    counts[i].calls++;
    counts[i].ok += status == VQD_OK;
    counts[i].no_memory += status == VQD_MEMORY_ERROR;
    all_calls++;
}

_Noreturn void broken(const char *function, const char *promise) {
    fprintf(stderr, "BROKEN: %s: %s (batch %lld, classes %lld, pixels %lld)\n", function, promise,
            (long long)batch, (long long)classes, (long long)pixels);
    abort();
}

/* ---- One call -------------------------------------------------------------------------------- */

static vqd_status call_once(const char *function, vqd_status (*call)(vqd_context *),
                            vqd_context *context, uint8_t junk, int64_t failing) {
    char before[sizeof context->message];
    prepare_arrays(junk);
    prepare_scratch((uint8_t)~junk, failing);
    if (context) {
        memset(context->message, junk, sizeof context->message);
        memcpy(before, context->message, sizeof before);
    }
    const vqd_status status = call(context);
    count_call(function, status);
    if (status != VQD_OK && status != VQD_VALUE_ERROR && status != VQD_TYPE_ERROR
        && (status != VQD_MEMORY_ERROR || !scratch_has_failed()))
        broken(function, "the status is one of those of the header");
    if (context && status == VQD_OK && memcmp(before, context->message, sizeof before) != 0)
        broken(function, "the message is set on an error alone");
    if (context && status != VQD_OK) {
        const char *end = memchr(context->message, 0, sizeof context->message);
        if (!end || end - context->message < 8)
            broken(function, "on an error the message is a sentence that ends in NUL");
    }
    check_arrays(status == VQD_OK, function);
    return status;
}

static int32_t any_threads(void) {
    static const int32_t wild[] = {-1, INT32_MIN, INT32_MAX, 64, 65, 1000};
    return chance(60) ? wild[choice(6)] : (int32_t)choice(9);
}

vqd_status run(const char *function, vqd_status (*call)(vqd_context *), void (*check)(void)) {
    vqd_context *context = chance(6) ? NULL : guarded(sizeof *context, 8, OTHER);
    if (context)
        context->num_threads = any_threads();
    const vqd_status status = call_once(function, call, context, 0x5a, chance(8) ? choice(12) : -1);
    if (status != VQD_OK)
        return status;
    if (check)
        check();
    keep_outputs();
    if (context)
        context->num_threads = any_threads();
    if (call_once(function, call, context, 0xa5, -1) != VQD_OK)
        broken(function, "the status does not depend on the number of threads");
    check_same_outputs(function);
    return VQD_OK;
}

/* ---- All calls ------------------------------------------------------------------------------- */

static void (*const functions[])(void) = {fuzz_step,
                                          fuzz_step,
                                          fuzz_step,
                                          fuzz_step,
                                          fuzz_step,
                                          fuzz_plan,
                                          fuzz_planned_step,
                                          fuzz_planned_step,
                                          fuzz_check_model_output,
                                          fuzz_add_noise,
                                          fuzz_row_uniforms,
                                          fuzz_gumbel_noised,
                                          fuzz_token_scores,
                                          fuzz_token_scores,
                                          fuzz_loss,
                                          fuzz_loss,
                                          fuzz_loss,
                                          fuzz_guide,
                                          fuzz_truncate,
                                          fuzz_truncate,
                                          fuzz_posterior,
                                          fuzz_transition_rows,
                                          fuzz_cumulative_transitions,
                                          fuzz_onehot,
                                          fuzz_linear_schedules,
                                          fuzz_schedule_check,
                                          fuzz_schedule_logs,
                                          fuzz_step_coefficients};

static void any_sizes(void) {
    static const int64_t few[] = {1, 2, 3, 5, 7, 15, 16, 17, 31, 33, 64, 65, 100, 130, 257};
    static const int64_t for_threads[][3] = {/* at least THREADED elements */
                                             {1, 1025, 130}, {2, 4097, 17}, {3, 70, 640},
                                             {1, 300, 450},  {1, 9, 14600}, {1, 131100, 1},
                                             {5, 33, 800}};
    whole = chance(2);
    steps = 1 + choice(12);
    if (chance(4000)) {
        const uint32_t i = choice(7);
        batch = for_threads[i][0];
        classes = for_threads[i][1];
        pixels = for_threads[i][2];
        return;
    }
    batch = chance(24) ? 0 : 1 + choice(3);
    classes = few[choice(15)];
    pixels = chance(24) ? 0 : few[choice(15)];
    while (batch * classes * pixels > (chance(64) ? 100000 : 1000))
        *(chance(2) ? &classes : &pixels) = few[choice(10)];
}

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    int major, minor, patch;
    (void)argc, (void)argv;
    if (sscanf(vqd_version(), "%d.%d.%d", &major, &minor, &patch) != 3)
        broken("vqd_version", "three numbers");
    return atexit(print_counts);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    choose_from(bytes, size);
    for (int i = 0; i < CALLS; i++) {
        forget_arrays();
        any_sizes();
        forget_tensors(whole);
        functions[choice(sizeof functions / sizeof *functions)]();
    }
    return 0;
}
