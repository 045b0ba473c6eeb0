// Knows what it allocates: every function of the malloc family, from named functions, in several threads.
//
// allocate THREADS ROUNDS FAILURES: says `ready`, waits; allocates; says what it did as one line of JSON, waits, ends. Between the
// first line and the second, nothing but the functions `site_*` allocates. FAILURES: how often each thread asks for what no allocator
// grants.

#define _GNU_SOURCE
#include <malloc.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>

#include "start.h"

#define MAX_THREADS 8
#define MAX_COUNTS 128

// Calls that are alike.
struct count {
    const char *site, *function;
    uint64_t size, alignment, null_pointer, calls;
};

struct counts {
    struct count entries[MAX_COUNTS];
    int length;
};

static struct counts all[MAX_THREADS];
static __thread struct counts *mine;
static pthread_barrier_t barrier;
static int rounds, failures;

static void note(const char *site, const char *function, uint64_t size, uint64_t alignment, uint64_t null_pointer) {
    // More cannot be had: such a call asks for no number of bytes that could be counted.
    if (size > PTRDIFF_MAX)
        size = 0;
    int i = 0;
    for (; i < mine->length; i++) {
        struct count *c = &mine->entries[i];
        if (c->site == site && c->function == function && c->size == size && c->alignment == alignment &&
            c->null_pointer == null_pointer)
            break;
    }
    if (i == MAX_COUNTS)
        abort();
    if (i == mine->length)
        mine->entries[mine->length++] =
            (struct count){site, function, size, alignment, null_pointer, 0};
    mine->entries[i].calls++;
}

// The compiler must neither drop a call nor know that it fails.
static inline void *keep(void *block) {
    __asm__ volatile("" : "+r"(block) : : "memory");
    return block;
}
static inline size_t opaque(size_t size) {
    __asm__ volatile("" : "+r"(size));
    return size;
}

#define SITE __attribute__((noinline)) static void

SITE site_malloc(size_t size) {
    note(__func__, "malloc", size, 0, 0);
    free(keep(malloc(opaque(size))));
}

SITE site_calloc(size_t count, size_t size) {
    size_t product;
    // What overflows fails at once too.
    note(__func__, "calloc", __builtin_mul_overflow(count, size, &product) ? 0 : product, 0, 0);
    free(keep(calloc(opaque(count), opaque(size))));
}

SITE site_realloc(size_t first, size_t second) {
    note(__func__, "realloc", first, 0, 1);
    void *block = keep(realloc(keep(NULL), opaque(first)));
    note(__func__, "realloc", second, 0, block == NULL);
    void *other = keep(realloc(block, opaque(second)));
    free(second != 0 && other == NULL ? block : other);
}

SITE site_reallocarray(size_t count, size_t size) {
    note(__func__, "reallocarray", count * size, 0, 1);
    void *block = keep(reallocarray(keep(NULL), opaque(count), opaque(size)));
    note(__func__, "reallocarray", 2 * count * size, 0, block == NULL);
    free(keep(reallocarray(block, opaque(2 * count), opaque(size))));
}

SITE site_posix_memalign(size_t alignment, size_t size) {
    void *block = NULL;
    note(__func__, "posix_memalign", size, alignment, 0);
    if (posix_memalign(&block, opaque(alignment), opaque(size)) == 0)
        free(keep(block));
}

SITE site_aligned_alloc(size_t alignment, size_t size) {
    note(__func__, "aligned_alloc", size, alignment, 0);
    free(keep(aligned_alloc(opaque(alignment), opaque(size))));
}

SITE site_memalign(size_t alignment, size_t size) {
    note(__func__, "memalign", size, alignment, 0);
    free(keep(memalign(opaque(alignment), opaque(size))));
}

SITE site_valloc(size_t size) {
    note(__func__, "valloc", size, 0, 0);
    free(keep(valloc(opaque(size))));
}

SITE site_pvalloc(size_t size) {
    note(__func__, "pvalloc", size, 0, 0);
    free(keep(pvalloc(opaque(size))));
}

// Sizes around every border of the size classes that matter, and beyond what fits into tcache, bins and heap.
SITE sizes(void) {
    for (int bits = 0; bits <= 21; bits++) {
        site_malloc((UINT64_C(1) << bits) - 1);
        site_malloc(UINT64_C(1) << bits);
    }
}

SITE one_round(void) {
    static const size_t alignments[] = {8, 16, 64, 4096};
    sizes();
    site_calloc(0, 8);
    site_calloc(10, 100);
    site_calloc(1, 70000);
    site_realloc(100, 5000);
    site_realloc(5000, 100);
    site_realloc(64, 0);
    site_realloc(0, 200000);
    site_reallocarray(30, 24);
    for (int i = 0; i < 4; i++) {
        site_posix_memalign(alignments[i], 1000 + i);
        site_aligned_alloc(alignments[i], 4096 * (i + 1));
        site_memalign(alignments[i], 0);
        site_memalign(alignments[i], 700 << i);
    }
    site_valloc(3000);
    site_pvalloc(5000);
}

// Sizes that no allocator grants.
SITE fail(void) {
    site_malloc(UINT64_C(1) << 50);
    site_calloc(UINT64_C(1) << 25, UINT64_C(1) << 26);
    site_calloc(UINT64_C(1) << 40, UINT64_C(1) << 40);
    site_realloc(100, UINT64_C(1) << 52);
    site_posix_memalign(64, UINT64_C(1) << 51);
    site_malloc(SIZE_MAX);
    site_malloc((size_t)PTRDIFF_MAX + 1);
    site_calloc(1, SIZE_MAX - 100);
    site_calloc(UINT64_C(1) << 32, UINT64_C(1) << 31);
    site_realloc(100, SIZE_MAX / 2 + 10);
    site_posix_memalign(64, SIZE_MAX);
}

static void *run_thread(void *number) {
    char name[16];
    snprintf(name, sizeof name, "allocate-%d", (int)(intptr_t)number);
    prctl(PR_SET_NAME, name);
    mine = &all[(intptr_t)number];
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    for (int i = 0; i < rounds; i++)
        one_round();
    for (int i = 0; i < failures; i++)
        fail();
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    return NULL;
}

// printf to stdout would allocate its buffer.
static void print(const char *format, ...) {
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    ssize_t ignored = write(1, text, strlen(text));
    (void)ignored;
}

int main(int argc, char **argv) {
    pthread_t ids[MAX_THREADS];
    int threads = argc == 4 ? atoi(argv[1]) : 0;
    rounds = argc == 4 ? atoi(argv[2]) : 0;
    failures = argc == 4 ? atoi(argv[3]) : 0;
    if (threads < 1 || threads > MAX_THREADS || rounds < 1)
        return 2;
    // Threads are made, which allocates, before anyone looks.
    pthread_barrier_init(&barrier, NULL, threads + 1);
    for (intptr_t i = 0; i < threads; i++)
        pthread_create(&ids[i], NULL, run_thread, (void *)i);
    pthread_barrier_wait(&barrier);
    say("ready");
    await_line();
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    print("[");
    for (int t = 0; t < threads; t++)
        for (int i = 0; i < all[t].length; i++) {
            struct count *c = &all[t].entries[i];
            print("%s{\"thread\":\"allocate-%d\",\"site\":\"%s\",\"function\":\"%s\",\"size\":%lu,\"alignment\":%lu,"
                  "\"null_pointer\":%s,\"calls\":%lu}",
                  t + i ? "," : "", t, c->site, c->function, c->size, c->alignment, c->null_pointer ? "true" : "false",
                  c->calls);
        }
    say("]");
    await_line();
    pthread_barrier_wait(&barrier);
    for (int i = 0; i < threads; i++)
        pthread_join(ids[i], NULL);
    return 0;
}
