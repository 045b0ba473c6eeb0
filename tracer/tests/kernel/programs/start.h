// How a program and its test take turns: the program says that it is ready and waits for a line.
#ifndef START_H
#define START_H

#include <string.h>
#include <unistd.h>

// Writes a line without allocating.
static inline void say(const char *line) {
    ssize_t ignored = write(1, line, strlen(line));
    ignored = write(1, "\n", 1);
    (void)ignored;
}

// Returns when a line, or the end of the input, has come.
static inline void await_line(void) {
    char byte;
    while (read(0, &byte, 1) == 1 && byte != '\n')
        ;
}

#endif
