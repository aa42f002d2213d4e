/* Arguments that are arrays, through the buffer protocol. */
#include "buffers.h"

#include <stdint.h>
#include <string.h>

/* The integer type of a size, `smallest` being the one of one byte and larger ones following it. */
static int32_t integer_of_size(Py_ssize_t bytes, vqd_dtype smallest) {
    switch (bytes) {
    case 1: return (int32_t)smallest;
    case 2: return (int32_t)smallest + 1;
    case 4: return (int32_t)smallest + 2;
    case 8: return (int32_t)smallest + 3;
    default: return 0;
    }
}

/* The vqd_dtype of elements with this format string of PEP 3118, or 0 where there is none. Sizes
 * come from `itemsize`, as those of 'l' and 'n' depend on the prefix. PEP 3118 has no bfloat16:
 * its bits come in arrays of numpy.dtype([("bfloat16", "u2")]). */
static int32_t dtype_of(const char *format, Py_ssize_t itemsize) {
    /* the CPUs that setup.py knows are little-endian */
    static const char native_prefixes[] = {'@', '=', '<'};
    if (!format)
        return VQD_UINT8;
    /* aligned, unaligned */
    if (strcmp(format, "T{H:bfloat16:}") == 0 || strcmp(format, "T{=H:bfloat16:}") == 0)
        return VQD_BFLOAT16;
    if (memchr(native_prefixes, format[0], sizeof native_prefixes))
        format++;
    if (format[0] == '\0' || format[1] != '\0')
        return 0;
    switch (format[0]) {
    case 'b':
    case 'h':
    case 'i':
    case 'l':
    case 'q':
    case 'n': return integer_of_size(itemsize, VQD_INT8);
    case 'B':
    case 'H':
    case 'I':
    case 'L':
    case 'Q':
    case 'N': return integer_of_size(itemsize, VQD_UINT8);
    case 'e': return VQD_FLOAT16;
    case 'f': return VQD_FLOAT32;
    case 'd': return VQD_FLOAT64;
    case '?': return VQD_BOOL8;
    default: return 0;
    }
}

/* What an object's elements are, in NumPy's words where it is an array of NumPy's. `format` is
 * NULL where there is no buffer. */
static PyObject *element_name(PyObject *object, const char *format) {
    PyObject *dtype = PyObject_GetAttrString(object, "dtype");
    PyObject *name = dtype ? PyObject_Str(dtype) : NULL;
    Py_XDECREF(dtype);
    if (name)
        return name;
    PyErr_Clear();
    return format ? PyUnicode_FromString(format) : PyType_GetName(Py_TYPE(object));
}

bool wrong_dtype(PyObject *object, const char *format, const array_argument *argument) {
    PyObject *name = element_name(object, format);
    if (name) {
        PyErr_Format(PyExc_TypeError, "%s must be %s in native byte order, not '%U'",
                     argument->name, argument->dtypes, name);
        Py_DECREF(name);
    }
    return false;
}

bool wrong_shape(const Py_buffer *view, const char *name, const char *wanted) {
    PyObject *shape = PyTuple_New(view->ndim);
    for (int axis = 0; shape && axis < view->ndim; axis++) {
        PyObject *length = PyLong_FromSsize_t(view->shape[axis]);
        if (!length || PyTuple_SetItem(shape, axis, length) < 0)
            Py_CLEAR(shape);
    }
    if (shape) {
        PyErr_Format(PyExc_ValueError, "%s must have shape %s, not %R", name, wanted, shape);
        Py_DECREF(shape);
    }
    return false;
}

/* Puts a sentence in place of the exception with which `object` has refused its buffer. */
static bool no_buffer(PyObject *object, const array_argument *argument, int flags) {
    Py_buffer view;
    if (!PyErr_ExceptionMatches(PyExc_TypeError) && !PyErr_ExceptionMatches(PyExc_BufferError)
        && !PyErr_ExceptionMatches(PyExc_ValueError))
        return false;
    if (!PyObject_CheckBuffer(object)) {
        PyErr_Clear();
        PyObject *type_name = PyType_GetName(Py_TYPE(object));
        if (type_name) {
            PyErr_Format(PyExc_TypeError, "%s must be an array with the buffer protocol, not %U",
                         argument->name, type_name);
            Py_DECREF(type_name);
        }
        return false;
    }
    if (flags & PyBUF_WRITABLE) {
        PyErr_Clear();
        if (PyObject_GetBuffer(object, &view, flags & ~PyBUF_WRITABLE) == 0) {
            PyBuffer_Release(&view);
            PyErr_Format(PyExc_ValueError, "%s must be writable, but it is read-only",
                         argument->name);
            return false;
        }
    }
    PyErr_Clear();
    return wrong_dtype(object, NULL, argument); /* NumPy exports no buffer of dates and the like */
}

Py_buffer *take_buffer(call *self, const array_argument *argument, int flags, int32_t *dtype) {
    PyObject *object = *self->next++;
    Py_buffer *view = &self->buffers[self->held];
    self->left--;
    if (PyObject_GetBuffer(object, view, PyBUF_STRIDES | PyBUF_FORMAT | flags) < 0) {
        no_buffer(object, argument, PyBUF_STRIDES | PyBUF_FORMAT | flags);
        return NULL;
    }
    self->held++;
    *dtype = dtype_of(view->format, view->itemsize);
    if (*dtype)
        return view;
    wrong_dtype(object, view->format, argument);
    return NULL;
}

/* Bytes from one element to the next. ctypes leaves `strides` out, although they were asked for:
 * its memory is contiguous. */
static int64_t stride(const Py_buffer *view, int axis) {
    int64_t bytes = view->itemsize;
    if (view->strides)
        return view->strides[axis];
    while (++axis < view->ndim)
        bytes *= view->shape[axis];
    return bytes;
}

static bool take_tensor(call *self, const array_argument *argument, int flags, vqd_tensor *tensor) {
    const Py_buffer *view = take_buffer(self, argument, flags, &tensor->dtype);
    if (!view)
        return false;
    if (view->ndim < 1 || view->ndim > 3)
        return wrong_shape(view, argument->name, argument->shape);
    tensor->data = view->buf;
    tensor->rank = view->ndim;
    for (int axis = 0; axis < view->ndim; axis++) {
        tensor->shape[axis] = view->shape[axis];
        tensor->strides[axis] = stride(view, axis);
    }
    return true;
}

bool take_input(call *self, const array_argument *argument, vqd_tensor *tensor) {
    return take_tensor(self, argument, 0, tensor);
}

bool take_output(call *self, const array_argument *argument, vqd_tensor *tensor) {
    return take_tensor(self, argument, PyBUF_WRITABLE, tensor);
}

bool take_optional_input(call *self, const array_argument *argument, vqd_tensor *storage,
                         const vqd_tensor **tensor) {
    *tensor = storage;
    if (*self->next != Py_None)
        return take_input(self, argument, storage);
    *tensor = NULL;
    self->next++;
    self->left--;
    return true;
}

bool contiguous(const Py_buffer *view, const char *name) {
    if ((view->shape[0] <= 1 || stride(view, 0) == view->itemsize)
        && (uintptr_t)view->buf % (size_t)view->itemsize == 0)
        return true;
    PyErr_Format(PyExc_ValueError, "%s must be contiguous and aligned", name);
    return false;
}

/* A contiguous, aligned vector of `length` elements, or of any number. */
static const Py_buffer *take_vector(call *self, const array_argument *argument,
                                    vqd_dtype wanted_dtype, int64_t length, int flags) {
    int32_t dtype;
    char wanted[32];
    const Py_buffer *view = take_buffer(self, argument, flags, &dtype);
    if (!view)
        return NULL;
    if (dtype != (int32_t)wanted_dtype) {
        wrong_dtype(view->obj, view->format, argument);
        return NULL;
    }
    if (view->ndim != 1 || (length != ANY_LENGTH && view->shape[0] != length)) {
        PyOS_snprintf(wanted, sizeof wanted, "(%lld,)", (long long)length);
        wrong_shape(view, argument->name, length == ANY_LENGTH ? argument->shape : wanted);
        return NULL;
    }
    return contiguous(view, argument->name) ? view : NULL;
}

static const Py_buffer *take_table(call *self, const char *name, int64_t length, int flags) {
    const array_argument argument = {name, "float64", "(T,)"};
    return take_vector(self, &argument, VQD_FLOAT64, length, flags);
}

bool take_timesteps(call *self, const char *name, int64_t length, const int64_t **data,
                    int64_t *count) {
    const array_argument argument = {name, "int64", "(steps,)"};
    const Py_buffer *view = take_vector(self, &argument, VQD_INT64, length, 0);
    if (!view)
        return false;
    *data = view->buf;
    *count = view->shape[0];
    return true;
}

bool take_output_table(call *self, const char *name, int64_t length, double **data) {
    const Py_buffer *view = take_table(self, name, length, PyBUF_WRITABLE);
    *data = view ? view->buf : NULL;
    return view != NULL;
}

bool take_schedule(call *self, vqd_schedule *schedule) {
    const Py_buffer *alpha, *gamma;
    if (!take_int64(self, "num_classes", &schedule->num_classes)
        || !(alpha = take_table(self, "alpha_cumulative", ANY_LENGTH, 0))
        || !(gamma = take_table(self, "gamma_cumulative", alpha->shape[0], 0)))
        return false;
    schedule->num_timesteps = alpha->shape[0];
    schedule->alpha_cumulative = alpha->buf;
    schedule->gamma_cumulative = gamma->buf;
    return true;
}
