// Calls C that allocates, from main and from other goroutines. Says "ready", waits, says "done", waits.
package main

// #include "allocate.h"
import "C"

import (
	"sync"
	"syscall"
)

const rounds = 50

//go:noinline
func call_c() {
	C.allocate_in_c(rounds)
}

//export grow
func grow() {
	deeper(2000)
}

//go:noinline
func deeper(depth int) byte {
	var frame [256]byte
	frame[depth%256] = byte(depth)
	if depth == 0 {
		return frame[0]
	}
	return deeper(depth-1) + frame[depth%256]
}

//go:noinline
func goroutine(done *sync.WaitGroup) {
	call_c()
	C.allocate_after_go()
	done.Done()
}

func awaitLine() {
	var byte [1]byte
	for {
		n, _ := syscall.Read(0, byte[:])
		if n != 1 || byte[0] == '\n' {
			return
		}
	}
}

func main() {
	syscall.Write(1, []byte("ready\n"))
	awaitLine()
	call_c()
	var done sync.WaitGroup
	for i := 0; i < rounds; i++ {
		done.Add(1)
		go goroutine(&done)
	}
	done.Wait()
	syscall.Write(1, []byte("done\n"))
	awaitLine()
}
