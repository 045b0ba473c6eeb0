// The same life of a heap again and again, each time in a thread of its own, so that one recording holds many estimates of one
// known truth: what is in use at the end of a round.
//
// live_rounds ROUNDS: says `ready`, waits; runs threads `round-0`, `round-1`, ...; says in one line of JSON what each of
// them called and what is in use then by site, and when (CLOCK_MONOTONIC) each round was at its end; waits, ends.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <pthread.h>
#include <sys/prctl.h>
#include <time.h>
#include <vector>

#include "keep.h"
#include "start.h"

#define SITE __attribute__((noinline)) static void

// Everything the test counts with is static: to count must not allocate.
enum { MALLOC, REALLOC, CALLOC, FUNCTIONS };
static const char *const FUNCTION_NAMES[] = {"malloc", "realloc", "calloc"};
enum { SITES = 7, MOST = 4096 };

struct Truth {
    const char *site;
    uint64_t calls[FUNCTIONS][64], bytes[FUNCTIONS][64];
    uint64_t held_blocks, held_bytes;
};
static Truth truths[SITES];

// What is in use when the round ends, and what the main thread has to release before.
static void *held[MOST], *handed[MOST];
static int held_count, handed_count;

static void note(int number, const char *site, int function, size_t size) {
    int size_class = size ? 64 - __builtin_clzl(size) : 0;
    truths[number].site = site;
    truths[number].calls[function][size_class]++;
    truths[number].bytes[function][size_class] += size;
}

static void hold(int number, void *block, size_t size) {
    truths[number].held_blocks++;
    truths[number].held_bytes += size;
    held[held_count++] = block;
}

// A third of the blocks stays, of all sizes from 32 bytes to 64 KiB.
SITE site_partial() {
    for (int i = 0; i < 360; i++) {
        size_t size = (size_t)32 << i * 5 % 12;
        note(0, __func__, MALLOC, size);
        void *block = keep(malloc(size));
        if (i % 3)
            free(block);
        else
            hold(0, block, size);
    }
}

// Blocks that grow again and again, in place or moved; two of three are released in the end.
SITE site_chain() {
    for (int i = 0; i < 60; i++) {
        size_t size = 100 + i;
        // Without a block it is malloc's.
        note(1, __func__, MALLOC, size);
        void *block = keep(realloc(nullptr, size));
        for (int step = 0; step < 10; step++) {
            size += size / 2;
            note(1, __func__, REALLOC, size);
            block = keep(realloc(block, size));
        }
        if (i % 3)
            free(block);
        else
            hold(1, block, size);
    }
}

// A container that doubles.
SITE site_growth() {
    for (int i = 0; i < 12; i++) {
        auto *vector = (std::vector<uint64_t> *)keep(malloc(sizeof(std::vector<uint64_t>)));
        note(2, __func__, MALLOC, sizeof *vector);
        new (vector) std::vector<uint64_t>;
        size_t before = 0;
        for (int n = 0; n < 2500; n++) {
            vector->push_back(n);
            if (vector->capacity() != before) {
                before = vector->capacity();
                note(2, __func__, MALLOC, before * sizeof(uint64_t));
            }
        }
        hold(2, vector, sizeof *vector);
        hold(2, vector->data(), before * sizeof(uint64_t));
    }
}

// Released by another thread, but for every fourth.
SITE site_handed() {
    for (int i = 0; i < 600; i++) {
        size_t size = 700 + i;
        note(3, __func__, MALLOC, size);
        void *block = keep(malloc(size));
        if (i % 4)
            handed[handed_count++] = block;
        else
            hold(3, block, size);
    }
}

// Chunks about as large as the interval, released together with all that was put into them.
SITE site_arena() {
    for (int arena = 0; arena < 6; arena++) {
        void *chunks[4];
        for (int i = 0; i < 4; i++) {
            size_t size = (size_t)16384 << i % 2;
            note(4, __func__, CALLOC, size);
            chunks[i] = keep(calloc(1, size));
            if (arena % 2)
                hold(4, chunks[i], size);
        }
        for (int i = 0; arena % 2 == 0 && i < 4; i++)
            free(chunks[i]);
    }
}

static volatile bool throws = true;

struct Thrower {
    char bytes[1500];
    Thrower() {
        if (throws)
            throw 1;
    }
};

// What libstdc++ puts before a thrown object on this machine (__cxa_refcounted_exception in its unwind-cxx.h).
static const size_t HEADER = 128;

__attribute__((noinline)) static void deep(int depth) {
    if (depth == 0) {
        note(5, "site_throws", MALLOC, sizeof(Thrower));
        note(5, "site_throws", MALLOC, HEADER + sizeof(int));
        delete new Thrower;
        return;
    }
    // It has allocated, and is left by the exception.
    note(5, "site_throws", MALLOC, 900);
    void *block = keep(malloc(900));
    if (depth % 2)
        hold(5, block, 900);
    else
        free(block);
    deep(depth - 1);
    __asm__ volatile("" : : : "memory");
}

SITE site_throws() {
    for (int i = 0; i < 80; i++) {
        try {
            deep(4);
        } catch (int) {
        }
        // Where frames were that the exception has left.
        note(5, __func__, MALLOC, 2000);
        void *block = keep(::operator new(2000));
        if (i % 2)
            hold(5, block, 2000);
        else
            ::operator delete(block);
    }
}

// Nearly always sampled.
SITE site_large() {
    for (int i = 0; i < 6; i++) {
        size_t size = (size_t)600 << 10;
        note(6, __func__, MALLOC, size);
        void *block = keep(malloc(size));
        if (i % 2)
            hold(6, block, size);
        else
            free(block);
    }
}

static void *round_thread(void *number) {
    char name[16];
    snprintf(name, sizeof name, "round-%d", (int)(intptr_t)number);
    prctl(PR_SET_NAME, name);
    memset(truths, 0, sizeof truths);
    site_partial();
    site_chain();
    site_growth();
    site_handed();
    site_arena();
    site_throws();
    site_large();
    return nullptr;
}

int main(int argc, char **argv) {
    int rounds = argc == 2 ? atoi(argv[1]) : 0;
    if (rounds < 1)
        return 2;
    auto *ends = (uint64_t *)calloc(rounds, sizeof(uint64_t));
    // What the run-time allocates once, for the first exception of a process.
    try {
        throw 1;
    } catch (int) {
    }
    say("ready");
    await_line();
    for (intptr_t i = 0; i < rounds; i++) {
        pthread_t id;
        if (pthread_create(&id, nullptr, round_thread, (void *)i) != 0)
            abort();
        pthread_join(id, nullptr);
        for (int k = 0; k < handed_count; k++)
            free(handed[k]);
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        ends[i] = now.tv_sec * 1000000000ull + now.tv_nsec;
        for (int k = 0; k < held_count; k++)
            free(held[k]);
        held_count = handed_count = 0;
    }
    for (int i = 0; i < SITES; i++) {
        dprintf(1, "%s{\"site\":\"%s\",\"held\":[%lu,%lu],\"counts\":[", i ? "," : "{\"sites\":[", truths[i].site,
                truths[i].held_bytes, truths[i].held_blocks);
        const char *comma = "";
        for (int function = 0; function < FUNCTIONS; function++)
            for (int k = 0; k < 64; k++)
                if (truths[i].calls[function][k]) {
                    dprintf(1, "%s[\"%s\",%d,%lu,%lu]", comma, FUNCTION_NAMES[function], k,
                            truths[i].calls[function][k], truths[i].bytes[function][k]);
                    comma = ",";
                }
        dprintf(1, "]}");
    }
    for (int i = 0; i < rounds; i++)
        dprintf(1, "%s%lu", i ? "," : "],\"ends\":[", ends[i]);
    say("]}");
    await_line();
    return 0;
}
