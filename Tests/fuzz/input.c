/* Choices made from the bytes of an input. */
#include "fuzz.h"

#include <math.h>

static const uint8_t *next, *end;
static uint64_t state;

static uint64_t mixed(uint64_t x) { /* the finaliser of splitmix64 */
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

void choose_from(const uint8_t *bytes, size_t size) {
    next = bytes;
    end = bytes + size;
    state = size;
    for (size_t i = 0; i < size; i++)
        state = mixed(state + bytes[i] + 0x9e3779b97f4a7c15u);
}

uint64_t random_bits(void) {
    state += 0x9e3779b97f4a7c15u;
    return mixed(state);
}

uint32_t choice(uint32_t below) {
    uint64_t drawn;
    if (next < end && below <= 256)
        drawn = *next++;
    else
        drawn = random_bits() >> 32;
    return (uint32_t)(drawn % below);
}

bool chance(uint32_t times) {
    return choice(times) == times - 1;
}

double number(double low, double high) {
    static const double wild[] = {NAN,   INFINITY, -INFINITY, -1,   -0.0, 0,        1,
                                  1e-30, 5e-324,   1.7e308,   1e30, -1e9, 0x1p-53,  1 + 0x1p-52,
                                  1e-6,  1e6,      -70,       3e38, 1e19, -1.7e308, 0.5};
    if (chance(6))
        return wild[choice(sizeof wild / sizeof *wild)];
    switch (choice(8)) {
    case 0: return low;
    case 1: return high;
    default: return low + (high - low) * (double)(random_bits() >> 11) * 0x1p-53;
    }
}

int64_t wild_integer(void) {
    static const int64_t wild[] = {-1,
                                   0,
                                   1,
                                   -2,
                                   INT64_MAX,
                                   INT64_MIN,
                                   INT64_MAX / 2,
                                   INT64_MIN / 2,
                                   INT32_MAX,
                                   INT32_MIN,
                                   (int64_t)1 << 32,
                                   (int64_t)1 << 40,
                                   (int64_t)1 << 60,
                                   INT64_MAX - 1,
                                   255,
                                   65536};
    return wild[choice(sizeof wild / sizeof *wild)];
}

int64_t integer(int64_t low, int64_t high) {
    if (high < low || chance(16))
        return chance(2) ? wild_integer() : chance(2) ? high + 1 : low - 1;
    return low + (int64_t)choice((uint32_t)(high - low + 1));
}
