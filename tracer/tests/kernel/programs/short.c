// A program that allocates one block, of the size that its argument gives, and ends.
#include <stdlib.h>

int main(int argc, char **argv) {
    void *block = malloc(argc > 1 ? strtoul(argv[1], NULL, 10) : 1);
    __asm__ volatile("" : : "r"(block) : "memory");
    return block == NULL;
}
