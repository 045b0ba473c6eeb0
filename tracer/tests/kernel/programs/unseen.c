// Code that comes while nobody sees it.
//
// unseen libraries PLUGIN ...: allocates FILL blocks, loads each PLUGIN, and says `done`; waits; calls each ten times, with pauses, from
// `in_library` (100 bytes), and says `done`; waits.
// unseen page CALLS: maps the code of `apart` once more, without asking for executable memory: it is all the same
// (READ_IMPLIES_EXEC, personality(2)). Calls that copy CALLS times, a block of 1001 bytes each, with pauses, and says `done`; waits.
// unseen key CALLS: the same, made executable by pkey_mprotect(2). Says `done` and waits before it calls.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/syscall.h>

#include "keep.h"
#include "start.h"

#define MAX_LIBRARIES 64
#define FILL 1000
#define PAUSE 10000

__attribute__((noinline)) static void in_library(uintptr_t (*run)(int)) {
    run(3);
    __asm__ volatile("");
}

static void libraries(char **paths, int count) {
    uintptr_t (*run[MAX_LIBRARIES])(int);
    if (count > MAX_LIBRARIES)
        abort();
    for (int i = 0; i < FILL; i++)
        free(keep(malloc(50)));
    for (int i = 0; i < count; i++) {
        void *library = dlopen(paths[i], RTLD_NOW | RTLD_LOCAL);
        if (!library)
            abort();
        run[i] = (uintptr_t(*)(int))dlsym(library, "plugin_run");
    }
    say("done");
    await_line();
    for (int i = 0; i < 10 * count; i++) {
        in_library(run[i / 10]);
        usleep(PAUSE);
    }
}

__attribute__((noinline)) static void allocate(void) { free(keep(malloc(1001))); }

// Refers to nothing by its distance: a copy works anywhere.
__attribute__((noinline)) static void apart(void (*call)(void)) {
    call();
    __asm__ volatile("");
}

// The offset in the program's file of an address in it.
static int file_offset(struct dl_phdr_info *program, size_t size, void *address) {
    (void)size;
    for (int i = 0; i < program->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &program->dlpi_phdr[i];
        uintptr_t distance = *(uintptr_t *)address - program->dlpi_addr - segment->p_vaddr;
        if (segment->p_type == PT_LOAD && distance < segment->p_filesz) {
            *(uintptr_t *)address = segment->p_offset + distance;
            return 1;
        }
    }
    return 0;
}

static void page(int calls, int by_key) {
    uintptr_t offset = (uintptr_t)apart;
    if (!dl_iterate_phdr(file_offset, &offset))
        abort();
    if (!by_key && personality(personality(0xffffffff) | READ_IMPLIES_EXEC) == -1)
        abort();
    int file = open("/proc/self/exe", O_RDONLY);
    uintptr_t page = offset & -0x1000;
    char *copy = mmap(NULL, 0x2000, PROT_READ, MAP_PRIVATE, file, page);
    if (copy == MAP_FAILED)
        abort();
    if (by_key) {
        // Key -1 is that of mprotect.
        if (syscall(SYS_pkey_mprotect, copy, 0x2000, PROT_READ | PROT_EXEC, -1))
            abort();
        say("done");
        await_line();
    }
    for (int i = 0; i < calls; i++) {
        ((void (*)(void (*)(void)))(copy + (offset - page)))(allocate);
        usleep(PAUSE);
    }
}

int main(int argc, char **argv) {
    if (argc < 3)
        return 2;
    say("ready");
    await_line();
    if (argv[1][0] == 'l')
        libraries(argv + 2, argc - 2);
    else
        page(atoi(argv[2]), argv[1][0] == 'k');
    say("done");
    await_line();
    return 0;
}
