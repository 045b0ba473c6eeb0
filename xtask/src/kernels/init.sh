#!/bin/busybox sh
# The first process of the machine: tries tracer, and tells on the console how it went. `@@ NAME` begins a section, `@@
# status N` ends it with the exit code of what was tried; see report.rs.
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

# Runs the program under tracer with these options, from the first allocation that it says it makes to the last.
watch() {
    rm -f input said log
    mkfifo input
    counts < input > said &
    program=$!
    exec 3> input
    until grep -q ready said; do sleep 0.1; done
    tracer "$@" --pid $program 2> log &
    tracer=$!
    until grep -q '^recording' log || ! kill -0 $tracer 2> /dev/null; do sleep 0.1; done
    echo >&3
    until grep -q done said; do sleep 0.1; done
    kill -INT $tracer 2> /dev/null
    wait $tracer
    status=$?
    echo >&3
    exec 3>&-
    wait $program
}

begin doctor
tracer doctor
end $?

begin exact
watch record --interval 1 --max-overhead none -o exact.pb.gz
cat said log
end $status
begin exact-stacks
tracer render exact.pb.gz -o -
end $?

begin default
watch record -o default.pb.gz
cat said log
end $status

begin live
watch record --live --interval 1 -o live.pb.gz
cat said log
end $status
begin live-stacks
[ $status = 0 ] && tracer render live.pb.gz --view in-use -o -
end $?

begin cpu
watch cpu --frequency 999 -o cpu.pb.gz
cat said log
end $status

begin started
echo | tracer -- counts 2>&1
end $?

begin end
end 0
poweroff -f
