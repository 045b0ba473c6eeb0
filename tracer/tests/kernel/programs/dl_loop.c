// Loads a library, allocates deep inside it, unloads it, loads another one, which then often stands at the same place.
//
// dl_loop A B LOADS MILLISECONDS: loads A and B in turn, LOADS times in all, and allocates for so long in each. Then says
// as one line of JSON for each load: [library 0 or 1, address of plugin_run, CLOCK_MONOTONIC when dlopen had returned, and
// before dlclose], and waits.

#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "clock.h"
#include "start.h"

#define MAX_LOADS 20000

static struct load {
    uintptr_t address;
    uint64_t opened, closed;
} loads[MAX_LOADS];

__attribute__((noinline)) static void allocate_inside(const char *path, struct load *load, uint64_t duration) {
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library)
        abort();
    load->opened = now();
    uintptr_t (*run)(int) = (uintptr_t(*)(int))dlsym(library, "plugin_run");
    load->address = (uintptr_t)run;
    for (int i = 0; i < 5 || now() < load->opened + duration; i++) {
        run(i % 12);
        struct timespec pause = {0, duration / 500};
        nanosleep(&pause, NULL);
    }
    load->closed = now();
    dlclose(library);
}

int main(int argc, char **argv) {
    int count = argc == 5 ? atoi(argv[3]) : 0;
    if (count < 1 || count > MAX_LOADS)
        return 2;
    say("ready");
    await_line();
    for (int i = 0; i < count; i++)
        allocate_inside(argv[1 + i % 2], &loads[i], atol(argv[4]) * UINT64_C(1000000));
    for (int i = 0; i < count; i++) {
        char line[128];
        int length = snprintf(line, sizeof line, "%s[%d,%lu,%lu,%lu]", i ? "," : "[", i % 2, loads[i].address,
                              loads[i].opened, loads[i].closed);
        length = write(1, line, length);
    }
    say("]");
    await_line();
    return 0;
}
