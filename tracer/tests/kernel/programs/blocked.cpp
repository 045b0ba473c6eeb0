// Allocates 4242 bytes while libstdc++ destroys an exception that was caught, and stays there: so that a debugger sees the stack that
// was sampled.

#include <cstdio>
#include <cstdlib>
#include <functional>

#include "start.h"

__attribute__((noinline)) static int innermost(int n) {
    void *block = std::malloc(4242);
    __asm__ volatile("" : "+r"(block) : : "memory");
    say("allocated");
    await_line();
    std::free(block);
    return n + 1;
}

struct Failure {
    int depth;
    explicit Failure(int depth) : depth(depth) {}
    __attribute__((noinline)) ~Failure() { depth = innermost(depth); }
};

[[noreturn]] __attribute__((noinline)) static void throwing(int n) { throw Failure(n); }

__attribute__((noinline)) static int catching(int n) {
    try {
        throwing(n);
    } catch (const Failure &failure) {
        n += failure.depth;
    }
    return n + 1;
}

struct Shape {
    virtual ~Shape() = default;
    virtual int visit(int n) = 0;
};
struct Aligned : Shape {
    __attribute__((noinline)) int visit(int n) override {
        alignas(64) char line[64] = {};
        __asm__ volatile("" : : "r"(line) : "memory");
        return catching(n) + line[n];
    }
};

__attribute__((noinline)) static int recursive(int n, const std::function<int(int)> &last) {
    return n == 0 ? last(2) + 1 : recursive(n - 1, last) * 3 + n;
}

int main(int argc, char **) {
    say("ready");
    await_line();
    Aligned aligned;
    Shape *shape = &aligned;
    __asm__ volatile("" : "+r"(shape));
    int result = recursive(4 + argc, [shape](int n) { return shape->visit(n) + 1; });
    std::printf("%d\n", result);
}
