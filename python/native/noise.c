/* How a step draws, and where its noise comes from. */
#include "call.h"

#include <string.h>

/* What a capsule named "BitGenerator" of numpy.random points to, as documented in NumPy's C API
 * for random. */
typedef struct bit_generator {
    void *state;
    uint64_t (*next_uint64)(void *state);
    uint32_t (*next_uint32)(void *state);
    double (*next_double)(void *state);
    uint64_t (*next_raw)(void *state);
} bit_generator;

/* The uniforms that numpy.random.Generator.random(dtype=float32) draws. */
static void fill_uniforms(void *context, float *uniforms, int64_t count) {
    const bit_generator *generator = context;
    for (int64_t i = 0; i < count; i++)
        uniforms[i] = (float)(generator->next_uint32(generator->state) >> 8) * 0x1p-24f;
}

/* An engine is one-dimensional, uniforms are not. */
static bool is_vector(PyObject *object) {
    Py_buffer view;
    if (PyObject_GetBuffer(object, &view, PyBUF_STRIDES) < 0) {
        PyErr_Clear(); /* take_input will say what is wrong */
        return false;
    }
    const bool result = view.ndim == 1;
    PyBuffer_Release(&view);
    return result;
}

/* What the next argument, which is no array, draws with: NULL with an exception set where it is no
 * BitGenerator. The capsule points into the memory of the BitGenerator, so both are held. */
static void *take_bit_generator(call *self, const array_argument *argument) {
    PyObject *object = *self->next++;
    self->left--;
    self->capsule = PyObject_GetAttrString(object, "capsule");
    if (self->capsule && PyCapsule_IsValid(self->capsule, "BitGenerator")) {
        self->bit_generator = Py_NewRef(object);
        return PyCapsule_GetPointer(self->capsule, "BitGenerator");
    }
    if (!self->capsule && !PyErr_ExceptionMatches(PyExc_AttributeError))
        return NULL;
    PyErr_Clear();
    PyObject *type_name = PyType_GetName(Py_TYPE(object));
    if (type_name) {
        PyErr_Format(PyExc_TypeError,
                     "%s must be an array with the buffer protocol or a BitGenerator of "
                     "numpy.random, not %U",
                     argument->name, type_name);
        Py_DECREF(type_name);
    }
    return NULL;
}

static bool take_method(call *self, int32_t *method) {
    PyObject *object = *self->next++;
    self->left--;
    if (!PyUnicode_Check(object)) {
        PyObject *type_name = PyType_GetName(Py_TYPE(object));
        if (type_name) {
            PyErr_Format(PyExc_TypeError, "method must be a str, not %U", type_name);
            Py_DECREF(type_name);
        }
        return false;
    }
    if (PyUnicode_CompareWithASCIIString(object, "inverse_cdf") == 0)
        *method = VQD_INVERSE_CDF;
    else if (PyUnicode_CompareWithASCIIString(object, "gumbel") == 0)
        *method = VQD_GUMBEL;
    else
        PyErr_Format(PyExc_ValueError, "method must be 'gumbel' or 'inverse_cdf', not %R", object);
    return *method != 0;
}

static bool take_gumbel_noise(call *self, vqd_tensor *storage, vqd_draw *draw) {
    static const array_argument uniforms = {"uniforms", "float32 or float64",
                                            "(batch, rows, pixels)"};
    PyObject *object = *self->next;
    if (!PyObject_CheckBuffer(object)) {
        draw->fill = fill_uniforms;
        draw->fill_context = take_bit_generator(self, &uniforms);
        return draw->fill_context != NULL;
    }
    if (is_vector(object))
        return take_engine(self, &draw->engine);
    draw->uniforms = storage;
    return take_input(self, &uniforms, storage);
}

bool take_draw(call *self, vqd_tensor *storage, vqd_draw *draw) {
    static const array_argument uniforms = {"uniforms", "float64", "(batch, pixels)"};
    memset(draw, 0, sizeof *draw);
    if (!take_method(self, &draw->method))
        return false;
    if (draw->method == VQD_GUMBEL)
        return take_gumbel_noise(self, storage, draw);
    draw->uniforms = storage;
    return take_input(self, &uniforms, storage);
}
