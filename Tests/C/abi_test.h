/* What the tests of the C ABI share: counting, and a small case with its answers written out in
 * double. */
#ifndef ABI_TEST_H
#define ABI_TEST_H

#include <math.h>
#include <stdbool.h>

#include "vqdiffusion.h"

void check(bool holds, const char *what, const char *file, int line);
#define CHECK(condition) check((condition), #condition, __FILE__, __LINE__)

bool near(double a, double b, double tolerance);

/* A number in [0, 1), another at each call. */
double uniform(void);

/* 3 classes, 5 timesteps, 2 rows of 4 pixels. */
enum { K = 3, T = 5, B = 2, N = 4, MASK = K };
extern const double alpha_bar[T], gamma_bar[T];
extern const vqd_schedule schedule;
extern double log_p[B][K][N];
extern int64_t x_t[B][N];

void make_log_p(void);

/* A C-contiguous view. */
vqd_tensor tensor(const void *data, vqd_dtype dtype, int32_t rank, int64_t a, int64_t b, int64_t c);

/* How a step draws, with uniforms that are given. */
#define GUMBEL_DRAW(given) (&(vqd_draw){.method = VQD_GUMBEL, .uniforms = (given)})
#define INVERSE_CDF_DRAW(given) (&(vqd_draw){.method = VQD_INVERSE_CDF, .uniforms = (given)})

/* The matrix of eq. 7 from timestep s to t, built from the marginals: [from][to]. */
void matrix(int64_t s, int64_t t, double q[K + 1][K + 1]);

/* Bayes by its definition, for one pixel: the sum over x_0 of q(x_t | x_s) q(x_s | x_0) p(x_0) /
 * q(x_t | x_0). */
void bayes(int64_t t, int64_t s, int b, int n, double posterior[K + 1]);

void test_schedules(void);
void test_posterior(void);
void test_sampling(void);
void test_known(void);
void test_guidance(void);
void test_loss(void);
void test_absorbing(void);
void test_rows(void);
void test_scores(void);
void test_unmask(void);
void test_huge(void);
void test_threads(void);
void test_misuse(void);

#endif
