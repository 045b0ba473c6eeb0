// Time, and a pace.
#ifndef CLOCK_H
#define CLOCK_H

#include <stdint.h>
#include <time.h>

// CLOCK_MONOTONIC, in nanoseconds.
static inline uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

// Sleeps until `due`. Returns that, or the time where it is later: a machine that is too slow does not have to catch up.
static inline uint64_t rest_until(uint64_t due) {
    uint64_t time = now();
    if (time >= due)
        return time;
    struct timespec end = {(time_t)(due / 1000000000), (long)(due % 1000000000)};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &end, NULL);
    return due;
}

#endif
