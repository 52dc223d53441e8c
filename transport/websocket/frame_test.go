package websocket

import (
	"bytes"
	"testing"

	"github.com/gobwas/ws"
)

// TestHeaderAgainstLibrary writes headers and reads them back, ours and the
// library's, for every length form.
func TestHeaderAgainstLibrary(t *testing.T) {
	for _, length := range []int{0, 1, 124, 125, 126, 127, 65535, 65536, 70000} {
		for _, mask := range []*[4]byte{nil, {1, 2, 3, 4}} {
			payload := bytes.Repeat([]byte("payload"), length/7+1)[:length]
			f := append(make([]byte, headroom), payload...)
			out := putHeader(f, ws.OpBinary, mask)

			theirs, err := readWire(bytes.NewReader(out))
			if err != nil {
				t.Fatalf("length %d: %v", length, err)
			}
			if theirs.Header.Masked {
				theirs = ws.UnmaskFrameInPlace(theirs)
			}
			if !theirs.Header.Fin || theirs.Header.OpCode != ws.OpBinary || !bytes.Equal(theirs.Payload, payload) {
				t.Errorf("length %d: the library reads %+v", length, theirs.Header)
			}
			if want := ws.HeaderSize(ws.Header{Length: int64(length), Masked: mask != nil}); len(out) != want+length {
				t.Errorf("length %d: a header of %d bytes, want %d", length, len(out)-length, want)
			}

			var h header
			for n := range len(out) - length {
				if need, v := h.parse(out[:n], mask != nil); v != nil || need <= n {
					t.Errorf("length %d: parse of %d bytes: needs %d, %v", length, n, need, v)
				}
			}
			if need, v := h.parse(out, mask != nil); need != 0 || v != nil {
				t.Fatalf("length %d: parse: needs %d, %v", length, need, v)
			}
			if h.length != uint64(length) || h.size != len(out)-length || !h.fin || h.op != ws.OpBinary {
				t.Errorf("length %d: parsed %+v", length, h)
			}
			if mask != nil && h.mask != *mask {
				t.Errorf("mask %v, want %v", h.mask, *mask)
			}
		}
	}
}

func TestMasksDiffer(t *testing.T) {
	c, _ := rawPair(t, true)
	seen := make(map[[4]byte]bool)
	for range 1000 {
		seen[*c.nextMask()] = true
	}
	// Two equal ones among a thousand are a matter of one in 8,000.
	if len(seen) < 998 {
		t.Errorf("%d different masks of 1000", len(seen))
	}
	// A seed of its own for each connection.
	other, _ := rawPair(t, true)
	same := 0
	for range 10 {
		if *c.nextMask() == *other.nextMask() {
			same++
		}
	}
	if same > 1 {
		t.Error("two connections mask alike")
	}
}
