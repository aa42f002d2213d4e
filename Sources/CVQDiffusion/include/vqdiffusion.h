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

/* Natural logarithms of the tables, in float64.
 * log_alpha, log_beta, log_gamma  T values for the single step t-1 -> t (eq. 7); β is formed as
 *                                 (1 - α - γ) / K, and is 0 where β̄ is
 * log_alpha_cumulative, log_beta_cumulative, log_gamma_cumulative
 *                                 T + 1 values, the last of them for t = -1 (0, -inf, -inf) */
vqd_status vqd_schedule_logs(const vqd_schedule *schedule, double *log_alpha, double *log_beta,
                             double *log_gamma, double *log_alpha_cumulative,
                             double *log_beta_cumulative, double *log_gamma_cumulative,
                             vqd_context *context);

/* Everything about the step from t to s < t that no data enters. Where a pixel cannot be masked at
 * t (γ̄_t = 0, and s >= 0), what is said of masked pixels is NaN. */
typedef struct vqd_coefficients {
    /* The transition s -> t: an unmasked pixel keeps its class with alpha + beta, becomes any one
     * other class with beta and the mask with gamma; a masked pixel stays masked. */
    double alpha, beta, gamma;

    /* ᾱ_t, β̄_t, γ̄_t. */
    double alpha_cumulative, beta_cumulative, gamma_cumulative;

    /* ᾱ_s, β̄_s, γ̄_s; clean data (1, 0, 0) where s = -1. */
    double previous_alpha_cumulative, previous_beta_cumulative, previous_gamma_cumulative;

    /* Eq. 11 for a pixel that is masked at t, with P = Σ_k p_k:
     *   class k   masked_signal p_k + masked_level P
     *   the mask  masked_mask P */
    double masked_signal, masked_level, masked_mask;

    /* Eq. 11 for a pixel that shows class i at t, with
     * S = other_weight Σ_{k≠i} p_k + own_weight p_i:
     *   class k   signal p_k + level S
     *   class i   own_signal p_i + own_level S
     *   the mask  own_mask p_i + mask S: remask P where that is above 0, else from
     *             log 0 := log 1e-30
     * Where β̄_t = 0 the pixel is carried over unless it is masked again: S = P,
     * own_level = 1 - remask and mask = remask, all else is 0. */
    double other_weight, own_weight;
    double signal, level, own_signal, own_level, mask;

    /* What a uniform u in [0, 1) decides before p is known. A masked pixel stays masked where
     * u < masked_mask; else v = (u - masked_mask) / (1 - masked_mask) is uniform again, and where
     * v < uniform_share the class is floor(K v / uniform_share). A pixel that shows a class is
     * masked where u < remask, and keeps it where u - remask < settled. */
    double uniform_share, settled;

    /* What remasking adds; 0 without. */
    double own_mask, remask;
} vqd_coefficients;

/* The coefficients of one step.
 * timestep           t, 0 … T-1
 * previous_timestep  s, -1 … t-1
 * remask             of vqd_step_options
 * out                written unless the call fails */
vqd_status vqd_step_coefficients(const vqd_schedule *schedule, int64_t timestep,
                                 int64_t previous_timestep, double remask, vqd_coefficients *out,
                                 vqd_context *context);

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

/* log(ᾱ_t e^q + β̄_t) for the K rows of q, and log γ̄_t as the row of the mask.
 * t    -1 … T-1
 * q    (B, K, N) floating
 * out  (B, K + 1, N) float32, or float64 when q is float64 */
vqd_status vqd_apply_cumulative_transitions(const vqd_schedule *schedule, int64_t t,
                                            const vqd_tensor *q, const vqd_tensor *out,
                                            vqd_context *context);

/* Logarithms of one-hot vectors: 0 at the class, log 1e-30 elsewhere.
 * x    (B, N) any integer type, values 0 … num_classes - 1
 * out  (B, num_classes, N) float32 */
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

/* How a step draws. */
typedef enum vqd_draw_method {
    /* Gumbel-max: argmax over classes of log p(x_s | x_t) - log(-log(u + 1e-30) + 1e-30), one
     * uniform for every class; the lowest index wins ties. All of the model output is read. */
    VQD_GUMBEL = 1,
    /* Inverts the cumulative distribution at one uniform per pixel: exact in the tails. Only the
     * columns that the uniforms make necessary are read; a NaN in any other goes unseen. */
    VQD_INVERSE_CDF = 2
} vqd_draw_method;

/* How a step draws, and its random numbers: one of `uniforms`, `engine` and `fill`, the others
 * NULL. Those of Gumbel noise are drawn in the order of memory: batch row, class, pixel. */
typedef struct vqd_draw {
    int32_t method; /* a vqd_draw_method */
    /* given, in [0, 1). VQD_GUMBEL: (B, K + 1, N), at s = -1 (B, K, N), float32 or float64.
     * VQD_INVERSE_CDF: (B, N) float64, of 53 bits */
    const vqd_tensor *uniforms;
    /* VQD_GUMBEL: drawn as torch.rand does, float32, the lower 24 bits of each word; advanced
     * unless the call fails */
    vqd_mt19937 *engine;
    /* VQD_GUMBEL: written by a function, the next `count` float32 uniforms. Called in order, on
     * the thread of the caller, and not before everything that can fail has been checked, memory
     * aside. */
    void (*fill)(void *fill_context, float *uniforms, int64_t count);
    void *fill_context;
} vqd_draw;

/* Classifier-free guidance and truncation of a model output before a step draws from it:
 * vqd_guide, where there is a log_p_uncond, then always vqd_truncate. */
typedef struct vqd_guidance {
    /* (B, K, N), of one type with the model output, which is log_p_cond; NULL: no guidance */
    const vqd_tensor *log_p_uncond;
    double scale;           /* of vqd_guide; not looked at without log_p_uncond */
    double truncation_rate; /* of vqd_truncate */
    double floor;           /* of vqd_truncate */
    int64_t top_k;          /* of vqd_truncate */
    double temperature;     /* of vqd_truncate; 0 stands for 1 */
} vqd_guidance;

/* What the pixels to reveal are chosen by: the largest keys, of equal ones the lower index. With p
 * the distribution of a pixel, p_1 and p_2 the largest of it, H its entropy in nats: */
typedef enum vqd_order {
    VQD_RANDOM = 1,     /* 0 */
    VQD_PURITY = 2,     /* log p_1, less the largest of the row */
    VQD_MARGIN = 3,     /* log(p_1 - p_2) */
    VQD_ENTROPY = 4,    /* -H */
    VQD_CONFIDENCE = 5, /* log p of the token drawn: biased, whatever the number of steps */
} vqd_order;

/* How many pixels of a row are revealed. */
typedef enum vqd_unmask_rule {
    /* M - floor(M γ̄_s / γ̄_t + 1/2) of M that may be, all at s = -1; or what `count` says */
    VQD_DUE = 0,
    /* those with p_1, under VQD_CONFIDENCE p of the token, above `bound`; the one with the largest
     * key where there is none */
    VQD_THRESHOLD = 1,
    /* those of lowest entropy as long as their sum less the largest is at most `bound`, at least
     * one */
    VQD_ENTROPY_BOUND = 2,
} vqd_unmask_rule;

/* A step that reveals some masked pixels of each row: of p_k, the model output or what guidance
 * and truncation make of it, a class is drawn there, and every other pixel stays as it is. Only
 * columns of masked pixels are read. */
typedef struct vqd_unmask {
    int32_t order; /* a vqd_order */
    int32_t rule;  /* a vqd_unmask_rule */
    double bound;  /* of the rule: from 0 to 1, or for VQD_ENTROPY_BOUND finite and at least 0 */
    /* finite and at least 0: so many times Gumbel noise is added to the keys. VQD_RANDOM has it
     * always, and then this plays no part */
    double temperature;
    /* r, finite and at least 0: classes are drawn from p^(1 + r q), normalised, where q is p_1 over
     * the largest of the row's masked pixels (purity prior, Tang et al. 2022) */
    double prior_weight;
    /* (B,) int64, at least 0: how many to reveal in each row under VQD_DUE; all where there are
     * fewer. NULL: as the schedule says */
    const vqd_tensor *count;
    /* (B, N) or (N,) VQD_BOOL8: the pixels that may be revealed, if masked; NULL: all */
    const vqd_tensor *positions;
    /* (B, N) float64 in [0, 1): the noise of the order; not looked at where there is none */
    const vqd_tensor *order_uniforms;
    /* Results of vqd_step, either of which may be NULL: (B, N) VQD_BOOL8, the pixels revealed; and
     * (B, N) float64, keys without noise, NaN at the pixels whose columns are not read */
    const vqd_tensor *revealed, *scores;
} vqd_unmask;

/* What a step may do beside drawing. All zero: nothing. */
typedef struct vqd_step_options {
    const vqd_guidance *guidance; /* NULL: the model output is drawn from as it is */
    /* (B, N) any integer type: the class 0 … K-1 that a pixel is given, or -1; NULL: nothing is
     * known */
    const vqd_tensor *known;
    /* σ, with which a pixel that shows a class at t is masked again, whatever the model says; else
     * it follows the posterior, and so many more of the masked ones are revealed that the marginals
     * at s stay those of the forward process. From 0 to min(1, γ̄_s / (1 - γ̄_t)) */
    double remask;
    /* NULL: a step of the chain. Else the method is VQD_INVERSE_CDF, remask is 0 and `sample` is
     * always read. vqd_plan then needs every pixel that may be revealed; with VQD_RANDOM, VQD_DUE
     * and no prior_weight only those that are */
    const vqd_unmask *unmask;
} vqd_step_options;

/* One reverse step x_t -> x_s, for any s < t; s = t - 1 is the paper's.
 * timestep           t, 0 … T-1
 * previous_timestep  s, -1 … t-1
 * model_output       log-probabilities of x_0, (B, K, N) floating. VQD_INVERSE_CDF without
 *                    guidance also takes (K, M): the columns of the M pixels that vqd_plan calls
 *                    needed, row after row; all of it is then read
 * sample             x_t, (B, N) any integer type, values 0 … K
 * draw               how to draw, and with which random numbers
 * options            may be NULL
 * prev_sample        x_s, (B, N) int64
 * At s = -1 the model output itself is drawn from, the mask is never drawn, and `sample` is not
 * read and may be NULL; where β̄_t = 0 it is read there too, and pixels that show a class keep
 * it.
 * With guidance the tokens are those of vqd_guide, vqd_truncate and a step in turn, but where the
 * kept mass meets the rate to within the rounding of its sum and one class more or less is kept.
 * VQD_GUMBEL then holds, instead of two outputs, a bit for every class of sixteen pixels, and for
 * each thread the classes of some 128 pixels that may be kept; only with uniforms of double
 * precision, or masses beyond the plain exponentials of the type, the B K N numbers themselves.
 * VQD_INVERSE_CDF guides and truncates the columns that it reads.
 * Pixels that are known show their class in prev_sample, whatever would be drawn. VQD_INVERSE_CDF
 * does not read their columns; VQD_GUMBEL draws the same uniforms as without.
 * Errors: under guidance the model output is named log_p_cond. VQD_VALUE_ERROR also when M is not
 * the number of needed pixels. */
vqd_status vqd_step(const vqd_schedule *schedule, int64_t timestep, int64_t previous_timestep,
                    const vqd_tensor *model_output, const vqd_tensor *sample, const vqd_draw *draw,
                    const vqd_step_options *options, const vqd_tensor *prev_sample,
                    vqd_context *context);

/* Tells which columns a step by VQD_INVERSE_CDF will read, before there is any model output, so
 * that a model may compute its output layer for those pixels only (2 to 3 in a hundred in the
 * middle of a default chain; at s = -1 all, or where β̄_t = 0 the masked ones).
 * timestep, previous_timestep, sample
 *           as in vqd_step
 * options   those of the step, whose guidance plays no part; may be NULL
 * uniforms  (B, N) float64 in [0, 1), those that the step will draw with
 * needed    (B, N) VQD_BOOL8: a byte of 1 where the column is needed, else of 0 */
vqd_status vqd_plan(const vqd_schedule *schedule, int64_t timestep, int64_t previous_timestep,
                    const vqd_tensor *sample, const vqd_step_options *options,
                    const vqd_tensor *uniforms, const vqd_tensor *needed, vqd_context *context);

/* Reads all of a model output, as a step by VQD_INVERSE_CDF does not.
 * model_output  (B, K, N) floating
 * Errors: VQD_VALUE_ERROR at the first NaN or +inf, in the order of rows, classes and pixels;
 * where there is none, at the first column that is -inf throughout. */
vqd_status vqd_check_model_output(const vqd_tensor *model_output, vqd_context *context);

/* The forward process: draws x_t from q(x_t | x_s).
 * from_timestep     s, -1 … T-1; -1 is clean data
 * original_samples  x_s, (B, N) any integer type; a masked pixel stays masked
 * timesteps         t, (B,) int64, one for each row, s … T-1; at s nothing changes
 * uniforms          (B, N) float64 in [0, 1)
 * out               x_t, (B, N) int64 */
vqd_status vqd_add_noise(const vqd_schedule *schedule, int64_t from_timestep,
                         const vqd_tensor *original_samples, const vqd_tensor *timesteps,
                         const vqd_tensor *uniforms, const vqd_tensor *out, vqd_context *context);

/* Uniforms on [0, 1) that are functions of (seed, id of the row, timestep, draw) alone: a row gets
 * the same ones in every batch and at every try. Row i gets those of NumPy's
 * Generator(Philox(key=[seed, ids[i]], counter=[0, timesteps[i], draw, 0])).random(…), bit for
 * bit, in the order of memory.
 * ids        (B,) int64 or uint64, none negative
 * timesteps  (B,) int64, one for each row, none negative
 * draw       tells apart several draws for one row and timestep
 * out        (B, N) or (B, C, N), float64 of 53 bits, as "inverse_cdf" takes them, or float32 of
 *            24 bits, as noise of Gumbel-max */
vqd_status vqd_row_uniforms(uint64_t seed, const vqd_tensor *ids, const vqd_tensor *timesteps,
                            uint64_t draw, const vqd_tensor *out, vqd_context *context);

/* logits - log(-log(u + 1e-30) + 1e-30).
 * logits    (B, C, N) floating
 * uniforms  u, (B, C, N) float32 or float64
 * out       (B, C, N) float32, or float64 when logits or uniforms are float64 */
vqd_status vqd_gumbel_noised(const vqd_tensor *logits, const vqd_tensor *uniforms,
                             const vqd_tensor *out, vqd_context *context);

/* ---- Scores of tokens ------------------------------------------------------------------------ */

/* Draws a token for every pixel and tells how sure the model is, in one read of its logits. With
 * p = softmax(logits) over the classes:
 * logits       (B, K, N) floating; any constant may be added to a column. Classes that are
 *              neighbours in memory are read fastest
 * uniforms     (B, N) float64 in [0, 1), each of which inverts the cumulative distribution of
 *              softmax(logits / temperature); NULL: the argmax, the lowest index of equals
 * temperature  finite, >= 0, of the draw alone; 0: the argmax, whatever the uniforms
 * token        (B, N) int64
 * probability  (B, N) float32, float64 when logits is, as the others: p of the token
 * entropy      -Σ p log p, in nats
 * margin       the largest p less the second largest
 * logsumexp    log Σ e^logits
 * Entropy and margin are right to 1e-6, in float64 to 1e-12. */
vqd_status vqd_token_scores(const vqd_tensor *logits, const vqd_tensor *uniforms,
                            double temperature, const vqd_tensor *token,
                            const vqd_tensor *probability, const vqd_tensor *entropy,
                            const vqd_tensor *margin, const vqd_tensor *logsumexp,
                            vqd_context *context);

/* ---- Guidance and truncation ----------------------------------------------------------------- */

/* Classifier-free guidance: l = u + scale (c - u), then l - log sum exp l, so that every column
 * is a distribution again.
 * log_p_uncond  u, (B, K, N) floating
 * log_p_cond    c, the same shape and type
 * scale         finite
 * out           (B, K, N) float32, or float64 when the inputs are
 * A class that is -inf in either input is -inf in the result, and so is one that has at most
 * -greatest / (4 (1 + |scale|)) in either, where greatest is the largest number of the precision
 * computed in (float64, else float32), or the lowest float16 in float16: less may overflow.
 * Errors: VQD_VALUE_ERROR naming the input with a number so large that a column overflows. */
vqd_status vqd_guide(const vqd_tensor *log_p_uncond, const vqd_tensor *log_p_cond, double scale,
                     const vqd_tensor *out, vqd_context *context);

/* Keeps, of every pixel's classes in the order of falling probability, those before which less
 * than `rate` of probability lies, the most probable one always, equal ones in the order of
 * their indices; the others become -inf. Not renormalised.
 * log_p        (B, K, N) floating
 * rate         a number
 * floor        what is then below it is raised to it; -inf: nothing is
 * top_k        at most so many classes are kept, the first ones in the same order, and the rate is
 *              a share of the mass of these; 0: any number, and the rate is of the mass as it is
 * temperature  1e-6 … 1e6; other than 1, columns become log-softmax(log_p / temperature) before
 *              classes are dropped
 * out          (B, K, N) float32, or float64 when log_p is */
vqd_status vqd_truncate(const vqd_tensor *log_p, double rate, double floor, int64_t top_k,
                        double temperature, const vqd_tensor *out, vqd_context *context);

/* ---- Training -------------------------------------------------------------------------------- */

/* What a loss is made of beside the model's prediction. */
typedef struct vqd_loss_options {
    /* What the losses of a pixel are multiplied with, by whether it is masked at t; not at s = -1.
     * Finite and at least 0. */
    double masked_weight, unmasked_weight;

    /* λ, finite and at least 0: λ a_t times the cross-entropy is added to the loss of a pixel, with
     * the same weight. */
    double auxiliary_weight;
    int32_t adaptive_auxiliary; /* 1: a_t = 2 - t/T; 0: a_t = 1 */

    /* (B,) float64 in (0, 1]: p(t), with which each row's timestep was drawn; NULL: 1/T */
    const vqd_tensor *probability;
    /* (B, N) float64, finite and at least 0: what to multiply the losses of each pixel with; NULL:
     * 1 */
    const vqd_tensor *pixel_weights;
} vqd_loss_options;

/* The variational bound of Gu et al. 2021 as a loss, and its gradient with respect to the logits,
 * fused with their softmax. A pixel's L_t is KL(q(x_s | x_t, x_0) || p(x_s | x_t)), for any s < t,
 * and the cross-entropy -log p(x_0) at s = -1. Where β̄_t = 0 a pixel that shows a class is carried
 * over: its loss and its gradient are 0.
 * options             may be NULL: weights of 1 and no auxiliary loss
 * logits              (B, K, N) floating; log-probabilities will do, as a column is normalised
 * x_0                 (B, N) any integer type, values 0 … K-1
 * x_t                 (B, N) any integer type, values 0 … K
 * timesteps           t for each row, (B,) int64, 0 … T-1
 * previous_timesteps  s for each row, (B,) int64, -1 … t-1
 * loss                Σ over the rows of (per_row + auxiliary) / p(t), divided by B N
 * per_row             (B,) float64: the weighted sum of L_t over the pixels of each row
 * auxiliary           (B,) float64: that of λ a_t times the cross-entropies; may be NULL
 * gradient            of `loss`, (B, K, N) float32, or float64 when the logits are, of any strides
 *                     by which no two elements overlap; may be NULL
 * Each column of the gradient sums to 0. Where the model gives x_0 no probability the loss may be
 * infinite; the gradient is finite. Errors: the logits are checked in full before the gradient is
 * written. */
vqd_status vqd_loss(const vqd_schedule *schedule, const vqd_loss_options *options,
                    const vqd_tensor *logits, const vqd_tensor *x_0, const vqd_tensor *x_t,
                    const vqd_tensor *timesteps, const vqd_tensor *previous_timesteps, double *loss,
                    const vqd_tensor *per_row, const vqd_tensor *auxiliary,
                    const vqd_tensor *gradient, vqd_context *context);

#ifdef __cplusplus
}
#endif

#endif /* VQDIFFUSION_H */
