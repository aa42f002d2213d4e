/* Arrays between guard pages. */
#define _GNU_SOURCE
#include "fuzz.h"

#include <sanitizer/asan_interface.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { PAGE = 4096, ROOM = 4 << 20, MOST = 40, NEAR = 512 };

typedef struct array {
    uint8_t *room; /* ROOM bytes between two guard pages, taken once */
    uint8_t *data, *before, *kept, *marked;
    size_t bytes;
    role role;
    bool prepared;
} array;

static array arrays[MOST];
static int used;

static uint8_t *pages(size_t bytes) {
    uint8_t *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        abort();
    return memory;
}

static void make_room(array *array) {
    uint8_t *memory = pages(ROOM + 2 * PAGE);
    if (mprotect(memory, PAGE, PROT_NONE) || mprotect(memory + PAGE + ROOM, PAGE, PROT_NONE))
        abort();
    array->room = memory + PAGE;
    array->before = pages(ROOM);
    array->kept = pages(ROOM);
    array->marked = pages(ROOM);
}

/* What lies beside an array, up to NEAR bytes, and is no guard page. */
static size_t below(const array *array) {
    const size_t distance = (size_t)(array->data - array->room);
    return distance < NEAR ? distance : NEAR;
}

static size_t above(const array *array) {
    const size_t distance = (size_t)(array->room + ROOM - array->data) - array->bytes;
    return distance < NEAR ? distance : NEAR;
}

void forget_arrays(void) {
    for (int i = 0; i < used; i++) {
        const array *array = &arrays[i];
        ASAN_UNPOISON_MEMORY_REGION(array->data - below(array),
                                    below(array) + array->bytes + above(array));
        if (array->role == GAPPED)
            memset(array->marked, 0, array->bytes);
    }
    used = 0;
}

bool has_room(int64_t bytes) {
    return used < MOST && bytes >= 0 && bytes <= ROOM - 64;
}

void *guarded(int64_t bytes, int64_t step, role role) {
    if (!has_room(bytes))
        abort();
    array *array = &arrays[used++];
    if (!array->room)
        make_room(array);
    array->bytes = (size_t)bytes;
    array->role = role;
    array->prepared = false;
    const size_t past = array->bytes % (size_t)step;
    if (chance(2))
        array->data = array->room;
    else
        array->data = array->room + ROOM - array->bytes - (past ? (size_t)step - past : 0);
    ASAN_POISON_MEMORY_REGION(array->data - below(array), below(array));
    ASAN_POISON_MEMORY_REGION(array->data + array->bytes, above(array));
    return array->data;
}

void mark_element(const void *element, size_t bytes) {
    const array *array = &arrays[used - 1];
    memset(array->marked + ((const uint8_t *)element - array->data), 1, bytes);
}

const void *last_array(void) {
    return arrays[used - 1].data;
}

void change_role(const void *data, role role) {
    for (int i = 0; i < used; i++)
        if (arrays[i].data == data)
            arrays[i].role = role;
}

void prepare_arrays(uint8_t junk) {
    for (int i = 0; i < used; i++) {
        array *array = &arrays[i];
        if (array->role == OUTPUT)
            memset(array->data, junk, array->bytes);
        else if (array->role == GAPPED)
            memset(array->data, 0x33, array->bytes);
        else if (array->role == STATE && array->prepared)
            memcpy(array->data, array->before, array->bytes);
        if (array->role != OTHER)
            memcpy(array->before, array->data, array->bytes);
        array->prepared = true;
    }
}

static bool gaps_are_kept(const array *array) {
    for (size_t i = 0; i < array->bytes; i++)
        if (!array->marked[i] && array->data[i] != array->before[i])
            return false;
    return true;
}

void check_arrays(bool succeeded, const char *function) {
    for (int i = 0; i < used; i++) {
        const array *array = &arrays[i];
        if (array->role == OTHER)
            continue;
        if (succeeded && array->role == GAPPED && !gaps_are_kept(array))
            broken(function, "what lies between the elements of an output stays as it is");
        if (succeeded && array->role != INPUT)
            continue;
        if (memcmp(array->data, array->before, array->bytes) == 0)
            continue;
        broken(function, array->role == INPUT ? "inputs stay as they are"
                                              : "on an error no output has been written");
    }
}

void keep_outputs(void) {
    for (int i = 0; i < used; i++)
        if (arrays[i].role != INPUT && arrays[i].role != OTHER)
            memcpy(arrays[i].kept, arrays[i].data, arrays[i].bytes);
}

/* The outputs held other junk before: what a call leaves out differs, too. */
void check_same_outputs(const char *function) {
    for (int i = 0; i < used; i++) {
        const array *array = &arrays[i];
        if (array->role == INPUT || array->role == OTHER)
            continue;
        if (memcmp(array->data, array->kept, array->bytes) != 0)
            broken(function, "results depend on the arguments alone, and fill the outputs");
    }
}
