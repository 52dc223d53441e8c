package payload

import (
	"log/slog"

	"github.com/tinylib/msgp/msgp"

	"github.com/gridmux/gridmux/core/internal/msgpack"
)

// Bytes is a message of bytes, encoded as binary. Conversion is all it takes:
// payload.Bytes(b). Its size is bounded by that of a message alone.
type Bytes []byte //nolint:recvcheck // as Strings

// MarshalMsg implements msgp.Marshaler.
func (p Bytes) MarshalMsg(b []byte) ([]byte, error) {
	if p == nil {
		return msgp.AppendNil(b), nil
	}
	if err := checkSize(len(p), "Bytes"); err != nil {
		return b, err
	}
	return msgp.AppendBytes(b, p), nil
}

// UnmarshalMsg implements msgp.Unmarshaler. The bytes are copied, into the
// memory that p has if they fit.
func (p *Bytes) UnmarshalMsg(b []byte) ([]byte, error) {
	h, b, err := readHead(b, "Bytes", msgpack.Bin)
	if err != nil {
		return nil, err
	}
	if h.Kind == msgpack.Nil {
		*p = nil
		return b, nil
	}
	body, b, err := readBody(h, b, "Bytes")
	if err != nil {
		return nil, err
	}
	if *p == nil {
		*p = make(Bytes, 0, len(body)) // not nil even without bytes
	}
	*p = append((*p)[:0], body...)
	return b, nil
}

// Msgsize implements msgp.Sizer: an upper bound.
func (p Bytes) Msgsize() int { return msgp.BytesPrefixSize + len(p) }

// LogValue implements slog.LogValuer: the size, and nothing of the contents.
func (p Bytes) LogValue() slog.Value {
	if p == nil {
		return slog.AnyValue(nil)
	}
	return slog.GroupValue(slog.Int("size", len(p)))
}
