// Blocks that live for a known time; see live.c for the dialogue.
//
// lifetimes BLOCKS FILE: makes as many blocks, one every 20 µs where the machine can, each of one of the groups that its size
// tells: 1000 + i live for exponentially distributed times, 2000 + i for the same time, 3000 for ever. Says `done`, and writes to
// the file for each block a line `SIZE INNER OUTER RELEASED`: its life is at least INNER and at most OUTER nanoseconds; without a
// release until the end.
#define _GNU_SOURCE
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "clock.h"
#include "random.h"
#include "start.h"

#define GROUPS 100
#define MEAN_NS 600e6
#define CONSTANT_NS 500000000ull
#define REST_NS 20000ull

struct life {
    void *block;
    uint64_t size, due, made_before, made_after, released_before, released_after;
};

static struct life *lives;
// A heap of those that are still to be released, the next one first.
static long *waiting, waiting_count;

static int is_before(long a, long b) { return lives[waiting[a]].due < lives[waiting[b]].due; }

static void swap(long a, long b) {
    long kept = waiting[a];
    waiting[a] = waiting[b];
    waiting[b] = kept;
}

static void push(long life) {
    long at = waiting_count++;
    waiting[at] = life;
    for (; at > 0 && is_before(at, (at - 1) / 2); at = (at - 1) / 2)
        swap(at, (at - 1) / 2);
}

static long pop(void) {
    long first = waiting[0];
    waiting[0] = waiting[--waiting_count];
    for (long at = 0;;) {
        long least = at;
        for (long child = 2 * at + 1; child <= 2 * at + 2; child++)
            if (child < waiting_count && is_before(child, least))
                least = child;
        if (least == at)
            return first;
        swap(at, least);
        at = least;
    }
}

int main(int argc, char **argv) {
    if (argc != 3)
        return 2;
    long blocks = atol(argv[1]);
    lives = calloc(blocks, sizeof *lives);
    waiting = calloc(blocks, sizeof *waiting);
    FILE *file = fopen(argv[2], "w");
    if (!lives || !waiting || !file)
        return 2;
    uint32_t state = 1;
    say("ready");
    await_line();
    uint64_t start = now();
    for (long i = 0; i < blocks; i++) {
        uint64_t time;
        do {
            time = now();
            while (waiting_count > 0 && lives[waiting[0]].due <= time) {
                struct life *life = &lives[pop()];
                life->released_before = now();
                free(life->block);
                life->released_after = now();
            }
        } while (time < start + i * REST_NS);
        struct life *life = &lives[i];
        uint32_t kind = next(&state) % 100, group = next(&state) % GROUPS;
        life->size = kind == 0 ? 3000 : kind < 50 ? 1000 + group : 2000 + group;
        life->made_before = now();
        life->block = malloc(life->size);
        life->made_after = now();
        if (!life->block)
            return 2;
        if (kind == 0)
            continue;
        double uniform = (next(&state) + 0.5) / (1 << 24);
        life->due = life->made_after + (kind < 50 ? (uint64_t)(-log(uniform) * MEAN_NS) : CONSTANT_NS);
        push(i);
    }
    say("done");
    await_line();
    uint64_t end = now();
    for (long i = 0; i < blocks; i++) {
        struct life *life = &lives[i];
        int released = life->released_after != 0;
        fprintf(file, "%lu %lu %lu %d\n", life->size, (released ? life->released_before : end) - life->made_after,
                (released ? life->released_after : end) - life->made_before, released);
    }
    fclose(file);
    return 0;
}
