package msgpack_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/tinylib/msgp/msgp"

	"github.com/gridmux/gridmux/core/internal/msgpack"
)

// TestReadHead holds every leading byte against what msgp says of it.
func TestReadHead(t *testing.T) {
	kinds := map[msgp.Type]msgpack.Kind{
		msgp.NilType: msgpack.Nil, msgp.BoolType: msgpack.Bool,
		msgp.IntType: msgpack.Number, msgp.UintType: msgpack.Number, msgp.Float32Type: msgpack.Number, msgp.Float64Type: msgpack.Number,
		msgp.StrType: msgpack.Str, msgp.BinType: msgpack.Bin, msgp.ArrayType: msgpack.Array, msgp.MapType: msgpack.Map,
		msgp.ExtensionType: msgpack.Ext, msgp.InvalidType: msgpack.Invalid,
	}
	for lead := range 256 {
		b := append([]byte{byte(lead)}, make([]byte, 600)...)
		h, err := msgpack.ReadHead(b)
		if want := kinds[msgp.NextType(b)]; h.Kind != want {
			t.Errorf("%#x: a %v, want a %v", lead, h.Kind, want)
		}
		if (err != nil) != (lead == 0xc1) {
			t.Errorf("%#x: %v", lead, err)
		}
		for size := range h.Size {
			if _, err := msgpack.ReadHead(b[:size]); !errors.Is(err, msgp.ErrShortBytes) {
				t.Errorf("%#x with %d bytes of its head: %v, want ErrShortBytes", lead, size, err)
			}
		}
	}
}

// TestSkip holds what Skip refuses, and that it allocates nothing.
func TestSkip(t *testing.T) {
	for _, test := range []struct {
		name  string
		b     []byte
		depth int
		rest  int
		err   error
	}{
		{"nothing", nil, 1, 0, msgp.ErrShortBytes},
		{"a number and more", []byte{1, 2, 3}, 0, 2, nil},
		{"an empty array within no depth", []byte{0x90}, 0, 0, msgp.ErrRecursion},
		{"an array in an array", []byte{0x91, 0x91, 0xc0, 7}, 2, 1, nil},
		{"an array in an array in too little depth", []byte{0x91, 0x91, 0xc0}, 1, 0, msgp.ErrRecursion},
		{"a map", []byte{0x81, 0xa1, 'k', 0xc3}, 1, 0, nil},
		{"a map without its last value", []byte{0x81, 0xa1, 'k'}, 1, 0, msgp.ErrShortBytes},
		{"2^32 elements", []byte{0xdd, 255, 255, 255, 255, 0, 0, 0, 0, 0, 0, 0}, 9, 0, msgp.ErrShortBytes},
		{"2^32 pairs", []byte{0xdf, 255, 255, 255, 255, 0, 0, 0, 0, 0, 0, 0}, 9, 0, msgp.ErrShortBytes},
		{"a string of 4 GiB", []byte{0xdb, 255, 255, 255, 255, 'a'}, 9, 0, msgp.ErrShortBytes},
		{"a binary of 4 GiB", []byte{0xc6, 255, 255, 255, 255, 'a'}, 9, 0, msgp.ErrShortBytes},
		{"an extension of 4 GiB", []byte{0xc9, 255, 255, 255, 255, 1, 'a'}, 9, 0, msgp.ErrShortBytes},
		{"a byte that means nothing", []byte{0x91, 0xc1}, 9, 0, msgp.InvalidPrefixError(0xc1)},
		{"ten million levels", bytes.Repeat([]byte{0x91}, 10_000_000), msgpack.MaxDepth, 0, msgp.ErrRecursion},
	} {
		var rest []byte
		var err error
		allocs := testing.AllocsPerRun(1, func() { rest, err = msgpack.Skip(test.b, test.depth) })
		if !errors.Is(err, test.err) || len(rest) != test.rest || allocs > 1 { // an InvalidPrefixError is allocated
			t.Errorf("%s: %d bytes left, %v, %g allocations; want %d, %v", test.name, len(rest), err, allocs, test.rest, test.err)
		}
	}
}

func FuzzSkip(f *testing.F) {
	f.Add([]byte{0x82, 0xa1, 'a', 0x92, 1, 0xcb, 0, 0, 0, 0, 0, 0, 0, 0, 0xa1, 'b', 0xd8, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9})
	f.Add([]byte{0xdd, 255, 255, 255, 255})
	f.Fuzz(func(t *testing.T, b []byte) {
		rest, err := msgpack.Skip(b, msgpack.MaxDepth)
		if errors.Is(err, msgp.ErrRecursion) {
			return
		}
		// The reference reads element after element, and has no early end.
		want, wantErr := msgp.Skip(b)
		if (err == nil) != (wantErr == nil) || err == nil && !bytes.Equal(rest, want) {
			t.Fatalf("%d bytes left, %v; msgp: %d, %v", len(rest), err, len(want), wantErr)
		}
	})
}
