// A thread that allocates and frees without a pause, and notes the longest time between two pairs. Reads "g" (go) and
// "s" (stop) from its input; answers "s" with the longest gap in nanoseconds. Says first how it is scheduled.
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

static atomic_int going;
static int start[2];

static long long now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static void *work(void *unused) {
    // Above all else, so that the gaps are not those of the scheduler.
    struct sched_param priority = {.sched_priority = 10};
    if (sched_setscheduler(0, SCHED_FIFO, &priority) == 0)
        puts("FIFO");
    else
        puts(setpriority(PRIO_PROCESS, 0, -20) == 0 ? "nice -20" : "nice 0");
    char byte;
    while (read(start[0], &byte, 1) == 1) {
        long long longest = 0, last = now(), rested = last;
        while (atomic_load_explicit(&going, memory_order_relaxed)) {
            void *block = malloc(64);
            __asm__ volatile("" : : "r"(block) : "memory");
            free(block);
            long long time = now();
            if (time - last > longest)
                longest = time - last;
            last = time;
            // The kernel's own threads must get on, or breakpoints do not: they would have to wait until this one has had its
            // 95 % of a second (sched(7)), and that would be the gap that is found.
            if (time - rested > 1800000) {
                usleep(200);
                last = rested = now();
            }
        }
        printf("%lld\n", longest);
    }
    return unused;
}

int main(void) {
    pthread_t thread;
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (pipe(start) != 0 || pthread_create(&thread, NULL, work, NULL) != 0)
        return 1;
    for (int word; (word = getchar()) != EOF;) {
        if (word != 'g' && word != 's')
            continue;
        atomic_store(&going, word == 'g');
        if (word == 'g' && write(start[1], "g", 1) != 1)
            return 1;
    }
    return 0;
}
