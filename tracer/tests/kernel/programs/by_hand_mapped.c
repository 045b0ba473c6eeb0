// A library whose code is mapped by hand: it needs nothing but its text. Built twice, with FRAME = 200 and 3000: the same
// instructions at the same places, but frames of another size.

#include <stdint.h>

typedef void (*allocate)(int);

__attribute__((noinline)) static uintptr_t descend(int levels, allocate call, int size) {
    volatile char room[FRAME];
    room[levels] = 1;
    if (levels == 0) {
        call(size);
        return room[0];
    }
    return descend(levels - 1, call, size) + room[levels];
}

uintptr_t mapped_run(int levels, allocate call, int size) { return descend(levels, call, size) + 1; }
