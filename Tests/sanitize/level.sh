#!/bin/sh
# The flag for the CPU level that is checked: x86-64-v3 where this machine has it. Nothing for
# another x86-64, nor for aarch64, which has one level.
if [ "$(uname -m)" = x86_64 ] && grep -qw avx2 /proc/cpuinfo && grep -qw fma /proc/cpuinfo; then
    echo -march=x86-64-v3
fi
