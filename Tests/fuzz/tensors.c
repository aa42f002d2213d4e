/* Tensors: good ones of every layout, and broken ones. */
#include "fuzz.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 32 };
static vqd_tensor tensors[MOST];
static int used;
static bool none_is_broken;

void forget_tensors(bool whole) {
    used = 0;
    none_is_broken = whole;
}

static int64_t size_of(int32_t dtype) {
    switch (dtype) {
    case VQD_INT8:
    case VQD_UINT8:
    case VQD_BOOL8: return 1;
    case VQD_INT16:
    case VQD_UINT16:
    case VQD_FLOAT16:
    case VQD_BFLOAT16: return 2;
    case VQD_INT32:
    case VQD_UINT32:
    case VQD_FLOAT32: return 4;
    default: return 8;
    }
}

int64_t count(const vqd_tensor *tensor) {
    int64_t count = 1;
    for (int axis = 0; axis < tensor->rank; axis++)
        count *= tensor->shape[axis];
    return count;
}

int32_t result_of(const vqd_tensor *tensor) {
    return tensor && tensor->dtype == VQD_FLOAT64 ? VQD_FLOAT64 : VQD_FLOAT32;
}

/* ---- What the elements are ------------------------------------------------------------------- */

static double unit(uint64_t bits) {
    return (double)(bits >> 11) * 0x1p-53;
}

/* How all elements of one tensor are. */
typedef struct filling {
    content content;
    int64_t least, limit;
    uint32_t mode;
    bool is_wild; /* one element in some hundred is of any bits, or of a rare value */
} filling;

static double logit(uint32_t mode, uint64_t bits) {
    static const double extremes[] = {0,      -0.0,   -3e38, -87.5,    -104,   -745.2,
                                      -1e-30, 88.8,   3e38,  1e300,    -1e300, -65504,
                                      65504,  5e-324, 709.9, -INFINITY};
    switch (mode) {
    case 0: return -1.25; /* all are equal */
    case 1: return bits % 5 ? -8 * unit(bits) : -INFINITY;
    case 2: return extremes[bits % (sizeof extremes / sizeof *extremes)];
    case 3: return 40 * unit(bits) - 20;
    case 4: return -(double)(bits % 3);
    case 5: return bits % 40 ? -60 - 60 * unit(bits) : 0;
    default: return -12 * unit(bits);
    }
}

static double real(const filling *filling, uint64_t bits) {
    static const double wild_uniforms[] = {0, 0x1p-53, 1 - 0x1p-53, 0.5, -0.0, 1 - 0x1p-24};
    const double uniform =
        filling->mode == 0 ? wild_uniforms[bits % 6] : unit(bits) * (1 - 0x1p-52);
    switch (filling->content) {
    case LOGITS: return logit(filling->mode, bits);
    case WEIGHTS: return filling->mode == 0 ? 0 : 3 * unit(bits);
    case PROBABILITIES: return filling->mode == 0 ? 1 : 1 - 0.999 * unit(bits);
    case NOISE: return (double)((uint64_t)(uniform * 0x1p24)) * 0x1p-24;
    default: return uniform;
    }
}

static int64_t whole_number(const filling *filling, uint64_t bits) {
    const uint64_t range = (uint64_t)(filling->limit - filling->least) + 1;
    switch (filling->content) {
    case CLASSES: /* the mask is as frequent as all else in some */
        if (filling->mode < 4 && (filling->mode == 0 || bits >> 63))
            return filling->limit;
        return (int64_t)((bits >> 8) % range);
    case KNOWN: return bits >> 63 ? -1 : (int64_t)((bits >> 8) % range);
    case TIMESTEPS:
        return filling->mode == 0 ? filling->limit
                                  : filling->least + (int64_t)((bits >> 8) % range);
    case COUNTS: return filling->mode == 0 ? INT64_MAX : (int64_t)(bits % 9);
    case FLAGS: return filling->mode == 0 ? (int64_t)bits : (int64_t)(bits & 1);
    default: return (int64_t)(bits >> (filling->mode * 7 + 1));
    }
}

static void put(uint8_t *element, int32_t dtype, const filling *filling) {
    const uint64_t bits = random_bits();
    if (filling->is_wild && bits % 311 == 0) {
        static const float rare_floats[] = {NAN, INFINITY, 1, 2, -1};
        static const double rare_doubles[] = {NAN, INFINITY, 1, 2, -1, 1e308, -1e308};
        const uint64_t any = random_bits();
        const float rare_float = rare_floats[any % 5];
        const double rare_double = rare_doubles[any % 7];
        if (dtype == VQD_FLOAT32 && any >> 63)
            memcpy(element, &rare_float, 4);
        else if (dtype == VQD_FLOAT64 && any >> 63)
            memcpy(element, &rare_double, 8);
        else
            memcpy(element, &any, (size_t)size_of(dtype));
        return;
    }
    if (dtype == VQD_FLOAT64) {
        const double value = real(filling, bits);
        memcpy(element, &value, 8);
    } else if (dtype == VQD_FLOAT32) {
        const float value = (float)real(filling, bits);
        memcpy(element, &value, 4);
    } else if (dtype == VQD_FLOAT16 || dtype == VQD_BFLOAT16) {
        /* -31 … -0.008 and, where the mode is 1 or 2, -inf, or any bits */
        const uint16_t least = dtype == VQD_FLOAT16 ? 0xa000 : 0xbc00,
                       infinite = dtype == VQD_FLOAT16 ? 0xfc00 : 0xff80;
        const uint16_t span = dtype == VQD_FLOAT16 ? 0x2c00 : 0x0600;
        uint16_t value = (uint16_t)(least + bits % span);
        if ((filling->mode == 1 || filling->mode == 2) && bits >> 62 == 0)
            value = filling->mode == 1 || !filling->is_wild ? infinite : (uint16_t)bits;
        memcpy(element, &value, 2);
    } else {
        const int64_t value = whole_number(filling, bits);
        memcpy(element, &value, (size_t)size_of(dtype)); /* the low bytes */
    }
}

static uint8_t *element_of(const vqd_tensor *tensor, int64_t i, int64_t j, int64_t k) {
    return (uint8_t *)tensor->data + i * tensor->strides[0] + j * tensor->strides[1]
           + k * tensor->strides[2];
}

#define FOR_EACH_ELEMENT(tensor) \
    for (int64_t i = 0; i < (tensor)->shape[0]; i++) \
        for (int64_t j = 0; j < (tensor)->shape[1]; j++) \
            for (int64_t k = 0; k < (tensor)->shape[2]; k++)

/* ---- Where the elements lie ------------------------------------------------------------------ */

/* Axes that do not exist have length 1 and stride 0 while a tensor is made. */
static void lay_out(vqd_tensor *tensor, bool any_strides, bool may_overlap) {
    int order[3] = {0, 1, 2};
    const uint32_t kind = any_strides ? choice(8) : 0;
    if (kind > 3)
        for (int i = 2; i > 0; i--) {
            const uint32_t j = choice((uint32_t)i + 1);
            const int axis = order[i];
            order[i] = order[j];
            order[j] = axis;
        }
    int64_t stride = size_of(tensor->dtype);
    for (int i = 2; i >= 0; i--) {
        const int axis = order[i];
        int64_t own = stride;
        if (kind == 1 || kind == 6)
            own *= 1 + (int64_t)choice(3);
        stride = own * (tensor->shape[axis] > 0 ? tensor->shape[axis] : 1);
        if ((kind == 2 || kind == 7) && chance(2))
            own = -own;
        if (kind == 5 && may_overlap)
            own = none_is_broken || chance(2) ? 0 : (int64_t)choice(20) - 9;
        tensor->strides[axis] = own;
    }
}

/* The bytes from the lowest element to the end of the highest; `lowest`: from the first one. */
static int64_t extent(const vqd_tensor *tensor, int64_t *lowest) {
    int64_t highest = 0;
    *lowest = 0;
    for (int axis = 0; axis < 3; axis++) {
        const int64_t reach = (tensor->shape[axis] - 1) * tensor->strides[axis];
        if (tensor->shape[axis] == 0)
            return 0;
        *(reach < 0 ? lowest : &highest) += reach;
    }
    return highest - *lowest + size_of(tensor->dtype);
}

static void place(vqd_tensor *tensor, role role) {
    int64_t lowest, bytes = extent(tensor, &lowest);
    if (!has_room(bytes)) {
        memset(tensor->strides, 0, sizeof tensor->strides);
        if (role != INPUT)
            memset(tensor->shape, 0, sizeof tensor->shape);
        bytes = extent(tensor, &lowest);
    }
    /* an input need not be aligned */
    const int64_t off = role == INPUT && chance(12) ? 1 + (int64_t)choice(7) : 0;
    uint8_t *memory = guarded(bytes + off, off ? 1 : size_of(tensor->dtype), role);
    tensor->data = memory + (chance(2) ? off : 0) - lowest;
    if (role == INPUT)
        memset(memory, 0xff, (size_t)(bytes + off));
}

/* What no entry point may take for good, or follow to memory that is not there. */
static const vqd_tensor *break_after(vqd_tensor *tensor) {
    static const int64_t no_length[] = {-1, INT64_MIN, INT64_MAX, (int64_t)1 << 60, -7};
    static const int32_t no_type[] = {0, 14, 99, -1, INT32_MAX, INT32_MIN};
    static const int32_t no_rank[] = {0, 4, -1, INT32_MAX, INT32_MIN, 1, 2, 3};
    const uint32_t axis = choice(tensor->rank > 0 ? (uint32_t)tensor->rank : 1);
    switch (choice(6)) {
    case 0: return NULL;
    case 1: tensor->dtype = no_type[choice(6)]; break;
    case 2: {
        const int32_t rank = no_rank[choice(8)];
        if (rank <= tensor->rank || rank > 3)
            tensor->rank = rank;
        break;
    }
    case 3: tensor->shape[axis] = no_length[choice(5)]; break;
    case 4:
        tensor->strides[axis] = tensor->shape[axis] > 1 && chance(2) ? INT64_MAX : INT64_MIN;
        break;
    default: tensor->data = NULL;
    }
    return tensor;
}

static vqd_tensor *new_tensor(int32_t dtype, shape shape) {
    if (used == MOST)
        abort();
    vqd_tensor *tensor = &tensors[used++];
    *tensor = (vqd_tensor){.rank = shape.rank, .dtype = dtype};
    for (int axis = 0; axis < 3; axis++)
        tensor->shape[axis] = axis < shape.rank ? shape.lengths[axis] : 1;
    return tensor;
}

/* A length that is not the others', truly described. */
static void lengthen(vqd_tensor *tensor) {
    int64_t *length = &tensor->shape[choice((uint32_t)tensor->rank)];
    *length = chance(4) ? 0 : chance(2) ? *length + 1 : *length > 0 ? *length - 1 : 2;
}

static int32_t type_of(content content) {
    switch (content) {
    case LOGITS: return VQD_FLOAT16 + (int32_t)choice(4);
    case CLASSES:
    case KNOWN: return VQD_INT8 + (int32_t)choice(8);
    case IDS: return chance(2) ? VQD_INT64 : VQD_UINT64;
    case TIMESTEPS:
    case COUNTS: return VQD_INT64;
    case NOISE: return VQD_FLOAT32 + (int32_t)choice(2);
    case FLAGS: return VQD_BOOL8;
    default: return VQD_FLOAT64;
    }
}

/* Breaks one in twelve: 1 its type, 2 its shape; 3 is left to the caller. 0 where it is good. */
static uint32_t bend(vqd_tensor *tensor) {
    const bool breaks = !none_is_broken && chance(12);
    const uint32_t how = breaks ? choice(4) : 0;
    if (how == 1)
        tensor->dtype = VQD_INT8 + (int32_t)choice(13);
    if (how == 2)
        lengthen(tensor);
    return how;
}

static const vqd_tensor *any_input(content content, shape shape, int64_t least, int64_t limit,
                                   int32_t dtype) {
    vqd_tensor *tensor = new_tensor(dtype ? dtype : type_of(content), shape);
    const uint32_t how = bend(tensor);
    lay_out(tensor, true, true);
    place(tensor, INPUT);
    if ((tensor->dtype == VQD_INT8 || tensor->dtype == VQD_UINT8) && limit > 127)
        limit = 127;
    const filling filling = {content, least, limit < least ? least : limit, choice(8),
                             !none_is_broken && chance(3)};
    FOR_EACH_ELEMENT(tensor) {
        put(element_of(tensor, i, j, k), tensor->dtype, &filling);
    }
    return how == 3 ? break_after(tensor) : tensor;
}

const vqd_tensor *input(content content, shape shape, int64_t limit, int32_t dtype) {
    return any_input(content, shape, 0, limit, dtype);
}

const vqd_tensor *timesteps(int64_t least, int64_t limit) {
    return any_input(TIMESTEPS, SHAPE(1, batch), least, limit, VQD_INT64);
}

static const vqd_tensor *any_output(int32_t dtype, shape shape, bool any_strides) {
    vqd_tensor *tensor = new_tensor(dtype, shape);
    const uint32_t how = bend(tensor);
    lay_out(tensor, any_strides || how == 1, false);
    place(tensor, any_strides ? GAPPED : OUTPUT);
    if (any_strides) {
        FOR_EACH_ELEMENT(tensor) {
            mark_element(element_of(tensor, i, j, k), (size_t)size_of(tensor->dtype));
        }
    }
    if (how != 3)
        return tensor;
    change_role(last_array(), STATE); /* where a broken one will do, not all of it is written */
    return break_after(tensor);
}

const vqd_tensor *output(int32_t dtype, shape shape) {
    return any_output(dtype, shape, false);
}

const vqd_tensor *strided_output(int32_t dtype, shape shape) {
    return any_output(dtype, shape, true);
}
