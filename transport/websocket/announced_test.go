//go:build !race

package websocket

import (
	"encoding/binary"
	"runtime"
	"testing"
)

// TestAnnouncedSizesCostNothing expects a frame over the limit to be refused for
// next to no memory, however much it announces, and one that is within the
// limit to be given memory only up to that (T1, D32).
func TestAnnouncedSizesCostNothing(t *testing.T) {
	const limit = 1 << 20
	for _, length := range []uint64{limit + 1, 1 << 40, 1<<63 - 1, 1 << 63, 1<<64 - 1} {
		for _, lead := range []struct {
			name  string
			bytes []byte
			op    byte
		}{
			{"at the beginning", nil, 0x82},
			{"in a continuation", join(fragment(0x2, false, "x")), 0x80},
		} {
			header := binary.BigEndian.AppendUint64([]byte{lead.op, 0xff}, length)
			in := join(lead.bytes, append(header, 1, 2, 3, 4))
			// Connections are made before, so that only the reading counts.
			const rounds = 100
			conns := make([]*conn, rounds)
			for i := range conns {
				conns[i] = newConn(&scriptConn{in: in, piece: len(in)}, setup{})
			}
			// Pooled buffers may have to be made anew after a collection.
			putChunk(getChunk())
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			for _, c := range conns {
				if _, err := c.ReadFrame(limit); asViolation(err) == nil {
					t.Fatalf("%d bytes announced %s: %v, want a violation", length, lead.name, err)
				}
			}
			runtime.ReadMemStats(&after)
			const most = 8 << 10 // the error and its text
			if n := (after.TotalAlloc - before.TotalAlloc) / rounds; n > most {
				t.Errorf("%d bytes announced %s: refused for %d bytes of memory, want at most %d", length, lead.name, n, most)
			}
		}
	}
}
