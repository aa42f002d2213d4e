/* Threads that live for one call, and the cores that they may run on. */
#define _GNU_SOURCE
#include "shims.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>
#ifdef __linux__
#include <sched.h>
#endif

int32_t vqd_available_cores(void) {
#ifdef __linux__
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0)
        return (int32_t)CPU_COUNT(&set);
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
        if (task >= all->tasks)
            return NULL;
        all->body(all->context, task);
    }
}

#ifdef __GLIBC__
/* Linux often puts a new thread on the core of the thread that starts it, above all after a
 * pause, and moves it a tick or two later: 2 ms, where a whole call takes three. On any other
 * core it mostly begins within 0.05 ms; from there it may go where it likes. */
static void *work_elsewhere(void *argument) {
    share *all = argument;
    sched_setaffinity(0, sizeof all->allowed, &all->allowed);
    return work(argument);
}

static int start_elsewhere(pthread_t *helper, share *all) {
    cpu_set_t others;
    pthread_attr_t attributes;
    const int here = sched_getcpu();
    if (here < 0)
        return -1;
    others = all->allowed;
    CPU_CLR((size_t)here, &others);
    if (CPU_COUNT(&others) == 0 || pthread_attr_init(&attributes) != 0)
        return -1;
    const int failed = pthread_attr_setaffinity_np(&attributes, sizeof others, &others)
                       || pthread_create(helper, &attributes, work_elsewhere, all);
    pthread_attr_destroy(&attributes);
    return failed;
}
#endif

static int start(pthread_t *helper, share *all) {
#ifdef __GLIBC__
    if (start_elsewhere(helper, all) == 0)
        return 0;
#endif
    return pthread_create(helper, NULL, work, all);
}

void vqd_parallel(int64_t tasks, int32_t threads, void (*body)(void *, int64_t), void *context) {
    share all = {.body = body, .context = context, .tasks = tasks, .next = 0};
    if (threads > VQD_MAX_THREADS)
        threads = VQD_MAX_THREADS;
    if (threads > tasks)
        threads = (int32_t)tasks;
#ifdef __GLIBC__
    if (sched_getaffinity(0, sizeof all.allowed, &all.allowed) != 0)
        CPU_ZERO(&all.allowed);
#endif
    pthread_t helpers[VQD_MAX_THREADS];
    int32_t started = 0;
    while (started < threads - 1 && start(&helpers[started], &all) == 0)
        started++;
    work(&all);
    for (int32_t i = 0; i < started; i++)
        pthread_join(helpers[i], NULL);
}
