#define _GNU_SOURCE
#include "vqd_shims.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#ifdef __linux__
#include <sched.h>
#include <sys/mman.h>
#endif

double vqd_log(double x) { return log(x); }

double vqd_exp(double x) { return exp(x); }

int32_t vqd_format_double(double x, char *buffer, size_t capacity) {
    int length = snprintf(buffer, capacity, "%.15g", x);
    if (strtod(buffer, NULL) != x) length = snprintf(buffer, capacity, "%.17g", x);
    return (int32_t)length;
}

/* Aligned by hand: posix_memalign takes five times as long as malloc, and a small step has twenty of these. The block begins a line before what is returned,
 * or less, and its address stands right before it. */
void *vqd_allocate(size_t bytes) {
    enum { LINE = 64 };
    if (bytes > SIZE_MAX - LINE - sizeof(void *)) return NULL;
    char *block = malloc(bytes + LINE + sizeof(void *));
    if (!block) return NULL;
    void **memory = (void **)(((uintptr_t)block + sizeof(void *) + LINE - 1) & ~(uintptr_t)(LINE - 1));
    memory[-1] = block;
    return memory;
}

void vqd_free(void *memory) {
    if (memory) free(((void **)memory)[-1]);
}

void vqd_expect_writes(void *memory, size_t bytes) {
#ifdef MADV_HUGEPAGE
    enum { LEAST = 4 << 20 };
    if (bytes < LEAST) return;
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    const uintptr_t first = ((uintptr_t)memory + page - 1) & ~(page - 1);
    const uintptr_t end = ((uintptr_t)memory + bytes) & ~(page - 1);
    const int before = errno;
    madvise((void *)first, end - first, MADV_HUGEPAGE); /* refused where the system has no large pages */
    errno = before;
#endif
}

int32_t vqd_available_cores(void) {
#ifdef __linux__
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) return (int32_t)CPU_COUNT(&set);
#endif
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    return cores > 0 ? (int32_t)cores : 1;
}

typedef struct {
    void (*body)(void *, int64_t);
    void *context;
    int64_t tasks;
    _Atomic int64_t next;
#ifdef __GLIBC__
    cpu_set_t allowed; /* written before any helper starts; empty when unknown */
#endif
} share;

static void *work(void *argument) {
    share *all = argument;
    for (;;) {
        int64_t task = atomic_fetch_add_explicit(&all->next, 1, memory_order_relaxed);
        if (task >= all->tasks) return NULL;
        all->body(all->context, task);
    }
}

#ifdef __GLIBC__
/* Linux often puts a new thread on the core of the thread that starts it, above all after a pause, and moves it a tick or two later: 2 ms, where a whole
 * call takes three. On any other core it mostly begins within 0.05 ms; from there it may go where it likes. */
static void *work_elsewhere(void *argument) {
    share *all = argument;
    sched_setaffinity(0, sizeof all->allowed, &all->allowed);
    return work(argument);
}

static int start_elsewhere(pthread_t *helper, share *all) {
    cpu_set_t others;
    pthread_attr_t attributes;
    const int here = sched_getcpu();
    if (here < 0) return -1;
    others = all->allowed;
    CPU_CLR((size_t)here, &others);
    if (CPU_COUNT(&others) == 0 || pthread_attr_init(&attributes) != 0) return -1;
    const int failed = pthread_attr_setaffinity_np(&attributes, sizeof others, &others)
        || pthread_create(helper, &attributes, work_elsewhere, all);
    pthread_attr_destroy(&attributes);
    return failed;
}
#endif

static int start(pthread_t *helper, share *all) {
#ifdef __GLIBC__
    if (start_elsewhere(helper, all) == 0) return 0;
#endif
    return pthread_create(helper, NULL, work, all);
}

void vqd_parallel(int64_t tasks, int32_t threads, void (*body)(void *, int64_t), void *context) {
    share all = {.body = body, .context = context, .tasks = tasks, .next = 0};
    if (threads > VQD_MAX_THREADS) threads = VQD_MAX_THREADS;
    if (threads > tasks) threads = (int32_t)tasks;
#ifdef __GLIBC__
    if (sched_getaffinity(0, sizeof all.allowed, &all.allowed) != 0) CPU_ZERO(&all.allowed);
#endif
    pthread_t helpers[VQD_MAX_THREADS];
    int32_t started = 0;
    while (started < threads - 1 && start(&helpers[started], &all) == 0) started++;
    work(&all);
    for (int32_t i = 0; i < started; i++) pthread_join(helpers[i], NULL);
}
