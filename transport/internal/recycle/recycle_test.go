package recycle_test

import (
	"testing"

	"github.com/gridmux/gridmux/transport/internal/recycle"
)

// TestSizes expects a buffer to have room for what was asked for, up to 1 MiB as a
// power of two that can be used again, and beyond that no more.
func TestSizes(t *testing.T) {
	for range 2 { // the second time from the pools
		for _, c := range []struct{ n, want int }{
			{1, 64 << 10}, {64 << 10, 64 << 10}, {64<<10 + 1, 128 << 10}, {1 << 20, 1 << 20}, {1<<20 + 1, 1<<20 + 1}, {3 << 20, 3 << 20},
		} {
			l := recycle.GetLarge(c.n)
			if len(l.B) != c.want {
				t.Errorf("asked for %d: %d bytes, want %d", c.n, len(l.B), c.want)
			}
			l.Free()
		}
	}
}
