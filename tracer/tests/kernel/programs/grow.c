// A heap that grows, with others that come and go; see live.c for the dialogue.
#include <stdio.h>
#include <stdlib.h>

#include "start.h"

static const size_t SIZES[] = {16, 160, 1600, 16000};

int main(int argc, char **argv) {
    long blocks = argc > 1 ? atol(argv[1]) : 1000;
    size_t bytes = 0, count = 0;
    say("ready");
    await_line();
    for (long i = 0; i < blocks; i++) {
        size_t size = SIZES[i % 4] + i % 13;
        void *block = malloc(size);
        if (!block)
            return 2;
        __asm__ volatile("" : : "r"(block) : "memory");
        if (i % 3) {
            free(block);
        } else {
            bytes += size;
            count++;
        }
    }
    char line[64];
    snprintf(line, sizeof line, "held %zu %zu", bytes, count);
    say(line);
    await_line();
    return 0;
}
