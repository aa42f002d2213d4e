/* CPU levels: the sets of instructions that the kernels are compiled for, as the psABI names
 * them. */
#ifndef VQD_CPU_H
#define VQD_CPU_H

enum { MAX_CPU_LEVELS = 4 };

/* The levels that this machine can run, lowest first, ended by NULL. */
void supported_cpu_levels(const char *levels[MAX_CPU_LEVELS]);

#endif
