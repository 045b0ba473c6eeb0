// Allocates and releases for a given time, at a given pace, and writes down what it holds in the end:
//
//     churn SECONDS PAIRS_A_SECOND TRUTH_FILE
//
// The file gets lines `SITE BYTES BLOCKS`. Two threads; blocks of the queue are released by the other one. Sites are called
// through a random path of functions, so that hardly any two stacks are the same.
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "clock.h"
#include "keep.h"
#include "random.h"

#define THREADS 2
#define CACHE 60000
#define QUEUE 30000
// Steps of the path, and pairs between two looks at the clock.
#define STEPS 20
#define ROUND 500

struct held {
    size_t bytes, blocks;
};

struct slot {
    pthread_mutex_t lock;
    void *block;
    size_t size;
};
static struct slot cache[CACHE], queue[QUEUE];

static long queue_next;
static double seconds, pace;

#define SITE __attribute__((noinline)) static void *

// Large blocks are rare, as in real programs: 16 bytes to 64 KiB, about 800 on average.
static size_t any_size(uint32_t *state) {
    return ((size_t)16 << __builtin_ctz(next(state) | 4096)) + next(state) % 512;
}

SITE temporary(size_t size) { return keep(malloc(size)); }
SITE cached(size_t size) { return keep(malloc(size)); }
SITE queued(size_t size) { return keep(malloc(size)); }
SITE leaked(size_t size) { return keep(malloc(size)); }

typedef void *site(size_t);

static void *left(uint32_t path, int steps, site *site, size_t size);
static void *right(uint32_t path, int steps, site *site, size_t size);

#define STEP(name)                                                                                       \
    __attribute__((noinline)) static void *name(uint32_t path, int steps, site *site, size_t size) {     \
        void *block = steps == 0 ? site(size)                                                            \
                                 : (path & 1 ? left : right)(path >> 1, steps - 1, site, size);          \
        return keep(block);                                                                              \
    }
STEP(left)
STEP(right)

// One pair, more or less: what is put somewhere releases what was there.
static void act(uint32_t *state, struct held *leak) {
    uint32_t choice = next(state) % 1000;
    size_t size = any_size(state);
    site *site = choice < 600 ? temporary : choice < 850 ? cached : choice < 999 ? queued : leaked;
    void *block = left(next(state), STEPS, site, size);
    if (site == temporary) {
        free(block);
    } else if (site == leaked) {
        leak->bytes += size;
        leak->blocks++;
    } else {
        long at = site == cached ? next(state) % CACHE : __atomic_fetch_add(&queue_next, 1, __ATOMIC_RELAXED) % QUEUE;
        struct slot *slot = site == cached ? &cache[at] : &queue[at];
        pthread_mutex_lock(&slot->lock);
        free(slot->block);
        slot->block = block;
        slot->size = size;
        pthread_mutex_unlock(&slot->lock);
    }
}

static void *work(void *argument) {
    static struct held leaks[THREADS];
    struct held *leak = &leaks[(intptr_t)argument];
    uint32_t state = (uint32_t)(uintptr_t)argument + 1;
    uint64_t start = now(), due = start, step = ROUND * THREADS / pace * 1e9;
    while (due - start < seconds * 1e9) {
        for (int i = 0; i < ROUND; i++)
            act(&state, leak);
        due = rest_until(due + step);
    }
    return leak;
}

int main(int argc, char **argv) {
    if (argc != 4)
        return 2;
    seconds = atof(argv[1]);
    pace = atof(argv[2]);
    FILE *truth = fopen(argv[3], "w");
    if (!truth || pace <= 0)
        return 2;
    // Blocks that it makes for itself would be no part of what it says that it holds.
    static char buffer[4096];
    setvbuf(truth, buffer, _IOFBF, sizeof buffer);
    for (int i = 0; i < CACHE; i++)
        pthread_mutex_init(&cache[i].lock, NULL);
    for (int i = 0; i < QUEUE; i++)
        pthread_mutex_init(&queue[i].lock, NULL);
    pthread_t threads[THREADS];
    for (intptr_t i = 0; i < THREADS; i++)
        if (pthread_create(&threads[i], NULL, work, (void *)i))
            return 2;
    struct held leak = {0}, in_cache = {0}, in_queue = {0};
    for (int i = 0; i < THREADS; i++) {
        void *result;
        pthread_join(threads[i], &result);
        struct held *of_thread = result;
        leak.bytes += of_thread->bytes, leak.blocks += of_thread->blocks;
    }
    for (int i = 0; i < CACHE; i++)
        in_cache.bytes += cache[i].size, in_cache.blocks += cache[i].block != NULL;
    for (int i = 0; i < QUEUE; i++)
        in_queue.bytes += queue[i].size, in_queue.blocks += queue[i].block != NULL;
    fprintf(truth, "cached %zu %zu\nqueued %zu %zu\nleaked %zu %zu\n", in_cache.bytes, in_cache.blocks, in_queue.bytes,
            in_queue.blocks, leak.bytes, leak.blocks);
    // The rest of the heap is to be in use when the process ends.
    fflush(truth);
    _exit(0);
}
