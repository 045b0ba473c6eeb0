// Runs the interpreter that is in a library. Arguments: the library, and what the interpreter is to be told.
#include <dlfcn.h>
#include <stdio.h>

int main(int argc, char **argv) {
    void *library = argc > 1 ? dlopen(argv[1], RTLD_NOW | RTLD_GLOBAL) : NULL;
    int (*run)(int, char **) = library ? (int (*)(int, char **))dlsym(library, "Py_BytesMain") : NULL;
    if (!run) {
        fprintf(stderr, "%s; apt-get install libpython3.11\n", dlerror());
        return 2;
    }
    return run(argc - 1, argv + 1);
}
