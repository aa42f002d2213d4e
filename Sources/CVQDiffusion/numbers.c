/* Logarithm, exponential and text of a double, which Embedded Swift's Glibc module lacks. */
#include "shims.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

double vqd_log(double x) {
    return log(x);
}

double vqd_exp(double x) {
    return exp(x);
}

int32_t vqd_format_double(double x, char *buffer, size_t capacity) {
    int length = snprintf(buffer, capacity, "%.15g", x);
    if (strtod(buffer, NULL) != x)
        length = snprintf(buffer, capacity, "%.17g", x);
    return (int32_t)length;
}
