// Allocates through a library: no_table_caller LIBRARY. Says "ready", waits, says "done", waits.

#include <dlfcn.h>
#include <stdlib.h>

#include "start.h"

#define SIZE 1234567

__attribute__((noinline)) static void call_library(void (*function)(unsigned long)) {
    function(SIZE);
    __asm__ volatile("");
}

int main(int argc, char **argv) {
    void *library = argc > 1 ? dlopen(argv[1], RTLD_NOW) : NULL;
    if (!library)
        abort();
    void (*function)(unsigned long) = (void (*)(unsigned long))dlsym(library, "outer_without_table");
    say("ready");
    await_line();
    for (int i = 0; i < 10; i++)
        call_library(function);
    say("done");
    await_line();
    return 0;
}
