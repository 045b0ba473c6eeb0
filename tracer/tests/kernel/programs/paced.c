// Allocates and releases blocks with work between, so many times in a second of its own CPU time that a probe on each call slows it
// about twice. Two phases that take turns: one allocates twice as often as the other.
//
// paced NANOSECONDS CALLS: says `ready`, waits; calls malloc so often, NANOSECONDS of CPU time apart in the mean; says
// `CALLS BYTES`, waits, ends.

#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "start.h"

// Calls of a phase.
enum { PHASE = 200000 };

static volatile uint64_t sink;

static void work(uint64_t steps) {
    for (uint64_t i = 0; i < steps; i++)
        sink += i;
}

static uint64_t cpu_time(void) {
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int main(int argc, char **argv) {
    double nanoseconds = argc == 3 ? atof(argv[1]) : 0;
    uint64_t calls = argc == 3 ? strtoull(argv[2], NULL, 10) : 0, bytes = 0;
    if (nanoseconds <= 0 || !calls)
        return 2;
    enum { STEPS = 20000000 };
    uint64_t before = cpu_time();
    work(STEPS);
    double step = (double)(cpu_time() - before) / STEPS;
    uint64_t often = nanoseconds * 2 / 3 / step, seldom = nanoseconds * 4 / 3 / step;
    say("ready");
    await_line();
    for (uint64_t i = 0; i < calls; i++) {
        work(i / PHASE % 2 ? seldom : often);
        size_t size = 16 + i % 100;
        void *block = malloc(size);
        __asm__ volatile("" : "+r"(block) : : "memory");
        free(block);
        bytes += size;
    }
    dprintf(1, "%lu %lu\n", calls, bytes);
    await_line();
    return 0;
}
