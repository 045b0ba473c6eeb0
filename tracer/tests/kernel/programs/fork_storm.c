// Forks children that allocate and end, then becomes itself again and again by exec.
//
// fork_storm CHILDREN EXECS: the process itself calls malloc twice for each child, of 1001 bytes from `before_fork` and of
// 1002 from `after_fork`; each child calls it five times, 2000 bytes from `in_child`. Then it execs itself EXECS times;
// each image calls malloc once, 3000 bytes from `after_exec`. Then says `done`, waits, does that once more, says `end`, waits.

#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "keep.h"
#include "start.h"

#define SITE __attribute__((noinline)) static void

SITE before_fork(void) { free(keep(malloc(1001))); }
SITE after_fork(void) { free(keep(malloc(1002))); }
SITE in_child(void) { free(keep(malloc(2000))); }
SITE after_exec(void) { free(keep(malloc(3000))); }

SITE one_child(void) {
    before_fork();
    pid_t child = fork();
    if (child == 0) {
        for (int i = 0; i < 5; i++)
            in_child();
        _exit(0);
    }
    if (child < 0)
        abort();
    after_fork();
}

int main(int argc, char **argv) {
    int execs = argc >= 3 ? atoi(argv[2]) : -1;
    if (execs < 0)
        return 2;
    if (argc == 3) {
        say("ready");
        await_line();
        for (int i = atoi(argv[1]); i > 0; i--) {
            one_child();
            // Up to eight at a time.
            if (i % 8 == 1)
                while (wait(NULL) > 0)
                    ;
        }
    } else {
        after_exec();
    }
    if (execs > 0) {
        char left[16];
        snprintf(left, sizeof left, "%d", execs - 1);
        execl("/proc/self/exe", argv[0], "0", left, "again", NULL);
        abort();
    }
    say("done");
    await_line();
    after_exec();
    say("end");
    await_line();
    return 0;
}
