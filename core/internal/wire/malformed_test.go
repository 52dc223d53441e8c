package wire

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
)

// check is an input and what becomes of it: nothing if err is empty, else an
// error that contains it. Beside each refusal stands the nearest thing that is
// allowed.
type check struct {
	rule string
	name string
	data []byte
	err  string
}

func runChecks(t *testing.T, checks []check) {
	for _, c := range checks {
		t.Run(c.rule+" "+c.name, func(t *testing.T) {
			_, _, err := parseAll(c.data)
			switch {
			case c.err == "" && err != nil:
				t.Fatalf("%v, want no error", err)
			case c.err == "":
			case err == nil:
				t.Fatalf("no error, want one with %q", c.err)
			case !errors.Is(err, ErrMalformed):
				t.Fatalf("%v does not match ErrMalformed", err)
			case !strings.Contains(err.Error(), c.err):
				t.Fatalf("%v, want an error with %q", err, c.err)
			}
		})
	}
}

func TestMalformedHeader(t *testing.T) {
	ping := AppendPing(nil, TypePing, 1)
	oversize := func(n uint32) []byte {
		b := AppendPing(nil, TypePing, 1)
		copy(b, u32(n))
		return b
	}
	runChecks(t, []check{
		{"W1", "empty batch", nil, ""},
		{"W1", "two frames", slices.Concat(ping, ping), ""},
		{"W1", "frame cut in its header", ping[:HeaderSize-1], "a header has 16"},
		{"W1", "frame cut in its body", ping[:len(ping)-1], "body of 8 bytes announced, 7 are left"},
		{"W1", "bytes after the last frame", append(slices.Clip(ping), 0), "1 bytes left"},
		{"W10", "length one too large", oversize(9), "body of 9 bytes announced, 8 are left"},
		{"W10", "length of 31 bits", oversize(1<<31 - 1), "body of 2147483647 bytes announced"},
		{"W10", "length negative as an int32", oversize(1 << 31), "body of 2147483648 bytes announced"},
		{"W10", "length that wraps with the header", oversize(1<<32 - HeaderSize), "body of 4294967280 bytes announced"},
		{"W10", "largest length", oversize(1<<32 - 1), "body of 4294967295 bytes announced"},
		{"W12", "ignorable type with anything in it", raw(0x80, 0xff, 1, 1, 1, []byte("x")), ""},
		{"W12", "highest type", raw(0xff, 0xff, 1, 1, 1), ""},
		{"W12", "unknown type passes here, for the receiver to judge", raw(0x24, 0, 0, 0, 1), ""},
		{"W14", "padding with anything in it", raw(TypePadding, 0xff, 1, 1, 1, []byte("x")), ""},
		{"W15", "REQUEST with a codec passes here, for the receiver to refuse", raw(TypeRequest, 0, 1, 1, 2, make([]byte, 16), u32(1)), ""},
		{"W15", "REQUEST with a dictionary of no codec", raw(TypeRequest, 0, 0, 1, 2, make([]byte, 16)), "dictionary 1 of no codec"},
		{"W15", "RESPONSE with a codec passes here, for the receiver to judge", raw(TypeResponse, 0, 1, 1, 2, u32(1)), ""},
		{"W15", "RESPONSE with a dictionary of no codec", raw(TypeResponse, 0, 0, 1, 2), "dictionary 1 of no codec"},
		{"W15", "ERROR with a codec", raw(TypeError, FlagNil, 1, 0, 2, make([]byte, 6)), "ERROR with codec 1"},
		{"W15", "REFUSED with a dictionary", raw(TypeRefused, FlagNil, 0, 1, 2, make([]byte, 6)), "REFUSED with codec 0, dictionary 1"},
		{"W15", "FRAGMENT with a codec", raw(TypeFragment, 0, 1, 0, 2, []byte("x")), "FRAGMENT with codec 1"},
		{"W15", "RESET with a codec", raw(TypeReset, 0, 1, 0, 2, make([]byte, 6)), "RESET with codec 1"},
		{"W15", "PING with a dictionary", raw(TypePing, 0, 0, 1, 0, make([]byte, 8)), "PING with codec 0, dictionary 1"},
		{"W16", "PING with an id", raw(TypePing, 0, 0, 0, 1, make([]byte, 8)), "PING with call id"},
		{"W16", "PONG with an id", raw(TypePong, 0, 0, 0, 1<<63, make([]byte, 8)), "PONG with call id"},
		{"W16", "GOAWAY with an id", AppendStatus(nil, TypeGoaway, 2, Status{}), "GOAWAY with call id"},
		{"W16", "REJECT with an id", AppendStatus(nil, TypeReject, 2, Status{}), "REJECT with call id"},
		{"W16", "INIT with an id", raw(TypeInit, 0, 0, 0, 1, make([]byte, initSize)), "INIT with call id"},
		{"W16", "HELLO with an id", raw(TypeHello, 0, 0, 0, 1), "HELLO with call id"},
		{"W23", "FRAGMENT of one byte", AppendFragment(nil, 2, []byte("x")), ""},
		{"W23", "FRAGMENT of nothing", AppendFragment(nil, 2, nil), "FRAGMENT without a part"},
		{"W40", "PING of seven bytes", raw(TypePing, 0, 0, 0, 0, make([]byte, 7)), "PING of 7 bytes"},
		{"W40", "PONG of nine bytes", raw(TypePong, 0, 0, 0, 0, make([]byte, 9)), "PONG of 9 bytes"},
	})
}

// TestFlags: W13 every type with every flag passes exactly if PROTOCOL.md allows
// it; that the document and allowedFlags agree is TestDocumentTypes.
func TestFlags(t *testing.T) {
	for _, ty := range append(slices.Clip(knownTypes), 0x17, 0x24, 0x7f, 0x80, 0xff) {
		for fl := range 256 {
			body := []byte("x")
			if ty == TypeMark || ty == TypeEnd || ty == TypeGrant {
				body = nil
			}
			_, _, err := Next(raw(ty, Flags(fl), 0, 0, 0, body))
			ok := Flags(fl)&^allowedFlags(ty) == 0 || ty == TypePadding || ty.Ignorable()
			if ok != (err == nil) || !ok && !errors.Is(err, ErrMalformed) {
				t.Errorf("%v with flags %#02x: %v", ty, fl, err)
			}
		}
	}
}

// TestMalformedCall holds the parsers of the frames that begin a message to W13,
// W20 to W22 and W80 W81.
func TestMalformedCall(t *testing.T) {
	head := make([]byte, requestHead)
	request := func(fl Flags, parts ...[]byte) []byte {
		return raw(TypeRequest, fl, 0, 0, 2, append([][]byte{head}, parts...)...)
	}
	response := func(fl Flags, parts ...[]byte) []byte { return raw(TypeResponse, fl, 0, 0, 2, parts...) }
	open := func(fl Flags, parts ...[]byte) []byte {
		return raw(TypeOpen, fl, 0, 0, 2, append([][]byte{head, u32(1)}, parts...)...)
	}
	data := func(fl Flags, parts ...[]byte) []byte { return raw(TypeData, fl, 0, 0, 2, parts...) }
	x := []byte("x")
	checks := []check{
		{"W20", "body of its head only", request(0), ""},
		{"W20", "body of 15 bytes", raw(TypeRequest, 0, 0, 0, 2, head[1:]), "REQUEST of 15 bytes"},
		{"W20", "empty body", raw(TypeRequest, 0, 0, 0, 2), "REQUEST of 0 bytes"},
		{"W13", "HIGH", request(FlagHigh), ""},
		{"W13", "LOW", request(FlagLow), ""},
		{"W13", "HIGH with LOW", request(FlagHigh | FlagLow), "two priorities"},
		{"W21", "empty body", response(0), ""},
		{"W80", "body of its head only", open(0), ""},
		{"W80", "body of 19 bytes", raw(TypeOpen, 0, 0, 0, 2, make([]byte, openHead-1)), "OPEN of 19 bytes"},
		{"W80", "empty body", raw(TypeOpen, 0, 0, 0, 2), "OPEN of 0 bytes"},
		{"W80", "no capacity", raw(TypeOpen, 0, 0, 0, 2, head, u32(0)), "capacity of 0 messages"},
		{"W80", "largest capacity", raw(TypeOpen, 0, 0, 0, 2, head, u32(1<<20)), ""},
		{"W80", "capacity over the limit", raw(TypeOpen, 0, 0, 0, 2, head, u32(1<<20+1)), "capacity of 1048577 messages"},
		{"W80", "capacity of 32 bits", raw(TypeOpen, 0, 0, 0, 2, head, u32(1<<32-1)), "capacity of 4294967295 messages"},
		{"W13", "OPEN HIGH", open(FlagHigh), ""},
		{"W13", "OPEN LOW", open(FlagLow), ""},
		{"W13", "OPEN HIGH with LOW", open(FlagHigh | FlagLow), "two priorities"},
		{"W81", "empty message", data(0), ""},
		{"W13", "DATA NIL", data(FlagNil), "not defined for DATA"},
		{"W13", "DATA METADATA", data(FlagMetadata, u16(0)), "not defined for DATA"},
	}
	half := u64(2)
	coded := func(b []byte) []byte { b[6] = 1; return b }
	for name, frame := range map[string]func(Flags, ...[]byte) []byte{"REQUEST": request, "OPEN": open} {
		checks = append(checks,
			check{"W95", name + " ACCEPT", frame(FlagAccept, []byte{7}), ""},
			check{"W95", name + " ACCEPT with NIL", frame(FlagAccept|FlagNil, []byte{0}), ""},
			check{"W95", name + " ACCEPT without a number", frame(FlagAccept), "without what it accepts"},
			check{"W95", name + " ACCEPT behind metadata, without a number", frame(FlagAccept|FlagMetadata, u16(1), x), "without what it accepts"},
			check{"W15", name + " compressed and NIL", coded(frame(FlagNil, u32(1))), "nil payload of 0 bytes, codec 1"},
		)
	}
	checks = append(checks,
		check{"W13", "RESPONSE ACCEPT", response(FlagAccept, []byte{0}), "not defined for RESPONSE"},
		check{"W13", "DATA ACCEPT", data(FlagAccept, []byte{0}), "not defined for DATA"},
	)
	for name, frame := range map[string]func(Flags, ...[]byte) []byte{"REQUEST": request, "RESPONSE": response, "OPEN": open, "DATA": data} {
		checks = append(checks,
			check{"W22", name + " first part", frame(FlagFragmented, half, half, x), ""},
			check{"W22", name + " without sizes", frame(FlagFragmented), "without the size"},
			check{"W22", name + " with half of its sizes", frame(FlagFragmented, half, half[:7]), "without the size"},
			check{"W22", name + " first part of no byte", frame(FlagFragmented, half, half), "first part of 0 bytes of a message of 2"},
			check{"W22", name + " first part of all bytes", frame(FlagFragmented, half, half, x, x), "first part of 2 bytes of a message of 2"},
			check{"W22", name + " first part of more bytes", frame(FlagFragmented, half, half, x, x, x), "first part of 3 bytes of a message of 2"},
			check{"W22", name + " message of no byte", frame(FlagFragmented, u64(0), u64(0)), "first part of 0 bytes of a message of 0"},
			check{"W22", name + " largest size", frame(FlagFragmented, u64(1<<64-1), u64(1<<64-1), x), ""},
			check{"W22", name + " sizes that differ", frame(FlagFragmented, half, u64(3), x), "is 3 once decoded by codec 0"},
			check{"W22", name + " compressed, first part", coded(frame(FlagFragmented, half, u64(3), x)), ""},
			check{"W15", name + " compressed in parts, not smaller", coded(frame(FlagFragmented, half, half, x)), "is 2 once decoded by codec 1"},
			check{"W22", name + " compressed", coded(frame(0, u32(2), x)), ""},
			check{"W22", name + " compressed, largest size", coded(frame(0, u32(1<<32-1), x)), ""},
			check{"W15", name + " compressed, of nothing", coded(frame(0, u32(0))), "is 0 once decoded by codec 1"},
			check{"W22", name + " compressed without the decoded size", coded(frame(0, u16(0), x)), "without the decoded size"},
		)
	}
	more := make([]byte, WindowExcess)
	withDict := func(frame []byte) []byte {
		frame[7] = 1
		return frame
	}
	checks = append(checks,
		check{"W98", "DATA in a window, more than decoded", coded(data(0, u32(1), x, more)), ""},
		check{"W98", "DATA in no window, with a dictionary", withDict(coded(data(0, u32(1), x))), "is 1 once decoded by codec 1"},
		check{"W98", "DATA in a window, much more than decoded", coded(data(0, u32(1), x, more, x)), "is 1 once decoded by codec 1"},
	)
	for name, frame := range map[string]func(Flags, ...[]byte) []byte{"REQUEST": request, "RESPONSE": response, "OPEN": open} {
		checks = append(checks,
			check{"W15", name + " compressed, not smaller", coded(frame(0, u32(1), x)), "is 1 once decoded by codec 1"},
			check{"W13", name + " NIL", frame(FlagNil), ""},
			check{"W13", name + " NIL with a payload", frame(FlagNil, x), "nil payload of 1 bytes"},
			check{"W13", name + " NIL with FRAGMENTED", frame(FlagNil|FlagFragmented, half, half, x), "nil payload"},
			check{"W22", name + " metadata", frame(FlagMetadata, u16(1), x), ""},
			check{"W22", name + " empty metadata", frame(FlagMetadata, u16(0)), ""},
			check{"W22", name + " metadata without a length", frame(FlagMetadata), "without the size of its metadata"},
			check{"W22", name + " metadata with half a length", frame(FlagMetadata, x), "without the size of its metadata"},
			check{"W22", name + " metadata cut", frame(FlagMetadata, u16(2), x), "2 bytes of metadata announced, 1 are left"},
			check{"W22", name + " largest metadata", frame(FlagMetadata, u16(MaxMetadata), bytesOf(MaxMetadata)), ""},
			check{"W22", name + " metadata over the limit", frame(FlagMetadata, u16(MaxMetadata+1), bytesOf(MaxMetadata+1)), "4097 bytes of metadata"},
			check{"W22", name + " first part that is metadata only", frame(FlagFragmented|FlagMetadata, half, half, u16(1), x), "first part of 0 bytes"},
		)
	}
	runChecks(t, checks)
}

func TestMalformedStatus(t *testing.T) {
	status := func(ty Type, fl Flags, n uint16, msg, detail []byte) []byte {
		id := CallID(2)
		if belongsToNoCall(ty) {
			id = 0
		}
		return raw(ty, fl, 0, 0, id, u32(1), u16(n), msg, detail)
	}
	long := uint16(MaxStatusMessage)
	var checks []check
	for _, ty := range []Type{TypeError, TypeRefused, TypeReset, TypeGoaway, TypeReject} {
		none := allowedFlags(ty) & FlagNil
		checks = append(checks,
			check{"W31", ty.String() + " shortest", status(ty, none, 0, nil, nil), ""},
			check{"W31", ty.String() + " of five bytes", raw(ty, none, 0, 0, 0, make([]byte, 5)), "of 5 bytes"},
			check{"W31", ty.String() + " message cut", status(ty, none, 2, []byte("x"), nil), "message of 2 bytes announced, 1 are left"},
			check{"W31", ty.String() + " longest message", status(ty, none, long, bytesOf(MaxStatusMessage), nil), ""},
			check{"W31", ty.String() + " message over the limit", status(ty, none, long+1, bytesOf(MaxStatusMessage+1), nil), "message of 4097 bytes"},
			check{"W31", ty.String() + " message that is not UTF-8", status(ty, none, 1, []byte{0xff}, nil), "not UTF-8"},
			check{"W31", ty.String() + " message cut in a character", status(ty, none, 1, []byte("ä")[:1], nil), "not UTF-8"},
		)
		if none == 0 {
			checks = append(checks, check{"W31", ty.String() + " with a detail", status(ty, 0, 0, nil, []byte("x")), "nil detail of 1 bytes"})
			continue
		}
		checks = append(checks,
			check{"W13", ty.String() + " NIL with a detail", status(ty, FlagNil, 0, nil, []byte("x")), "nil detail of 1 bytes"},
			check{"W31", ty.String() + " empty detail", status(ty, 0, 0, nil, nil), ""},
			check{"W31", ty.String() + " largest detail", status(ty, 0, 1, []byte("x"), bytesOf(MaxStatusDetail)), ""},
			check{"W31", ty.String() + " detail over the limit", status(ty, 0, 1, []byte("x"), bytesOf(MaxStatusDetail+1)), "detail of 16385 bytes"},
		)
	}
	runChecks(t, checks)
}

// TestChecksum: W42 any changed bit is noticed, and nothing of the batch comes
// out.
func TestChecksum(t *testing.T) {
	batch := append(make([]byte, ChecksumSize), AppendPing(nil, TypePing, 7)...)
	PutChecksum(batch)
	if rest, ok := CheckBatch(batch); !ok || !bytes.Equal(rest, batch[ChecksumSize:]) {
		t.Fatalf("CheckBatch = % x, %v for a good batch", rest, ok)
	}
	for i := range 8 * len(batch) {
		batch[i/8] ^= 1 << (i % 8)
		if rest, ok := CheckBatch(batch); ok || rest != nil {
			t.Fatalf("CheckBatch = % x, %v with bit %d changed", rest, ok, i)
		}
		batch[i/8] ^= 1 << (i % 8)
	}
	for n := range ChecksumSize {
		if rest, ok := CheckBatch(batch[:n]); ok || rest != nil {
			t.Errorf("CheckBatch = % x, %v for %d bytes", rest, ok, n)
		}
	}
	empty := make([]byte, ChecksumSize)
	PutChecksum(empty)
	if rest, ok := CheckBatch(empty); !ok || len(rest) != 0 {
		t.Errorf("CheckBatch = % x, %v for a batch without frames", rest, ok)
	}
}

func bytesOf(n int) []byte { return []byte(strings.Repeat("m", n)) }
