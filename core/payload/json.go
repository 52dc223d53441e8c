package payload

import (
	"encoding/json"
	"fmt"
	"log/slog"

	"github.com/tinylib/msgp/msgp"
)

// JSON is a message of a type that package encoding/json encodes, for types that
// have no generated code. It costs several times what MessagePack does; the
// wire holds the JSON text as a string.
//
// A message is decoded into a new T, never over an old one. Fields that T does
// not have are ignored, as encoding/json does.
type JSON[T any] struct {
	Value T
}

// jsonSize is what Msgsize says: the size is known only when it is encoded.
const jsonSize = 256

// MarshalMsg implements msgp.Marshaler.
func (j JSON[T]) MarshalMsg(b []byte) ([]byte, error) {
	text, err := json.Marshal(j.Value)
	if err != nil {
		return b, fmt.Errorf("payload: JSON: %w", err)
	}
	if err := checkJSON(text); err != nil {
		return b, err
	}
	return msgp.AppendStringFromBytes(b, text), nil
}

// UnmarshalMsg implements msgp.Unmarshaler.
func (j *JSON[T]) UnmarshalMsg(b []byte) ([]byte, error) {
	text, rest, err := readText(b, "JSON")
	if err != nil {
		return nil, err
	}
	if err := checkJSON(text); err != nil {
		return nil, err
	}
	var value T
	if err := json.Unmarshal(text, &value); err != nil {
		return nil, fmt.Errorf("payload: JSON: %w", err)
	}
	j.Value = value
	return rest, nil
}

// Msgsize implements msgp.Sizer. It is a guess: encoding it is the only way to
// know the size.
func (JSON[T]) Msgsize() int { return msgp.StringPrefixSize + jsonSize }

// LogValue implements slog.LogValuer: the value's own LogValue, if it has one,
// or the beginning of its JSON text.
func (j JSON[T]) LogValue() slog.Value {
	if v, ok := any(j.Value).(slog.LogValuer); ok {
		return v.LogValue()
	}
	if v, ok := any(&j.Value).(slog.LogValuer); ok {
		return v.LogValue()
	}
	text, err := json.Marshal(j.Value)
	if err != nil {
		return slog.StringValue(clip(err.Error()))
	}
	return slog.StringValue(clip(string(text)))
}

// checkJSON holds the nesting of a text against [MaxDepth], and its size against
// the format. Whether it is JSON at all is for encoding/json to say, which
// allows a hundred times the depth.
func checkJSON(text []byte) error {
	if err := checkSize(len(text), "JSON"); err != nil {
		return err
	}
	depth, quoted := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quoted && c == '\\':
			i++ // what is escaped is no quote
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '[', c == '{':
			depth++
			if depth > MaxDepth {
				return faultf(msgp.ErrRecursion, "JSON: nested more than %d deep", MaxDepth)
			}
		case c == ']', c == '}':
			depth--
		}
	}
	return nil
}
