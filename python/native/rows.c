/* Uniforms by the keys of rows. */
#include "functions.h"

/* An argument from 0 to 2^64 - 1. */
static bool take_uint64(call *self, const char *name, uint64_t *value) {
    PyObject *object = *self->next++;
    self->left--;
    PyObject *number = PyNumber_Index(object);
    *value = number ? PyLong_AsUnsignedLongLong(number) : UINT64_MAX;
    Py_XDECREF(number);
    if (*value != UINT64_MAX || !PyErr_Occurred())
        return true;
    if (PyErr_ExceptionMatches(PyExc_OverflowError)) {
        PyErr_Format(PyExc_ValueError, "%s must be an integer from 0 to 2**64 - 1", name);
    } else if (PyErr_ExceptionMatches(PyExc_TypeError)) {
        PyObject *type_name = PyType_GetName(Py_TYPE(object));
        if (type_name) {
            PyErr_Format(PyExc_TypeError, "%s must be an integer, not %U", name, type_name);
            Py_DECREF(type_name);
        }
    }
    return false;
}

int native_row_uniforms(call *self) {
    static const array_argument ids_argument = {"ids", "int64 or uint64", "(batch,)"};
    static const array_argument timesteps_argument = {"timesteps", "int64", "(batch,)"};
    static const array_argument out_argument = {"out", RESULT,
                                                "(batch, pixels) or (batch, classes, pixels)"};
    uint64_t seed, draw;
    vqd_tensor ids, timesteps, out;
    if (!take_uint64(self, "seed", &seed) || !take_input(self, &ids_argument, &ids)
        || !take_input(self, &timesteps_argument, &timesteps) || !take_uint64(self, "draw", &draw)
        || !take_output(self, &out_argument, &out) || !take_num_threads(self))
        return RAISED;
    RETURN_WITHOUT_GIL(vqd_row_uniforms(seed, &ids, &timesteps, draw, &out, &self->context));
}
