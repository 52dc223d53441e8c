//go:build !race

package compress_test

import (
	"testing"

	"github.com/gridmux/gridmux/internal/samples"
)

// TestNoAllocations expects that a message costs no allocation in either
// direction when coders are there and dst has the room that is documented.
func TestNoAllocations(t *testing.T) {
	d := trained(t, "json", 1)
	for name, c := range codecs(d) {
		for _, k := range samples.Kinds {
			for _, size := range []int{0, 100, 200, 1000, 16 << 10, 100_000, 700_000} {
				if size > 1000 && (name == "s2-3" || name == "zstd-3") {
					continue // takes long, and nothing new
				}
				src := k.Payload(1, size)
				packed := make([]byte, 0, size+size/16384+32)
				decoded := make([]byte, 0, size)
				if size > 128<<10 {
					decoded = make([]byte, 0, size+128<<10)
				}
				for _, id := range []uint64{0, d.ID()} {
					out := c.AppendDict(packed, src, id)
					if n := testing.AllocsPerRun(3, func() { c.AppendDict(packed, src, id) }); n != 0 {
						t.Errorf("%s, %s, %d bytes, dictionary %x: Append has %v allocations", name, k.Name, size, id, n)
					}
					if n := testing.AllocsPerRun(3, func() {
						if _, err := c.DecodeDict(decoded, out, id, size); err != nil {
							t.Error(err)
						}
					}); n != 0 {
						t.Errorf("%s, %s, %d bytes, dictionary %x: Decode has %v allocations", name, k.Name, size, id, n)
					}
				}
			}
		}
	}
}
