/* The library's scratch memory, which holds junk here and may run out. Linked with --wrap: blocks
 * end where the sanitizer notices the next byte. */
#define _GNU_SOURCE
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

void *__wrap_vqd_allocate(size_t bytes);
void __wrap_vqd_free(void *memory);

static uint8_t scratch_junk;
static int64_t allocations_left;
static bool failed;

void prepare_scratch(uint8_t junk, int64_t failing) {
    scratch_junk = junk;
    failed = false;
    allocations_left = failing;
}

bool scratch_has_failed(void) {
    return __atomic_load_n(&failed, __ATOMIC_RELAXED);
}

void *__wrap_vqd_allocate(size_t bytes) {
    void *memory;
    if (__atomic_load_n(&allocations_left, __ATOMIC_RELAXED) >= 0
        && __atomic_fetch_sub(&allocations_left, 1, __ATOMIC_RELAXED) == 0) {
        __atomic_store_n(&failed, true, __ATOMIC_RELAXED);
        return NULL;
    }
    if (posix_memalign(&memory, 64, bytes) != 0)
        return NULL;
    memset(memory, scratch_junk, bytes);
    return memory;
}

void __wrap_vqd_free(void *memory) {
    free(memory);
}
