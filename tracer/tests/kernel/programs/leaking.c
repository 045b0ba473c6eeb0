// Heavy churn at sites whose blocks live for very different times, and perhaps a leak; see live.c for the dialogue.
//
// leaking PAIRS_A_SECOND PERCENT: works until another line comes. Of the blocks of `handle`, PERCENT of a hundred are never
// released; no other site ever has more in use than after some seconds. Says `leaked` when that are 2,000 blocks.
#define _GNU_SOURCE
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>

#include "clock.h"
#include "keep.h"
#include "random.h"
#include "start.h"

#define SITE __attribute__((noinline)) static void *
SITE handle(size_t size) { return keep(malloc(size)); }
SITE message(size_t size) { return keep(malloc(size)); }
SITE session(size_t size) { return keep(malloc(size)); }
SITE cache(size_t size) { return keep(malloc(size)); }
SITE request(size_t size) { return keep(malloc(size)); }
SITE batch(size_t size) { return keep(malloc(size)); }

// Replaced at random: lives of exponentially distributed length.
#define SESSIONS 2000
#define CACHE 300
// Released in the order in which they were made, all at once when the batch is full.
#define BATCH 400
#define REQUESTS 1000

int main(int argc, char **argv) {
    if (argc != 3)
        return 2;
    double pace = atof(argv[1]);
    double leak = atof(argv[2]) / 100;
    static void *sessions[SESSIONS], *caches[CACHE], *batches[BATCH], *requests[REQUESTS];
    uint32_t state = (uint32_t)getpid();
    say("ready");
    await_line();
    struct pollfd input = {.fd = 0, .events = POLLIN};
    uint64_t due = now();
    long leaked = 0;
    while (poll(&input, 1, 0) == 0) {
        // A hundredth of a second's work.
        for (int i = 0; i < pace / 100; i++) {
            size_t size = 32 + next(&state) % 400;
            uint32_t choice = next(&state) % 100, at = next(&state);
            if (choice < 40) {
                void *block = handle(size);
                if ((next(&state) + 0.5) / (1 << 24) >= leak)
                    free(block);
                else if (++leaked == 2000)
                    say("leaked");
            } else if (choice < 70) {
                free(message(size));
            } else if (choice < 80) {
                free(sessions[at % SESSIONS]);
                sessions[at % SESSIONS] = session(size);
            } else if (choice < 82) {
                free(caches[at % CACHE]);
                caches[at % CACHE] = cache(size);
            } else if (choice < 90) {
                static long next_request;
                void **slot = &requests[next_request++ % REQUESTS];
                free(*slot);
                *slot = request(size);
            } else {
                static int filled;
                batches[filled++] = batch(size);
                for (; filled == BATCH; filled = 0)
                    for (int k = 0; k < BATCH; k++)
                        free(batches[k]);
            }
        }
        due = rest_until(due + 10 * 1000 * 1000);
    }
    return 0;
}
