# For gdb: prints every frame of the selected thread as a line `frame ADDRESS FUNCTION`, innermost first.
# Inlined functions, and those that ended in a jump to the next, have no frames on the stack: gdb infers them.
import gdb

frame = gdb.newest_frame()
while frame is not None:
    if frame.type() not in (gdb.INLINE_FRAME, gdb.TAILCALL_FRAME):
        function = gdb.execute(f"info symbol {frame.pc() - 1:#x}", to_string=True).split()[0]
        print("frame", f"{frame.pc():#x}", function)
    frame = frame.older()
