// The operators of C++, called as such and from the standard library.
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "matrix.h"

KIND void kind_malloc(size_t size) {
    void *block = malloc(size);
    keep(block);
    count(__func__, size);
    free(block);
}

KIND void kind_new(size_t size) {
    void *block = ::operator new(size);
    keep(block);
    count(__func__, size);
    ::operator delete(block, size);
}

KIND void kind_new_array(size_t size) {
    char *block = new char[size];
    keep(block);
    count(__func__, size);
    delete[] block;
}

KIND void kind_new_nothrow(size_t size) {
    void *block = ::operator new(size, std::nothrow);
    keep(block);
    count(__func__, size);
    ::operator delete(block, std::nothrow);
}

KIND void kind_new_array_nothrow(size_t size) {
    char *block = new (std::nothrow) char[size];
    keep(block);
    count(__func__, size);
    delete[] block;
}

// libstdc++ asks for whole multiples of the alignment.
template <size_t ALIGNMENT> static size_t whole(size_t size) {
    return (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

KIND void kind_new_aligned(size_t size) {
    size = whole<64>(size);
    void *block = ::operator new(size, std::align_val_t(64));
    keep(block);
    count(__func__, size);
    ::operator delete(block, std::align_val_t(64));
}

KIND void kind_new_array_aligned(size_t size) {
    size = whole<4096>(size);
    void *block = ::operator new[](size, std::align_val_t(4096));
    keep(block);
    count(__func__, size);
    ::operator delete[](block, std::align_val_t(4096));
}

KIND void kind_new_aligned_nothrow(size_t size) {
    size = whole<32>(size);
    void *block = ::operator new(size, std::align_val_t(32), std::nothrow);
    keep(block);
    count(__func__, size);
    ::operator delete(block, std::align_val_t(32), std::nothrow);
}

KIND void kind_new_array_aligned_nothrow(size_t size) {
    size = whole<16>(size);
    void *block = ::operator new[](size, std::align_val_t(16), std::nothrow);
    keep(block);
    count(__func__, size);
    ::operator delete[](block, std::align_val_t(16), std::nothrow);
}

KIND void kind_vector(size_t size) {
    std::vector<char> vector;
    vector.reserve(size);
    keep(vector.data());
    count(__func__, size);
}

KIND void kind_string(size_t size) {
    // The terminating zero is in the count. Strings of less than 16 bytes need no block.
    if (size <= 16)
        return;
    std::string string(size - 1, 'x');
    keep(string.data());
    count(__func__, size);
}

struct alignas(128) Line {
    char bytes[256];
};

KIND void kind_unique_object() {
    auto line = std::make_unique<Line>();
    keep(line.get());
    count(__func__, sizeof(Line));
}

static void release(void *block, size_t size) {
    (void)size;
    free(block);
}

static void release_sized(void *block, size_t size) {
    ::operator delete(block, size);
}

static void release_array(void *block, size_t size) {
    (void)size;
    ::operator delete[](block);
}

static void release_aligned(void *block, size_t size) {
    ::operator delete(block, size, std::align_val_t(64));
}

KIND void kind_held_malloc(size_t size) {
    void *block = malloc(size);
    count(__func__, size);
    hold(block, size, release);
}

KIND void kind_held_new(size_t size) {
    void *block = ::operator new(size);
    count(__func__, size);
    hold(block, size, release_sized);
}

KIND void kind_held_new_array(size_t size) {
    void *block = ::operator new[](size);
    count(__func__, size);
    hold(block, size, release_array);
}

KIND void kind_held_new_nothrow(size_t size) {
    void *block = ::operator new(size, std::nothrow);
    count(__func__, size);
    hold(block, size, release_sized);
}

KIND void kind_held_new_aligned(size_t size) {
    size = whole<64>(size);
    void *block = ::operator new(size, std::align_val_t(64));
    count(__func__, size);
    hold(block, size, release_aligned);
}

static void all_kinds(void) {
    kind_unique_object();
    for (size_t size : SIZES) {
        kind_malloc(size);
        kind_new(size);
        kind_new_array(size);
        kind_new_nothrow(size);
        kind_new_array_nothrow(size);
        kind_new_aligned(size);
        kind_new_array_aligned(size);
        kind_new_aligned_nothrow(size);
        kind_new_array_aligned_nothrow(size);
        kind_vector(size);
        kind_string(size);
        kind_held_malloc(size);
        kind_held_new(size);
        kind_held_new_array(size);
        kind_held_new_nothrow(size);
        kind_held_new_aligned(size);
    }
}

int main(int argc, char **argv) {
    return run(argc, argv);
}
