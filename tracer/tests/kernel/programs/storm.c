// Allocates as fast as it can, in bursts, and knows how much it allocated.
//
// storm THREADS CALLS ON_MS OFF_MS: says `ready`, waits; each thread makes CALLS allocations, or with 0 as many as it can until a
// line comes; it rests for OFF_MS first and after every ON_MS at work, if these are not 0; says `CALLS BYTES` of all threads,
// waits, ends. Between the first line and the second nothing else allocates.

#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "clock.h"
#include "start.h"

enum { MAX_THREADS = 64, BATCH = 256, KEPT = 8 };

static uint64_t calls[MAX_THREADS], bytes[MAX_THREADS], most_calls;
static uint64_t on_ns, off_ns;
static atomic_bool over;
static pthread_barrier_t barrier;

static void rest(void) {
    // In short steps, so that the end is seen.
    for (uint64_t end = now() + off_ns; now() < end && !atomic_load(&over);)
        nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
}

// Returns how many bytes it allocated. A block must be as it was left when it is released: tracing changes nothing of it.
__attribute__((noinline)) static uint64_t batch(uint64_t first, uint64_t *kept[KEPT]) {
    uint64_t sum = 0;
    for (uint64_t i = first; i < first + BATCH; i++) {
        uint64_t **place = &kept[i % KEPT], size = 16 + i * 37 % 500;
        if (*place && **place != (uintptr_t)*place)
            abort();
        free(*place);
        *place = malloc(size);
        if (!*place)
            abort();
        **place = (uintptr_t)*place;
        sum += size;
    }
    return sum;
}

static void *run_thread(void *argument) {
    uint64_t thread = (uintptr_t)argument, *kept[KEPT] = {0}, done = 0, sum = 0;
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    rest();
    uint64_t burst = now();
    while (!atomic_load(&over) && (!most_calls || done < most_calls)) {
        sum += batch(done, kept);
        done += BATCH;
        if (off_ns && now() - burst > on_ns) {
            rest();
            burst = now();
        }
    }
    for (int i = 0; i < KEPT; i++)
        free(kept[i]);
    calls[thread] = done, bytes[thread] = sum;
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    return NULL;
}

int main(int argc, char **argv) {
    pthread_t ids[MAX_THREADS];
    uint64_t numbers[4] = {0}, all_calls = 0, all_bytes = 0;
    for (int i = 1; i < argc && i <= 4; i++)
        numbers[i - 1] = strtoull(argv[i], NULL, 10);
    uint64_t threads = numbers[0];
    if (argc != 5 || threads < 1 || threads > MAX_THREADS || numbers[1] % BATCH)
        return 2;
    most_calls = numbers[1], on_ns = 1000000 * numbers[2], off_ns = 1000000 * numbers[3];
    // Threads are made, which allocates, before anyone looks.
    pthread_barrier_init(&barrier, NULL, threads + 1);
    for (uintptr_t i = 0; i < threads; i++)
        if (pthread_create(&ids[i], NULL, run_thread, (void *)i) != 0)
            return 1;
    pthread_barrier_wait(&barrier);
    say("ready");
    await_line();
    pthread_barrier_wait(&barrier);
    if (!most_calls) {
        await_line();
        atomic_store(&over, true);
    }
    pthread_barrier_wait(&barrier);
    for (uint64_t i = 0; i < threads; i++)
        all_calls += calls[i], all_bytes += bytes[i];
    char text[64];
    snprintf(text, sizeof text, "%lu %lu", all_calls, all_bytes);
    say(text);
    await_line();
    pthread_barrier_wait(&barrier);
    for (uint64_t i = 0; i < threads; i++)
        pthread_join(ids[i], NULL);
    return 0;
}
