// Says how many BPF programs and links the kernel holds: `PROGRAMS LINKS`.
#include <linux/bpf.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int count(int command) {
    union bpf_attr attribute;
    memset(&attribute, 0, sizeof attribute);
    int count = 0;
    for (; syscall(SYS_bpf, command, &attribute, sizeof attribute) == 0; count++)
        attribute.start_id = attribute.next_id;
    return count;
}

int main(void) {
    printf("%d %d\n", count(BPF_PROG_GET_NEXT_ID), count(BPF_LINK_GET_NEXT_ID));
    return 0;
}
