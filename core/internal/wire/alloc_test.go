//go:build !race

package wire

import (
	"bytes"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/tinylib/msgp/msgp"
)

// TestAllocs holds that the frames of a call or a stream cost no allocation in
// either direction.
func TestAllocs(t *testing.T) {
	payload := bytes.Repeat([]byte("p"), 512)
	buf := make([]byte, 0, 1<<10)
	var err error
	allocs := func(name string, appendTo func(dst []byte) []byte, parse func(f *Frame) error) {
		t.Run(name, func(t *testing.T) {
			if n := testing.AllocsPerRun(100, func() { buf = appendTo(buf[:0]) }); n != 0 {
				t.Errorf("append: %v allocations", n)
			}
			n := testing.AllocsPerRun(100, func() {
				var f Frame
				if f, _, err = Next(buf); err == nil {
					err = parse(&f)
				}
			})
			if n != 0 || err != nil {
				t.Errorf("parse: %v allocations, %v", n, err)
			}
		})
	}
	request := func(f *Frame) error { _, err := ParseRequest(f); return err }
	response := func(f *Frame) error { _, err := ParseResponse(f); return err }
	nothing := func(*Frame) error { return nil }
	allocs("REQUEST", func(dst []byte) []byte { return AppendRequest(dst, goldenID, 1, 2, FlagHigh, payload) }, request)
	allocs("REQUEST first part", func(dst []byte) []byte { return AppendRequestStart(dst, goldenID, 1, 2, 0, 1<<20, payload) }, request)
	allocs("RESPONSE", func(dst []byte) []byte { return AppendResponse(dst, goldenID, payload) }, response)
	allocs("RESPONSE nil", func(dst []byte) []byte { return AppendResponse(dst, goldenID, nil) }, response)
	allocs("RESPONSE first part", func(dst []byte) []byte { return AppendResponseStart(dst, goldenID, 1<<20, payload) }, response)
	packed := append(make([]byte, DecodedSize), payload...)
	allocs("REQUEST with all there is", func(dst []byte) []byte {
		dst = AppendRequest(dst, goldenID, 1, 2, 0, packed)
		SetCodec(dst, 1, 2, 4096)
		return InsertMetadata(InsertAccept(dst, 0, Accept{true, 1}), 0, payload[:8])
	}, request)
	allocs("RESPONSE with a codec", func(dst []byte) []byte {
		dst = AppendResponse(dst, goldenID, packed)
		SetCodec(dst, 1, 2, 4096)
		return dst
	}, response)
	allocs("FRAGMENT", func(dst []byte) []byte { return AppendFragment(dst, goldenID, payload) }, nothing)
	open := func(f *Frame) error { _, err := ParseOpen(f); return err }
	data := func(f *Frame) error { _, err := ParseData(f); return err }
	allocs("OPEN", func(dst []byte) []byte { return AppendOpen(dst, goldenID, 1, 2, 64, FlagLow, payload) }, open)
	allocs("OPEN first part", func(dst []byte) []byte { return AppendOpenStart(dst, goldenID, 1, 2, 64, 0, 1<<20, payload) }, open)
	allocs("DATA", func(dst []byte) []byte { return AppendData(dst, goldenID, payload) }, data)
	allocs("DATA first part", func(dst []byte) []byte { return AppendDataStart(dst, goldenID, 1<<20, payload) }, data)
	allocs("END", func(dst []byte) []byte { return AppendEnd(dst, goldenID) }, nothing)
	allocs("GRANT", func(dst []byte) []byte { return AppendGrant(dst, goldenID) }, nothing)
	allocs("CREDIT", func(dst []byte) []byte { return AppendCredit(dst, goldenID, 1, 512) },
		func(f *Frame) error { _, _, err := ParseCredit(f); return err })
	allocs("MARK", AppendMark, nothing)
	allocs("ACK", func(dst []byte) []byte { return AppendAck(dst, 1<<20) }, func(f *Frame) error { _, err := ParseAck(f); return err })
	allocs("LANES", func(dst []byte) []byte { return AppendLanes(dst, 3) }, func(f *Frame) error { _, err := ParseLanes(f); return err })
	allocs("PING", func(dst []byte) []byte { return AppendPing(dst, TypePing, 7) }, func(f *Frame) error { _, err := ParsePing(f); return err })
	allocs("RESET", func(dst []byte) []byte { return AppendStatus(dst, TypeReset, goldenID, Status{Code: CodeCanceled}) },
		func(f *Frame) error { _, err := ParseStatus(f); return err })
	allocs("batch with a checksum", func(dst []byte) []byte {
		dst = AppendPing(append(dst, make([]byte, ChecksumSize)...), TypePing, 7)
		PutChecksum(dst)
		return append(dst[:0], dst[ChecksumSize:]...)
	}, func(f *Frame) error { _, err := ParsePing(f); return err })
}

// TestHelloMemory: W52 no length that a stranger writes makes ParseHello take
// memory for it (T13).
func TestHelloMemory(t *testing.T) {
	const allowed = 64 << 10
	hellos := map[string][]byte{
		"largest":         AppendHello(nil, largestHello()),
		"2^32-1 fields":   helloFrame(prefixed(0xdf, 1<<32-1)),
		"endless key":     helloFrame(append([]byte{0x81}, prefixed(0xdb, 1<<32-1)...)),
		"longest bad key": helloFrame(msgp.AppendString([]byte{0x81}, strings.Repeat("\x00", 16000))),
	}
	for _, key := range []string{"from", "inst", "codecs", "dicts", "catalogue", "unknown"} {
		for _, lead := range []byte{0xdb, 0xc6, 0xdd, 0xdf, 0xc9} {
			hellos[fmt.Sprintf("%s with %#02x", key, lead)] = helloWith(map[string]any{key: prefixed(lead, 1<<32-1)})
		}
	}
	many := map[string]any{}
	for i := range maxHelloFields - len(required()) {
		many[fmt.Sprintf("%032d", i)] = strings.Repeat("v", 200)
	}
	hellos["most fields"] = helloWith(many)
	for name, b := range hellos {
		f, _, err := Next(b)
		if err != nil {
			t.Fatal(err)
		}
		if len(b) > MaxHandshakeFrame+HeaderSize {
			t.Errorf("%s: %d bytes never reach the parser", name, len(b))
		}
		const runs = 10
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range runs {
			_, err = ParseHello(&f)
		}
		runtime.ReadMemStats(&after)
		if n := (after.TotalAlloc - before.TotalAlloc) / runs; n > allowed {
			t.Errorf("%s: %d bytes allocated, %d allowed", name, n, allowed)
		}
		if ok := name == "largest" || name == "most fields"; ok != (err == nil) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
