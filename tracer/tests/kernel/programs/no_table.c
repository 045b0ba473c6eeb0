// A library that is built without unwind information; with DESCRIBED, one other function of it has some.

#include <stdlib.h>

void outer_without_table(unsigned long size);

__attribute__((noinline)) static void inner_without_table(unsigned long size) {
    void *block = malloc(size);
    __asm__ volatile("" : : "r"(block) : "memory");
    free(block);
}

void outer_without_table(unsigned long size) {
    inner_without_table(size);
    __asm__ volatile("");
}

#ifdef DESCRIBED
__asm__(".text\n"
        "described:\n"
        ".cfi_startproc\n"
        "ret\n"
        ".cfi_endproc\n");
#endif
