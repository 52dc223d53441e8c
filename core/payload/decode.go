package payload

import (
	"fmt"
	"math"

	"github.com/tinylib/msgp/msgp"

	"github.com/gridmux/gridmux/core/internal/msgpack"
)

const (
	// MaxElements is how many elements an [Array], entries [Strings], and names
	// and values together [Values] may have. A longer list is one for a stream,
	// which takes any number without holding them all.
	MaxElements = 1 << 16
	// MaxDepth is how deep arrays and maps, and those of JSON, may be nested in
	// a message.
	MaxDepth = msgpack.MaxDepth
)

// fault is what is wrong with a message, and the error of msgp that stands for
// its kind.
type fault struct {
	text string
	kind error
}

func (f *fault) Error() string { return "payload: " + f.text }
func (f *fault) Unwrap() error { return f.kind }

func faultf(kind error, format string, args ...any) error {
	return &fault{text: fmt.Sprintf(format, args...), kind: kind}
}

// msgpTypes name in errors of msgp what was wanted.
var msgpTypes = [...]msgp.Type{
	msgpack.Str: msgp.StrType, msgpack.Bin: msgp.BinType, msgpack.Array: msgp.ArrayType, msgpack.Map: msgp.MapType,
}

// readHead returns the head of the value of a type called name, which must be
// of a kind or nil, and what follows it.
func readHead(b []byte, name string, kind msgpack.Kind) (h msgpack.Head, rest []byte, err error) {
	h, err = msgpack.ReadHead(b)
	switch {
	case err != nil && len(b) == 0:
		return h, nil, faultf(err, "%s: nothing left of the message", name)
	case err != nil:
		return h, nil, faultf(err, "%s: no value begins with %#x", name, b[:min(len(b), 8)])
	case h.Kind != kind && h.Kind != msgpack.Nil:
		wrong := msgp.TypeError{Method: msgpTypes[kind], Encoded: msgp.NextType(b)}
		return h, nil, faultf(wrong, "%s: %v instead of %v", name, h.Kind, kind)
	}
	return h, b[h.Size:], nil
}

// readBody returns the bytes of the string or binary whose head was read.
func readBody(h msgpack.Head, b []byte, name string) (body, rest []byte, err error) {
	if uint64(h.Len) > uint64(len(b)) {
		return nil, nil, faultf(msgp.ErrShortBytes, "%s: %d bytes announced, %d left", name, h.Len, len(b))
	}
	return b[:h.Len:h.Len], b[h.Len:], nil
}

// readText returns the string that b begins with; nil is none.
func readText(b []byte, name string) (body, rest []byte, err error) {
	h, b, err := readHead(b, name, msgpack.Str)
	if err != nil {
		return nil, nil, err
	}
	if h.Kind == msgpack.Nil {
		return nil, nil, faultf(msgp.TypeError{Method: msgp.StrType, Encoded: msgp.NilType}, "%s: nil instead of string", name)
	}
	return readBody(h, b, name)
}

// checkCount holds a number of elements, each of at least size bytes, against
// the bytes that are left and the limit.
func checkCount(n uint32, size int, b []byte, name string) error {
	if uint64(n)*uint64(size) > uint64(len(b)) {
		return faultf(msgp.ErrShortBytes, "%s: %d elements announced, %d bytes left", name, n, len(b))
	}
	return checkLimit(int(n), name)
}

func checkLimit(n int, name string) error {
	if n > MaxElements {
		return faultf(msgp.ErrLimitExceeded, "%s: %d elements, at most %d fit in one message; send more as a stream", name, n, MaxElements)
	}
	return nil
}

// checkSize holds what is to be one string or binary against the format.
func checkSize(n int, name string) error {
	if uint64(n) > math.MaxUint32 {
		return faultf(msgp.ErrLimitExceeded, "%s: %d bytes in one value, at most %d can be encoded", name, n, uint32(math.MaxUint32))
	}
	return nil
}
