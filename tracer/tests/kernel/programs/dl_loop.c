// Loads a library, allocates deep inside it, unloads it, loads another one, which then often stands at the same place.
//
// dl_loop A B SECONDS EVERY MILLISECONDS [FILE]: loads A and B in turn until so many seconds have gone. Every EVERY-th pair
// of loads lasts so many milliseconds, the others no longer than a few allocations. With FILE, the bytes of A and B are
// written into that one file in turn, and it is loaded. Then says as one line of JSON for each load: [library 0 or 1,
// address of plugin_run, CLOCK_MONOTONIC when dlopen had returned, and before dlclose], and waits.

#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "clock.h"
#include "start.h"

#define MAX_LOADS 200000
#define MAX_BYTES (1 << 20)

static struct load {
    uintptr_t address;
    uint64_t opened, closed;
} loads[MAX_LOADS];

static struct bytes {
    char bytes[MAX_BYTES];
    ssize_t count;
} contents[2];

static void read_file(const char *path, struct bytes *into) {
    int file = open(path, O_RDONLY | O_CLOEXEC);
    into->count = read(file, into->bytes, MAX_BYTES);
    if (into->count <= 0 || into->count == MAX_BYTES)
        abort();
    close(file);
}

static void overwrite(const char *path, const struct bytes *with) {
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);
    if (write(file, with->bytes, with->count) != with->count)
        abort();
    close(file);
}

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
    if (argc != 6 && argc != 7)
        return 2;
    uint64_t length = atol(argv[3]) * UINT64_C(1000000000), duration = atol(argv[5]) * UINT64_C(1000000);
    int every = atoi(argv[4]), count = 0;
    const char *file = argv[6];
    for (int i = 0; file && i < 2; i++)
        read_file(argv[1 + i], &contents[i]);
    say("ready");
    await_line();
    for (uint64_t end = now() + length; count < MAX_LOADS && now() < end; count++) {
        if (file)
            overwrite(file, &contents[count % 2]);
        allocate_inside(file ? file : argv[1 + count % 2], &loads[count], count / 2 % every == 0 ? duration : 0);
    }
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
