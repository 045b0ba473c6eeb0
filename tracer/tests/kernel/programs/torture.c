// Calls itself in every way that makes a stack hard to unwind, and allocates at the bottom.
//
// torture SEED THREADS ALLOCATIONS LEVELS: each thread walks random call trees until it has allocated that often. Some begin
// below a recursion of LEVELS to LEVELS + 149 levels.

#define _GNU_SOURCE
#include <pthread.h>
#include <search.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "start.h"

#define FRAME __attribute__((noinline)) static uintptr_t
#define STACK_BYTES (1 << 20)
// Of a thread: musl's default would not do for a recursion.
#define THREAD_STACK_BYTES (8 << 20)

// A thread's walk: its random state and what it has done.
struct walk {
    uint64_t random;
    long allocations, wanted;
};

static uint64_t draw(struct walk *w) {
    w->random ^= w->random << 13;
    w->random ^= w->random >> 7;
    w->random ^= w->random << 17;
    return w->random * UINT64_C(0x2545f4914f6cdd1d) >> 16;
}

// One level down: some frame, or the bottom.
__attribute__((noinline)) static uintptr_t step(struct walk *w, int depth);

// Keeps the compiler from knowing what happens to memory, and the memory from going away.
static inline void touch(void *memory) { __asm__ volatile("" : : "r"(memory) : "memory"); }

// --- The bottom: allocations by the program itself, and by libc for it. ---

static int compare_longs(const void *a, const void *b) { return (*(long *)a > *(long *)b) - (*(long *)a < *(long *)b); }

FRAME bottom_malloc(struct walk *w) {
    void *block = malloc(1 + draw(w) % 3000);
    uintptr_t result = (uintptr_t)block;
    touch(block);
    free(block);
    return result;
}

FRAME bottom_calloc_realloc(struct walk *w) {
    char *block = calloc(1 + draw(w) % 30, 8);
    touch(block);
    block = realloc(block, 300 + draw(w) % 3000);
    w->allocations++;
    uintptr_t result = (uintptr_t)block;
    touch(block);
    free(block);
    return result;
}

FRAME bottom_strdup(struct walk *w) {
    char *copy = strdup(&"a string that libc copies"[draw(w) % 8]);
    uintptr_t result = (uintptr_t)copy;
    touch(copy);
    free(copy);
    return result;
}

FRAME bottom_asprintf(struct walk *w) {
    char *text = NULL;
    int length = asprintf(&text, "%llu %*d %.3f", (unsigned long long)draw(w), (int)(draw(w) % 200), 7, draw(w) / 3.0);
    touch(text);
    free(text);
    return length;
}

FRAME bottom_stream(struct walk *w) {
    char *text = NULL;
    size_t length = 0;
    FILE *stream = open_memstream(&text, &length);
    for (int i = draw(w) % 20; stream && i >= 0; i--)
        fprintf(stream, "line %d of a stream that grows\n", i);
    if (stream)
        fclose(stream);
    touch(text);
    free(text);
    return length;
}

static void free_nothing(void *key) { touch(key); }

FRAME bottom_tree(struct walk *w) {
    long keys[6];
    void *root = NULL;
    for (int i = 0; i < 6; i++) {
        keys[i] = draw(w) % 5;
        tsearch(&keys[i], &root, compare_longs);
    }
#ifdef __GLIBC__
    tdestroy(root, free_nothing);
#else
    while (root)
        tdelete(*(void **)root, &root, compare_longs);
    (void)free_nothing;
#endif
    return keys[0];
}

FRAME bottom(struct walk *w) {
    w->allocations++;
    switch (draw(w) % 12) {
    case 0: return bottom_calloc_realloc(w);
    case 1: return bottom_strdup(w);
    case 2: return bottom_asprintf(w);
    case 3: return bottom_stream(w);
    case 4: return bottom_tree(w);
    default: return bottom_malloc(w);
    }
}

// --- Frames of every shape. Each goes one level down at least once. ---

FRAME plain(struct walk *w, int depth) { return step(w, depth) + step(w, depth - 1) + 1; }

FRAME many_arguments(struct walk *w, int depth, long a, long b, long c, long d, long e, double f, long g, long h) {
    uintptr_t result = step(w, depth);
    return result + a + b * 2 + c * 3 + d * 5 + e * 7 + (long)f + g * 11 + h * 13;
}

FRAME pass_many(struct walk *w, int depth) { return many_arguments(w, depth, 1, 2, 3, depth, 5, depth / 2.0, 7, 8) ^ 1; }

FRAME on_alloca(struct walk *w, int depth) {
    size_t bytes = 16 + draw(w) % 1000;
    char *room = __builtin_alloca(bytes);
    memset(room, depth, bytes);
    uintptr_t result = step(w, depth);
    touch(room);
    return result + room[bytes / 2];
}

FRAME variable_length(struct walk *w, int depth) {
    int length = 1 + draw(w) % 100;
    long numbers[length];
    for (int i = 0; i < length; i++)
        numbers[i] = i * depth;
    touch(numbers);
    uintptr_t result = step(w, depth);
    for (int i = 0; i < length; i++) {
        // A second array inside the loop: the stack pointer moves up and down.
        char inner[1 + numbers[i] % 7];
        touch(inner);
        if (i == length / 2)
            result += step(w, depth - 1);
    }
    return result + numbers[length - 1];
}

typedef double vector __attribute__((vector_size(32)));

FRAME vectors(struct walk *w, int depth) {
    vector a = {1, 2, 3, depth}, b = {5, 6, 7, 8};
    touch(&a);
    for (int i = 0; i < 4; i++)
        a = a * b + a;
    uintptr_t result = step(w, depth);
    touch(&b);
    a += b;
    return result + (uintptr_t)a[depth & 3];
}

FRAME aligned_64(struct walk *w, int depth) {
    _Alignas(64) char line[128];
    memset(line, depth, sizeof line);
    touch(line);
    uintptr_t result = step(w, depth);
    return result + line[(uintptr_t)line & 63];
}

// Realigned and of unknown size: GCC keeps the caller's stack pointer in a register of its own (DRAP).
FRAME aligned_alloca(struct walk *w, int depth, long a, long b, long c, long d, long e, long f) {
    _Alignas(128) char line[128];
    size_t bytes = 1 + draw(w) % 500;
    char *room = __builtin_alloca(bytes);
    memset(line, depth, sizeof line);
    memset(room, depth, bytes);
    touch(line);
    touch(room);
    uintptr_t result = step(w, depth);
    touch(room);
    return result + line[5] + a + b + c + d + e + f;
}

FRAME pass_aligned(struct walk *w, int depth) { return aligned_alloca(w, depth, 1, 2, 3, 4, 5, 6) + 1; }

__attribute__((force_align_arg_pointer)) FRAME realigned(struct walk *w, int depth) { return step(w, depth) * 3; }

FRAME large_frame(struct walk *w, int depth) {
    char room[9000];
    room[draw(w) % sizeof room] = depth;
    touch(room);
    uintptr_t result = step(w, depth);
    return result + room[draw(w) % sizeof room];
}

FRAME recursive(struct walk *w, int depth, int levels) {
    return levels <= 0 ? step(w, depth) : recursive(w, depth, levels - 1) * 3 + levels;
}

FRAME recurse(struct walk *w, int depth) { return recursive(w, depth, draw(w) % 60) + 1; }

FRAME odd(struct walk *w, int depth, int levels);
FRAME even(struct walk *w, int depth, int levels) {
    char room[40];
    touch(room);
    return levels == 0 ? step(w, depth) + 1 : odd(w, depth, levels - 1) + room[levels % 40] % 2;
}
FRAME odd(struct walk *w, int depth, int levels) { return levels == 0 ? step(w, depth) : even(w, depth, levels - 1) ^ 5; }
FRAME mutual(struct walk *w, int depth) { return even(w, depth, draw(w) % 9) + 1; }

FRAME tail_call(struct walk *w, int depth) { return step(w, depth); }

// Everything a function may keep in registers, rbp among them.
FRAME pressure(struct walk *w, int depth) {
    uint64_t a = draw(w), b = draw(w), c = draw(w), d = draw(w), e = draw(w), f = draw(w), g = draw(w), h = draw(w);
    uintptr_t result = step(w, depth);
    for (int i = 0; i < 3; i++) {
        a += b ^ result, b += c << 1, c -= d, d ^= e * 5, e += f, f -= g, g ^= h, h += a;
        result += step(w, depth - 2);
    }
    return result ^ a ^ b ^ c ^ d ^ e ^ f ^ g ^ h;
}

FRAME variadic(struct walk *w, int depth, ...) {
    va_list arguments;
    va_start(arguments, depth);
    uintptr_t result = va_arg(arguments, int) + (int)va_arg(arguments, double);
    result += step(w, depth);
    result += va_arg(arguments, long);
    va_end(arguments);
    return result;
}
FRAME pass_variadic(struct walk *w, int depth) { return variadic(w, depth, 3, 4.5, 6L) + 1; }

__attribute__((ms_abi, noinline)) static uintptr_t foreign(struct walk *w, int depth, long a, long b, long c) {
    return step(w, depth) + a * b * c;
}
FRAME pass_foreign(struct walk *w, int depth) { return foreign(w, depth, 3, depth, 5) + 1; }

struct wide {
    uintptr_t words[12];
};
__attribute__((noinline)) static struct wide by_value(struct walk *w, int depth, struct wide in) {
    in.words[depth % 12] += step(w, depth);
    return in;
}
FRAME pass_wide(struct walk *w, int depth) {
    struct wide in = {{1, 2, 3}};
    touch(&in);
    return by_value(w, depth, in).words[3];
}

__attribute__((cold, noinline)) static uintptr_t unlikely(struct walk *w, int depth) { return step(w, depth) + 77; }

// Its rare branch is split off into another section by the optimiser.
FRAME split(struct walk *w, int depth) {
    char room[64];
    touch(room);
    uintptr_t result = depth;
    if (__builtin_expect(draw(w) % 4 == 0, 0)) {
        result += unlikely(w, depth) + unlikely(w, depth - 1);
        touch(room);
        result *= room[3] | 1;
    }
    return result + step(w, depth);
}

// The call is the last instruction of its function: its return address belongs to the next one.
static __thread jmp_buf *way_out;
__attribute__((noinline, noreturn)) static void leave(struct walk *w, int depth) {
    step(w, depth);
    longjmp(*way_out, 1);
}
__attribute__((noinline, noreturn)) static void call_at_end(struct walk *w, int depth) { leave(w, depth - 1); }

FRAME jump_out(struct walk *w, int depth) {
    jmp_buf here;
    jmp_buf *outer = way_out;
    volatile uintptr_t result = 1;
    way_out = &here;
    if (setjmp(here) == 0) {
        call_at_end(w, depth);
    } else {
        way_out = outer;
        result += step(w, depth);
    }
    way_out = outer;
    return result;
}

// --- Callbacks through libc. ---

static __thread struct {
    struct walk *walk;
    int depth, calls;
} callback;

__attribute__((noinline)) static int compare_and_step(const void *a, const void *b) {
    if (callback.calls-- == 0) {
        struct walk *walk = callback.walk;
        touch((void *)step(walk, callback.depth));
    }
    return compare_longs(a, b);
}

FRAME sort(struct walk *w, int depth) {
    long numbers[200];
    int length = 3 + draw(w) % 190;
    for (int i = 0; i < length; i++)
        numbers[i] = draw(w) % 1000;
    callback.walk = w, callback.depth = depth, callback.calls = draw(w) % length;
    qsort(numbers, length, sizeof *numbers, compare_and_step);
    return numbers[0] + 1;
}

FRAME search(struct walk *w, int depth) {
    long numbers[32], key = draw(w) % 40;
    for (int i = 0; i < 32; i++)
        numbers[i] = i;
    callback.walk = w, callback.depth = depth, callback.calls = draw(w) % 4;
    return (uintptr_t)bsearch(&key, numbers, 32, sizeof *numbers, compare_and_step) + 1;
}

static __thread struct walk *once_walk;
static void once_step(void) { step(once_walk, 2); }
FRAME once(struct walk *w, int depth) {
    pthread_once_t control = PTHREAD_ONCE_INIT;
    once_walk = w;
    pthread_once(&control, once_step);
    return step(w, depth) + 1;
}

// --- Signals: synchronous ones, raised where allocating is safe. ---

static __thread struct {
    struct walk *walk;
    int depth;
    sigjmp_buf *way_out;
    int handlers; // running now
} interrupted;

static void on_signal(int number, siginfo_t *info, void *context) {
    (void)info;
    if (number == SIGILL)
        ((ucontext_t *)context)->uc_mcontext.gregs[16] += 2; // rip: behind the ud2
    sigjmp_buf *out = interrupted.way_out;
    interrupted.way_out = NULL;
    interrupted.handlers++;
    touch((void *)step(interrupted.walk, interrupted.depth));
    interrupted.handlers--;
    if (out)
        siglongjmp(*out, 1);
}

FRAME raise_signal(struct walk *w, int depth) {
    interrupted.walk = w, interrupted.depth = depth / 2;
    raise(draw(w) % 2 ? SIGUSR1 : SIGUSR2);
    return step(w, depth) + 1;
}

FRAME jump_from_signal(struct walk *w, int depth) {
    sigjmp_buf here;
    if (sigsetjmp(here, 1) == 0) {
        interrupted.walk = w, interrupted.depth = depth / 2, interrupted.way_out = &here;
        raise(SIGUSR1);
    }
    return step(w, depth) + 1;
}

// Interrupted at its first instruction: the address before it is another function's.
void trap_at_start(void);
// Interrupted with rbp changed and the stack pointer moved.
void trap_in_the_middle(void);
__asm__(".text\n"
        ".type trap_at_start,@function\n"
        "trap_at_start:\n"
        ".cfi_startproc\n"
        "ud2\n"
        "ret\n"
        ".cfi_endproc\n"
        ".size trap_at_start,.-trap_at_start\n"
        ".type trap_in_the_middle,@function\n"
        "trap_in_the_middle:\n"
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
        ".size trap_in_the_middle,.-trap_in_the_middle\n");

FRAME trap(struct walk *w, int depth) {
    interrupted.walk = w, interrupted.depth = depth / 2;
    if (draw(w) % 2)
        trap_at_start();
    else
        trap_in_the_middle();
    return step(w, depth) + 1;
}

// --- Coroutines. ---

#ifdef __GLIBC__
static __thread struct {
    struct walk *walk;
    int depth;
    ucontext_t *self, *other;
} coroutine;

static void run_coroutine(void) {
    struct walk *walk = coroutine.walk;
    int depth = coroutine.depth;
    ucontext_t *self = coroutine.self, *other = coroutine.other;
    touch((void *)step(walk, depth));
    swapcontext(self, other);
    touch((void *)step(walk, depth - 1));
}

FRAME coroutines(struct walk *w, int depth) {
    ucontext_t here, there;
    // A signal in a coroutine would start at the top of the alternate stack, over the handler that called us.
    if (interrupted.handlers > 0)
        return step(w, depth) + 1;
    void *room = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (room == MAP_FAILED)
        abort();
    getcontext(&there);
    there.uc_stack.ss_sp = room;
    there.uc_stack.ss_size = STACK_BYTES;
    there.uc_link = &here;
    makecontext(&there, run_coroutine, 0);
    coroutine.walk = w, coroutine.depth = depth / 2, coroutine.self = &there, coroutine.other = &here;
    swapcontext(&here, &there);
    uintptr_t result = step(w, depth / 2);
    swapcontext(&here, &there);
    munmap(room, STACK_BYTES);
    return result + 1;
}
#endif

typedef uintptr_t (*frame)(struct walk *, int);
static const frame frames[] = {
    plain,      pass_many, on_alloca,     variable_length, vectors,   aligned_64, pass_aligned, realigned,
    large_frame, recurse,  mutual,        tail_call,       pressure,  pass_variadic, pass_foreign, pass_wide,
    split,      jump_out,  sort,          search,          once,      raise_signal, jump_from_signal, trap,
#ifdef __GLIBC__
    coroutines,
#endif
};

static uintptr_t step(struct walk *w, int depth) {
    if (depth <= 0 || w->allocations >= w->wanted)
        return w->allocations < w->wanted ? bottom(w) : 0;
    return frames[draw(w) % (sizeof frames / sizeof *frames)](w, depth - 1);
}

// Two levels below it at most, so that it decides how long the stack is.
FRAME deep(struct walk *w, int levels) {
    char room[16];
    uintptr_t result = levels <= 0 ? step(w, 2) : deep(w, levels - 1);
    // Something to do after the call: the recursion must not become a loop.
    touch(room);
    return result + 1;
}

static pthread_key_t key;
static int least_levels;

// Allocates while its thread ends.
static void at_thread_end(void *walk) {
    ((struct walk *)walk)->wanted += 10;
    step(walk, 3);
}

static void *run_thread(void *walk) {
    struct walk *w = walk;
    stack_t alternate = {.ss_size = STACK_BYTES};
    alternate.ss_sp = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (alternate.ss_sp == MAP_FAILED || sigaltstack(&alternate, NULL) != 0)
        abort();
    pthread_setspecific(key, walk);
    while (w->allocations < w->wanted) {
        for (int i = draw(w) % 8; i > 0; i--)
            deep(w, least_levels + draw(w) % 150);
        step(w, 2 + draw(w) % 22);
    }
    return NULL;
}

int main(int argc, char **argv) {
    if (argc != 5)
        return 2;
    int threads = atoi(argv[2]);
    least_levels = atoi(argv[4]);
    struct walk walks[64] = {0};
    pthread_t ids[64];
    if (threads < 1 || threads > 64)
        return 2;
    struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
    sigaction(SIGUSR1, &action, NULL);
    sigaction(SIGILL, &action, NULL);
    action.sa_flags &= ~SA_ONSTACK;
    sigaction(SIGUSR2, &action, NULL);
    pthread_key_create(&key, at_thread_end);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, THREAD_STACK_BYTES);

    say("ready");
    await_line();
    for (int i = 0; i < threads; i++) {
        walks[i].random = strtoull(argv[1], NULL, 10) * 0x9e3779b97f4a7c15 + i + 1;
        walks[i].wanted = atol(argv[3]);
        if (i > 0)
            pthread_create(&ids[i], &attributes, run_thread, &walks[i]);
    }
    run_thread(&walks[0]);
    long allocations = walks[0].allocations;
    for (int i = 1; i < threads; i++) {
        pthread_join(ids[i], NULL);
        allocations += walks[i].allocations;
    }
    char line[32];
    snprintf(line, sizeof line, "%ld", allocations);
    say(line);
    await_line();
    return 0;
}
