#include "cpu.h"

#include <stdbool.h>
#include <stddef.h>

#if defined(__x86_64__)

#include <cpuid.h>

/* __builtin_cpu_supports knows the names of levels only in recent compilers, so ask the CPU for
 * the features that make them up. */

static bool has(unsigned int word, unsigned int bits) {
    return (word & bits) == bits;
}

/* The register state that the operating system saves: without it, instructions that the CPU has
 * must not be used. */
static unsigned int saved_state(void) {
    unsigned int low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

static int x86_64_level(void) {
    const unsigned int v2_ecx =
        bit_SSE3 | bit_SSSE3 | bit_CMPXCHG16B | bit_SSE4_1 | bit_SSE4_2 | bit_POPCNT;
    const unsigned int v3_ecx = bit_FMA | bit_MOVBE | bit_OSXSAVE | bit_AVX | bit_F16C;
    const unsigned int v3_ebx = bit_BMI | bit_AVX2 | bit_BMI2;
    const unsigned int v4_ebx =
        bit_AVX512F | bit_AVX512DQ | bit_AVX512CD | bit_AVX512BW | bit_AVX512VL;
    const unsigned int v3_extended_ecx = bit_LAHF_LM | bit_LZCNT;
    const unsigned int ymm_state = 0x06, zmm_state = 0xe6;
    unsigned int eax, ebx, ecx, edx, seven_ebx, extended_ecx;

    if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx) || !has(ecx, v2_ecx | v3_ecx))
        return 1;
    if (!__get_cpuid(0x80000001, &eax, &ebx, &extended_ecx, &edx)
        || !has(extended_ecx, v3_extended_ecx))
        return 1;
    if (!__get_cpuid_count(7, 0, &eax, &seven_ebx, &ecx, &edx) || !has(seven_ebx, v3_ebx))
        return 1;
    if (!has(saved_state(), ymm_state))
        return 1;
    return has(seven_ebx, v4_ebx) && has(saved_state(), zmm_state) ? 4 : 3;
}

void supported_cpu_levels(const char *levels[MAX_CPU_LEVELS]) {
    const int highest = x86_64_level();
    *levels++ = "x86-64";
    if (highest >= 3)
        *levels++ = "x86-64-v3";
    if (highest >= 4)
        *levels++ = "x86-64-v4";
    *levels = NULL;
}

#elif defined(__aarch64__)

void supported_cpu_levels(const char *levels[MAX_CPU_LEVELS]) {
    levels[0] = "aarch64";
    levels[1] = NULL;
}

#else
#error "vqdiffusion supports x86-64 and AArch64"
#endif
