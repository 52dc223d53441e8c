//go:build !race

package inmem_test

import (
	"testing"

	"github.com/gridmux/gridmux/transport/inmem"
)

// TestAllocations holds the steady state to no allocation per frame, on the way
// there, back, and when reader and writer wait for each other.
func TestAllocations(t *testing.T) {
	near, far := pair(t, inmem.NewNetwork())
	for _, size := range []int{0, 1, 512, 5000, 64 << 10, 1 << 20} {
		frames := [][]byte{make([]byte, size)}
		if n := testing.AllocsPerRun(200, func() {
			if err := near.WriteFrames(frames); err != nil {
				t.Fatal(err)
			}
			if _, err := far.ReadFrame(1 << 20); err != nil {
				t.Fatal(err)
			}
		}); n > 0 {
			t.Errorf("a frame of %d bytes costs %v allocations", size, n)
		}
	}

	go echo(far)
	batch := [][]byte{make([]byte, 100), make([]byte, 2000), {}, make([]byte, 30000)}
	if n := testing.AllocsPerRun(200, func() {
		if err := near.WriteFrames(batch); err != nil {
			t.Fatal(err)
		}
		for range batch {
			if _, err := near.ReadFrame(1 << 20); err != nil {
				t.Fatal(err)
			}
		}
	}); n > 0 {
		t.Errorf("a batch there and back costs %v allocations", n)
	}
}
