// The same allocations again and again, each time in a thread of its own: so that one recording holds many estimates of
// one known truth.
//
// rounds ROUNDS: says `ready`, waits; runs threads `round-0`, `round-1`, ...; says per site what each of them allocated as
// one line of JSON, waits, ends.

#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>

#include "start.h"

static inline void *keep(void *block) {
    __asm__ volatile("" : "+r"(block) : : "memory");
    return block;
}

#define SITE __attribute__((noinline)) static uint64_t

// Far below the interval: 16 to 271 bytes.
SITE site_tiny(void) {
    uint64_t bytes = 0;
    for (int i = 0; i < 3000; i++) {
        size_t size = 16 + i * 37 % 256;
        bytes += size;
        free(keep(malloc(size)));
    }
    return bytes;
}

// A mixture over four decades, as real programs have it.
SITE site_mixed(void) {
    uint64_t bytes = 0;
    for (int i = 0; i < 800; i++) {
        size_t size = (size_t)32 << i * 5 % 12;
        bytes += size;
        free(keep(malloc(size)));
    }
    return bytes;
}

// Around the interval of 64 KiB, where the probability of being sampled changes most.
SITE site_near(void) {
    uint64_t bytes = 0;
    for (int i = 0; i < 60; i++) {
        size_t size = 16384 + i * 2731;
        bytes += size;
        free(keep(malloc(size)));
    }
    return bytes;
}

// Rare and large: nearly always sampled.
SITE site_large(void) {
    uint64_t bytes = 0;
    for (int i = 0; i < 6; i++) {
        size_t size = (size_t)1 << 20;
        bytes += size;
        free(keep(calloc(1, size)));
    }
    return bytes;
}

// So rare that most rounds see none of it.
SITE site_rare(void) {
    free(keep(malloc(9000)));
    return 9000;
}

static uint64_t truth[5];

static void *round_thread(void *number) {
    char name[16];
    snprintf(name, sizeof name, "round-%d", (int)(intptr_t)number);
    prctl(PR_SET_NAME, name);
    truth[0] = site_tiny();
    truth[1] = site_mixed();
    truth[2] = site_near();
    truth[3] = site_large();
    truth[4] = site_rare();
    return NULL;
}

int main(int argc, char **argv) {
    int rounds = argc == 2 ? atoi(argv[1]) : 0;
    if (rounds < 1)
        return 2;
    say("ready");
    await_line();
    for (intptr_t i = 0; i < rounds; i++) {
        pthread_t id;
        if (pthread_create(&id, NULL, round_thread, (void *)i) != 0)
            abort();
        pthread_join(id, NULL);
    }
    char line[256];
    snprintf(line, sizeof line,
             "{\"site_tiny\":%lu,\"site_mixed\":%lu,\"site_near\":%lu,\"site_large\":%lu,\"site_rare\":%lu}", truth[0],
             truth[1], truth[2], truth[3], truth[4]);
    say(line);
    await_line();
    return 0;
}
