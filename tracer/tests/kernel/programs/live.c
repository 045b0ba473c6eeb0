// Allocates, resizes and releases at random, in one thread or with blocks that wander between threads, and says what it
// holds in the end:
//
//     <- ready
//     -> (a line)         it works
//     <- held BYTES BLOCKS
//     -> (a line)         it ends
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "random.h"
#include "start.h"

#define SLOTS 997

static struct {
    pthread_mutex_t lock;
    void *block;
    size_t size;
} slots[SLOTS];

static long rounds;
static pthread_barrier_t begin, end;

// One operation on a slot that any thread may have filled.
static void act(uint32_t *state) {
    uint32_t choice = next(state) % 16;
    size_t size = 1 + next(state) % (next(state) % 32 ? 500 : 200000);
    int at = next(state) % SLOTS;
    pthread_mutex_lock(&slots[at].lock);
    void *old = slots[at].block;
    if (choice < 4 && old) {
        // In place, or moved; some are large enough to be remapped.
        void *moved = realloc(old, size);
        if (!moved)
            abort();
        slots[at].block = moved;
        slots[at].size = size;
    } else if (choice < 5 && old) {
        // Cannot succeed: the block stays.
        if (realloc(old, SIZE_MAX / 4))
            abort();
    } else if (choice < 8) {
        free(old);
        slots[at].block = NULL;
        slots[at].size = 0;
    } else {
        free(old);
        void *block = NULL;
        if (choice < 12)
            block = malloc(size);
        else if (choice < 13)
            block = calloc(3, (size + 2) / 3), size = (size + 2) / 3 * 3;
        else if (choice < 14)
            block = realloc(NULL, size);
        else if (choice < 15)
            block = memalign(choice % 2 ? 16 : 256, size);
        else if (posix_memalign(&block, 64, size))
            abort();
        if (!block)
            abort();
        slots[at].block = block;
        slots[at].size = size;
    }
    pthread_mutex_unlock(&slots[at].lock);
}

static void *work(void *argument) {
    uint32_t state = (uint32_t)(uintptr_t)argument;
    pthread_barrier_wait(&begin);
    pthread_barrier_wait(&begin);
    for (long round = 0; round < rounds; round++)
        act(&state);
    pthread_barrier_wait(&end);
    pause();
    return NULL;
}

int main(int argc, char **argv) {
    long threads = argc > 1 ? atol(argv[1]) : 1;
    rounds = argc > 2 ? atol(argv[2]) : 10000;
    for (int i = 0; i < SLOTS; i++)
        pthread_mutex_init(&slots[i].lock, NULL);
    static pthread_t ids[64];
    pthread_barrier_init(&begin, NULL, threads + 1);
    pthread_barrier_init(&end, NULL, threads + 1);
    // Threads have blocks of their own: they are there before, and stay.
    for (long i = 0; i < threads; i++)
        if (pthread_create(&ids[i], NULL, work, (void *)(i + 1)))
            return 2;
    pthread_barrier_wait(&begin);
    say("ready");
    await_line();
    pthread_barrier_wait(&begin);
    pthread_barrier_wait(&end);
    size_t bytes = 0, blocks = 0;
    for (int i = 0; i < SLOTS; i++) {
        bytes += slots[i].size;
        blocks += slots[i].block != NULL;
    }
    char line[64];
    snprintf(line, sizeof line, "held %zu %zu", bytes, blocks);
    say(line);
    await_line();
    _exit(0);
}
