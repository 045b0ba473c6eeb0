// Allocates in named functions and counts the calls of each; see matrix.h for the dialogue. Before "done" it says what the
// runtime itself counted: "runtime MALLOCS TOTAL_ALLOC".
package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync"
	"syscall"
)

type count struct {
	kind  string
	size  int
	calls int
}

type thread struct {
	id     int
	counts [128]count
	sink   any
	bytes  []byte
	words  []*int
	text   string
	word   *uint64
	octet  *uint8
	pair   *[2]*int
}

func (t *thread) count(kind string, size int) {
	i := 0
	for t.counts[i].calls > 0 && (t.counts[i].kind != kind || t.counts[i].size != size) {
		i++
	}
	t.counts[i].kind, t.counts[i].size = kind, size
	t.counts[i].calls++
}

//go:noinline
func kind_bytes(t *thread, size int) {
	t.bytes = make([]byte, size)
	t.count("kind_bytes", size)
}

// Blocks with pointers.
//
//go:noinline
func kind_pointers(t *thread, size int) {
	t.words = make([]*int, size)
	t.count("kind_pointers", size*8)
}

//go:noinline
func kind_word(t *thread) {
	t.word = new(uint64)
	t.count("kind_word", 8)
}

// The tiny allocator's: several share a block of 16 bytes.
//
//go:noinline
func kind_octet(t *thread) {
	t.octet = new(uint8)
	t.count("kind_octet", 1)
}

//go:noinline
func kind_pair(t *thread) {
	t.pair = new([2]*int)
	t.count("kind_pair", 16)
}

// The runtime's own call, for the concatenation.
//
//go:noinline
func kind_text(t *thread, half string) {
	t.text = half + half
	t.count("kind_text", 2*len(half))
}

var sizes = [...]int{1, 24, 100, 1000, 5000, 70000, 300000}
var halves [len(sizes)]string

func (t *thread) allKinds() {
	kind_word(t)
	kind_octet(t)
	kind_pair(t)
	for i, size := range sizes {
		kind_bytes(t, size)
		kind_pointers(t, size)
		kind_text(t, halves[i])
	}
}

var line [200]byte

func (t *thread) report() {
	for _, count := range t.counts {
		if count.calls == 0 {
			continue
		}
		text := append(line[:0], "count "...)
		text = strconv.AppendInt(text, int64(t.id), 10)
		text = append(append(append(text, ' '), count.kind...), ' ')
		text = strconv.AppendInt(text, int64(count.size), 10)
		text = strconv.AppendInt(append(text, ' '), int64(count.calls), 10)
		syscall.Write(1, append(text, '\n'))
	}
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

var before, after runtime.MemStats
var ready, done, begin, forever sync.WaitGroup
var rounds int
var workers [3]thread

func work(t *thread) {
	runtime.LockOSThread()
	t.id = syscall.Gettid()
	t.allKinds()
	t.counts = [128]count{}
	ready.Done()
	begin.Wait()
	for i := 0; i < rounds; i++ {
		t.allKinds()
	}
	done.Done()
	forever.Wait()
}

func main() {
	// A collection would take away what nobody asks about here, and allocate for itself.
	debug.SetGCPercent(-1)
	rounds, _ = strconv.Atoi(os.Args[1])
	for i, size := range sizes {
		halves[i] = string(make([]byte, size))
	}
	ready.Add(len(workers))
	done.Add(len(workers))
	begin.Add(1)
	forever.Add(1)
	for i := range workers {
		go work(&workers[i])
	}
	ready.Wait()
	runtime.ReadMemStats(&before)
	syscall.Write(1, []byte("ready\n"))
	awaitLine()
	runtime.ReadMemStats(&before)
	begin.Done()
	done.Wait()
	runtime.ReadMemStats(&after)
	for i := range workers {
		workers[i].report()
	}
	text := append(line[:0], "runtime "...)
	text = strconv.AppendUint(text, after.Mallocs-before.Mallocs, 10)
	text = strconv.AppendUint(append(text, ' '), after.TotalAlloc-before.TotalAlloc, 10)
	syscall.Write(1, append(text, '\n'))
	syscall.Write(1, []byte("done\n"))
	awaitLine()
	syscall.Exit(0)
}
