package websocket

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/gobwas/ws"
)

// TestEveryBeginning gives all 65,536 beginnings of a frame to both sides and
// expects exactly those that RFC 6455 forbids to be refused, from these two
// bytes alone, with the code that it asks for: 1003 for text, which we do not
// understand, 1002 for the rest.
func TestEveryBeginning(t *testing.T) {
	for _, toServer := range []bool{true, false} {
		for n := range 1 << 16 {
			first, second := byte(n>>8), byte(n)
			var want ws.StatusCode
			switch op := first & 0x0f; {
			case first&0x70 != 0, op > 2 && op < 8, op > 10:
				want = 1002 // reserved bit or opcode
			case toServer != (second > 127):
				want = 1002 // masks are for clients, and for all of them
			case op >= 8 && (first < 128 || second&127 > 125):
				want = 1002 // control frames are whole and short
			case op == 1:
				want = 1003
			}
			var h header
			need, v := h.parse([]byte{first, second}, toServer)
			switch {
			case v == nil && want != 0:
				t.Fatalf("toServer=%v: %08b %08b is taken, want code %d", toServer, first, second, want)
			case v != nil && v.code != want:
				t.Fatalf("toServer=%v: %08b %08b is refused with %v, want code %d", toServer, first, second, v, want)
			case v == nil && need == 0 && (toServer || second&127 > 125):
				t.Fatalf("toServer=%v: %08b %08b is a whole header, want more bytes", toServer, first, second)
			}
		}
	}
}

// TestLengthForms expects every length to be taken in its shortest form alone.
// RFC 6455 section 5.2 demands that of senders and leaves receivers the choice;
// ours is to refuse the others, so that a frame has one encoding.
func TestLengthForms(t *testing.T) {
	for _, length := range []uint64{0, 1, 125, 126, 127, 255, 65535, 65536, 1 << 20, 1 << 32, 1 << 40, 1<<63 - 1, 1 << 63, 1<<64 - 1} {
		for _, form := range []int{7, 16, 64} {
			for _, toServer := range []bool{true, false} {
				b := []byte{0x82, 0}
				switch {
				case form == 7 && length < 126:
					b[1] = byte(length)
				case form == 16 && length <= 0xffff:
					b = binary.BigEndian.AppendUint16([]byte{0x82, 126}, uint16(length))
				case form == 64:
					b = binary.BigEndian.AppendUint64([]byte{0x82, 127}, length)
				default:
					continue
				}
				if toServer {
					b[1] |= 0x80
					b = append(b, 1, 2, 3, 4)
				}
				shortest := form == 7 || form == 16 && length >= 126 || form == 64 && length >= 1<<16
				t.Run(fmt.Sprintf("%d in %d bits toServer=%v", length, form, toServer), func(t *testing.T) {
					var h header
					need, v := h.parse(b, toServer)
					switch good := shortest && length < 1<<63; {
					case need != 0:
						t.Errorf("parse wants %d bytes of %d", need, len(b))
					case good && (v != nil || h.length != length || h.size != len(b)):
						t.Errorf("parsed as %+v, %v", h, v)
					case !good && (v == nil || v.code != ws.StatusProtocolError || v.section != "5.2"):
						t.Errorf("parsed as %+v, %v; want code 1002", h, v)
					}
				})
			}
		}
	}
}
