/* shims.h: what Swift cannot say itself. Not part of the public ABI. */
#ifndef VQD_SHIMS_H
#define VQD_SHIMS_H

#include <stddef.h>
#include <stdint.h>

/* Embedded Swift's Glibc module lacks these. They serve tables and per-pixel constants; kernels
 * use the project's own vector functions. */
double vqd_log(double x);
double vqd_exp(double x);
double vqd_expm1(double x);
double vqd_pow(double x, double y);
double vqd_cos(double x);
double vqd_sin(double x);

/* snprintf is variadic, which Swift cannot call. Writes "%.17g" of x, shortened where that reads
 * back the same; returns the length. */
int32_t vqd_format_double(double x, char *buffer, size_t capacity);

/* Memory aligned to 64 bytes, or NULL: Swift's own allocation traps where there is none. */
void *vqd_allocate(size_t bytes);
void vqd_free(void *memory);

/* Hints MADV_HUGEPAGE for memory that is about to be written, to avoid page faults: 4096 of them
 * for 16 MB. Nothing happens below 4 MiB. */
void vqd_expect_writes(void *memory, size_t bytes);

/* Threads that one call may have, its own included. */
enum { VQD_MAX_THREADS = 64 };

/* Runs body(context, task) for every task in 0 … tasks - 1 on at most `threads` (and
 * VQD_MAX_THREADS) threads, the caller's included, and returns when all have ended. Threads live
 * for this call only: a pool would not survive fork(). If a thread cannot be had its share runs
 * on the others. */
void vqd_parallel(int64_t tasks, int32_t threads, void (*body)(void *context, int64_t task),
                  void *context);

/* Counts on, for threads that share out what is left among themselves: returns the count before. */
static inline int64_t vqd_next(int64_t *count) {
    return __atomic_fetch_add(count, 1, __ATOMIC_RELAXED);
}

/* Counts who has arrived: returns the count before. What those before have written can be read. */
static inline int64_t vqd_arrive(int64_t *count) {
    return __atomic_fetch_add(count, 1, __ATOMIC_ACQ_REL);
}

/* The number of cores the calling thread may run on. */
int32_t vqd_available_cores(void);

#endif /* VQD_SHIMS_H */
