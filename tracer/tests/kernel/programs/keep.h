// Blocks that compilers must not do without.
#ifndef KEEP_H
#define KEEP_H

#include <stdlib.h>

// The block, of which the compiler then knows nothing. There is one.
static inline void *keep(void *block) {
    if (!block)
        abort();
    __asm__ volatile("" : "+r"(block) : : "memory");
    return block;
}

#endif
