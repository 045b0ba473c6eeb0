// Exceptions leave functions that allocate, and functions that have allocated; see live.c for the dialogue. Every block is
// kept in a list that counts itself.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <stdexcept>
#include <vector>

#include "start.h"

static volatile size_t huge = SIZE_MAX / 4;
static size_t held_bytes, held_blocks;

struct Thrower {
    char bytes[777];
    Thrower() { throw std::runtime_error("constructor"); }
};

// The block is released by the compiler's landing pad.
__attribute__((noinline)) static bool constructor_throws() {
    try {
        delete new Thrower;
    } catch (const std::runtime_error &) {
        return true;
    }
    return false;
}

// The exception leaves the allocator itself.
__attribute__((noinline)) static bool new_throws() {
    try {
        ::operator delete(::operator new(huge));
    } catch (const std::bad_alloc &) {
        return true;
    }
    return false;
}

__attribute__((noinline)) static bool new_array_throws() {
    try {
        ::operator delete[](::operator new[](huge));
    } catch (const std::bad_alloc &) {
        return true;
    }
    return false;
}

__attribute__((noinline)) static bool aligned_new_throws() {
    try {
        ::operator delete(::operator new(huge, std::align_val_t(64)), std::align_val_t(64));
    } catch (const std::bad_alloc &) {
        return true;
    }
    return false;
}

__attribute__((noinline)) static bool nothrow_returns() {
    void *block = ::operator new(huge, std::nothrow);
    ::operator delete(block, std::nothrow);
    return block == nullptr;
}

// From deep inside a container.
__attribute__((noinline)) static bool vector_throws() {
    std::vector<char> vector(1234, 'x');
    try {
        vector.reserve(huge);
    } catch (const std::exception &) {
        return true;
    }
    return false;
}

static void hold(void *block, size_t size) {
    if (!block)
        abort();
    held_bytes += size;
    held_blocks++;
}

static void round() {
    bool all = constructor_throws() && new_throws() && new_array_throws() && aligned_new_throws() &&
               nothrow_returns() && vector_throws();
    if (!all)
        abort();
    // At the very place on the stack where the calls before were left.
    hold(::operator new(100), 100);
    hold(::operator new[](200), 200);
    hold(::operator new(320, std::align_val_t(64)), 320);
    hold(::operator new(400, std::nothrow), 400);
    hold(malloc(500), 500);
}

int main(int, char **argv) {
    long rounds = atol(argv[1]);
    // What the run-time allocates once.
    round();
    held_bytes = held_blocks = 0;
    say("ready");
    await_line();
    for (long i = 0; i < rounds; i++)
        round();
    char line[64];
    snprintf(line, sizeof line, "held %zu %zu", held_bytes, held_blocks);
    say(line);
    await_line();
    _exit(0);
}
