// A process whose main thread ends before the others do.
//
// leader end CALLS PLUGIN: the main thread allocates CALLS blocks of 1001 bytes from `before`, starts a thread and ends. When the
// kernel shows it as ended (a zombie), the thread allocates CALLS blocks of 1002 bytes from `after` and says `done`; loads PLUGIN, waits,
// calls it CALLS times from `in_plugin` (100 bytes each), and says `done`; waits.
// leader busy CALLS: the main thread starts a thread, waits for a line and ends. The thread allocates CALLS blocks of 1005 bytes every millisecond, and says
// `done` when the main thread has ended; it goes on until a line comes.
// leader exec CALLS: a thread that is not the main one runs this program anew: that allocates CALLS blocks of 1003 bytes from
// `at_once` and says `done`, waits, allocates CALLS blocks of 1004 bytes from `later`, says `done`, waits.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "keep.h"
#include "start.h"

#define SITE __attribute__((noinline)) static void

static int calls;
static char **arguments;

SITE before(void) { free(keep(malloc(1001))); }
SITE after(void) { free(keep(malloc(1002))); }
SITE at_once(void) { free(keep(malloc(1003))); }
SITE later(void) { free(keep(malloc(1004))); }

// The state of the main thread (proc_pid_stat(5)).
static char state_of_main(void) {
    char path[64], text[256];
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", getpid());
    int file = open(path, O_RDONLY);
    ssize_t length = read(file, text, sizeof text - 1);
    close(file);
    if (length <= 0)
        abort();
    text[length] = 0;
    return strrchr(text, ')')[2];
}

__attribute__((noinline)) static void in_plugin(uintptr_t (*run)(int)) {
    run(3);
    __asm__ volatile("");
}

static void *go_on(void *ignored) {
    while (state_of_main() != 'Z')
        usleep(1000);
    for (int i = 0; i < calls; i++)
        after();
    say("done");
    void *library = dlopen(arguments[3], RTLD_NOW | RTLD_LOCAL);
    if (!library)
        abort();
    uintptr_t (*run)(int) = (uintptr_t(*)(int))dlsym(library, "plugin_run");
    await_line();
    for (int i = 0; i < calls; i++)
        in_plugin(run);
    say("done");
    await_line();
    _exit(0);
    return ignored;
}

static void *stay_busy(void *ignored) {
    int said = 0;
    struct pollfd input = {.fd = 0, .events = POLLIN};
    while (!said || poll(&input, 1, 1) == 0) {
        for (int i = 0; i < calls; i++)
            free(keep(malloc(1005)));
        usleep(said ? 0 : 1000);
        if (!said && state_of_main() == 'Z') {
            say("done");
            said = 1;
        }
    }
    _exit(0);
    return ignored;
}

static void *replace(void *ignored) {
    execl("/proc/self/exe", arguments[0], "replaced", arguments[2], NULL);
    abort();
    return ignored;
}

int main(int argc, char **argv) {
    if (argc < 3)
        return 2;
    calls = atoi(argv[2]);
    arguments = argv;
    if (argv[1][0] == 'r') {
        for (int i = 0; i < calls; i++)
            at_once();
        say("done");
        await_line();
        for (int i = 0; i < calls; i++)
            later();
        say("done");
        await_line();
        return 0;
    }
    int is_busy = strcmp(argv[1], "busy") == 0, ends = is_busy || strcmp(argv[1], "end") == 0;
    void *(*act)(void *) = is_busy ? stay_busy : ends ? go_on : replace;
    say("ready");
    await_line();
    for (int i = 0; i < calls; i++)
        before();
    pthread_t thread;
    if (pthread_create(&thread, NULL, act, NULL))
        abort();
    if (is_busy)
        await_line();
    if (ends)
        pthread_exit(NULL);
    pause();
    return 0;
}
