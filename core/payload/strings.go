package payload

import (
	"log/slog"
	"maps"
	"net/url"
	"slices"

	"github.com/tinylib/msgp/msgp"

	"github.com/gridmux/gridmux/core/internal/msgpack"
)

// Strings is a message of named strings, of [MaxElements] at most. The order in
// which they are encoded is not fixed: equal maps may differ on the wire.
type Strings map[string]string //nolint:recvcheck // a value converts and logs itself as well as a pointer does; decoding needs one

// ToQuery returns the strings as the query part of a URL, sorted by name and
// escaped.
func (s Strings) ToQuery() string {
	values := make(url.Values, len(s))
	for name, value := range s {
		values.Set(name, value)
	}
	return values.Encode()
}

// MarshalMsg implements msgp.Marshaler.
func (s Strings) MarshalMsg(b []byte) ([]byte, error) {
	if s == nil {
		return msgp.AppendNil(b), nil
	}
	if err := checkLimit(len(s), "Strings"); err != nil {
		return b, err
	}
	out := msgp.AppendMapHeader(b, uint32(len(s)))
	for name, value := range s {
		if err := checkSize(max(len(name), len(value)), "Strings"); err != nil {
			return b, err
		}
		out = msgp.AppendString(out, name)
		out = msgp.AppendString(out, value)
	}
	return out, nil
}

// UnmarshalMsg implements msgp.Unmarshaler. A name that comes twice is an error.
func (s *Strings) UnmarshalMsg(b []byte) ([]byte, error) {
	h, b, err := readHead(b, "Strings", msgpack.Map)
	if err != nil {
		return nil, err
	}
	if h.Kind == msgpack.Nil {
		*s = nil
		return b, nil
	}
	if err := checkCount(h.Len, 2, b, "Strings"); err != nil {
		return nil, err
	}
	*s = prepare(*s, h.Len)
	for range h.Len {
		var name, value []byte
		if name, b, err = readText(b, "name in Strings"); err != nil {
			return nil, err
		}
		if value, b, err = readText(b, "value in Strings"); err != nil {
			return nil, err
		}
		if _, twice := (*s)[string(name)]; twice {
			return nil, faultf(msgp.ErrDuplicateEntry, "Strings: the name %q twice", clip(string(name)))
		}
		(*s)[string(name)] = string(value)
	}
	return b, nil
}

// Msgsize implements msgp.Sizer: an upper bound.
func (s Strings) Msgsize() int {
	n := msgp.MapHeaderSize
	for name, value := range s {
		n += 2*msgp.StringPrefixSize + len(name) + len(value)
	}
	return n
}

// LogValue implements slog.LogValuer: a group of the first names in order, with
// the beginnings of their values.
func (s Strings) LogValue() slog.Value {
	if len(s) == 0 {
		return slog.AnyValue(map[string]string(s)) // a group would not be shown
	}
	return logEntries(slices.Sorted(maps.Keys(s)), func(name string) slog.Value {
		return slog.StringValue(clip(s[name]))
	})
}

// prepare returns a map for n entries, m if there is one.
func prepare[M ~map[string]V, V any](m M, n uint32) M {
	if m == nil {
		// What is announced takes memory when it has been seen.
		return make(M, min(n, 64))
	}
	clear(m)
	return m
}
