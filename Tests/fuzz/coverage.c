/* libFuzzer looks for the operands of comparisons in its input, which holds no numbers here but
 * choices. Linked with --wrap, these save two fifths of the time. */
#include <stdint.h>

#define NOTHING(name, type) \
    void __wrap___sanitizer_cov_trace_##name(type a, type b); \
    void __wrap___sanitizer_cov_trace_##name(type a, type b) { \
        (void)a, (void)b; \
    }

NOTHING(cmp1, uint8_t)
NOTHING(cmp2, uint16_t)
NOTHING(cmp4, uint32_t)
NOTHING(cmp8, uint64_t)
NOTHING(const_cmp1, uint8_t)
NOTHING(const_cmp2, uint16_t)
NOTHING(const_cmp4, uint32_t)
NOTHING(const_cmp8, uint64_t)
