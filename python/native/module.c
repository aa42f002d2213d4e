/* The extension module. The same sources are compiled once for each CPU level, with
 *   VQD_MODULE  the module's name, such as _native_x86_64_v3
 *   VQD_CPU     the level's name, such as "x86-64-v3" */
#include "functions.h"

#include "cpu.h"

#define STRING_OF_(name) #name
#define STRING_OF(name) STRING_OF_(name)
#define JOINED_(left, right) left##right
#define JOINED(left, right) JOINED_(left, right)

static PyObject *version(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored)) {
    return PyUnicode_FromString(vqd_version());
}

static PyObject *supported_cpus(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored)) {
    const char *levels[MAX_CPU_LEVELS];
    PyObject *tuple;
    Py_ssize_t count = 0;
    supported_cpu_levels(levels);
    while (levels[count])
        count++;
    tuple = PyTuple_New(count);
    for (Py_ssize_t index = 0; tuple && index < count; index++) {
        PyObject *level = PyUnicode_FromString(levels[index]);
        if (!level || PyTuple_SetItem(tuple, index, level) < 0)
            Py_CLEAR(tuple);
    }
    return tuple;
}

/* Both ends of a call of each function. */
#define WRAP(name, least, most, parameters) \
    static PyObject *call_##name(PyObject *Py_UNUSED(module), PyObject *const *arguments, \
                                 Py_ssize_t count) { \
        call self; \
        const bool begun = call_begin(&self, #name, arguments, count, least, most); \
        return call_end(&self, begun ? native_##name(&self) : RAISED); \
    }
NATIVE_FUNCTIONS(WRAP)

/* The first line of a documentation is a signature for inspect. */
#define ENTRY(name, least, most, parameters) \
    {#name, (PyCFunction)(void (*)(void))call_##name, METH_FASTCALL, \
     #name "(" parameters ", /)\n--\n\nSee vqd_" #name " in vqdiffusion.h."},

static PyMethodDef functions[] = {
    {"version", version, METH_NOARGS, "version()\n--\n\nVersion of the library, such as '0.1.0'."},
    {"supported_cpus", supported_cpus, METH_NOARGS,
     "supported_cpus()\n--\n\nCPU levels that this machine can run, lowest first."},
    NATIVE_FUNCTIONS(ENTRY) /* and the end: */
    {NULL, NULL, 0, NULL},
};

static int set_up(PyObject *module) {
    PyObject *names = step_coefficient_names();
    const int failed = !names || PyModule_AddObjectRef(module, "step_coefficient_names", names) < 0;
    Py_XDECREF(names);
    return failed ? -1 : PyModule_AddStringConstant(module, "cpu", VQD_CPU);
}

/* Headers for the Limited API of 3.11 lack this slot, but the interpreter that loads the module may
 * have it: the number is part of the stable ABI. */
#ifndef Py_mod_multiple_interpreters
#define Py_mod_multiple_interpreters 3
#define Py_MOD_PER_INTERPRETER_GIL_SUPPORTED ((void *)2)
#endif

/* The module has no state. An interpreter refuses slots that it does not know, so CPython 3.11
 * begins at the second. Without the slot Py_mod_gil, free-threaded builds keep their GIL: no test
 * has run on one. */
static PyModuleDef_Slot slots[] = {
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
    {Py_mod_exec, set_up},
    {0, NULL},
};

#define DEFINITION(first_slot) \
    { \
        .m_base = PyModuleDef_HEAD_INIT, \
        .m_name = STRING_OF(VQD_MODULE), \
        .m_doc = "The VQ-Diffusion scheduler over any object with the buffer protocol, " \
                 "compiled for " VQD_CPU ".", \
        .m_methods = functions, \
        .m_slots = slots + (first_slot), \
    }

static struct PyModuleDef definitions[] = {DEFINITION(0), DEFINITION(1)};

PyMODINIT_FUNC JOINED(PyInit_, VQD_MODULE)(void) {
    return PyModuleDef_Init(&definitions[Py_Version >= 0x030C0000 ? 0 : 1]);
}
