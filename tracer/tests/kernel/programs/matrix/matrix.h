// What the C and C++ programs of the matrix share: threads that allocate in named functions ("kinds"), each of which counts
// its own calls, and the dialogue with the test:
//
//     <- ready            all threads run and have gone through everything once
//     -> (a line)         they allocate
//     <- count THREAD KIND SIZE CALLS, ...
//     <- held BYTES BLOCKS    what they have not released, of what they were given since
//     <- done
//     -> (a line)         the program ends without allocating
//
// Between the lines nothing but the kinds allocates.
#ifndef MATRIX_H
#define MATRIX_H

#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

// A function of its own in every stack: not inlined, not cloned, and with something left to do after its last call.
#define KIND __attribute__((noinline, noclone)) static

// The compiler must not know what becomes of a block: it removes pairs of malloc and free.
static inline void keep(void *block) {
    __asm__ volatile("" : : "r"(block) : "memory");
}

struct count {
    const char *kind;
    size_t size;
    long calls;
};

static __thread struct count counts[512];

// Counts one call that asks for `size` bytes in all.
static void count(const char *kind, size_t size) {
    struct count *entry = counts;
    while (entry->kind && (entry->kind != kind || entry->size != size))
        entry++;
    if (entry == counts + 511)
        abort();
    entry->kind = kind;
    entry->size = size;
    entry->calls++;
}

static const size_t SIZES[] = {1, 24, 100, 1000, 5000, 70000, 300000};
#define SIZE_COUNT (sizeof SIZES / sizeof *SIZES)
#define LARGEST 300000

// Blocks that are in use for a while, and are then released by whichever thread comes by. Few enough that there is always
// such a thread.
#define HELD 61

static struct held {
    pthread_mutex_t lock;
    void *block;
    size_t size;
    void (*release)(void *block, size_t size);
} held[HELD];

// The place where this call may put a block; it is locked and empty.
static struct held *place(void) {
    static unsigned next;
    struct held *held_here = &held[__atomic_fetch_add(&next, 1, __ATOMIC_RELAXED) % HELD];
    pthread_mutex_lock(&held_here->lock);
    if (held_here->block)
        held_here->release(held_here->block, held_here->size);
    held_here->block = NULL;
    held_here->size = 0;
    return held_here;
}

// Holds a block of `size` bytes, to be released in this way.
static void hold(void *block, size_t size, void (*release)(void *block, size_t size)) {
    struct held *held_here = place();
    held_here->block = block;
    held_here->size = size;
    held_here->release = release;
    pthread_mutex_unlock(&held_here->lock);
}

static void release_all(void) {
    for (int i = 0; i < HELD; i++)
        pthread_mutex_unlock(&place()->lock);
}

// Every kind with every size.
static void all_kinds(void);

static long rounds;
static pthread_barrier_t begin, end;
static pthread_mutex_t printing = PTHREAD_MUTEX_INITIALIZER;

static void say(const char *line) {
    if (write(1, line, strlen(line)) < 0)
        _exit(2);
}

static void await_line(void) {
    char byte;
    while (read(0, &byte, 1) == 1 && byte != '\n')
        ;
}

__attribute__((noinline)) static void work(void) {
    for (long round = 0; round < rounds; round++)
        all_kinds();
    long thread = syscall(SYS_gettid);
    pthread_mutex_lock(&printing);
    for (struct count *entry = counts; entry->kind; entry++) {
        char line[200];
        snprintf(line, sizeof line, "count %ld %s %zu %ld\n", thread, entry->kind, entry->size, entry->calls);
        say(line);
    }
    pthread_mutex_unlock(&printing);
}

static void *worker(void *argument) {
    all_kinds();
    memset(counts, 0, sizeof counts);
    pthread_barrier_wait(&begin);
    pthread_barrier_wait(&begin);
    work();
    pthread_barrier_wait(&end);
    pause();
    return argument;
}

#define WORKERS 3

static int run(int argc, char **argv) {
    rounds = argc > 1 ? atol(argv[1]) : 1;
    for (int i = 0; i < HELD; i++)
        pthread_mutex_init(&held[i].lock, NULL);
    pthread_barrier_init(&begin, NULL, WORKERS + 1);
    pthread_barrier_init(&end, NULL, WORKERS + 1);
    for (int i = 0; i < WORKERS; i++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, worker, NULL))
            return 2;
    }
    all_kinds();
    memset(counts, 0, sizeof counts);
    char warm[64];
    snprintf(warm, sizeof warm, "%s %zu %ld", "warm", (size_t)1, 1L);
    pthread_barrier_wait(&begin);
    release_all();
    memset(counts, 0, sizeof counts);
    say("ready\n");
    await_line();
    pthread_barrier_wait(&begin);
    work();
    pthread_barrier_wait(&end);
    size_t bytes = 0, blocks = 0;
    for (int i = 0; i < HELD; i++) {
        bytes += held[i].size;
        blocks += held[i].block != NULL;
    }
    snprintf(warm, sizeof warm, "held %zu %zu\n", bytes, blocks);
    say(warm);
    say("done\n");
    await_line();
    _exit(0);
}

#endif
