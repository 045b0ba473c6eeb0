// A program that grows by known amounts in functions of known names, and says by how much.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PAGE = 4096 };

// The barrier behind a call keeps it from being a jump, which would leave no frame.
#define BARRIER() __asm__ volatile("" ::: "memory")

static void say(const char *name, uint64_t bytes) { printf("%s %llu ", name, (unsigned long long)bytes); }

static char *map(size_t bytes, int protection, int flags, int file) {
    char *memory = mmap(NULL, bytes, protection, flags | MAP_PRIVATE, file, 0);
    if (memory == MAP_FAILED) abort();
    return memory;
}

static __attribute__((noipa)) char *map_writable(size_t bytes) {
    char *memory = map(bytes, PROT_READ | PROT_WRITE, MAP_ANONYMOUS, -1);
    BARRIER();
    return memory;
}

static __attribute__((noipa)) void reserve(size_t bytes) {
    map(bytes, PROT_NONE, MAP_ANONYMOUS, -1);
    BARRIER();
}

static __attribute__((noipa)) void map_file(void) {
    int file = open("/proc/self/exe", O_RDONLY);
    map(3 * PAGE, PROT_READ, 0, file);
    close(file);
}

static __attribute__((noipa)) void remap(char *memory, size_t from, size_t to) {
    if (mremap(memory, from, to, MREMAP_MAYMOVE) == MAP_FAILED) abort();
    BARRIER();
}

static __attribute__((noipa)) void touch_pages(char *memory, size_t bytes) {
    for (size_t at = 0; at < bytes; at += PAGE) *(volatile char *)(memory + at) = 1;
    BARRIER();
}

// The kernel touches them, on behalf of the function.
static __attribute__((noipa)) void read_into_pages(char *memory, size_t bytes) {
    int file = open("/dev/zero", O_RDONLY);
    if (read(file, memory, bytes) != (ssize_t)bytes) abort();
    close(file);
}

static __attribute__((noipa)) void *break_up(intptr_t bytes) {
    void *old = sbrk(bytes);
    if (old == (void *)-1) abort();
    BARRIER();
    return old;
}

int main(int argc, char **argv) {
    size_t pages = argc > 1 ? strtoul(argv[1], NULL, 10) : 1;
    puts("ready"), fflush(stdout);
    getchar();
    // Without huge pages a fault is a page.
    char *memory = map_writable(pages * PAGE);
    char *for_kernel = map_writable(pages * PAGE);
    if (madvise(memory, pages * PAGE, MADV_NOHUGEPAGE) != 0) abort();
    if (madvise(for_kernel, pages * PAGE, MADV_NOHUGEPAGE) != 0) abort();
    touch_pages(memory, pages * PAGE);
    // They are there already.
    touch_pages(memory, pages * PAGE);
    read_into_pages(for_kernel, pages * PAGE);
    reserve(1 << 30);
    map_file();
    // Half a page is mapped as a whole one.
    map_writable(PAGE / 2);
    char *small = map_writable(7 * PAGE);
    remap(small, 7 * PAGE, 7 * PAGE + 100);
    for (int i = 0; i < 10; i++) break_up(12345);
    break_up(-2345);
    break_up(345);
    say("touch_pages", pages * PAGE), say("read_into_pages", pages * PAGE);
    say("map_writable", 2 * pages * PAGE + PAGE + 7 * PAGE), say("remap", PAGE);
    say("break_up", 10 * 12345 + 345);
    puts(""), fflush(stdout);
    getchar();
    return 0;
}
