# Runs a tool of bcc: python3 attach_uprobe.py TOOL ARGUMENTS...
# bcc 0.26 calls bpf_attach_uprobe without its last argument, the offset of a reference counter. What happens to be there
# instead makes the kernel refuse most attachments.
import ctypes
import runpy
import sys

from bcc.libbcc import lib

attach = lib.bpf_attach_uprobe
attach.argtypes = [
    ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulonglong, ctypes.c_int, ctypes.c_uint
]
lib.bpf_attach_uprobe = lambda *arguments: attach(*arguments[:6], 0)
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
