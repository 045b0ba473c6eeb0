// Functions with different frames: none, saved registers, a frame pointer, one that is realigned.

int leaf(int n) { return 3 * n; }

int saved(int a, int b) { return leaf(a) + leaf(b) * a; }

int on_stack(int n) {
    volatile int room[n];
    for (int i = 0; i < n; i++) room[i] = leaf(i);
    return room[n / 2];
}

int realigned(int n) {
    volatile int room[8] __attribute__((aligned(64)));
    room[1] = n;
    return saved(room[1], n);
}
