// What C++ adds to the ways of making a stack: exceptions, destructors, virtual calls, templates, the standard library; and what
// it has in common with C, with exceptions on top.
//
// torture SEED THREADS ALLOCATIONS LEVELS: each thread walks random call trees until it has allocated that often. Some begin
// below a recursion of LEVELS to LEVELS + 149 levels.

#include <algorithm>
#include <array>
#include <cstdint>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <exception>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <numeric>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <unordered_map>
#include <variant>
#include <vector>

#include <sys/mman.h>
#include <ucontext.h>

#include "start.h"

// Arrays of variable length are an extension.
#pragma GCC diagnostic ignored "-Wvla"

#define FRAME __attribute__((noinline)) static std::uintptr_t

static constexpr std::size_t STACK_BYTES = 1 << 20;

struct Walk {
    std::uint64_t random;
    long allocations, wanted;

    std::uint64_t draw() {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        return random * UINT64_C(0x2545f4914f6cdd1d) >> 16;
    }
};

static std::uintptr_t step(Walk &w, int depth);
template <typename T> static inline void touch(T &value) { __asm__ volatile("" : : "r"(&value) : "memory"); }

// --- The bottom: allocations by operator new and by the standard library. ---

struct alignas(64) OverAligned {
    char bytes[192];
};

FRAME bottom_new(Walk &w) {
    auto block = std::make_unique<char[]>(1 + w.draw() % 3000);
    touch(block);
    return reinterpret_cast<std::uintptr_t>(block.get());
}

FRAME bottom_vector(Walk &w) {
    std::vector<long> numbers;
    for (long i = w.draw() % 40; i >= 0; i--)
        numbers.push_back(i);
    touch(numbers);
    return numbers.size();
}

FRAME bottom_string(Walk &w) {
    std::string text = "longer than what fits into the string object itself";
    text += std::to_string(w.draw());
    touch(text);
    return text.size();
}

FRAME bottom_map(Walk &w) {
    std::map<int, std::string> tree;
    std::unordered_map<std::string, int> table;
    for (int i = w.draw() % 6; i >= 0; i--) {
        tree[i * 7 % 5] = "a value long enough to need memory of its own";
        table["a key long enough to need memory of its own " + std::to_string(i)] = i;
    }
    touch(tree);
    return table.size();
}

FRAME bottom_stream(Walk &w) {
    std::ostringstream stream;
    stream << "a stream " << w.draw() << ' ' << 3.5 << " that has to grow beyond its first buffer";
    return stream.str().size();
}

FRAME bottom_shared(Walk &w) {
    auto shared = std::make_shared<std::list<int>>();
    shared->push_back(w.draw());
    std::deque<std::variant<int, std::string>> queue;
    queue.emplace_back("another string that is too long to be stored inline");
    touch(queue);
    return shared->size();
}

FRAME bottom_aligned(Walk &w) {
    auto block = std::make_unique<OverAligned[]>(1 + w.draw() % 4);
    touch(block);
    // Over-aligned memory does not come from malloc.
    return bottom_new(w);
}

FRAME bottom(Walk &w) {
    w.allocations++;
    switch (w.draw() % 8) {
    case 0: return bottom_vector(w);
    case 1: return bottom_string(w);
    case 2: return bottom_map(w);
    case 3: return bottom_stream(w);
    case 4: return bottom_shared(w);
    case 5: return bottom_aligned(w);
    default: return bottom_new(w);
    }
}

// --- Exceptions. ---

struct Failure : std::runtime_error {
    // Too long to be stored inline: copying it allocates.
    std::string detail = "what went wrong, at a length that needs memory of its own";
    int depth;
    explicit Failure(int depth) : std::runtime_error("failure in the depths"), depth(depth) {}
};

// Allocates on the way out: in normal returns and while an exception passes.
struct OnTheWayOut {
    Walk &walk;
    int depth;
    ~OnTheWayOut() {
        if (depth > 0)
            touch(*this), step(walk, std::min(depth - 1, 3));
    }
};

[[noreturn]] __attribute__((noinline)) static void throw_failure(Walk &w, int depth) {
    step(w, depth);
    throw Failure(depth);
}

FRAME throw_below(Walk &w, int depth, int levels) {
    OnTheWayOut guard{w, depth};
    if (levels == 0) {
        if (w.draw() % 8 == 0)
            return step(w, depth);
        throw_failure(w, depth);
    }
    return throw_below(w, depth, levels - 1) + 1;
}

FRAME catch_here(Walk &w, int depth) {
    try {
        return throw_below(w, depth, w.draw() % 5);
    } catch (const Failure &failure) {
        return step(w, failure.depth) + failure.detail.size();
    }
}

FRAME rethrow(Walk &w, int depth) {
    try {
        try {
            throw_below(w, depth / 2, 1);
        } catch (Failure &failure) {
            failure.detail += " (seen once)";
            step(w, depth / 2);
            throw;
        }
    } catch (const std::exception &error) {
        return step(w, depth) + std::string(error.what()).size();
    }
    return 0;
}

FRAME by_pointer(Walk &w, int depth) {
    std::exception_ptr kept;
    try {
        throw_below(w, depth / 2, 2);
    } catch (...) {
        kept = std::current_exception();
        step(w, depth / 2);
    }
    if (!kept)
        return 1;
    try {
        std::rethrow_exception(kept);
    } catch (const Failure &failure) {
        return step(w, depth) + failure.depth;
    }
}

__attribute__((noinline)) static int no_throw(Walk &w, int depth) noexcept {
    OnTheWayOut guard{w, depth / 2};
    return step(w, depth);
}
FRAME through_noexcept(Walk &w, int depth) { return no_throw(w, depth) + 1; }

// --- Calls. ---

struct Shape {
    virtual ~Shape() = default;
    virtual std::uintptr_t visit(Walk &w, int depth) = 0;
    virtual Shape &self() { return *this; }
};
struct Small : Shape {
    std::uintptr_t visit(Walk &w, int depth) override { return step(w, depth) + 1; }
};
struct Big : Shape {
    long numbers[70] = {1, 2, 3};
    std::uintptr_t visit(Walk &w, int depth) override {
        touch(numbers);
        return step(w, depth) + numbers[depth % 70];
    }
};
struct Other {
    virtual ~Other() = default;
    virtual std::uintptr_t other(Walk &w, int depth) { return step(w, depth); }
    long field = 5;
};
// Called through its second base: a thunk adjusts `this`.
struct Both : Small, Other {
    std::uintptr_t other(Walk &w, int depth) override { return step(w, depth) * 3 + field; }
    // Covariant return: another thunk.
    Both &self() override { return *this; }
};

FRAME virtual_call(Walk &w, int depth) {
    Small small;
    Big big;
    Both both;
    Shape *shapes[] = {&small, &big, &both};
    Shape *shape = shapes[w.draw() % 3];
    touch(shape);
    Other *other = &both;
    touch(other);
    return shape->self().visit(w, depth) + other->other(w, depth - 2);
}

template <int N> struct Nested {
    __attribute__((noinline)) static std::uintptr_t call(Walk &w, int depth, const std::array<long, N> &numbers) {
        std::array<long, N - 1> fewer;
        std::copy(numbers.begin(), numbers.end() - 1, fewer.begin());
        touch(fewer);
        return Nested<N - 1>::call(w, depth, fewer) + numbers[0];
    }
};
template <> struct Nested<1> {
    static std::uintptr_t call(Walk &w, int depth, const std::array<long, 1> &) { return step(w, depth); }
};
FRAME templates(Walk &w, int depth) {
    std::array<long, 9> numbers{};
    std::iota(numbers.begin(), numbers.end(), depth);
    return Nested<9>::call(w, depth, numbers);
}

template <typename... Arguments>
__attribute__((noinline)) static std::uintptr_t variadic(Walk &w, int depth, Arguments... arguments) {
    return step(w, depth) + (arguments + ...);
}
FRAME pass_variadic(Walk &w, int depth) { return variadic(w, depth, 1, 2L, 3.5, 'x', 4u, 5, 6, 7L); }

FRAME function_object(Walk &w, int depth) {
    // Too large for std::function's inline storage: the object itself is allocated.
    std::array<long, 8> captured{};
    captured[depth & 7] = depth;
    std::function<std::uintptr_t(int)> call = [&w, captured](int d) { return step(w, d) + captured[d & 7]; };
    std::function<std::uintptr_t(int)> outer = [&call](int d) { return call(d) + 1; };
    return outer(depth);
}

FRAME sort(Walk &w, int depth) {
    std::vector<long> numbers(3 + w.draw() % 100);
    std::generate(numbers.begin(), numbers.end(), [&w] { return w.draw() % 100; });
    long calls = w.draw() % numbers.size();
    auto less = [&](long a, long b) {
        if (calls-- == 0)
            step(w, depth);
        return a < b;
    };
    if (depth % 2)
        std::stable_sort(numbers.begin(), numbers.end(), less);
    else
        std::sort(numbers.begin(), numbers.end(), less);
    return numbers[0];
}

FRAME member_pointer(Walk &w, int depth) {
    Both both;
    auto member = depth % 2 ? &Both::visit : &Both::other;
    touch(member);
    return (both.*member)(w, depth);
}

FRAME once(Walk &w, int depth) {
    std::once_flag flag;
    std::call_once(flag, [&] { step(w, depth); });
    return 1;
}

FRAME aligned_local(Walk &w, int depth) {
    OverAligned local;
    touch(local);
    OnTheWayOut guard{w, depth / 3};
    return step(w, depth) + local.bytes[depth & 63];
}

// --- Frames of unknown size, with exceptions through them. ---

FRAME on_alloca(Walk &w, int depth) {
    std::size_t bytes = 16 + w.draw() % 1000;
    char *room = static_cast<char *>(__builtin_alloca(bytes));
    std::memset(room, depth, bytes);
    touch(*room);
    OnTheWayOut guard{w, depth / 3};
    return throw_below(w, depth, 1) + room[bytes / 2];
}
FRAME catch_from_alloca(Walk &w, int depth) {
    try {
        return on_alloca(w, depth);
    } catch (const Failure &failure) {
        return step(w, depth / 2) + failure.depth;
    }
}

FRAME variable_length(Walk &w, int depth) {
    int length = 1 + w.draw() % 100;
    long numbers[length];
    std::iota(numbers, numbers + length, depth);
    std::uintptr_t result = step(w, depth);
    for (int i = 0; i < length; i++) {
        // A second array inside the loop: the stack pointer moves up and down, and an exception finds it anywhere.
        char inner[1 + numbers[i] % 7];
        touch(*inner);
        if (i != length / 2)
            continue;
        try {
            result += throw_below(w, depth / 2, 0);
        } catch (const Failure &failure) {
            touch(*inner);
            result += step(w, depth / 2) + failure.depth;
        }
    }
    return result + numbers[length - 1];
}

FRAME tail_call(Walk &w, int depth) { return step(w, depth); }
FRAME tail_member(Shape &shape, Walk &w, int depth) { return shape.visit(w, depth); }
FRAME pass_tail(Walk &w, int depth) {
    Big big;
    touch(big);
    return tail_member(big, w, depth) + 1;
}

// Two levels below it at most, so that it decides how long the stack is.
FRAME deep(Walk &w, int levels) {
    char room[16];
    std::uintptr_t result = levels <= 0 ? step(w, 2) : deep(w, levels - 1);
    // Something to do after the call: the recursion must not become a loop.
    touch(room);
    return result + 1;
}

// --- Signals, raised where allocating and throwing are safe. ---

struct Interrupted {
    Walk *walk;
    int depth;
    bool leaves; // by an exception
    int handlers; // running now
};
static thread_local Interrupted interrupted;

struct InHandler {
    InHandler() { interrupted.handlers++; }
    ~InHandler() { interrupted.handlers--; }
};

static void on_signal(int number, siginfo_t *, void *context) {
    InHandler running;
    auto [walk, depth, leaves, handlers] = interrupted;
    if (number == SIGILL)
        static_cast<ucontext_t *>(context)->uc_mcontext.gregs[REG_RIP] += 2; // behind the ud2
    step(*walk, depth);
    try {
        throw_below(*walk, depth, 1);
    } catch (const Failure &failure) {
        step(*walk, failure.depth / 2);
    }
    // Through the frame of the signal, to who caused it. Nothing is blocked that would have to be released.
    if (leaves)
        throw_failure(*walk, depth);
}

// Interrupted with rbp changed and the stack pointer moved. The compiler takes it for a call, and calls may throw.
extern "C" void trap();
__asm__(".text\n"
        ".type trap,@function\n"
        "trap:\n"
        ".cfi_startproc\n"
        "push %rbp\n"
        ".cfi_adjust_cfa_offset 8\n"
        ".cfi_rel_offset %rbp,0\n"
        "mov $0x1234,%ebp\n"
        "sub $40,%rsp\n"
        ".cfi_adjust_cfa_offset 40\n"
        "ud2\n"
        "add $40,%rsp\n"
        ".cfi_adjust_cfa_offset -40\n"
        "pop %rbp\n"
        ".cfi_adjust_cfa_offset -8\n"
        ".cfi_restore %rbp\n"
        "ret\n"
        ".cfi_endproc\n"
        ".size trap,.-trap\n");

FRAME raise_signal(Walk &w, int depth) {
    interrupted.walk = &w, interrupted.depth = depth / 2, interrupted.leaves = false;
    // libc declares that `raise` does not throw; this handler returns.
    std::raise(w.draw() % 2 ? SIGUSR1 : SIGUSR2);
    return step(w, depth) + 1;
}

FRAME throw_from_signal(Walk &w, int depth) {
    try {
        OnTheWayOut guard{w, depth / 3};
        interrupted.walk = &w, interrupted.depth = depth / 2, interrupted.leaves = w.draw() % 4 != 0;
        trap();
        return step(w, depth);
    } catch (const Failure &failure) {
        return step(w, depth / 2) + failure.depth;
    }
}

// --- Coroutines. ---

struct Coroutine {
    Walk *walk;
    int depth;
    ucontext_t *self, *other;
};
static thread_local Coroutine coroutine;

static void run_coroutine() {
    auto [walk, depth, self, other] = coroutine;
    step(*walk, depth);
    try {
        throw_below(*walk, depth, 2);
    } catch (const Failure &failure) {
        step(*walk, failure.depth / 2);
    }
    // Never from inside a handler of an exception: the thread's list of those caught is that of all its stacks.
    swapcontext(self, other);
    try {
        OnTheWayOut guard{*walk, depth / 3};
        throw_failure(*walk, depth - 1);
    } catch (const std::exception &) {
    }
}

FRAME coroutines(Walk &w, int depth) {
    // A signal in a coroutine would start at the top of the alternate stack, over the handler that called us.
    if (interrupted.handlers > 0)
        return step(w, depth) + 1;
    void *room = mmap(nullptr, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (room == MAP_FAILED)
        std::abort();
    ucontext_t here, there;
    getcontext(&there);
    there.uc_stack.ss_sp = room;
    there.uc_stack.ss_size = STACK_BYTES;
    there.uc_link = &here;
    makecontext(&there, run_coroutine, 0);
    coroutine = {&w, depth / 2, &there, &here};
    swapcontext(&here, &there);
    std::uintptr_t result = step(w, depth / 2);
    swapcontext(&here, &there);
    munmap(room, STACK_BYTES);
    return result + 1;
}

static constexpr std::uintptr_t (*frames[])(Walk &, int) = {
    catch_here,      rethrow,         by_pointer,     through_noexcept,  virtual_call,  templates,
    pass_variadic,   function_object, sort,           member_pointer,    once,          aligned_local,
    catch_from_alloca, variable_length, tail_call,    pass_tail,         raise_signal,  throw_from_signal,
    coroutines,
};

__attribute__((noinline)) static std::uintptr_t step(Walk &w, int depth) {
    if (depth <= 0 || w.allocations >= w.wanted)
        return w.allocations < w.wanted ? bottom(w) : 0;
    return frames[w.draw() % std::size(frames)](w, depth - 1);
}

static int least_levels;

static void run(Walk &w) {
    stack_t alternate = {};
    alternate.ss_size = STACK_BYTES;
    alternate.ss_sp = mmap(nullptr, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (alternate.ss_sp == MAP_FAILED || sigaltstack(&alternate, nullptr) != 0)
        std::abort();
    while (w.allocations < w.wanted) {
        for (int i = w.draw() % 8; i > 0; i--)
            deep(w, least_levels + w.draw() % 150);
        step(w, 1 + w.draw() % 14);
    }
}

int main(int argc, char **argv) {
    if (argc != 5)
        return 2;
    struct sigaction action = {};
    action.sa_sigaction = on_signal;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    sigaction(SIGUSR1, &action, nullptr);
    sigaction(SIGILL, &action, nullptr);
    action.sa_flags &= ~SA_ONSTACK;
    sigaction(SIGUSR2, &action, nullptr);
    least_levels = std::atoi(argv[4]);
    std::vector<Walk> walks(std::atoi(argv[2]));
    std::vector<std::thread> threads;
    say("ready");
    await_line();
    std::uint64_t seed = std::strtoull(argv[1], nullptr, 10) * 0x9e3779b97f4a7c15;
    for (auto &walk : walks) {
        walk.random = ++seed;
        walk.wanted = std::atol(argv[3]);
        threads.emplace_back(run, std::ref(walk));
    }
    for (auto &thread : threads)
        thread.join();
    long allocations = 0;
    for (auto &walk : walks)
        allocations += walk.allocations;
    say(std::to_string(allocations).c_str());
    await_line();
}
