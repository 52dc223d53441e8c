package quic

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/gridmux/gridmux/transport"
)

// FuzzRecord expects the parser of records never to ask for bytes that it has, to
// know the same whatever follows, and what it understood to be what was encoded.
func FuzzRecord(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{5, 0, 0, 0, 'h'})
	f.Add(beginRecord())
	f.Add(closeRecord(7, "bye"))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 7, 0, 0, 0, 121})
	f.Add([]byte{0, 0, 0, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		var r record
		need, err := r.parse(b)
		switch {
		case err != nil:
			v, ok := err.(*violation)
			if !ok || v.code != transport.CodeProtocol && v.code != transport.CodeTooLarge {
				t.Fatalf("% x: %v", b, err)
			}
			return
		case need != 0:
			if need <= len(b) || need > closeHead {
				t.Fatalf("% x: %d bytes are needed", b, need)
			}
			return
		case r.size > len(b) || r.body > maxFrame:
			t.Fatalf("% x: %+v", b, r)
		}
		var again record
		if need, err := again.parse(b[:r.size]); need != 0 || err != nil || again != r {
			t.Errorf("% x alone: %+v, %d, %v; before %+v", b[:r.size], again, need, err, r)
		}
		var header []byte
		switch r.mark {
		case markBegin:
			header = beginRecord()
		case markClose:
			if header = closeRecord(r.code, "")[:closeHead-1]; r.body <= transport.MaxReason {
				header = append(header, byte(r.body))
			}
		default:
			header = binary.LittleEndian.AppendUint32(nil, uint32(r.body))
		}
		if !bytes.Equal(header, b[:r.size]) {
			t.Errorf("% x means %+v, which is % x", b[:r.size], r, header)
		}
	})
}

// FuzzClose expects what CloseWithError sends to be read as what was meant.
func FuzzClose(f *testing.F) {
	f.Add(uint32(0), "")
	f.Add(uint32(7), "bye")
	f.Add(uint32(1<<32-1), "\xff")
	f.Fuzz(func(t *testing.T, code uint32, reason string) {
		b := closeRecord(code, reason)
		var r record
		if need, err := r.parse(b); need != 0 || err != nil || r.mark != markClose || r.size+r.body != len(b) {
			t.Fatalf("% x: %+v, %d, %v", b, r, need, err)
		}
		end, err := closeError(r.code, b[r.size:])
		if err != nil || end.Code != code || end.Reason != transport.CutReason(reason) {
			t.Errorf("%d %q became %v, %v", code, reason, end, err)
		}
	})
}
