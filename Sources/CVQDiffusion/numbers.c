/* Functions and text of a double, which Embedded Swift's Glibc module lacks. */
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

double vqd_expm1(double x) {
    return expm1(x);
}

double vqd_pow(double x, double y) {
    return pow(x, y);
}

double vqd_cos(double x) {
    return cos(x);
}

double vqd_sin(double x) {
    return sin(x);
}

int32_t vqd_format_double(double x, char *buffer, size_t capacity) {
    int length = snprintf(buffer, capacity, "%.15g", x);
    if (strtod(buffer, NULL) != x)
        length = snprintf(buffer, capacity, "%.17g", x);
    return (int32_t)length;
}
