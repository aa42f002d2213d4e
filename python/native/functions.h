/* One Python function for each function of vqdiffusion.h but vqd_version. Each takes its arguments,
 * releases the GIL and calls; module.c generates from the list below what comes before and after:
 * the count of the arguments, and the exception of an error. */
#ifndef VQD_FUNCTIONS_H
#define VQD_FUNCTIONS_H

#include "call.h"

/* How a sentence names the element types. */
#define FLOATING "float16, bfloat16, float32 or float64"
#define INTEGER "of an integer type"
#define RESULT "float32 or float64"

#define SCHEDULE "num_classes, alpha_cumulative, gamma_cumulative, "

/* Each function is declared here and nowhere else: its name, the smallest and the largest number
 * of its arguments, and their names for inspect. _native.pyi documents them. */
#define NATIVE_FUNCTIONS(FUNCTION) \
    FUNCTION(alpha_schedules, 5, 5, "num_timesteps, start, end, alpha, alpha_cumulative") \
    FUNCTION(gamma_schedules, 5, 5, "num_timesteps, start, end, gamma, gamma_cumulative") \
    FUNCTION(schedule_check, 3, 3, "num_classes, alpha_cumulative, gamma_cumulative") \
    FUNCTION(schedule_logs, 9, 9, \
             SCHEDULE "log_alpha, log_beta, log_gamma, log_alpha_cumulative, " \
                      "log_beta_cumulative, log_gamma_cumulative") \
    FUNCTION(step_coefficients, 6, 7, SCHEDULE "timesteps, previous_timesteps, out, remask=0.0") \
    FUNCTION(q_posterior, 8, 9, SCHEDULE "t, s, log_p_x_0, x_t, out, num_threads=0") \
    FUNCTION(log_transition_rows, 8, 9, \
             SCHEDULE "t, cumulative, x_t, log_onehot_x_t, out, num_threads=0") \
    FUNCTION(apply_cumulative_transitions, 6, 7, SCHEDULE "t, q, out, num_threads=0") \
    FUNCTION(index_to_log_onehot, 3, 4, "x, num_classes, out, num_threads=0") \
    FUNCTION(step, 10, 15, \
             SCHEDULE "t, s, model_output, sample, method, noise, prev_sample, guidance=None, " \
                      "known=None, remask=0.0, unmask=None, num_threads=0") \
    FUNCTION(plan, 8, 12, \
             SCHEDULE "t, s, sample, uniforms, needed, known=None, remask=0.0, unmask=None, " \
                      "num_threads=0") \
    FUNCTION(check_model_output, 1, 2, "model_output, num_threads=0") \
    FUNCTION(add_noise, 8, 9, \
             SCHEDULE "from_timestep, original_samples, timesteps, uniforms, out, num_threads=0") \
    FUNCTION(row_uniforms, 5, 6, "seed, ids, timesteps, draw, out, num_threads=0") \
    FUNCTION(gumbel_noised, 3, 4, "logits, uniforms, out, num_threads=0") \
    FUNCTION(token_scores, 8, 9, \
             "logits, uniforms, temperature, token, probability, entropy, margin, logsumexp, " \
             "num_threads=0") \
    FUNCTION(guide, 4, 5, "log_p_uncond, log_p_cond, scale, out, num_threads=0") \
    FUNCTION(truncate, 4, 7, "log_p, rate, floor, out, top_k=0, temperature=1, num_threads=0") \
    FUNCTION(loss, 17, 18, \
             SCHEDULE "logits, x_0, x_t, timesteps, previous_timesteps, masked_weight, " \
                      "unmasked_weight, auxiliary_weight, adaptive_auxiliary, probability, " \
                      "pixel_weights, loss, per_row, gradient, num_threads=0")

/* Each returns what vqdiffusion.h has returned, or RAISED with an exception set. */
#define DECLARE(name, least, most, parameters) int native_##name(call *self);
NATIVE_FUNCTIONS(DECLARE)
#undef DECLARE

/* Returns from a function above with the status of a call, made without the GIL. */
#define RETURN_WITHOUT_GIL(expression) \
    do { \
        vqd_status status; \
        Py_BEGIN_ALLOW_THREADS \
        status = expression; \
        Py_END_ALLOW_THREADS \
        return (int)status; \
    } while (0)

/* The names of the columns of step_coefficients, a tuple; NULL with an exception set. */
PyObject *step_coefficient_names(void);

#endif
