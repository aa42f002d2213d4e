/* Functions of the C library in the versions that glibc 2.28 has. glibc gave each of these a newer
 * version of the same behaviour, which a linker on a newer system would choose, so that the module
 * would not load on an older one. The linker leads calls of NAME to __wrap_NAME, here; setup.py,
 * GLIBC_RENEWED, has the same list. */
#define _GNU_SOURCE
#include <math.h>
#include <pthread.h>

#ifdef __GLIBC__

#if defined(__x86_64__)
#define OLDEST "GLIBC_2.2.5"
#define OLDEST_AFFINITY "GLIBC_2.3.4"
#elif defined(__aarch64__)
#define OLDEST "GLIBC_2.17"
#define OLDEST_AFFINITY "GLIBC_2.17"
#endif

#define IN_VERSION(name, version) __asm__(".symver old_" #name ", " #name "@" version)

/* 2.29: no longer calls matherr. */
IN_VERSION(exp, OLDEST);
IN_VERSION(log, OLDEST);
IN_VERSION(pow, OLDEST);
double old_exp(double), old_log(double), old_pow(double, double);
double __wrap_exp(double), __wrap_log(double), __wrap_pow(double, double);

double __wrap_exp(double x) {
    return old_exp(x);
}

double __wrap_log(double x) {
    return old_log(x);
}

double __wrap_pow(double x, double y) {
    return old_pow(x, y);
}

/* 2.32 and 2.34: moved from libpthread to libc. */
IN_VERSION(pthread_attr_setaffinity_np, OLDEST_AFFINITY);
IN_VERSION(pthread_create, OLDEST);
IN_VERSION(pthread_join, OLDEST);
typedef void *thread_body(void *);
int old_pthread_attr_setaffinity_np(pthread_attr_t *, size_t, const cpu_set_t *);
int old_pthread_create(pthread_t *, const pthread_attr_t *, thread_body *, void *);
int old_pthread_join(pthread_t, void **);
int __wrap_pthread_attr_setaffinity_np(pthread_attr_t *, size_t, const cpu_set_t *);
int __wrap_pthread_create(pthread_t *, const pthread_attr_t *, thread_body *, void *);
int __wrap_pthread_join(pthread_t, void **);

int __wrap_pthread_attr_setaffinity_np(pthread_attr_t *attributes, size_t size,
                                       const cpu_set_t *set) {
    return old_pthread_attr_setaffinity_np(attributes, size, set);
}

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, thread_body *body,
                          void *argument) {
    return old_pthread_create(thread, attributes, body, argument);
}

int __wrap_pthread_join(pthread_t thread, void **result) {
    return old_pthread_join(thread, result);
}

#endif
