// A library that is built twice, with FRAME = 200 and 3000: the same instructions at the same places, but frames of another
// size. A walk over one with the tables of the other goes astray.

#include <stdint.h>
#include <stdlib.h>

uintptr_t plugin_descend(int levels);

__attribute__((noinline)) uintptr_t plugin_descend(int levels) {
    volatile char room[FRAME];
    room[levels] = 1;
    if (levels == 0) {
        void *block = malloc(100);
        __asm__ volatile("" : "+r"(block) : : "memory");
        free(block);
        return room[0];
    }
    return plugin_descend(levels - 1) + room[levels];
}

uintptr_t plugin_run(int levels) { return plugin_descend(levels) + 1; }
