/* vqdiffusion.h: the VQ-Diffusion scheduler for C, and for everything that can call C.
 *
 * This header is the contract. It is written by hand; the Swift definitions behind it are
 * compiled against it, so a definition that differs does not build.
 *
 * Conventions
 *   K        number of classes without the mask; the mask class has index K.
 *   T        number of training timesteps. Timesteps run 0 … T-1; -1 stands for clean data.
 *   B, N     batch rows and pixels (grid cells) of each.
 *   Tensors  are described, never owned. Inputs may have any strides, negative and zero
 *            included; outputs are C-contiguous and allocated by the caller. An output must not
 *            overlap an input.
 *   Errors   Every function that can fail returns a vqd_status and, when a context is given,
 *            leaves one sentence in context->message that names the argument, what was expected
 *            and what came. On an error no output has been written.
 *   Memory   New memory of outputs of 4 MiB and more is asked to come in large pages (Linux; a
 *            hint to the system on the caller's memory).
 *   Threads  No function keeps state, locks or threads beyond its call; all may be called from
 *            many threads at once. Results do not depend on the number of threads.
 *   NaN      Log-probabilities may be any finite number or -inf. NaN or +inf in what is read is
 *            VQD_VALUE_ERROR, and so is a column (one pixel's log-probabilities) that is -inf
 *            throughout. A column need not sum to one.
 *
 * Equations are those of Gu et al. 2021, "Vector Quantized Diffusion Model for Text-to-Image
 * Synthesis", arXiv 2111.14822.
 */
#ifndef VQDIFFUSION_H
#define VQDIFFUSION_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What came of a call. */
typedef enum vqd_status {
    VQD_OK = 0,
    VQD_VALUE_ERROR = 1, /* a number, a shape or a timestep is not acceptable */
    VQD_TYPE_ERROR = 2,  /* an element type is not acceptable */
    VQD_MEMORY_ERROR = 3 /* scratch memory could not be had */
} vqd_status;

/* Element types. */
typedef enum vqd_dtype {
    VQD_INT8 = 1,
    VQD_INT16 = 2,
    VQD_INT32 = 3,
    VQD_INT64 = 4,
    VQD_UINT8 = 5,
    VQD_UINT16 = 6,
    VQD_UINT32 = 7,
    VQD_UINT64 = 8,
    VQD_FLOAT16 = 9,
    VQD_BFLOAT16 = 10,
    VQD_FLOAT32 = 11,
    VQD_FLOAT64 = 12,
    VQD_BOOL8 = 13
} vqd_dtype;

/* A view of memory that the caller owns. Axes beyond `rank` are ignored. */
typedef struct vqd_tensor {
    void *data;         /* the element at index (0, …, 0); may be NULL when a dimension is zero */
    int64_t shape[3];   /* elements along each axis, each >= 0 */
    int64_t strides[3]; /* bytes from one element to the next along each axis */
    int32_t rank;       /* 1, 2 or 3 */
    int32_t dtype;      /* a vqd_dtype */
} vqd_tensor;

/* The noise schedule: the marginals q(x_t | x_0) at every timestep. β̄_t follows as (1 - ᾱ_t -
 * γ̄_t) / K, and as 0 where that difference is no more than a rounding error (2^-50). */
typedef struct vqd_schedule {
    int64_t num_classes;   /* K >= 1 */
    int64_t num_timesteps; /* T >= 1, also the length of both tables */
    /* ᾱ_t, the probability that a pixel has kept its class up to t */
    const double *alpha_cumulative;
    const double *gamma_cumulative; /* γ̄_t, the probability that a pixel is masked at t */
} vqd_schedule;

/* Options of a call, and its message. May be NULL: defaults, and no message. */
typedef struct vqd_context {
    /* threads to use at most; 0: the cores this thread may run on, when the work is worth them */
    int32_t num_threads;
    char message[508]; /* set on an error: UTF-8, ends in NUL */
} vqd_context;

/* Version of this library, such as "0.1.0". */
const char *vqd_version(void);

/* ---- Schedule -------------------------------------------------------------------------------- */

/* The linear schedule of ᾱ, in the layout users of the scheduler know.
 * alpha             T values: α_t = ᾱ_t / ᾱ_{t-1}, with ᾱ_{-1} = 1
 * alpha_cumulative  T + 1 values: ᾱ_t, then ᾱ_{-1} = 1 as the last entry
 * Errors: VQD_VALUE_ERROR when num_timesteps < 2 or an end is not a number in [0, 1]. */
vqd_status vqd_alpha_schedules(int64_t num_timesteps, double alpha_cum_start, double alpha_cum_end,
                               double *alpha, double *alpha_cumulative, vqd_context *context);

/* The linear schedule of γ̄.
 * gamma             T values: γ_t = 1 - (1 - γ̄_t) / (1 - γ̄_{t-1}), with γ̄_{-1} = 0
 * gamma_cumulative  T + 1 values: γ̄_t, then γ̄_{-1} = 0 as the last entry */
vqd_status vqd_gamma_schedules(int64_t num_timesteps, double gamma_cum_start, double gamma_cum_end,
                               double *gamma, double *gamma_cumulative, vqd_context *context);

/* Checks that the tables describe a Markov chain: every entry a probability, ᾱ_t + γ̄_t <= 1
 * (up to rounding), γ̄ never falls and ᾱ / (1 - γ̄) never rises.
 * Errors: VQD_VALUE_ERROR naming the first timestep that breaks a rule. */
vqd_status vqd_schedule_check(const vqd_schedule *schedule, vqd_context *context);

/* Natural logarithms of the tables, in float64. log_alpha, log_beta, log_gamma: T values for the
 * single step t-1 -> t (eq. 7). log_alpha_cumulative, log_beta_cumulative, log_gamma_cumulative:
 * T + 1 values, the last of them for t = -1 (0, -inf, -inf). β is formed as (1 - α - γ) / K, and
 * is 0 where β̄ is. */
vqd_status vqd_schedule_logs(const vqd_schedule *schedule, double *log_alpha, double *log_beta,
                             double *log_gamma, double *log_alpha_cumulative,
                             double *log_beta_cumulative, double *log_gamma_cumulative,
                             vqd_context *context);

/* The transition from timestep s to t > s, s >= -1: probabilities[0] = α_{t|s}, [1] = β_{t|s},
 * [2] = γ_{t|s}. An unmasked pixel keeps its class with α + β, becomes any one other class with
 * β and the mask with γ; a masked pixel stays masked. */
vqd_status vqd_transition(const vqd_schedule *schedule, int64_t s, int64_t t,
                          double probabilities[3], vqd_context *context);

/* ---- Posterior ------------------------------------------------------------------------------- */

/* log Σ_{x_0} q(x_s | x_t, x_0) p(x_0), eq. 11, for any s < t; s = t - 1 is the paper's. Not
 * normalised: it sums to Σ p.
 * log_p_x_0  (B, K, N) float16, bfloat16, float32 or float64
 * x_t        (B, N) any integer type, values 0 … K
 * out        (B, K + 1, N) float32; float64 when log_p_x_0 is float64
 * A transition to the mask from an unmasked pixel has log-probability log 1e-30 rather than
 * -inf, as one-hot logarithms of this family are clamped there. Where β̄_t = 0 an unmasked pixel
 * is carried over: its class gets log Σ p, every other row -inf. */
vqd_status vqd_q_posterior(const vqd_schedule *schedule, int64_t t, int64_t s,
                           const vqd_tensor *log_p_x_0, const vqd_tensor *x_t,
                           const vqd_tensor *out, vqd_context *context);

/* log q(x_t | x_0 = j) for every class j (cumulative) or log q(x_t | x_{t-1} = j) (not
 * cumulative), for the observed x_t.
 * x_t             (B, N) any integer type
 * log_onehot_x_t  (B, K + 1, N) float16, bfloat16, float32 or float64
 * out             (B, K, N) when cumulative, else (B, K + 1, N), whose last row is the last row
 *                 of log_onehot_x_t; float32, or float64 when log_onehot_x_t is float64 */
vqd_status vqd_log_transition_rows(const vqd_schedule *schedule, int64_t t, int32_t cumulative,
                                   const vqd_tensor *x_t, const vqd_tensor *log_onehot_x_t,
                                   const vqd_tensor *out, vqd_context *context);

/* log(ᾱ_t e^q + β̄_t) for the K rows of q, and log γ̄_t as the row of the mask. t may be -1.
 * q (B, K, N) floating; out (B, K + 1, N) float32, or float64 when q is float64. */
vqd_status vqd_apply_cumulative_transitions(const vqd_schedule *schedule, int64_t t,
                                            const vqd_tensor *q, const vqd_tensor *out,
                                            vqd_context *context);

/* Logarithms of one-hot vectors: 0 at the class, log 1e-30 elsewhere. x (B, N) any integer type,
 * values 0 … num_classes - 1; out (B, num_classes, N) float32. */
vqd_status vqd_index_to_log_onehot(const vqd_tensor *x, int64_t num_classes, const vqd_tensor *out,
                                   vqd_context *context);

/* ---- Sampling -------------------------------------------------------------------------------- */

/* The state of an MT19937 engine, of the kind that torch has on the CPU. */
typedef struct vqd_mt19937 {
    uint32_t words[624];
    /* words given out since the last twist, at most 624: the state is then twisted before the
     * next word */
    uint32_t position;
} vqd_mt19937;

/* Where the uniforms behind Gumbel noise come from: one of the three, the others NULL. They are
 * drawn in the order of memory: batch row, class, pixel. */
typedef struct vqd_noise {
    /* given: (B, K + 1, N), at t = 0 (B, K, N), float32 or float64 in [0, 1) */
    const vqd_tensor *uniforms;
    /* drawn as torch.rand does: float32, the lower 24 bits of each word; advanced unless the
     * call fails */
    vqd_mt19937 *engine;
    /* written by a function: the next `count` float32 uniforms. Called in order, on the thread
     * of the caller, and not before everything that can fail has been checked, memory aside. */
    void (*fill)(void *fill_context, float *uniforms, int64_t count);
    void *fill_context;
} vqd_noise;

/* One reverse step x_t -> x_s by Gumbel-max: argmax over classes of log p(x_s | x_t) -
 * log(-log(u + 1e-30) + 1e-30), the lowest index winning ties. At t = 0 the model output itself
 * is drawn from, the mask is never drawn, and `sample` is not read and may be NULL; where β̄_0 =
 * 0 it is read there too, and the pixels that show a class keep it. previous_timestep is s < t,
 * s = t - 1 for the paper's chain, -1 at t = 0. model_output (B, K, N) floating; sample (B, N)
 * any integer type; prev_sample (B, N) int64. */
vqd_status vqd_step_gumbel(const vqd_schedule *schedule, int64_t timestep,
                           int64_t previous_timestep, const vqd_tensor *model_output,
                           const vqd_tensor *sample, const vqd_noise *noise,
                           const vqd_tensor *prev_sample, vqd_context *context);

/* The same step by inverting the cumulative distribution at one uniform per pixel: exact in the
 * tails, and reading only the columns of the model output that the uniform makes necessary (a
 * NaN in any other column goes unseen). uniforms (B, N) float64 in [0, 1), 53 bits each; the
 * rest as in vqd_step_gumbel. */
vqd_status vqd_step_inverse_cdf(const vqd_schedule *schedule, int64_t timestep,
                                int64_t previous_timestep, const vqd_tensor *model_output,
                                const vqd_tensor *sample, const vqd_tensor *uniforms,
                                const vqd_tensor *prev_sample, vqd_context *context);

/* Tells which columns vqd_step_inverse_cdf will read with these uniforms, before there is any
 * model output, so that a model may compute its output layer for those pixels only (2 to 3 in a
 * hundred in the middle of a default chain; at t = 0 all, or where β̄_0 = 0 the masked ones).
 * sample as in vqd_step_gumbel, uniforms (B, N) float64 in [0, 1); needed (B, N) VQD_BOOL8, a
 * byte of 1 where the column is needed, else of 0. */
vqd_status vqd_plan_inverse_cdf(const vqd_schedule *schedule, int64_t timestep,
                                int64_t previous_timestep, const vqd_tensor *sample,
                                const vqd_tensor *uniforms, const vqd_tensor *needed,
                                vqd_context *context);

/* Completes a planned step: draws what vqd_step_inverse_cdf would draw, given the needed columns
 * alone. `sample` and `uniforms` are those of the plan. model_output (K, M) floating, one column
 * for each of the M needed pixels, in the order of the rows and, within a row, of the pixels;
 * all of it is read. Errors: VQD_VALUE_ERROR when M is not the number of needed pixels; the rest
 * as in vqd_step_inverse_cdf. */
vqd_status vqd_complete_inverse_cdf(const vqd_schedule *schedule, int64_t timestep,
                                    int64_t previous_timestep, const vqd_tensor *model_output,
                                    const vqd_tensor *sample, const vqd_tensor *uniforms,
                                    const vqd_tensor *prev_sample, vqd_context *context);

/* Reads all of a model output, as vqd_step_inverse_cdf does not. model_output (B, K, N)
 * floating. Errors: VQD_VALUE_ERROR at the first NaN or +inf, in the order of rows, classes and
 * pixels; where there is none, at the first column that is -inf throughout. */
vqd_status vqd_check_model_output(const vqd_tensor *model_output, vqd_context *context);

/* The forward process: draws x_t from q(x_t | x_0). x_0 (B, N) any integer type, a masked pixel
 * staying masked; timesteps (B,) int64, one for each row, 0 … T-1; uniforms (B, N) float64 in
 * [0, 1); out (B, N) int64. */
vqd_status vqd_q_sample(const vqd_schedule *schedule, const vqd_tensor *x_0,
                        const vqd_tensor *timesteps, const vqd_tensor *uniforms,
                        const vqd_tensor *out, vqd_context *context);

/* logits - log(-log(u + 1e-30) + 1e-30). logits (B, C, N) floating; uniforms (B, C, N) float32
 * or float64; out (B, C, N) float32, or float64 when logits or uniforms are float64. */
vqd_status vqd_gumbel_noised(const vqd_tensor *logits, const vqd_tensor *uniforms,
                             const vqd_tensor *out, vqd_context *context);

/* ---- Guidance and truncation ----------------------------------------------------------------- */

/* Classifier-free guidance: l = u + scale (c - u), then l - log sum exp l, so that every column
 * is a distribution again. log_p_uncond (u) and log_p_cond (c) (B, K, N) floating, of one type;
 * scale finite; out (B, K, N) float32, or float64 when the inputs are. A class that is -inf in
 * either input is -inf in the result, and so is one that has at most -greatest / (4 (1 +
 * |scale|)) in either, where greatest is the largest number of the precision computed in
 * (float64, else float32), or the lowest float16 in float16: less may overflow. Errors:
 * VQD_VALUE_ERROR naming the input with a number so large that a column overflows. */
vqd_status vqd_guide(const vqd_tensor *log_p_uncond, const vqd_tensor *log_p_cond, double scale,
                     const vqd_tensor *out, vqd_context *context);

/* Keeps, of every pixel's classes in the order of falling probability, those before which less
 * than `rate` of probability lies, the most probable one always, equal ones in the order of
 * their indices; the others become -inf. Not renormalised. What is then below `floor` is raised
 * to it (-inf: nothing is). log_p (B, K, N) floating; out (B, K, N) float32, or float64 when
 * log_p is. */
vqd_status vqd_truncate(const vqd_tensor *log_p, double rate, double floor, const vqd_tensor *out,
                        vqd_context *context);

/* A model's output with and without its condition, and what is done to it before a step. */
typedef struct vqd_guided_output {
    const vqd_tensor *log_p_uncond; /* (B, K, N) floating; NULL: no guidance */
    const vqd_tensor *log_p_cond;   /* the same, of one type with log_p_uncond */
    double guidance_scale;          /* of vqd_guide; not looked at without log_p_uncond */
    double truncation_rate;         /* of vqd_truncate, which always follows */
    double floor;                   /* of vqd_truncate */
} vqd_guided_output;

/* vqd_guide, vqd_truncate and vqd_step_gumbel in one: the same tokens, but where the kept mass
 * meets the rate to within the rounding of its sum and one class more or less is kept. Instead
 * of two outputs it holds a bit for every class of sixteen pixels, and for each thread the
 * classes of some 128 pixels that may be kept; only with uniforms of double precision, or masses
 * beyond the plain exponentials of the type, the B K N numbers themselves. The arguments but for
 * the model's output are those of vqd_step_gumbel. */
vqd_status vqd_guided_step_gumbel(const vqd_schedule *schedule, int64_t timestep,
                                  int64_t previous_timestep, const vqd_guided_output *model_output,
                                  const vqd_tensor *sample, const vqd_noise *noise,
                                  const vqd_tensor *prev_sample, vqd_context *context);

/* vqd_guide, vqd_truncate and vqd_step_inverse_cdf in one: the same tokens, as above. Only the
 * columns that the uniforms make necessary are read, guided and truncated. The arguments but for
 * the model's output are those of vqd_step_inverse_cdf. */
vqd_status vqd_guided_step_inverse_cdf(const vqd_schedule *schedule, int64_t timestep,
                                       int64_t previous_timestep,
                                       const vqd_guided_output *model_output,
                                       const vqd_tensor *sample, const vqd_tensor *uniforms,
                                       const vqd_tensor *prev_sample, vqd_context *context);

#ifdef __cplusplus
}
#endif

#endif /* VQDIFFUSION_H */
