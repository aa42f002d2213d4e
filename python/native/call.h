/* One call from Python: its arguments are taken in order, each checked as it is taken; the
 * buffers among them are held until the end. */
#ifndef VQD_CALL_H
#define VQD_CALL_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdbool.h>

#include "vqdiffusion.h"

enum {
    MAX_BUFFERS = 8, /* schedule_logs has most */
    ANY_LENGTH = -1, /* of a table */
};

typedef struct call {
    PyObject *const *next; /* the first argument not yet taken */
    Py_ssize_t left;       /* arguments not yet taken */
    Py_ssize_t held;
    Py_buffer buffers[MAX_BUFFERS];
    vqd_context context;
    PyObject *bit_generator, *capsule; /* that draw uniforms, held until the end; or NULL */
    /* that `engine` was read from and, if all goes well, is written back to; or NULL */
    unsigned char *torch_state;
    vqd_mt19937 engine;
} call;

/* What a sentence about an array argument says. */
typedef struct array_argument {
    const char *name;
    const char *dtypes; /* acceptable element types, in NumPy's terms */
    const char *shape;
} array_argument;

/* Every function below that returns a bool returns false with a Python exception set. */

/* Begins a call of `function`, which takes between `least` and `most` arguments. */
bool call_begin(call *self, const char *function, PyObject *const *arguments, Py_ssize_t count,
                Py_ssize_t least, Py_ssize_t most);

/* Advances the torch_state, if all went well, and releases the buffers and the BitGenerator.
 * Returns true, or false with an exception set: the one already set, or the one that `status` calls
 * for. */
bool call_end(call *self, vqd_status status);

/* call_end for a function that returns None: that, or NULL. */
PyObject *call_result(call *self, vqd_status status);

bool take_int64(call *self, const char *name, int64_t *value);
bool take_double(call *self, const char *name, double *value);
bool take_bool(call *self, int32_t *value);

/* The optional last argument num_threads, into the context. */
bool take_num_threads(call *self);

/* num_classes, alpha_cumulative and gamma_cumulative. */
bool take_schedule(call *self, vqd_schedule *schedule);

/* A float64 table to write: one-dimensional, contiguous, of `length` elements. */
bool take_output_table(call *self, const char *name, int64_t length, double **data);

/* Arrays of up to three axes and any strides. Element types that vqd_dtype lacks are refused
 * here, all else is left to the C ABI. */
bool take_input(call *self, const array_argument *argument, vqd_tensor *tensor);
bool take_output(call *self, const array_argument *argument, vqd_tensor *tensor);

/* A writable vector of 625 uint32, the words of an MT19937 engine and its position, or of the
 * 5056 bytes of a state of torch. */
bool take_engine(call *self, vqd_mt19937 **engine);

/* A source of Gumbel noise: uniforms in an array of three axes, an engine, or a BitGenerator of
 * numpy.random, whose lock the caller has to hold. */
bool take_noise(call *self, vqd_tensor *storage, vqd_noise *noise);

/* Writes the engine of a call back to its torch_state. */
void advance_torch_state(call *self);

/* As take_input, but None gives *tensor == NULL, anything else *tensor == storage. */
bool take_optional_input(call *self, const array_argument *argument, vqd_tensor *storage,
                         const vqd_tensor **tensor);

#endif
