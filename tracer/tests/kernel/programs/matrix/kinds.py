"""Makes objects of known sizes; see matrix.h for the dialogue. Sizes are those that the interpreter asks its allocator for:
`bytes(n)` is one block of n bytes behind a header and before a zero, `bytearray(n)` an object and a block of n + 1 bytes."""

import os
import sys
import threading

HEADER = sys.getsizeof(b"")
rounds = int(sys.argv[1])
thread = threading.get_native_id()
lengths = [101, 333, 601, 1201, 5501, 70001, 300001]


def work(length):
    for _ in range(rounds):
        bytes(length)
        bytearray(length)


def say(line):
    os.write(1, line.encode() + b"\n")


for length in lengths:
    work(length)
say("ready")
os.read(0, 1)
for length in lengths:
    work(length)
for length in lengths:
    say(f"count {thread} bytes {length + HEADER} {rounds}")
    say(f"count {thread} bytearray {length + 1} {rounds}")
say("done")
os.read(0, 1)
os._exit(0)
