package payload

import (
	"log/slog"
	"maps"
	"net/url"
	"slices"

	"github.com/tinylib/msgp/msgp"

	"github.com/gridmux/gridmux/core/internal/msgpack"
)

// Values is a message of url.Values: payload.Values(r.URL.Query()) to send, and
// url.Values(v).Get to read. It has at most [MaxElements] names and values in
// all. The order in which names are encoded is not fixed.
type Values url.Values //nolint:recvcheck // as Strings

// MarshalMsg implements msgp.Marshaler.
func (v Values) MarshalMsg(b []byte) ([]byte, error) {
	if v == nil {
		return msgp.AppendNil(b), nil
	}
	total := len(v)
	for _, list := range v {
		total += len(list)
	}
	if err := checkLimit(total, "Values"); err != nil {
		return b, err
	}
	out := msgp.AppendMapHeader(b, uint32(len(v)))
	for name, list := range v {
		if err := checkSize(len(name), "Values"); err != nil {
			return b, err
		}
		out = msgp.AppendString(out, name)
		if list == nil {
			out = msgp.AppendNil(out)
			continue
		}
		out = msgp.AppendArrayHeader(out, uint32(len(list)))
		for _, value := range list {
			if err := checkSize(len(value), "Values"); err != nil {
				return b, err
			}
			out = msgp.AppendString(out, value)
		}
	}
	return out, nil
}

// UnmarshalMsg implements msgp.Unmarshaler. A name that comes twice is an error.
func (v *Values) UnmarshalMsg(b []byte) ([]byte, error) {
	h, b, err := readHead(b, "Values", msgpack.Map)
	if err != nil {
		return nil, err
	}
	if h.Kind == msgpack.Nil {
		*v = nil
		return b, nil
	}
	if err := checkCount(h.Len, 2, b, "Values"); err != nil {
		return nil, err
	}
	total := int(h.Len)
	*v = prepare(*v, h.Len)
	for range h.Len {
		var name []byte
		if name, b, err = readText(b, "name in Values"); err != nil {
			return nil, err
		}
		if _, twice := (*v)[string(name)]; twice {
			return nil, faultf(msgp.ErrDuplicateEntry, "Values: the name %q twice", clip(string(name)))
		}
		var list []string
		if list, b, err = readList(b); err != nil {
			return nil, err
		}
		total += len(list)
		if err := checkLimit(total, "Values"); err != nil {
			return nil, err
		}
		(*v)[string(name)] = list
	}
	return b, nil
}

// readList reads the values of one name.
func readList(b []byte) (list []string, rest []byte, err error) {
	const name = "list in Values"
	h, b, err := readHead(b, name, msgpack.Array)
	if err != nil || h.Kind == msgpack.Nil {
		return nil, b, err
	}
	if err := checkCount(h.Len, 1, b, name); err != nil {
		return nil, nil, err
	}
	list = make([]string, 0, min(h.Len, 64))
	for range h.Len {
		var value []byte
		if value, b, err = readText(b, "value in Values"); err != nil {
			return nil, nil, err
		}
		list = append(list, string(value))
	}
	return list, b, nil
}

// Msgsize implements msgp.Sizer: an upper bound.
func (v Values) Msgsize() int {
	n := msgp.MapHeaderSize
	for name, list := range v {
		n += msgp.StringPrefixSize + len(name) + msgp.ArrayHeaderSize
		for _, value := range list {
			n += msgp.StringPrefixSize + len(value)
		}
	}
	return n
}

// LogValue implements slog.LogValuer: a group of the first names in order, with
// the beginning of their first value and how many more there are.
func (v Values) LogValue() slog.Value {
	if len(v) == 0 {
		return slog.AnyValue(map[string][]string(v)) // a group would not be shown
	}
	return logEntries(slices.Sorted(maps.Keys(v)), func(name string) slog.Value {
		list := v[name]
		if len(list) == 0 {
			return slog.AnyValue(list)
		}
		return slog.StringValue(clip(list[0]) + more(len(list)-1))
	})
}
