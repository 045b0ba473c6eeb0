// A program with so many functions that its unwind table takes more than a MiB. Argument: allocations.
//
//     <- ready
//     -> (a line)   it allocates
//     <- done
//     -> (a line)   it ends

#include <stdlib.h>

#include "start.h"

__asm__(".text\n"
        ".rept 200000\n"
        ".cfi_startproc\n"
        "push %rax\n"
        ".cfi_adjust_cfa_offset 8\n"
        "pop %rax\n"
        ".cfi_adjust_cfa_offset -8\n"
        "ret\n"
        ".cfi_endproc\n"
        ".endr\n");

int main(int argc, char **argv) {
    int allocations = argc > 1 ? atoi(argv[1]) : 0;
    say("ready");
    await_line();
    for (int i = 0; i < allocations; i++) {
        void *block = malloc(1000);
        __asm__ volatile("" : "+r"(block) : : "memory");
        free(block);
    }
    say("done");
    await_line();
    return 0;
}
