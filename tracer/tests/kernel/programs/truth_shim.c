// Ground truth for stacks, from inside the process.
//
// Stands before malloc, calloc and realloc. On every call it asks libgcc for the stack (_Unwind_Backtrace), writes it to
// the file that TRUTH_FILE names, and calls the real malloc with 2^62 + the place of that record: a size that no address
// space grants, so that the call fails, and which leads whoever watches malloc from outside to the record. Then it does
// what it was asked to do.
//
// Either preloaded (LD_PRELOAD), or linked in with -DTRUTH_WRAP and -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc, for
// static programs.
//
// The file, all words of 8 bytes, is made by the test with its header and its final size:
//
//   0  magic
//   1  enabled: the shim only records while the test has a 1 here
//   2  next: index of the first free word
//   3  lost: calls that found no room
//   4  entries, each led by  kind << 56 | length << 32 | table
//        kind 1, a stack: `length` addresses to look up, innermost first, the wrapper's own frame among them. They are of
//          the modules in the entry at word index `table`. Its own word index is the key in malloc's argument.
//        kind 2, the modules: `length` words of [bias, first address, end address, bytes of the path, path...]

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <unwind.h>

#ifdef TRUTH_WRAP
#define WRAPPER(name) __wrap_##name
#define REAL(name) __real_##name
#else
#define WRAPPER(name) name
#define REAL(name) __libc_##name
#endif

void *REAL(malloc)(size_t);
void *REAL(calloc)(size_t, size_t);
void *REAL(realloc)(void *, size_t);

#define MAGIC UINT64_C(0x31687475727400)
#define KEY (UINT64_C(1) << 62)
#define MAX_FRAMES 4096
#define MAX_TABLE_WORDS 8192

struct header {
    uint64_t magic;
    _Atomic uint64_t enabled;
    _Atomic uint64_t next;
    _Atomic uint64_t lost;
};

static struct header *file;
static _Atomic uint64_t *words;
static uint64_t capacity;

// 1 while this thread is in the shim: what the unwinder allocates is no business of ours.
static __thread int inside __attribute__((tls_model("initial-exec")));
static __thread struct stack {
    uint64_t count;
    uint64_t addresses[MAX_FRAMES];
} stack __attribute__((tls_model("initial-exec")));

__attribute__((constructor)) static void open_file(void) {
    const char *path = getenv("TRUTH_FILE");
    struct stat status;
    int descriptor = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (descriptor < 0)
        return;
    if (fstat(descriptor, &status) == 0) {
        void *memory = mmap(NULL, status.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
        if (memory != MAP_FAILED && ((struct header *)memory)->magic == MAGIC) {
            words = memory;
            capacity = status.st_size / 8;
            file = memory;
        }
    }
    close(descriptor);
}

// Writes an entry; its word index, or 0 where there is no room.
static uint64_t append(uint64_t kind, uint64_t table, const uint64_t *content, uint64_t length) {
    uint64_t at = atomic_fetch_add(&file->next, length + 1);
    if (at + length + 1 > capacity) {
        atomic_fetch_add(&file->lost, 1);
        return 0;
    }
    for (uint64_t i = 0; i < length; i++)
        atomic_store_explicit(&words[at + 1 + i], content[i], memory_order_relaxed);
    atomic_store_explicit(&words[at], kind << 56 | length << 32 | table, memory_order_release);
    return at;
}

// The module list last written, and what the loader had loaded and unloaded by then.
static struct {
    atomic_flag lock;
    uint64_t loads, unloads, entry, length;
    uint64_t content[MAX_TABLE_WORDS];
} table = {.lock = ATOMIC_FLAG_INIT};

static int count_changes(struct dl_phdr_info *info, size_t size, void *counts) {
    (void)size;
    ((uint64_t *)counts)[0] = info->dlpi_adds;
    ((uint64_t *)counts)[1] = info->dlpi_subs;
    return 1;
}

static int add_module(struct dl_phdr_info *info, size_t size, void *unused) {
    (void)size, (void)unused;
    char executable[4096];
    const char *path = info->dlpi_name;
    uint64_t bytes = strlen(path);
    // The program itself: glibc gives it no name, a static musl program this one.
    if (bytes == 0 || strcmp(path, "/proc/self/exe") == 0) {
        ssize_t length = readlink("/proc/self/exe", executable, sizeof executable);
        path = executable;
        bytes = length > 0 ? length : 0;
    }
    uint64_t start = UINT64_MAX, end = 0;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        if (segment->p_type != PT_LOAD)
            continue;
        uint64_t from = info->dlpi_addr + segment->p_vaddr;
        start = from < start ? from : start;
        end = from + segment->p_memsz > end ? from + segment->p_memsz : end;
    }
    uint64_t needed = 4 + (bytes + 7) / 8;
    if (start > end || table.length + needed > MAX_TABLE_WORDS)
        return 0;
    uint64_t *entry = &table.content[table.length];
    memset(entry, 0, needed * 8);
    entry[0] = info->dlpi_addr;
    entry[1] = start;
    entry[2] = end;
    entry[3] = bytes;
    memcpy(&entry[4], path, bytes);
    table.length += needed;
    return 0;
}

// Index of an entry that lists the modules as they are now; 0 where there is no room for it.
static uint64_t modules(void) {
    uint64_t counts[2] = {0, 0};
    dl_iterate_phdr(count_changes, counts);
    while (atomic_flag_test_and_set_explicit(&table.lock, memory_order_acquire))
        ;
    if (table.entry == 0 || table.loads != counts[0] || table.unloads != counts[1]) {
        table.length = 0;
        dl_iterate_phdr(add_module, NULL);
        table.entry = append(2, 0, table.content, table.length);
        table.loads = counts[0];
        table.unloads = counts[1];
    }
    uint64_t entry = table.entry;
    atomic_flag_clear_explicit(&table.lock, memory_order_release);
    return entry;
}

static _Unwind_Reason_Code add_frame(struct _Unwind_Context *context, void *unused) {
    (void)unused;
    int before_instruction = 0;
    uint64_t address = _Unwind_GetIPInfo(context, &before_instruction);
    if (address == 0 || stack.count == MAX_FRAMES)
        return _URC_END_OF_STACK;
    stack.addresses[stack.count++] = address - !before_instruction;
    return _URC_NO_REASON;
}

// Inlined, so that each wrapper is exactly one frame.
__attribute__((always_inline)) static inline void record(void) {
    if (!file || inside || !atomic_load_explicit(&file->enabled, memory_order_acquire))
        return;
    int saved_errno = errno;
    inside = 1;
    stack.count = 0;
    _Unwind_Backtrace(add_frame, NULL);
    uint64_t at = append(1, modules(), stack.addresses, stack.count);
    if (at)
        free(REAL(malloc)(KEY + at));
    inside = 0;
    errno = saved_errno;
}

__attribute__((noinline)) void *WRAPPER(malloc)(size_t size) {
    record();
    return REAL(malloc)(size);
}

__attribute__((noinline)) void *WRAPPER(calloc)(size_t count, size_t size) {
    record();
    return REAL(calloc)(count, size);
}

__attribute__((noinline)) void *WRAPPER(realloc)(void *block, size_t size) {
    record();
    return REAL(realloc)(block, size);
}

#if defined(TRUTH_WRAP) && !defined(__GLIBC__)
// libgcc_eh of a glibc system finds unwind tables through this function of glibc 2.35. For musl, whose static programs have
// one module, it is quickly made.
struct found_object {
    unsigned long long flags;
    void *start, *end, *link_map, *eh_frame;
};

static int find_object(struct dl_phdr_info *info, size_t size, void *result) {
    (void)size;
    struct found_object *found = result;
    uintptr_t end = 0;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        uintptr_t start = info->dlpi_addr + segment->p_vaddr;
        if (segment->p_type == PT_GNU_EH_FRAME)
            found->eh_frame = (void *)start;
        if (segment->p_type == PT_LOAD && (uintptr_t)found->start >= start &&
            (uintptr_t)found->start < start + segment->p_memsz)
            end = start + segment->p_memsz;
    }
    return end != 0 && found->eh_frame != NULL;
}

int _dl_find_object(void *address, void *result) {
    struct found_object *found = result;
    *found = (struct found_object){.start = address, .end = address};
    return dl_iterate_phdr(find_object, found) ? 0 : -1;
}
#endif
