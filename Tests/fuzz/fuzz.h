/* What the parts of the fuzzer share: choices made from the bytes of an input, arrays that lie
 * against guard pages, and calls whose promises are checked. */
#ifndef VQD_FUZZ_H
#define VQD_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vqdiffusion.h"

/* ---- input.c: choices ------------------------------------------------------------------------ */

/* Choices come from these bytes, and from a generator that they seed when they are used up. */
void choose_from(const uint8_t *bytes, size_t size);
/* 0 … below - 1. */
uint32_t choice(uint32_t below);
/* True once in so many times. */
bool chance(uint32_t times);
/* 64 bits of the generator. */
uint64_t random_bits(void);
/* A number from `low` to `high`; now and then one outside, NaN or infinite. */
double number(double low, double high);
/* low … high; now and then one outside. */
int64_t integer(int64_t low, int64_t high);
/* One that most arguments must not be. */
int64_t wild_integer(void);

/* ---- arrays.c: memory ------------------------------------------------------------------------ */

typedef enum role {
    INPUT,  /* stays as it is */
    OUTPUT, /* all of it is written, unless the call fails */
    GAPPED, /* so are the elements that `mark_element` names; what is between them stays as it is */
    STATE,  /* changes as the arguments say, unless the call fails */
    OTHER,  /* nothing is promised */
} role;

/* Forgets all arrays of the call before. */
void forget_arrays(void);
/* Memory between two pages that nobody may touch, against one of them, aligned to `step` bytes. */
void *guarded(int64_t bytes, int64_t step, role role);
bool has_room(int64_t bytes);
const void *last_array(void);
/* An element of the last array, of GAPPED. */
void mark_element(const void *element, size_t bytes);
/* The array that begins here has another role from now on. */
void change_role(const void *array, role role);
/* Notes what all arrays hold, and fills the outputs with a byte. */
void prepare_arrays(uint8_t junk);
/* Ends the program where an input has changed, or an output of a call that has failed. */
void check_arrays(bool succeeded, const char *function);
/* Keeps the outputs; ends the program where they differ from those that are kept. */
void keep_outputs(void);
void check_same_outputs(const char *function);

/* From now on scratch memory holds this byte, and the allocation after so many fails; if negative,
 * none does. */
void prepare_scratch(uint8_t junk, int64_t failing);
bool scratch_has_failed(void);

/* ---- tensors.c: tensors ---------------------------------------------------------------------- */

typedef enum content {
    LOGITS,        /* floating */
    CLASSES,       /* integers 0 … limit */
    KNOWN,         /* integers -1 … limit */
    TIMESTEPS,     /* int64, as `timesteps` says */
    IDS,           /* int64 or uint64 */
    COUNTS,        /* int64, at least 0 */
    UNIFORMS,      /* float64 in [0, 1) */
    NOISE,         /* float32 or float64 in [0, 1) */
    WEIGHTS,       /* float64, at least 0 */
    PROBABILITIES, /* float64 in (0, 1] */
    FLAGS,         /* bool */
} content;

typedef struct shape {
    int rank;
    int64_t lengths[3];
} shape;
#define SHAPE(rank, ...) ((shape){rank, {__VA_ARGS__}})

/* Forgets the tensors of the call before. With `whole`, none of the next is broken. */
void forget_tensors(bool whole);
/* An input of any strides, of the type `dtype`, or of one that the content allows where it is 0.
 * Broken in one of many ways if the call is not whole; NULL is one. */
const vqd_tensor *input(content content, shape shape, int64_t limit, int32_t dtype);
/* (B,) int64, least … limit. */
const vqd_tensor *timesteps(int64_t least, int64_t limit);
/* A contiguous output, and one of any strides by which no two elements overlap. */
const vqd_tensor *output(int32_t dtype, shape shape);
const vqd_tensor *strided_output(int32_t dtype, shape shape);
/* The element type of results of a floating input. */
int32_t result_of(const vqd_tensor *tensor);
int64_t count(const vqd_tensor *tensor);

/* ---- schedules.c ----------------------------------------------------------------------------- */

/* The schedule of this call; NULL where it is left out. */
const vqd_schedule *any_schedule(void);
/* t and s of a step. */
void any_step(int64_t *t, int64_t *s);

/* ---- abi_fuzz.c: calls ----------------------------------------------------------------------- */

/* The sizes of this call, and whether its arguments are to be good ones. */
extern int64_t batch, classes, pixels, steps;
extern bool whole;

/* Calls `call` on some numbers of threads, over junk, and checks what the header promises.
 * `check`, which may be NULL, looks at the results of a call that has returned VQD_OK. */
vqd_status run(const char *function, vqd_status (*call)(vqd_context *), void (*check)(void));

/* Says what broke, and ends the program. */
_Noreturn void broken(const char *function, const char *promise);

/* ---- calls_*.c: one function for each entry point -------------------------------------------- */

void fuzz_linear_schedules(void);
void fuzz_schedule_check(void);
void fuzz_schedule_logs(void);
void fuzz_step_coefficients(void);
void fuzz_posterior(void);
void fuzz_transition_rows(void);
void fuzz_cumulative_transitions(void);
void fuzz_onehot(void);
void fuzz_guide(void);
void fuzz_truncate(void);
void fuzz_step(void);
void fuzz_plan(void);
void fuzz_planned_step(void);
void fuzz_check_model_output(void);
void fuzz_add_noise(void);
void fuzz_row_uniforms(void);
void fuzz_gumbel_noised(void);
void fuzz_token_scores(void);
void fuzz_loss(void);

#endif
