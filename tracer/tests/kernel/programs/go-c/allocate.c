#include <stdlib.h>

#include "_cgo_export.h"
#include "allocate.h"

// What a call asks for; nothing else asks for these sizes.
enum { PLAIN = 1234567, AFTER_GO = 1345678 };

static void allocate(size_t size) {
    void *block = malloc(size);
    __asm__ volatile("" : : "r"(block) : "memory");
    free(block);
}

void allocate_in_c(int rounds) {
    for (int i = 0; i < rounds; i++)
        allocate(PLAIN);
}

// Go's stack has moved when the block is allocated.
void allocate_after_go(void) {
    grow();
    allocate(AFTER_GO);
}
