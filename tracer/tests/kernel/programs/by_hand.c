// A program with an allocator of its own that nobody knows, for static linking. Its functions begin with an instruction that the
// kernel single-steps (endbr64). Arguments: rounds; `release` to give blocks back.
//
//     <- ready
//     -> (a line)   it allocates
//     <- count THREAD KIND SIZE CALLS, ...
//     <- done
//     -> (a line)   it ends
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>

#include "start.h"

#define OWN __attribute__((noinline, noclone))

static char heap[1 << 24];
static size_t used;

OWN static void *take(size_t size) {
    used = (used + size + 15) / 16 * 16 % (sizeof heap / 2);
    return heap + used;
}

OWN void *pool_alloc(size_t size) {
    void *block = take(size);
    __asm__ volatile("" : : "r"(block) : "memory");
    return block;
}

OWN void *pool_calloc(size_t number, size_t size) {
    char *block = take(number * size);
    __asm__ volatile("" : : "r"(block) : "memory");
    return block;
}

OWN void *pool_resize(void *pool, void *block, size_t size) {
    char *resized = take(size);
    __asm__ volatile("" : : "r"(block), "r"(pool), "r"(resized) : "memory");
    return resized;
}

OWN void *pool_realloc(void *block, size_t size) {
    char *resized = take(size);
    __asm__ volatile("" : : "r"(block), "r"(resized) : "memory");
    return resized;
}

OWN void pool_free(void *block) {
    __asm__ volatile("" : : "r"(block) : "memory");
}

// Keeps what was resized.
OWN static void work_and_release(long rounds) {
    for (long round = 0; round < rounds; round++) {
        pool_realloc(pool_alloc(100), 300);
        pool_free(pool_alloc(200));
    }
}

OWN static void work(long rounds) {
    for (long round = 0; round < rounds; round++) {
        void *block = pool_alloc(100);
        block = pool_resize(heap, block, 5000);
        __asm__ volatile("" : : "r"(block), "r"(pool_calloc(7, 1000)) : "memory");
    }
}

static void count(const char *kind, size_t size, long calls) {
    char line[200];
    snprintf(line, sizeof line, "count %ld %s %zu %ld", syscall(SYS_gettid), kind, size, calls);
    say(line);
}

int main(int argc, char **argv) {
    long rounds = argc > 1 ? atol(argv[1]) : 1;
    say("ready");
    await_line();
    if (argc > 2) {
        work_and_release(rounds);
        count("pool_alloc", 100, rounds);
        count("pool_alloc", 200, rounds);
        count("pool_realloc", 300, rounds);
    } else {
        work(rounds);
        count("pool_alloc", 100, rounds);
        count("pool_resize", 5000, rounds);
        count("pool_calloc", 7000, rounds);
    }
    say("done");
    await_line();
    _exit(0);
}
