/* One function of Python for each of vqdiffusion.h: take the arguments, let go of the GIL, call,
 * turn the status into an exception. */
#ifndef VQD_FUNCTIONS_H
#define VQD_FUNCTIONS_H

#include "call.h"

/* How a sentence names the element types. */
#define FLOATING "float16, bfloat16, float32 or float64"
#define INTEGER "of an integer type"
#define RESULT "float32 or float64"

#define WITHOUT_GIL(statement) \
    Py_BEGIN_ALLOW_THREADS \
    statement; \
    Py_END_ALLOW_THREADS

typedef PyObject *native_function(PyObject *module, PyObject *const *arguments, Py_ssize_t count);

native_function native_alpha_schedules, native_gamma_schedules;
native_function native_schedule_check, native_schedule_logs, native_transition;
native_function native_q_posterior, native_log_transition_rows, native_apply_cumulative_transitions;
native_function native_index_to_log_onehot;
native_function native_step_gumbel, native_step_inverse_cdf, native_plan_inverse_cdf,
    native_complete_inverse_cdf;
native_function native_check_model_output, native_q_sample, native_gumbel_noised;
native_function native_guide, native_truncate, native_guided_step_gumbel,
    native_guided_step_inverse_cdf;

#endif
