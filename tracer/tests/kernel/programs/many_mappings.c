// many_mappings COUNT: makes so many executable mappings, one after the other, and says `done`; waits.

#include <stdlib.h>
#include <sys/mman.h>

#include "start.h"

#define PAGE 4096

int main(int argc, char **argv) {
    size_t count = argc == 2 ? strtoul(argv[1], NULL, 10) : 0;
    say("ready");
    await_line();
    char *pages = mmap(NULL, 2 * count * PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED)
        return 2;
    for (size_t i = 0; i < count; i++) {
        // Between two that are not.
        if (mprotect(pages + 2 * i * PAGE, PAGE, PROT_READ | PROT_EXEC))
            return 3;
        usleep(1000);
    }
    say("done");
    await_line();
    return 0;
}
