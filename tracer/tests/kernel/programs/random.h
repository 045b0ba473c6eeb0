// Random numbers that are the same in every run (Numerical Recipes, section 7.1, "An Even Quicker Generator").
#ifndef RANDOM_H
#define RANDOM_H

#include <stdint.h>

// 24 bits: the lowest ones of a linear congruential generator have short periods.
static inline uint32_t next(uint32_t *state) {
    *state = *state * 1664525 + 1013904223;
    return *state >> 8;
}

#endif
