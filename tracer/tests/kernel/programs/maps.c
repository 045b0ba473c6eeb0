// Asks the kernel for memory in known sizes, through the C library. Argument: rounds.
//
//     <- ready
//     -> (a line)   it maps
//     <- count THREAD KIND SIZE CALLS, ...
//     <- done
//     -> (a line)   it ends
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "start.h"

#define SMALL 12288
#define LARGE 5000000
#define GROWN 80000
#define BLOCK 1000000
#define OF_FILE 4096

static void count(const char *kind, size_t size, long calls) {
    char line[200];
    snprintf(line, sizeof line, "count %ld %s %zu %ld", syscall(SYS_gettid), kind, size, calls);
    say(line);
}

__attribute__((noinline)) static void *map(size_t size) {
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    __asm__ volatile("" : : "r"(memory) : "memory");
    return memory;
}

int main(int argc, char **argv) {
    long rounds = argc > 1 ? atol(argv[1]) : 1;
    int file = open(argv[0], O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return 2;
    say("ready");
    await_line();
    for (long round = 0; round < rounds; round++) {
        void *grown = mremap(map(SMALL), SMALL, GROWN, MREMAP_MAYMOVE);
        munmap(grown, GROWN);
        munmap(map(LARGE), LARGE);
        // None of these is anonymous memory that the kernel was asked for here.
        munmap(mmap(NULL, OF_FILE, PROT_READ, MAP_PRIVATE, file, 0), OF_FILE);
        syscall(SYS_munmap, syscall(SYS_mmap, NULL, SMALL, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), SMALL);
        // The allocator's own: whole pages, with its header.
        void *block = malloc(BLOCK);
        __asm__ volatile("" : : "r"(block) : "memory");
        free(block);
    }
    count("mmap", SMALL, rounds);
    count("mmap", LARGE, rounds);
    count("mremap", GROWN, rounds);
    say("done");
    await_line();
    _exit(0);
}
