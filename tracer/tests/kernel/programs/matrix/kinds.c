// Every way of the C library to allocate. -DNO_PVALLOC leaves pvalloc out: a preloaded allocator without it gets the C library's
// block to free.
#define _GNU_SOURCE
#include <malloc.h>

#include "matrix.h"

static char text[LARGEST + 1];

KIND void *kind_seed(size_t size) {
    void *block = malloc(size);
    keep(block);
    count(__func__, size);
    return block;
}

KIND void kind_malloc(size_t size) {
    void *block = malloc(size);
    keep(block);
    count(__func__, size);
    free(block);
}

KIND void kind_calloc(size_t size) {
    void *block = calloc(size, 3);
    keep(block);
    count(__func__, size * 3);
    free(block);
}

KIND void kind_realloc_grow(size_t size) {
    void *block = realloc(kind_seed(size / 2 + 1), size);
    keep(block);
    count(__func__, size);
    free(block);
}

// In steps: some are served in place, some move, and large ones are remapped.
KIND void kind_realloc_steps(size_t size) {
    void *block = kind_seed(size);
    for (size_t step = 1; step <= 8; step++) {
        block = realloc(block, size + step * size / 4);
        keep(block);
        count(__func__, size + step * size / 4);
    }
    free(block);
}

KIND void kind_realloc_shrink(size_t size) {
    void *block = realloc(kind_seed(size * 2), size);
    keep(block);
    count(__func__, size);
    free(block);
}

KIND void kind_realloc_null(size_t size) {
    void *block = realloc(NULL, size);
    keep(block);
    count(__func__, size);
    free(block);
}

KIND void kind_realloc_zero(size_t size) {
    // Some allocators free, some return a block of size 0.
    void *block = realloc(kind_seed(size), 0);
    keep(block);
    count(__func__, 0);
    free(block);
}

KIND void kind_reallocarray(size_t size) {
    void *block = reallocarray(kind_seed(size), size, 3);
    keep(block);
    count(__func__, size * 3);
    free(block);
}

KIND void kind_reallocarray_null(size_t size) {
    void *block = reallocarray(NULL, 3, size);
    keep(block);
    count(__func__, size * 3);
    free(block);
}

KIND void kind_posix_memalign(size_t alignment, size_t size) {
    void *block = NULL;
    if (posix_memalign(&block, alignment, size))
        abort();
    keep(block);
    count(__func__, size);
    free(block);
}

KIND void kind_aligned_alloc(size_t alignment, size_t size) {
    void *block = aligned_alloc(alignment, size);
    keep(block);
    count(__func__, size);
    free(block);
}

KIND void kind_memalign(size_t alignment, size_t size) {
    void *block = memalign(alignment, size);
    keep(block);
    count(__func__, size);
    free(block);
}

KIND void kind_valloc(size_t size) {
    void *block = valloc(size);
    keep(block);
    count(__func__, size);
    free(block);
}

#if defined __GLIBC__ && !defined NO_PVALLOC
KIND void kind_pvalloc(size_t size) {
    // Some allocators round before they hand the call on.
    size = (size + 4095) / 4096 * 4096;
    void *block = pvalloc(size);
    keep(block);
    count(__func__, size);
    free(block);
}
#endif

// The C library's own call of malloc.
KIND void kind_strdup(size_t size) {
    char *copy = strdup(text + LARGEST + 1 - size);
    keep(copy);
    count(__func__, size);
    free(copy);
}

static void release(void *block, size_t size) {
    (void)size;
    free(block);
}

KIND void kind_released_by_realloc(void *block, size_t size) {
    // Another block, which is released at once.
    void *moved = realloc(block, size + 100000);
    keep(moved);
    count(__func__, size + 100000);
    free(moved);
}

KIND void kind_held_malloc(size_t size) {
    void *block = malloc(size);
    count(__func__, size);
    hold(block, size, release);
}

KIND void kind_held_calloc(size_t size) {
    void *block = calloc(size, 2);
    count(__func__, size * 2);
    hold(block, size * 2, release);
}

KIND void kind_held_realloc(size_t size) {
    void *block = realloc(kind_seed(size), size + 8);
    count(__func__, size + 8);
    hold(block, size + 8, kind_released_by_realloc);
}

KIND void kind_held_memalign(size_t size) {
    void *block = memalign(256, size);
    count(__func__, size);
    hold(block, size, release);
}

KIND void kind_held_posix_memalign(size_t size) {
    void *block = NULL;
    if (posix_memalign(&block, 64, size))
        abort();
    count(__func__, size);
    hold(block, size, release);
}

static void all_kinds(void) {
    if (!text[0])
        memset(text, 'x', LARGEST);
    kind_malloc(0);
    for (size_t i = 0; i < SIZE_COUNT; i++) {
        size_t size = SIZES[i];
        kind_malloc(size);
        kind_calloc(size);
        kind_realloc_grow(size);
        kind_realloc_steps(size);
        kind_realloc_shrink(size);
        kind_realloc_null(size);
        kind_realloc_zero(size);
        kind_reallocarray(size);
        kind_reallocarray_null(size);
        for (size_t alignment = 8; alignment <= 8192; alignment *= 2) {
            // Both sides of the alignment that malloc has anyway, of a cache line, of a page.
            if (alignment > 64 && alignment < 4096)
                continue;
            kind_posix_memalign(alignment, size);
            kind_aligned_alloc(alignment, size);
            kind_memalign(alignment, size);
        }
        kind_valloc(size);
#if defined __GLIBC__ && !defined NO_PVALLOC
        kind_pvalloc(size);
#endif
        kind_strdup(size);
        kind_held_malloc(size);
        kind_held_calloc(size);
        kind_held_realloc(size);
        kind_held_memalign(size);
        kind_held_posix_memalign(size);
    }
}

int main(int argc, char **argv) {
    return run(argc, argv);
}
