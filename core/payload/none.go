package payload

import (
	"log/slog"

	"github.com/tinylib/msgp/msgp"
)

// None is a message without contents, for handlers that take or return nothing.
// On the wire it is nil, one byte.
type None struct{} //nolint:recvcheck // as Strings

// MarshalMsg implements msgp.Marshaler.
func (None) MarshalMsg(b []byte) ([]byte, error) { return msgp.AppendNil(b), nil }

// UnmarshalMsg implements msgp.Unmarshaler.
func (*None) UnmarshalMsg(b []byte) ([]byte, error) {
	switch {
	case len(b) == 0:
		return nil, faultf(msgp.ErrShortBytes, "None: nothing left of the message")
	case !msgp.IsNil(b):
		return nil, faultf(msgp.TypeError{Method: msgp.NilType, Encoded: msgp.NextType(b)}, "None: a value where none is expected")
	}
	return b[msgp.NilSize:], nil
}

// Msgsize implements msgp.Sizer.
func (None) Msgsize() int { return msgp.NilSize }

// LogValue implements slog.LogValuer.
func (None) LogValue() slog.Value { return slog.StringValue("none") }
