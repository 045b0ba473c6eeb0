// Allocates in bursts that come four times a second, and knows how much it allocated.
//
// Says `ready`; at the line `g` begins, at the line `s` ends, and says `CALLS BYTES` since then; ends with its input. Of every 250 ms
// it works for 60 with an allocation every 4 µs or so, then rests, with one a millisecond.

#define _GNU_SOURCE
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { PERIOD_US = 250000, BURST_US = 60000, STEPS = 6000, BATCH = 50, KEPT = 64 };

static volatile uint64_t sink;
static void *kept[KEPT];
static uint64_t calls, bytes;

static uint64_t now_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void allocate(void) {
    size_t size = 16 + calls * 37 % 500;
    void **place = &kept[calls % KEPT];
    free(*place);
    *place = malloc(size);
    if (!*place)
        abort();
    calls++, bytes += size;
}

static int told(char *word) {
    struct pollfd input = {.fd = 0, .events = POLLIN};
    return poll(&input, 1, 0) > 0 && (read(0, word, 1) <= 0 || *word != 'g');
}

int main(void) {
    char word;
    dprintf(1, "ready\n");
    while (read(0, &word, 1) == 1 && word == 'g') {
        calls = bytes = 0;
        for (word = 0; !told(&word);) {
            if (now_us() % PERIOD_US < BURST_US) {
                for (int i = 0; i < BATCH; i++) {
                    allocate();
                    for (int step = 0; step < STEPS; step++)
                        sink++;
                }
            } else {
                allocate();
                nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
            }
        }
        if (word != 's')
            return 0;
        dprintf(1, "%lu %lu\n", calls, bytes);
    }
    return 0;
}
