/* Arguments that are no arrays, and the two ends of a call. */
#include "call.h"

#include <limits.h>

bool call_begin(call *self, const char *function, PyObject *const *arguments, Py_ssize_t count,
                Py_ssize_t least, Py_ssize_t most) {
    self->next = arguments;
    self->left = count;
    self->held = 0;
    self->bit_generator = self->capsule = NULL;
    self->torch_state = NULL;
    self->context.num_threads = 0;
    self->context.message[0] = '\0';
    if (count >= least && count <= most)
        return true;
    if (least == most)
        PyErr_Format(PyExc_TypeError, "%s takes %zd arguments, not %zd", function, least, count);
    else
        PyErr_Format(PyExc_TypeError, "%s takes %zd to %zd arguments, not %zd", function, least,
                     most, count);
    return false;
}

/* Not Py_RETURN_NONE: in the headers of CPython 3.12 it counts no reference even for the Limited
 * API of 3.11, where None has a count. */
PyObject *call_end(call *self, int status) {
    if (self->torch_state && status == VQD_OK)
        advance_torch_state(self);
    while (self->held > 0)
        PyBuffer_Release(&self->buffers[--self->held]);
    Py_CLEAR(self->capsule);
    Py_CLEAR(self->bit_generator);
    switch (status) {
    case VQD_OK: return Py_NewRef(Py_None);
    case VQD_TYPE_ERROR: PyErr_SetString(PyExc_TypeError, self->context.message); break;
    case VQD_MEMORY_ERROR: PyErr_SetString(PyExc_MemoryError, self->context.message); break;
    case VQD_VALUE_ERROR: PyErr_SetString(PyExc_ValueError, self->context.message); break;
    default: break; /* RAISED */
    }
    return NULL;
}

static PyObject *take(call *self) {
    self->left--;
    return *self->next++;
}

/* Puts a sentence in place of the TypeError or OverflowError of a conversion; any other
 * exception stays as it is. */
static bool conversion_failed(PyObject *object, const char *name, const char *wanted) {
    if (PyErr_ExceptionMatches(PyExc_OverflowError)) {
        PyErr_Format(PyExc_ValueError, "%s must be %s that fits into 64 bits", name, wanted);
    } else if (PyErr_ExceptionMatches(PyExc_TypeError)) {
        PyObject *type_name = PyType_GetName(Py_TYPE(object));
        if (type_name) {
            PyErr_Format(PyExc_TypeError, "%s must be %s, not %U", name, wanted, type_name);
            Py_DECREF(type_name);
        }
    }
    return false;
}

bool take_int64(call *self, const char *name, int64_t *value) {
    PyObject *object = take(self);
    *value = PyLong_AsLongLong(object);
    return *value != -1 || !PyErr_Occurred() || conversion_failed(object, name, "an integer");
}

bool take_double(call *self, const char *name, double *value) {
    PyObject *object = take(self);
    *value = PyFloat_AsDouble(object);
    return *value != -1.0 || !PyErr_Occurred() || conversion_failed(object, name, "a real number");
}

bool take_bool(call *self, int32_t *value) {
    int truth = PyObject_IsTrue(take(self));
    *value = truth > 0;
    return truth >= 0;
}

bool take_num_threads(call *self) {
    int64_t number;
    if (self->left == 0)
        return true;
    if (!take_int64(self, "num_threads", &number))
        return false;
    if (number < 0 || number > INT32_MAX) {
        PyErr_Format(PyExc_ValueError, "num_threads must be between 0 and %d, not %lld", INT32_MAX,
                     (long long)number);
        return false;
    }
    self->context.num_threads = (int32_t)number;
    return true;
}
