/* The buffers of a call, for those who take arguments that are arrays. */
#ifndef VQD_BUFFERS_H
#define VQD_BUFFERS_H

#include "call.h"

/* Takes the next argument and holds its buffer. NULL with an exception set when it has none, or
 * elements that vqd_dtype lacks. */
Py_buffer *take_buffer(call *self, const array_argument *argument, int flags, int32_t *dtype);

/* Each sets the exception that says so, and returns false. */
bool wrong_dtype(PyObject *object, const char *format, const array_argument *argument);
bool wrong_shape(const Py_buffer *view, const char *name, const char *wanted);

/* Whether a vector is contiguous and aligned; if not, an exception is set. */
bool contiguous(const Py_buffer *view, const char *name);

#endif
