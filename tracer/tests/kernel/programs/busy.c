// Works in rounds that differ at random, like a server that handles one request after the other.
//
// busy SEED ROUNDS PARSES: says `ready`, waits; does its rounds, with PARSES allocations in each `parse`; says `done`, waits, ends.

#include <stdint.h>
#include <stdlib.h>

#include "start.h"

#define OWN __attribute__((noinline, noclone))
#define KEPT 512

static uint64_t state;
static void *kept[KEPT];

// SplitMix64.
static uint64_t below(uint64_t end) {
    uint64_t z = state += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return (z ^ z >> 31) % end;
}

static inline void keep(void *block) {
    uint64_t place = below(KEPT);
    free(kept[place]);
    kept[place] = block;
    __asm__ volatile("" : : "r"(block) : "memory");
}

OWN static void read_request(void) { keep(malloc(200 + below(2000))); }

OWN static void parse(int parses) {
    for (int i = 0; i < parses; i++)
        keep(malloc(16 + below(64)));
    __asm__ volatile("");
}

OWN static void look_up(void) {
    if (below(10) == 0)
        keep(malloc(4096 + below(30000)));
    __asm__ volatile("");
}

OWN static void answer(void) {
    for (uint64_t i = below(6); i > 0; i--)
        keep(calloc(1, 100 + below(300)));
    __asm__ volatile("");
}

OWN static void log_line(void) { keep(malloc(128)); }

OWN static void handle(int parses) {
    read_request();
    parse(parses);
    look_up();
    answer();
    if (below(4) == 0)
        log_line();
    __asm__ volatile("");
}

int main(int argc, char **argv) {
    if (argc != 4)
        return 2;
    state = strtoull(argv[1], NULL, 10);
    int rounds = atoi(argv[2]), parses = atoi(argv[3]);
    say("ready");
    await_line();
    for (int i = 0; i < rounds; i++)
        handle(parses);
    say("done");
    await_line();
    return 0;
}
