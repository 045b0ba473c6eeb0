// The program that is measured: allocates in a loop at the bottom of a stack of the wanted depth, and says what its own
// thread needed. Reads lines "DEPTH PAIRS WORK" and answers each with nanoseconds of CPU time.
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static long cpu_time(void) {
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return time.tv_sec * 1000000000L + time.tv_nsec;
}

__attribute__((noinline)) static long measure(long pairs, long work) {
    long start = cpu_time();
    for (long pair = 0; pair < pairs; pair++) {
        void *block = malloc(64);
        __asm__ volatile("" : : "r"(block) : "memory");
        free(block);
        for (long step = 0; step < work; step++)
            __asm__ volatile("");
    }
    return cpu_time() - start;
}

typedef long function(long depth, long pairs, long work);
static function *const functions[8];

// Functions with frames of different sizes, each on a page of its own: a walk that meets one function only would find
// everything in the processor's caches. What follows the call keeps it from becoming a jump.
#define FRAME(number, bytes)                                                                                           \
    __attribute__((noinline, aligned(4096))) static long frame##number(long depth, long pairs, long work) {            \
        volatile char local[bytes];                                                                                    \
        local[0] = 0;                                                                                                  \
        long time = depth > 1 ? functions[depth % 8](depth - 1, pairs, work) : measure(pairs, work);                   \
        local[bytes - 1] = 0;                                                                                          \
        return time;                                                                                                   \
    }

FRAME(0, 8)
FRAME(1, 24)
FRAME(2, 40)
FRAME(3, 56)
FRAME(4, 88)
FRAME(5, 120)
FRAME(6, 184)
FRAME(7, 248)

static function *const functions[8] = {frame0, frame1, frame2, frame3, frame4, frame5, frame6, frame7};

int main(void) {
    long depth, pairs, work;
    setvbuf(stdout, NULL, _IOLBF, 0);
    while (scanf("%ld %ld %ld", &depth, &pairs, &work) == 3)
        printf("%ld\n", depth > 0 ? frame0(depth, pairs, work) : measure(pairs, work));
}
