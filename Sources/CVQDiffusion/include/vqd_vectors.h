/* vqd_vectors.h: vector operations for which Swift 6.3 does not generate vector instructions. Not part of the public ABI.
 *
 * Swift sees these types as SIMD16<Float> and so on, and inlines these functions. Its own `replacing(with:where:)` is a loop over lanes that ends up in
 * 128-bit pieces, and its initialisers that convert lanes are calls; either makes a kernel three times slower. Clang only: no other compiler
 * sees this file.
 */
#ifndef VQD_VECTORS_H
#define VQD_VECTORS_H
#ifdef __clang__

#include <stdint.h>

typedef float vqd_float16 __attribute__((ext_vector_type(16)));
typedef double vqd_double16 __attribute__((ext_vector_type(16)));
typedef int32_t vqd_int16 __attribute__((ext_vector_type(16)));
typedef int64_t vqd_long16 __attribute__((ext_vector_type(16)));
typedef uint32_t vqd_uint16 __attribute__((ext_vector_type(16)));
typedef uint16_t vqd_ushort16 __attribute__((ext_vector_type(16)));

#define VQD_INLINE static inline __attribute__((always_inline))

/* Lane by lane the greater or the lesser; a NaN in a stays. */
VQD_INLINE vqd_float16 vqd_greater(vqd_float16 a, vqd_float16 b) { return b > a ? b : a; }
VQD_INLINE vqd_float16 vqd_lesser(vqd_float16 a, vqd_float16 b) { return b < a ? b : a; }
VQD_INLINE vqd_double16 vqd_greater_double(vqd_double16 a, vqd_double16 b) { return b > a ? b : a; }
VQD_INLINE vqd_double16 vqd_lesser_double(vqd_double16 a, vqd_double16 b) { return b < a ? b : a; }

/* Lane by lane a where i equals j, else b. */
VQD_INLINE vqd_float16 vqd_where_equal(vqd_int16 i, int32_t j, vqd_float16 a, vqd_float16 b) {
    return i == (vqd_int16)j ? a : b;
}
VQD_INLINE vqd_double16 vqd_where_equal_double(vqd_int16 i, int32_t j, vqd_double16 a, vqd_double16 b) {
    return __builtin_convertvector(i, vqd_long16) == (vqd_long16)(int64_t)j ? a : b;
}

/* Lane by lane i where a is greater than b, else j. */
VQD_INLINE vqd_int16 vqd_where_greater(vqd_float16 a, vqd_float16 b, int32_t i, vqd_int16 j) { return a > b ? (vqd_int16)i : j; }
VQD_INLINE vqd_int16 vqd_where_greater_double(vqd_double16 a, vqd_double16 b, int32_t i, vqd_int16 j) {
    return __builtin_convertvector(a > b, vqd_int16) != 0 ? (vqd_int16)i : j;
}

/* Lane by lane a where x is greater than t, else y. */
VQD_INLINE vqd_float16 vqd_where_above(vqd_float16 a, vqd_float16 x, vqd_float16 t, vqd_float16 y) { return x > t ? a : y; }
VQD_INLINE vqd_double16 vqd_where_above_double(vqd_double16 a, vqd_double16 x, vqd_double16 t, vqd_double16 y) { return x > t ? a : y; }

/* Lane by lane the greater of a and x where x is at most t, else a. */
VQD_INLINE vqd_float16 vqd_greatest_up_to(vqd_float16 a, vqd_float16 x, vqd_float16 t) { return x <= t && x > a ? x : a; }
VQD_INLINE vqd_double16 vqd_greatest_up_to_double(vqd_double16 a, vqd_double16 x, vqd_double16 t) { return x <= t && x > a ? x : a; }

/* Lane by lane x where it is greater than t, or equal to t at an index k up to last; else y. */
VQD_INLINE vqd_float16 vqd_where_kept(vqd_float16 x, vqd_float16 t, int32_t k, vqd_int16 last, vqd_float16 y) {
    return x > t || (x == t && (vqd_int16)k <= last) ? x : y;
}
VQD_INLINE vqd_double16 vqd_where_kept_double(vqd_double16 x, vqd_double16 t, int32_t k, vqd_int16 last, vqd_double16 y) {
    return x > t || (x == t && __builtin_convertvector(last, vqd_long16) >= (vqd_long16)(int64_t)k) ? x : y;
}

/* Lane by lane as a float, rounded. */
VQD_INLINE vqd_float16 vqd_converted(vqd_int16 a) { return __builtin_convertvector(a, vqd_float16); }

/* Lane by lane in a wider type. */
VQD_INLINE vqd_double16 vqd_widened_float(vqd_float16 a) { return __builtin_convertvector(a, vqd_double16); }
VQD_INLINE vqd_uint16 vqd_widened_short(vqd_ushort16 a) { return __builtin_convertvector(a, vqd_uint16); }

#endif
#endif /* VQD_VECTORS_H */
