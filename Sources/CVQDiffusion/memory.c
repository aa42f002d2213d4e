/* Memory that may run out without a trap, and the hint that it is about to be written. */
#define _GNU_SOURCE
#include "shims.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/mman.h>
#endif

/* Aligned by hand: posix_memalign takes five times as long as malloc, and a small step has
 * twenty of these. The block begins a line before what is returned, or less, and its address
 * stands right before it. */
void *vqd_allocate(size_t bytes) {
    enum { LINE = 64 };
    if (bytes > SIZE_MAX - LINE - sizeof(void *))
        return NULL;
    char *block = malloc(bytes + LINE + sizeof(void *));
    if (!block)
        return NULL;
    void **memory =
        (void **)(((uintptr_t)block + sizeof(void *) + LINE - 1) & ~(uintptr_t)(LINE - 1));
    memory[-1] = block;
    return memory;
}

void vqd_free(void *memory) {
    if (memory)
        free(((void **)memory)[-1]);
}

void vqd_expect_writes(void *memory, size_t bytes) {
#ifdef MADV_HUGEPAGE
    enum { LEAST = 4 << 20 };
    if (bytes < LEAST)
        return;
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    const uintptr_t first = ((uintptr_t)memory + page - 1) & ~(page - 1);
    const uintptr_t end = ((uintptr_t)memory + bytes) & ~(page - 1);
    const int before = errno;
    /* refused where the system has no large pages */
    madvise((void *)first, end - first, MADV_HUGEPAGE);
    errno = before;
#endif
}
