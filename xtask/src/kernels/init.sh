#!/bin/busybox sh
# The first process of the machine: tries tracer, and tells on the console how it went. `@@ NAME` begins a section, `@@
# status N` ends it with the exit code of what was tried; see report.rs. Nothing is waited for that a dead program would have
# to do.
/bin/busybox mkdir -p /proc /sys /dev /tmp
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tracefs tracefs /sys/kernel/tracing
mount -t bpf bpf /sys/fs/bpf
cd /tmp

# What the kernel has to say would come in between.
dmesg -n 1
stty -F /dev/ttyS0 raw -echo 2> /dev/null

begin() {
    echo "@@ $1"
}

end() {
    echo "@@ status $1"
}

# The program may have died.
trap : PIPE

# Waits until process $1 has written $2 to file $3, or has ended.
await() {
    until grep -q "$2" "$3" 2> /dev/null || ! kill -0 "$1" 2> /dev/null; do sleep 0.1; done
}

# Starts a program that says when it is ready.
start() {
    rm -f input said
    mkfifo input
    # Appended to: it may be emptied meanwhile.
    "$@" < input >> said &
    program=$!
    exec 3> input
    await $program ready said
}

line() {
    echo >&3
} 2> /dev/null

# Attaches tracer to it.
attach() {
    rm -f log
    tracer "$@" --pid $program 2> log &
    tracer=$!
    await $tracer '^recording' log
}

finish() {
    line
    exec 3>&-
    wait $program
    echo "program ended $?"
}

# Runs `counts` under tracer with these options, from the first allocation that it says it makes to the last.
watch() {
    attach "$@"
    line
    await $program done said
    kill -INT $tracer 2> /dev/null
    wait $tracer
    status=$?
    finish
    cat said log
}

# Kills tracer with these options, without a chance to tidy up, while a program allocates; then says until when anything of it is
# left: `PROGRAMS LINKS` in the kernel, and what the program says of itself.
killed() {
    before=$(loaded)
    echo "before $before"
    start loop
    attach "$@"
    line
    await $program rounds said
    echo "probed $(loaded), $(tail -n 1 said)"
    kill -KILL $tracer 2> /dev/null
    wait $tracer
    status=$?
    tries=0
    while [ $tries -lt 100 ]; do
        tries=$((tries + 1))
        : > said
        line
        await $program rounds said
        echo "after $(loaded), $(tail -n 1 said)"
        # Twice at least: it must go on.
        [ $tries -gt 1 ] && [ "$(loaded)" = "$before" ] && grep -q ' 0$' said && break
        sleep 0.3
    done
    pidof tracer > /dev/null && echo "tracer is left"
    finish
    cat log
}

begin doctor
tracer doctor
end $?

begin exact
start counts
watch record --interval 1 --max-overhead none -o exact.pb.gz
end $status
begin exact-stacks
tracer render exact.pb.gz -o -
end $?

begin default
start counts
watch record -o default.pb.gz
end $status

begin windows
start loop
attach record --duration 15s -o windows.pb.gz
wait $tracer
status=$?
finish
cat log
end $status

begin live
start counts
watch record --live --interval 1 -o live.pb.gz
end $status
begin live-stacks
[ $status = 0 ] && tracer render live.pb.gz --view in-use -o -
end $?

begin filtered
start counts filtered
watch record --live --interval 1 -o filtered.pb.gz
end $status
begin filtered-stacks
[ $status = 0 ] && tracer render filtered.pb.gz --view in-use -o -
end $?

begin cpu
start counts
watch cpu --frequency 999 -o cpu.pb.gz
end $status

begin started
echo | tracer -- counts 2>&1
end $?

begin killed
killed record --max-overhead none -o killed.pb.gz
end $status

begin killed-live
killed record --live --interval 1 -o killed.pb.gz
end $status

begin end
end 0
poweroff -f
