package wire

import (
	"reflect"
	"strings"
	"testing"
)

// TestMalformedCodecs holds the parser of CODECS to W94.
func TestMalformedCodecs(t *testing.T) {
	frame := func(parts ...[]byte) []byte { return raw(TypeCodecs, 0, 0, 0, 0, parts...) }
	name := func(n int) []byte { return append([]byte{byte(n)}, strings.Repeat("c", n)...) }
	var sixteen []byte
	for range MaxCodecs {
		sixteen = append(sixteen, name(32)...)
	}
	runChecks(t, []check{
		{"W94", "a name", frame([]byte{1}, name(2)), ""},
		{"W94", "a dictionary", frame([]byte{0}, make([]byte, 9)), ""},
		{"W94", "the most there can be", frame([]byte{16}, sixteen, make([]byte, 255*9)), ""},
		{"W94", "empty body", frame(), "CODECS of 0 bytes"},
		{"W94", "nothing", frame([]byte{0}), "CODECS of nothing"},
		{"W94", "17 names", frame([]byte{17}, sixteen, name(1)), "more than 16 names"},
		{"W94", "256 dictionaries", frame([]byte{0}, make([]byte, 256*9)), "dictionaries of 2304 bytes"},
		{"W94", "a name that is missing", frame([]byte{2}, name(2)), "empty, too long or cut"},
		{"W94", "an empty name", frame([]byte{1, 0}), "empty, too long or cut"},
		{"W94", "a name of 33 bytes", frame([]byte{1}, name(33)), "empty, too long or cut"},
		{"W94", "a name that is cut", frame([]byte{1, 3, 'a', 'b'}), "empty, too long or cut"},
		{"W94", "a name that is not UTF-8", frame([]byte{1, 1, 0xff}), "not UTF-8"},
		{"W94", "a dictionary that is cut", frame([]byte{0}, make([]byte, 10)), "dictionaries of 10 bytes"},
		{"W16", "with an id", raw(TypeCodecs, 0, 0, 0, 2, []byte{1}, name(2)), "CODECS with call id"},
	})
}

// TestRoundTripCodecs: W94 what was announced arrives.
func TestRoundTripCodecs(t *testing.T) {
	property(t, func(n, d uint8) bool {
		var want codecs
		for i := range n % (MaxCodecs + 1) {
			want.names = append(want.names, strings.Repeat("n", int(i)+1))
		}
		for i := range d {
			want.dicts = append(want.dicts, Dict{i, uint64(i) << 56})
		}
		if len(want.names)+len(want.dicts) == 0 {
			return true
		}
		b := AppendCodecs(nil, want.names, want.dicts)
		f, got := one(t, func(dst []byte) []byte { return AppendCodecs(dst, want.names, want.dicts) })
		return f.Type == TypeCodecs && f.ID == 0 && reflect.DeepEqual(got, want) && len(b) == CodecsSize(want.names, want.dicts)
	})
}
