// Maps the code of two libraries where the other's was, in every way there is, and allocates inside. Arguments: library A,
// library B, rounds, milliseconds for each stay.
//
// The size of an allocation says where it was made: 10000 + 1000 * way + 100 * library + levels.
//
//     <- ready
//     -> (a line)   it maps
//     <- done
//     -> (a line)   it ends

#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "start.h"

#define LEVELS 8

enum way { OVER, MOVED, UNMAPPED, PROTECTED };

static struct library {
    int file;
    size_t bytes;
    off_t offset;
    uintptr_t run; // from the start of the text
} libraries[2];
static uint64_t stay;

__attribute__((noinline)) static void allocate_here(int size) {
    void *block = malloc(size);
    __asm__ volatile("" : "+r"(block) : : "memory");
    free(block);
}

__attribute__((noinline)) static void visit(enum way way, int library, char *text) {
    uintptr_t (*run)(int, void (*)(int), int);
    run = (uintptr_t(*)(int, void (*)(int), int))(text + libraries[library].run);
    uint64_t end = now() + stay;
    for (int i = 0; i < LEVELS || now() < end; i++) {
        int levels = i % LEVELS;
        run(levels, allocate_here, 10000 + 1000 * way + 100 * library + levels);
        struct timespec pause = {0, 50000};
        nanosleep(&pause, NULL);
    }
}

// The segment with the code, and where in it the function is.
static void look(const char *path, struct library *library) {
    void *loaded = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    void *run = loaded ? dlsym(loaded, "mapped_run") : NULL;
    struct link_map *map;
    ElfW(Ehdr) header;
    library->file = open(path, O_RDONLY | O_CLOEXEC);
    if (!run || dlinfo(loaded, RTLD_DI_LINKMAP, &map) != 0 ||
        pread(library->file, &header, sizeof header, 0) != sizeof header)
        abort();
    for (int i = 0; i < header.e_phnum; i++) {
        ElfW(Phdr) segment;
        if (pread(library->file, &segment, sizeof segment, header.e_phoff + i * sizeof segment) != sizeof segment)
            abort();
        if (segment.p_type == PT_LOAD && (segment.p_flags & PF_X)) {
            library->offset = segment.p_offset;
            library->bytes = segment.p_filesz;
            library->run = (uintptr_t)run - map->l_addr - segment.p_vaddr;
        }
    }
    dlclose(loaded);
}

static char *map(const struct library *library, void *where, int protection) {
    int flags = MAP_PRIVATE | (where ? MAP_FIXED : 0);
    char *text = mmap(where, library->bytes, protection, flags, library->file, library->offset);
    if (text == MAP_FAILED)
        abort();
    return text;
}

static void turn(char *place, char *aside, int first, int second) {
    const int code = PROT_READ | PROT_EXEC;
    const struct library *a = &libraries[first], *b = &libraries[second];
    visit(OVER, first, map(a, place, code));
    visit(OVER, second, map(b, place, code));

    // The second goes to the place of the first, which goes aside.
    map(a, place, code);
    char *other = map(b, NULL, code);
    if (mremap(place, a->bytes, a->bytes, MREMAP_MAYMOVE | MREMAP_FIXED, aside) != aside ||
        mremap(other, b->bytes, b->bytes, MREMAP_MAYMOVE | MREMAP_FIXED, place) != place)
        abort();
    visit(MOVED, second, place);
    visit(MOVED, first, aside);
    munmap(aside, a->bytes);

    munmap(place, b->bytes);
    visit(UNMAPPED, first, map(a, place, code));

    // Mapped as data, then made code.
    map(b, place, PROT_READ);
    if (mprotect(place, b->bytes, code) != 0)
        abort();
    visit(PROTECTED, second, place);
    munmap(place, b->bytes);
}

int main(int argc, char **argv) {
    if (argc != 5)
        return 2;
    for (int i = 0; i < 2; i++)
        look(argv[1 + i], &libraries[i]);
    stay = atol(argv[4]) * UINT64_C(1000000);
    char *room = mmap(NULL, 2 << 20, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (room == MAP_FAILED)
        return 2;
    say("ready");
    await_line();
    for (int round = 0; round < atoi(argv[3]); round++)
        turn(room, room + (1 << 20), round % 2, 1 - round % 2);
    say("done");
    await_line();
    return 0;
}
