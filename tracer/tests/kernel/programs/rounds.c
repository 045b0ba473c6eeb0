// The same allocations again and again, each time in a thread of its own: so that one recording holds many estimates of
// one known truth.
//
// rounds ROUNDS: says `ready`, waits; runs threads `round-0`, `round-1`, ...; says what each of them allocated as one line
// of JSON, by site and size class, waits, ends.

#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>

#include "keep.h"
#include "start.h"

#define SITE __attribute__((noinline)) static void

// What a round allocates at one site: calls and bytes by size class; class k holds sizes in [2^(k-1), 2^k).
struct truth {
    const char *site, *function;
    uint64_t calls[64], bytes[64];
};
static struct truth truths[5];

static void note(int number, const char *site, const char *function, size_t size) {
    struct truth *truth = &truths[number];
    int class = size ? 64 - __builtin_clzl(size) : 0;
    truth->site = site, truth->function = function;
    truth->calls[class]++;
    truth->bytes[class] += size;
}

// Far below the interval: 16 to 271 bytes.
SITE site_tiny(void) {
    for (int i = 0; i < 1500; i++) {
        size_t size = 16 + i * 37 % 256;
        note(0, __func__, "malloc", size);
        free(keep(malloc(size)));
    }
}

// A mixture over four decades, as real programs have it.
SITE site_mixed(void) {
    for (int i = 0; i < 400; i++) {
        size_t size = (size_t)32 << i * 5 % 12;
        note(1, __func__, "malloc", size);
        free(keep(malloc(size)));
    }
}

// Around the interval of 64 KiB, where the probability of being sampled changes most.
SITE site_near(void) {
    for (int i = 0; i < 60; i++) {
        size_t size = 16384 + i * 2731;
        note(2, __func__, "malloc", size);
        free(keep(malloc(size)));
    }
}

// Rare and large: nearly always sampled.
SITE site_large(void) {
    for (int i = 0; i < 6; i++) {
        size_t size = (size_t)1 << 20;
        note(3, __func__, "calloc", size);
        free(keep(calloc(1, size)));
    }
}

// So rare that most rounds see none of it.
SITE site_rare(void) {
    note(4, __func__, "malloc", 9000);
    free(keep(malloc(9000)));
}

static void *round_thread(void *number) {
    char name[16];
    snprintf(name, sizeof name, "round-%d", (int)(intptr_t)number);
    prctl(PR_SET_NAME, name);
    memset(truths, 0, sizeof truths);
    site_tiny();
    site_mixed();
    site_near();
    site_large();
    site_rare();
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
    for (int i = 0; i < 5; i++) {
        char text[4096];
        int length = 0;
        for (int class = 0; class < 64; class++)
            if (truths[i].calls[class])
                length += snprintf(text + length, sizeof text - length, "%s[%d,%lu,%lu]", length ? "," : "", class,
                                   truths[i].calls[class], truths[i].bytes[class]);
        dprintf(1, "%s{\"site\":\"%s\",\"function\":\"%s\",\"classes\":[%s]}", i ? "," : "[", truths[i].site,
                truths[i].function, text);
    }
    say("]");
    await_line();
    return 0;
}
