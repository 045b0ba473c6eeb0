// A child gets a copy of the heap and releases all of it; then the parent runs another program. See live.c for the dialogue.
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "start.h"

#define BLOCKS 1000

int main(int argc, char **argv) {
    static void *blocks[BLOCKS];
    if (argc > 1) {
        // The new program holds half as many.
        for (int i = 0; i < BLOCKS / 2; i++)
            if (!malloc(2000))
                return 2;
        say("held 1000000 500");
        await_line();
        _exit(0);
    }
    say("ready");
    await_line();
    for (int i = 0; i < BLOCKS; i++)
        blocks[i] = malloc(1000);
    pid_t child = fork();
    if (child < 0)
        return 2;
    if (child == 0) {
        for (int i = 0; i < BLOCKS; i++)
            free(blocks[i]);
        for (int i = 0; i < BLOCKS; i++)
            blocks[i] = malloc(1000);
        _exit(0);
    }
    int status;
    if (waitpid(child, &status, 0) != child || status != 0)
        return 2;
    say("held 1000000 1000");
    await_line();
    execl(argv[0], argv[0], "again", (char *)NULL);
    return 2;
}
