//go:build race || griddebug

package inmem

import "bytes"

var garbage = bytes.Repeat([]byte{0xdb}, 4096)

// poison makes the use of a frame after its time visible. It copies because the
// race detector does not see a later reader race with a byte loop or clear.
func poison(b []byte) {
	for len(b) > 0 {
		b = b[copy(b, garbage):]
	}
}
