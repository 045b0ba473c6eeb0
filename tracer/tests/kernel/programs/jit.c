// Makes code at run time that keeps frame pointers, and allocates through it. Says "ready", waits, says "done", waits.
// Arguments: number of allocations; "named" writes a perf map, "child" does it all in a child. The code is made after the
// first line has come: then the recording runs.
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "start.h"

// Nothing else asks for so much.
#define SIZE 1234567

__attribute__((noinline)) static void allocate_from_jit(void) {
    void *block = malloc(SIZE);
    __asm__ volatile("" : : "r"(block) : "memory");
    free(block);
}

// push rbp; mov rbp, rsp; mov rax, callee; call rax; pop rbp; ret
static unsigned char *function(unsigned char *at, uint64_t callee) {
    static const unsigned char begin[] = {0x55, 0x48, 0x89, 0xe5, 0x48, 0xb8}, end[] = {0xff, 0xd0, 0x5d, 0xc3};
    memcpy(at, begin, sizeof begin);
    memcpy(at + sizeof begin, &callee, 8);
    memcpy(at + sizeof begin + 8, end, sizeof end);
    return at + sizeof begin + 8 + sizeof end;
}

__attribute__((noinline)) static void call_jit(void (*code)(void)) {
    code();
    __asm__ volatile("");
}

static void work(int allocations, int named) {
    unsigned char *code = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    unsigned char *outer = function(code, (uint64_t)(uintptr_t)allocate_from_jit);
    unsigned char *end = function(outer, (uint64_t)(uintptr_t)code);
    mprotect(code, 4096, PROT_READ | PROT_EXEC);
    if (named) {
        char path[64];
        snprintf(path, sizeof path, "/tmp/perf-%d.map", (int)getpid());
        FILE *map = fopen(path, "w");
        fprintf(map, "%lx %lx jit_inner\n", (long)code, (long)(outer - code));
        fprintf(map, "%lx %lx jit_outer\n", (long)outer, (long)(end - outer));
        fclose(map);
    }
    for (int i = 0; i < allocations; i++) {
        void (*entry)(void);
        memcpy(&entry, &outer, sizeof entry);
        call_jit(entry);
        nanosleep(&(struct timespec){.tv_nsec = 5000000}, 0);
    }
}

int main(int argc, char **argv) {
    int allocations = argc > 1 ? atoi(argv[1]) : 0, named = 0, child = 0;
    for (int i = 2; i < argc; i++) {
        named |= strcmp(argv[i], "named") == 0;
        child |= strcmp(argv[i], "child") == 0;
    }
    say("ready");
    await_line();
    pid_t made = child ? fork() : 0;
    if (made == 0)
        work(allocations, named);
    if (child && made == 0)
        return 0;
    if (child)
        waitpid(made, 0, 0);
    say("done");
    await_line();
    return 0;
}
