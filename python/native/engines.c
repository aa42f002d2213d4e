/* Arguments that are MT19937 engines. */
#include "buffers.h"

#include <string.h>

/* What torch.Generator.get_state() gives on the CPU: the words that are left until the engine is
 * twisted, plus 1, an int32; the words given out, a uint64; 624 words, uint64 each; and what
 * normal numbers take. */
enum { TORCH_BYTES = 5056, TORCH_LEFT = 8, TORCH_GIVEN = 16, TORCH_WORDS = 24 };

enum { WORDS = sizeof((vqd_mt19937){0}.words) / sizeof(uint32_t) };

static void read_torch_state(const unsigned char *state, vqd_mt19937 *engine) {
    int32_t left;
    uint64_t word;
    memcpy(&left, state + TORCH_LEFT, sizeof left);
    for (int i = 0; i < WORDS; i++) {
        memcpy(&word, state + TORCH_WORDS + i * sizeof word, sizeof word);
        engine->words[i] = (uint32_t)word;
    }
    /* The engine of a fresh seed, which has to be twisted first, counts as used up: one left. */
    engine->position = (uint32_t)(WORDS + 1 - (int64_t)left);
}

void advance_torch_state(call *self) {
    vqd_mt19937 before;
    const int32_t left = (int32_t)(WORDS + 1 - self->engine.position);
    const uint64_t given = self->engine.position;
    read_torch_state(self->torch_state, &before);
    if (memcmp(&before, &self->engine, sizeof before) == 0)
        return; /* what a fresh seed gives has other bytes for the same position */
    memcpy(self->torch_state + TORCH_LEFT, &left, sizeof left);
    memcpy(self->torch_state + TORCH_GIVEN, &given, sizeof given);
    for (int i = 0; i < WORDS; i++) {
        const uint64_t word = self->engine.words[i];
        memcpy(self->torch_state + TORCH_WORDS + i * sizeof word, &word, sizeof word);
    }
}

bool take_engine(call *self, vqd_mt19937 **engine) {
    static const array_argument argument = {"engine", "uint32, or uint8 as torch has it,", NULL};
    int32_t dtype;
    const Py_buffer *view = take_buffer(self, &argument, PyBUF_WRITABLE, &dtype);
    if (!view)
        return false;
    const bool is_torch = dtype == VQD_UINT8;
    if (dtype != VQD_UINT32 && !is_torch)
        return wrong_dtype(view->obj, view->format, &argument);
    if (view->ndim != 1 || view->shape[0] != (is_torch ? TORCH_BYTES : WORDS + 1))
        return wrong_shape(view, argument.name, is_torch ? "(5056,)" : "(625,)");
    if (!contiguous(view, argument.name))
        return false;
    if (is_torch) {
        self->torch_state = view->buf;
        read_torch_state(self->torch_state, &self->engine);
    }
    *engine = is_torch ? &self->engine : view->buf;
    return true;
}
