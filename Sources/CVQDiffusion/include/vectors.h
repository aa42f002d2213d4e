/* vectors.h: vector operations for which Swift 6.3 does not generate vector instructions. Not
 * part of the public ABI.
 *
 * Swift sees these types as SIMD16<Float> and so on, and inlines these functions. Its own
 * `replacing(with:where:)` is a loop over lanes that ends up in 128-bit pieces, and its
 * initialisers that convert lanes are calls; either makes a kernel three times slower. Clang
 * only: no other compiler sees this file.
 */
#ifndef VQD_VECTORS_H
#define VQD_VECTORS_H
#ifdef __clang__

#include <stdint.h>
/* The widest vectors of the CPU level, and what of it has no name in clang's own vectors. */
#ifdef __SSE2__
#include <immintrin.h>
#endif
#if defined(__AVX512DQ__)
#define VQD_NATIVE_PARTS 1
#define VQD_CONVERTED(x) _mm512_cvtps_epi32(x)
#define VQD_ANY_NEGATIVE(x) _mm512_movepi32_mask((__m512i)(x))
#elif defined(__AVX2__)
#define VQD_NATIVE_PARTS 2
#define VQD_CONVERTED(x) _mm256_cvtps_epi32(x)
#define VQD_ANY_NEGATIVE(x) (!_mm256_testz_ps((__m256)(x), (__m256)(x)))
#elif defined(__SSE2__)
#define VQD_NATIVE_PARTS 4
#define VQD_CONVERTED(x) _mm_cvtps_epi32(x)
#define VQD_ANY_NEGATIVE(x) _mm_movemask_ps((__m128)(x))
#else
#define VQD_NATIVE_PARTS 4
#define VQD_CONVERTED(x) \
    __builtin_convertvector((x) < 0x1p31f ? (x) : (vqd_native_float)0x1p31f, vqd_native_word)
#define VQD_ANY_NEGATIVE(x) (__builtin_reduce_min((vqd_native_int)(x)) < 0)
#endif
typedef float vqd_native_float __attribute__((ext_vector_type(16 / VQD_NATIVE_PARTS)));
typedef int32_t vqd_native_int __attribute__((ext_vector_type(16 / VQD_NATIVE_PARTS)));
typedef uint32_t vqd_native_word __attribute__((ext_vector_type(16 / VQD_NATIVE_PARTS)));

typedef float vqd_float16 __attribute__((ext_vector_type(16)));
typedef double vqd_double16 __attribute__((ext_vector_type(16)));
typedef int32_t vqd_int16 __attribute__((ext_vector_type(16)));
typedef int64_t vqd_long16 __attribute__((ext_vector_type(16)));
typedef uint32_t vqd_uint16 __attribute__((ext_vector_type(16)));
typedef _Bool vqd_bool16 __attribute__((ext_vector_type(16)));
typedef uint16_t vqd_ushort16 __attribute__((ext_vector_type(16)));

#define VQD_INLINE static inline __attribute__((always_inline))

/* Returns the lanes in which a condition holds, as bits. */
#define VQD_LANES(condition) \
    const vqd_bool16 lanes = __builtin_convertvector((condition), vqd_bool16); \
    uint16_t bits; \
    __builtin_memcpy(&bits, &lanes, sizeof bits); \
    return bits

/* Lane by lane the greater or the lesser; a NaN in a stays. */
VQD_INLINE vqd_float16 vqd_greater(vqd_float16 a, vqd_float16 b) {
    return b > a ? b : a;
}
VQD_INLINE vqd_float16 vqd_lesser(vqd_float16 a, vqd_float16 b) {
    return b < a ? b : a;
}
VQD_INLINE vqd_double16 vqd_greater_double(vqd_double16 a, vqd_double16 b) {
    return b > a ? b : a;
}
VQD_INLINE vqd_double16 vqd_lesser_double(vqd_double16 a, vqd_double16 b) {
    return b < a ? b : a;
}

/* Lane by lane a where i equals j, else b. */
VQD_INLINE vqd_float16 vqd_where_equal(vqd_int16 i, int32_t j, vqd_float16 a, vqd_float16 b) {
    return i == (vqd_int16)j ? a : b;
}
VQD_INLINE vqd_double16 vqd_where_equal_double(vqd_int16 i, int32_t j, vqd_double16 a,
                                               vqd_double16 b) {
    return __builtin_convertvector(i, vqd_long16) == (vqd_long16)(int64_t)j ? a : b;
}

/* Lane by lane i where a is greater than b, else j. */
VQD_INLINE vqd_int16 vqd_where_greater(vqd_float16 a, vqd_float16 b, int32_t i, vqd_int16 j) {
    return a > b ? (vqd_int16)i : j;
}
VQD_INLINE vqd_int16 vqd_where_greater_double(vqd_double16 a, vqd_double16 b, int32_t i,
                                              vqd_int16 j) {
    return __builtin_convertvector(a > b, vqd_int16) != 0 ? (vqd_int16)i : j;
}

/* Lane by lane a where x is greater than t, else y. */
VQD_INLINE vqd_float16 vqd_where_above(vqd_float16 a, vqd_float16 x, vqd_float16 t, vqd_float16 y) {
    return x > t ? a : y;
}
VQD_INLINE vqd_double16 vqd_where_above_double(vqd_double16 a, vqd_double16 x, vqd_double16 t,
                                               vqd_double16 y) {
    return x > t ? a : y;
}

/* Lane by lane x where it is greater than t, or equal to t at an index k up to last; else y. */
VQD_INLINE vqd_float16 vqd_where_kept(vqd_float16 x, vqd_float16 t, int32_t k, vqd_int16 last,
                                      vqd_float16 y) {
    return x > t || (x == t && (vqd_int16)k <= last) ? x : y;
}
VQD_INLINE vqd_double16 vqd_where_kept_double(vqd_double16 x, vqd_double16 t, int32_t k,
                                              vqd_int16 last, vqd_double16 y) {
    return x > t || (x == t && __builtin_convertvector(last, vqd_long16) >= (vqd_long16)(int64_t)k)
               ? x
               : y;
}

/* The lanes in which x is kept by the same rule, as bits. */
VQD_INLINE uint16_t vqd_kept(vqd_float16 x, vqd_float16 t, int32_t k, vqd_int16 last) {
    VQD_LANES((x > t) | ((x == t) & ((vqd_int16)k <= last)));
}
VQD_INLINE uint16_t vqd_kept_double(vqd_double16 x, vqd_double16 t, int32_t k, vqd_int16 last) {
    VQD_LANES((x > t)
              | ((x == t) & (__builtin_convertvector(last, vqd_long16) >= (vqd_long16)(int64_t)k)));
}

/* Lane by lane a where the bit is set, else b. */
VQD_INLINE vqd_float16 vqd_where_bit(uint16_t bits, vqd_float16 a, vqd_float16 b) {
    vqd_bool16 lanes;
    __builtin_memcpy(&lanes, &bits, sizeof lanes);
    return __builtin_convertvector(lanes, vqd_int16) != 0 ? a : b;
}
VQD_INLINE vqd_double16 vqd_where_bit_double(uint16_t bits, vqd_double16 a, vqd_double16 b) {
    vqd_bool16 lanes;
    __builtin_memcpy(&lanes, &bits, sizeof lanes);
    return __builtin_convertvector(lanes, vqd_long16) != 0 ? a : b;
}

/* Lane by lane as a float, rounded. */
VQD_INLINE vqd_float16 vqd_converted(vqd_int16 a) {
    return __builtin_convertvector(a, vqd_float16);
}

/* The lanes in which a is greater than b, as bits; not 0 when a is not at most b, or NaN, in
 * some lane. Swift tests masks by a call. */
VQD_INLINE uint16_t vqd_above(vqd_float16 a, vqd_float16 b) {
    VQD_LANES(a > b);
}
VQD_INLINE uint16_t vqd_above_double(vqd_double16 a, vqd_double16 b) {
    VQD_LANES(a > b);
}
VQD_INLINE uint16_t vqd_any_beyond(vqd_float16 a, vqd_float16 b) {
    VQD_LANES(!(a <= b));
}
VQD_INLINE uint16_t vqd_any_beyond_double(vqd_double16 a, vqd_double16 b) {
    VQD_LANES(!(a <= b));
}

/* The lanes in which x is greater than t and at most u, as bits. */
VQD_INLINE uint16_t vqd_within(vqd_float16 x, vqd_float16 t, vqd_float16 u) {
    VQD_LANES((x > t) & (x <= u));
}
VQD_INLINE uint16_t vqd_within_double(vqd_double16 x, vqd_double16 t, vqd_double16 u) {
    VQD_LANES((x > t) & (x <= u));
}

/* Lane by lane max(x * scale + signal, level) as an integer, rounded or cut off; 2^31 for NaN
 * and what is not below that, as the instructions of x86-64 have it. C leaves that open. */
VQD_INLINE vqd_native_word vqd_native_bound(vqd_native_float x, float scale,
                                            vqd_native_float signal, vqd_native_float level) {
    const vqd_native_float bound = x * scale + signal;
    return (vqd_native_word)VQD_CONVERTED(level > bound ? level : bound);
}
VQD_INLINE vqd_uint16 vqd_bound(vqd_float16 x, float scale, vqd_float16 signal, vqd_float16 level) {
    typedef union {
        vqd_float16 whole;
        vqd_native_float parts[VQD_NATIVE_PARTS];
    } split;
    const split xs = {x}, signals = {signal}, levels = {level};
    union {
        vqd_native_word parts[VQD_NATIVE_PARTS];
        vqd_uint16 whole;
    } bounds;
    for (int i = 0; i < VQD_NATIVE_PARTS; i++)
        bounds.parts[i] = vqd_native_bound(xs.parts[i], scale, signals.parts[i], levels.parts[i]);
    return bounds.whole;
}

/* The lanes in which the pattern a, of 31 bits or 2^31, exceeds the pattern b of a float in (0,
 * 1]. */
VQD_INLINE uint16_t vqd_exceeds(vqd_uint16 a, vqd_uint16 b) {
    VQD_LANES(a > b);
}

/* Of four classes in one go: adds the bounds, read as floats, to the sums. Not 0 when in some
 * lane one of them exceeds the pattern at v, which lies some bytes further for each class.
 * Native part by native part: of whole vectors clang keeps more than there are registers. By the
 * sign of differences: clang makes long detours of comparisons joined by `or`. */
VQD_INLINE int32_t vqd_scan_four(vqd_float16 a, vqd_float16 b, vqd_float16 c, vqd_float16 d,
                                 float scale, const float *signal, const float *level, float *sums,
                                 const void *v, long step) {
    enum { LANES = 16 / VQD_NATIVE_PARTS };
    const union {
        vqd_float16 whole;
        vqd_native_float parts[VQD_NATIVE_PARTS];
    } x[4] = {{a}, {b}, {c}, {d}};
    vqd_native_word any = 0;
    _Pragma("unroll") for (int i = 0; i < VQD_NATIVE_PARTS; i++) {
        vqd_native_float from, least, sum, bounds[4];
        __builtin_memcpy(&from, signal + i * LANES, sizeof from);
        __builtin_memcpy(&least, level + i * LANES, sizeof least);
        __builtin_memcpy(&sum, sums + i * LANES, sizeof sum);
        _Pragma("unroll") for (int j = 0; j < 4; j++) {
            const vqd_native_word bound = vqd_native_bound(x[j].parts[i], scale, from, least);
            vqd_native_word complement;
            __builtin_memcpy(&complement, (const char *)v + j * step + i * (long)sizeof complement,
                             sizeof complement);
            any |= complement - bound;
            bounds[j] = (vqd_native_float)bound;
        }
        sum += (bounds[0] + bounds[1]) + (bounds[2] + bounds[3]);
        __builtin_memcpy(sums + i * LANES, &sum, sizeof sum);
    }
    return VQD_ANY_NEGATIVE(any);
}

/* Transposes a matrix of 16 x 16 in place: four rounds of interleaving its upper half with its
 * lower. */
#define VQD_INTERLEAVED_LOW(a, b) \
    __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
#define VQD_INTERLEAVED_HIGH(a, b) \
    __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)
#define VQD_TRANSPOSE(name, element, vector) \
    VQD_INLINE void name(element *matrix) { \
        vector rows[16], next[16]; \
        __builtin_memcpy(rows, matrix, sizeof rows); \
        _Pragma("unroll") for (int round = 0; round < 4; round++) { \
            _Pragma("unroll") for (int i = 0; i < 8; i++) { \
                next[2 * i] = VQD_INTERLEAVED_LOW(rows[i], rows[i + 8]); \
                next[2 * i + 1] = VQD_INTERLEAVED_HIGH(rows[i], rows[i + 8]); \
            } \
            _Pragma("unroll") for (int i = 0; i < 16; i++) rows[i] = next[i]; \
        } \
        __builtin_memcpy(matrix, rows, sizeof rows); \
    }
VQD_TRANSPOSE(vqd_transpose, float, vqd_float16)
VQD_TRANSPOSE(vqd_transpose_double, double, vqd_double16)

/* Sixteen words at p, by a load of their own: clang would piece together what overlaps with
 * others from those, in three shuffles. */
VQD_INLINE vqd_uint16 vqd_load_apart(const uint32_t *p) {
    __asm__("" : "+r"(p));
    vqd_uint16 words;
    __builtin_memcpy(&words, p, sizeof words);
    return words;
}

/* Lane by lane a where the word is odd, else 0: a look-up by the two lowest bits where there is
 * one. */
VQD_INLINE vqd_uint16 vqd_where_odd(vqd_uint16 words, uint32_t a) {
#if defined(__AVX512DQ__)
    return (vqd_uint16)_mm512_permutevar_ps((__m512)_mm512_set1_epi64((int64_t)((uint64_t)a << 32)),
                                            (__m512i)words);
#elif defined(__AVX2__)
    const __m256 table = (__m256)_mm256_set1_epi64x((int64_t)((uint64_t)a << 32));
    union {
        vqd_uint16 whole;
        __m256i parts[2];
    } of = {words};
    union {
        __m256 parts[2];
        vqd_uint16 whole;
    } to;
    for (int i = 0; i < 2; i++)
        to.parts[i] = _mm256_permutevar_ps(table, of.parts[i]);
    return to.whole;
#else
    return -(words & 1) & a;
#endif
}

/* Asks for the line of memory at p, which need not be readable. */
VQD_INLINE void vqd_prefetch(const void *p) {
    __builtin_prefetch(p, 0, 3);
}

/* Stores past the caches, which need not fetch what is overwritten whole. p is a multiple of the
 * vector's size. Other threads see what is stored after vqd_streamed. */
VQD_INLINE void vqd_stream_float(vqd_float16 a, void *p) {
    __builtin_nontemporal_store(a, (vqd_float16 *)p);
}
VQD_INLINE void vqd_stream_double(vqd_double16 a, void *p) {
    __builtin_nontemporal_store(a, (vqd_double16 *)p);
}
VQD_INLINE void vqd_streamed(void) {
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

/* Lane by lane in a narrower type, rounded. */
VQD_INLINE vqd_float16 vqd_narrowed_double(vqd_double16 a) {
    return __builtin_convertvector(a, vqd_float16);
}

/* Lane by lane in a wider type. */
VQD_INLINE vqd_double16 vqd_widened_float(vqd_float16 a) {
    return __builtin_convertvector(a, vqd_double16);
}
VQD_INLINE vqd_uint16 vqd_widened_short(vqd_ushort16 a) {
    return __builtin_convertvector(a, vqd_uint16);
}

#endif
#endif /* VQD_VECTORS_H */
