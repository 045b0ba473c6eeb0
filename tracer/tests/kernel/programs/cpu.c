// A program that spends CPU time in functions of known names, and says how much in each: by the clock that the kernel keeps for
// each thread. Its argument names the mode.
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const uint64_t MS = 1000000;

static volatile uint64_t sink;

static uint64_t cpu_time(void) {
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static __attribute__((noipa)) void work(void) {
    for (int i = 0; i < 20000; i++) sink = sink * 3 + 1;
}

static __attribute__((noipa)) void enter_kernel(void) {
    for (int i = 0; i < 200; i++) syscall(SYS_getppid);
}

// The vdso answers this from its page of data, whatever clock the machine has.
static __attribute__((noipa)) void read_clock(void) {
    struct timespec time;
    for (int i = 0; i < 2000; i++) clock_gettime(CLOCK_MONOTONIC_COARSE, &time);
}

// Hardly anything but calls: most of its instructions move the stack pointer or save and restore a register.
static __attribute__((noipa)) uint64_t nested(uint64_t a, uint64_t b, int levels) {
    if (levels == 0) return a ^ b;
    uint64_t first = nested(b, a + 1, levels - 1);
    uint64_t second = nested(a ^ first, b, levels - 1) + first;
    // Something to do after the call: it must not become a jump.
    __asm__ volatile("" : "+r"(second));
    return second;
}

static __attribute__((noipa)) void call_much(void) { sink += nested(1, 2, 9); }

static __attribute__((noipa)) uint64_t spend(uint64_t nanoseconds, void (*how)(void)) {
    uint64_t begin = cpu_time(), now;
    do {
        how();
        now = cpu_time();
    } while (now - begin < nanoseconds);
    return now - begin;
}

// The addition keeps the call from being a jump, which would leave no frame.
#define SPENDER(name, how)                                                                                                         \
    static __attribute__((noipa)) uint64_t name(uint64_t nanoseconds) {                                                         \
        uint64_t spent = spend(nanoseconds, how);                                                                                  \
        sink += spent;                                                                                                             \
        return spent;                                                                                                              \
    }
SPENDER(burn_three, work)
SPENDER(burn_one, work)
SPENDER(in_kernel, enter_kernel)
SPENDER(in_vdso, read_clock)
SPENDER(in_calls, call_much)
SPENDER(long_lived, work)
SPENDER(short_lived, work)
SPENDER(in_child, work)
SPENDER(in_parent, work)
SPENDER(in_first, work)
SPENDER(in_second, work)
SPENDER(in_third, work)

struct share {
    uint64_t (*burn)(uint64_t);
    uint64_t nanoseconds, spent;
};

static void *run(void *argument) {
    struct share *share = argument;
    share->spent += share->burn(share->nanoseconds);
    return NULL;
}

static void in_thread(struct share *share) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, run, share) != 0) abort();
    pthread_join(thread, NULL);
}

static void say(const char *name, uint64_t nanoseconds) { printf("%s %llu ", name, (unsigned long long)nanoseconds); }

static void shares(void) {
    uint64_t three = 0, one = 0, kernel = 0;
    for (int round = 0; round < 50; round++) {
        three += burn_three(30 * MS);
        one += burn_one(10 * MS);
        kernel += in_kernel(10 * MS);
    }
    say("burn_three", three), say("burn_one", one), say("in_kernel", kernel);
}

static void threads(void) {
    struct share all[] = {{in_first, 900 * MS, 0}, {in_second, 600 * MS, 0}, {in_third, 300 * MS, 0}};
    pthread_t thread[3];
    for (int i = 0; i < 3; i++)
        if (pthread_create(&thread[i], NULL, run, &all[i]) != 0) abort();
    for (int i = 0; i < 3; i++) pthread_join(thread[i], NULL);
    say("in_first", all[0].spent), say("in_second", all[1].spent), say("in_third", all[2].spent);
}

// Threads that live for less than the time between two ticks.
static void short_threads(void) {
    struct share all = {short_lived, 1 * MS, 0};
    uint64_t own = 0;
    for (int i = 0; i < 600; i++) {
        in_thread(&all);
        own += long_lived(1 * MS);
    }
    say("short_lived", all.spent), say("long_lived", own);
}

static void children(void) {
    uint64_t own = 0, theirs = 0;
    for (int i = 0; i < 20; i++) {
        int ends[2];
        uint64_t spent;
        if (pipe(ends) != 0) abort();
        if (fork() == 0) {
            spent = in_child(30 * MS);
            if (write(ends[1], &spent, sizeof spent) != sizeof spent) abort();
            _exit(0);
        }
        own += in_parent(30 * MS);
        if (read(ends[0], &spent, sizeof spent) != sizeof spent) abort();
        theirs += spent;
        close(ends[0]), close(ends[1]), wait(NULL);
    }
    say("in_child", theirs), say("in_parent", own);
}

// Begins with an instruction of one byte, which a breakpoint covers wholly.
__asm__(".type victim, @function\n"
        "victim:\n"
        ".cfi_startproc\n"
        "push %rbp\n"
        ".cfi_def_cfa_offset 16\n"
        ".cfi_offset 6, -16\n"
        "mov %rsp, %rbp\n"
        ".cfi_def_cfa_register 6\n"
        "pop %rbp\n"
        ".cfi_def_cfa 7, 8\n"
        "ret\n"
        ".cfi_endproc\n"
        ".size victim, . - victim\n");
void victim(void);

static __attribute__((noipa)) void call_victim(void) {
    for (int i = 0; i < 2000; i++) victim();
}
SPENDER(in_probed, call_victim)

static void probed(void) { say("in_probed", in_probed(1500 * MS)); }

static void clocks(void) { say("in_vdso", in_vdso(1000 * MS)); }

static void calls(void) { say("in_calls", in_calls(2000 * MS)); }

int main(int argc, char **argv) {
    static const struct {
        const char *name;
        void (*run)(void);
    } MODES[] = {
        {"shares", shares},     {"threads", threads}, {"short", short_threads},
        {"children", children}, {"probed", probed},   {"clocks", clocks},
        {"calls", calls},
    };
    puts("ready"), fflush(stdout);
    getchar();
    for (size_t i = 0; i < sizeof MODES / sizeof *MODES; i++)
        if (argc > 1 && strcmp(argv[1], MODES[i].name) == 0) MODES[i].run();
    puts(""), fflush(stdout);
    getchar();
    return 0;
}
