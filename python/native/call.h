/* One call from Python: its arguments are taken in order, each checked as it is taken; the
 * buffers among them are held until the end. */
#ifndef VQD_CALL_H
#define VQD_CALL_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdbool.h>

#include "vqdiffusion.h"

enum {
    MAX_BUFFERS = 13, /* a guided step that reveals has most */
    ANY_LENGTH = -1,  /* of a table */
    RAISED = -1,      /* in place of a vqd_status: an exception is set */
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

/* Ends a call, with a vqd_status or RAISED: advances the torch_state, if all went well, and
 * releases the buffers and the BitGenerator. Returns None, or NULL with an exception set. */
PyObject *call_end(call *self, int status);

bool take_int64(call *self, const char *name, int64_t *value);
bool take_double(call *self, const char *name, double *value);
bool take_bool(call *self, int32_t *value);

/* The optional last argument num_threads, into the context. */
bool take_num_threads(call *self);

/* num_classes, alpha_cumulative and gamma_cumulative. */
bool take_schedule(call *self, vqd_schedule *schedule);

/* A float64 table to write: one-dimensional, contiguous, of `length` elements. */
bool take_output_table(call *self, const char *name, int64_t length, double **data);

/* A vector of int64, contiguous, of `length` elements or, at ANY_LENGTH, of any number. */
bool take_timesteps(call *self, const char *name, int64_t length, const int64_t **data,
                    int64_t *count);

/* Arrays of up to three axes and any strides. Element types that vqd_dtype lacks are refused
 * here, all else is left to the C ABI. */
bool take_input(call *self, const array_argument *argument, vqd_tensor *tensor);
bool take_output(call *self, const array_argument *argument, vqd_tensor *tensor);

/* A writable vector of 625 uint32, the words of an MT19937 engine and its position, or of the
 * 5056 bytes of a state of torch. */
bool take_engine(call *self, vqd_mt19937 **engine);

/* The method of a draw by its name, then its noise. For Gumbel noise that is uniforms in an array
 * of three axes, an engine, or a BitGenerator of numpy.random, whose lock the caller has to hold;
 * for inverse_cdf uniforms in an array of two axes. */
bool take_draw(call *self, vqd_tensor *storage, vqd_draw *draw);

/* Writes the engine of a call back to its torch_state. */
void advance_torch_state(call *self);

/* As take_input, but None gives *tensor == NULL, anything else *tensor == storage. */
bool take_optional_input(call *self, const array_argument *argument, vqd_tensor *storage,
                         const vqd_tensor **tensor);

#endif
