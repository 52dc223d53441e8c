package lab_test

import (
	"testing"

	"github.com/gridmux/gridmux/core/internal/lab"
)

// TestPattern holds that a pattern is what it is said to be, for any size.
func TestPattern(t *testing.T) {
	for _, size := range []int{0, 1, 255, 256, 257, 1000, 65_536, 70_001} {
		for _, n := range []int{0, 1, 5, 1_000_003} {
			b := lab.Pattern(n, size)
			if len(b) != size {
				t.Fatalf("a pattern of %d bytes has %d", size, len(b))
			}
			for i := range b {
				if want := byte(n*131 + i + i>>8 + i>>16); b[i] != want {
					t.Fatalf("byte %d of pattern %d is %d, want %d", i, n, b[i], want)
				}
			}
		}
	}
}
