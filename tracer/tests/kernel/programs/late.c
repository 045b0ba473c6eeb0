// A program whose allocator comes late. -DLIBRARY is an allocator of its own with the prefix je_, to be loaded; -DSTATIC uses
// the one that it is linked with. Arguments: library, prefix.
//
//     <- ready      (not with -DSTATIC)
//     -> (a line)   the library is loaded, and used until a breakpoint stands in its malloc
//     <- count THREAD KIND SIZE CALLS, ...: calls after that
//     <- done
//     -> (a line)   the program ends
#define _GNU_SOURCE
#include <stddef.h>

#ifdef LIBRARY

static char heap[1 << 24];
static size_t used;

void *je_malloc(size_t size) {
    size_t at = __atomic_fetch_add(&used, (size + 31) / 16 * 16, __ATOMIC_RELAXED);
    *(size_t *)(heap + at) = size;
    return heap + at + 16;
}

void *je_calloc(size_t number, size_t size) {
    return je_malloc(number * size);
}

void *je_realloc(void *block, size_t size) {
    char *new = je_malloc(size);
    size_t old = ((size_t *)block)[-2];
    for (size_t i = 0; i < old && i < size; i++)
        new[i] = ((char *)block)[i];
    return new;
}

#else

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "start.h"

// Where a probe may stand, and what was there.
#define CODE 64

static void *(*allocate)(size_t);
static void *(*allocate_zeroed)(size_t, size_t);
static void *(*resize)(void *, size_t);

static int has_breakpoint(const char *original) {
    return memcmp((const void *)allocate, original, CODE) != 0;
}

static void count(const char *kind, size_t size, int calls) {
    char line[200];
    snprintf(line, sizeof line, "count %ld %s %zu %d", syscall(SYS_gettid), kind, size, calls);
    say(line);
}

int main(int argc, char **argv) {
#ifdef STATIC
    (void)argc;
    (void)argv;
    allocate = malloc;
    allocate_zeroed = calloc;
    resize = realloc;
#else
    if (argc != 3)
        return 2;
    say("ready");
    await_line();
    void *library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND);
    if (!library)
        return 3;
    char name[64];
    snprintf(name, sizeof name, "%smalloc", argv[2]);
    allocate = (void *(*)(size_t))dlsym(library, name);
    snprintf(name, sizeof name, "%scalloc", argv[2]);
    allocate_zeroed = (void *(*)(size_t, size_t))dlsym(library, name);
    snprintf(name, sizeof name, "%srealloc", argv[2]);
    resize = (void *(*)(void *, size_t))dlsym(library, name);
    if (!allocate || !allocate_zeroed || !resize)
        return 4;
#endif
    char original[CODE];
    memcpy(original, (const void *)allocate, CODE);
    while (!has_breakpoint(original))
        usleep(1000);
    for (int i = 0; i < 1000; i++) {
        void *block = allocate(1000);
        block = resize(block, 3000);
        __asm__ volatile("" : : "r"(block), "r"(allocate_zeroed(5, 1111)) : "memory");
    }
    count("malloc", 1000, 1000);
    count("realloc", 3000, 1000);
    count("calloc", 5555, 1000);
    say("done");
    await_line();
    _exit(0);
}

#endif
