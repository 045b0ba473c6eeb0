// Allocates 4242 bytes at the end of a call chain and stays there: so that a debugger sees the stack that was sampled.

#include <stdio.h>
#include <stdlib.h>

#include "start.h"

__attribute__((noinline)) static int innermost(int n) {
    void *block = malloc(4242);
    __asm__ volatile("" : "+r"(block) : : "memory");
    say("allocated");
    await_line();
    free(block);
    return n + 1;
}

__attribute__((noinline)) static int with_alloca(int n) {
    char *room = __builtin_alloca(n * 100);
    room[n] = 1;
    __asm__ volatile("" : : "r"(room) : "memory");
    return innermost(n) + room[n];
}

static int compare(const void *a, const void *b) {
    static int calls;
    if (++calls == 3)
        with_alloca(5);
    return *(const int *)a - *(const int *)b;
}

__attribute__((noinline)) static int through_qsort(int n) {
    int numbers[] = {5, 3, n, 1, 4};
    qsort(numbers, 5, sizeof *numbers, compare);
    return numbers[2] + 1;
}

__attribute__((noinline)) static int recursive(int n) { return n == 0 ? through_qsort(2) + 1 : recursive(n - 1) * 3 + n; }

int main(int argc, char **argv) {
    (void)argv;
    say("ready");
    await_line();
    int result = recursive(4 + argc);
    printf("%d\n", result);
    return 0;
}
