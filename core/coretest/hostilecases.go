package coretest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/gridmux/gridmux/core/internal/msgpack"
)

const (
	maxExample = 4 << 10 // bytes of the encoding of an example
	maxValues  = 256     // values in it
	// levels is beyond the 100 000 at which msgp gives up where it counts, and
	// far from what exhausts a stack.
	levels = 150_000
)

// value is where in an encoding a value is.
type value struct {
	start, end int
	head       msgpack.Head
}

// findValues returns where the values of an encoding are, each before those
// that are within it.
func findValues(encoded []byte) (values []value, err error) {
	if len(encoded) > maxExample {
		return nil, fmt.Errorf("its encoding has %d bytes, at most %d are tried", len(encoded), maxExample)
	}
	end, err := collect(encoded, 0, &values)
	switch {
	case err != nil:
		return nil, fmt.Errorf("its encoding is no MessagePack: %w", err)
	case end != len(encoded):
		return nil, fmt.Errorf("its encoding is more than one value: %d of %d bytes are behind the first", len(encoded)-end, len(encoded))
	case len(values) > maxValues:
		return nil, fmt.Errorf("its encoding has %d values, at most %d are tried", len(values), maxValues)
	}
	return values, nil
}

func collect(encoded []byte, start int, values *[]value) (end int, err error) {
	head, err := msgpack.ReadHead(encoded[start:])
	if err != nil {
		return 0, err
	}
	// An encoding that is cut off is found here.
	rest, err := msgpack.Skip(encoded[start:], msgpack.MaxDepth)
	if err != nil {
		return 0, err
	}
	end = len(encoded) - len(rest)
	*values = append(*values, value{start: start, end: end, head: head})
	within := int(head.Len)
	switch head.Kind {
	case msgpack.Array:
	case msgpack.Map:
		within *= 2
	default:
		return end, nil
	}
	for at := start + head.Size; within > 0; within-- {
		if at, err = collect(encoded, at, values); err != nil {
			return 0, err
		}
	}
	return end, nil
}

// longLeads are the bytes that begin values whose length has 32 bits.
var longLeads = map[msgpack.Kind]byte{
	msgpack.Str: 0xdb, msgpack.Bin: 0xc6, msgpack.Ext: 0xc9, msgpack.Array: 0xdd, msgpack.Map: 0xdf,
}

// lengths replaces every length in the message by ones that are too large.
func (j *judge) lengths(encoded []byte, values []value) {
	j.t.Helper()
	for _, v := range values {
		lead, ok := longLeads[v.head.Kind]
		if !ok {
			continue
		}
		// Each is a small multiple of the one before: what allocates by what is
		// announced is found before it takes all the memory that there is.
		for _, length := range []uint32{1 << 4, 1 << 8, 1 << 12, 1 << 16, 1 << 20, 1 << 24, 1 << 28, 1<<31 - 1, 1<<32 - 1} {
			if uint64(length) > math.MaxInt {
				break // msgp itself takes it for a negative number
			}
			head := binary.BigEndian.AppendUint32([]byte{lead}, length)
			if v.head.Kind == msgpack.Ext {
				head = append(head, encoded[v.start+v.head.Size-1]) // its type
			}
			cut := slices.Concat(encoded[:v.start], head)
			whole := slices.Concat(cut, encoded[v.start+v.head.Size:])
			tooLong := uint64(length) > uint64(len(encoded))
			if !j.judgef(cut, true, "that ends after the head of its %v at byte %d, of length %d", v.head.Kind, v.start, length) ||
				!j.judgef(whole, tooLong, "in which the %v at byte %d announces a length of %d", v.head.Kind, v.start, length) {
				break
			}
		}
	}
}

// strangers are values of every kind.
var strangers = [][]byte{
	{0xc0},
	{0xc1},
	{0xc3},
	{0},
	{0xff},
	{0xcf, 255, 255, 255, 255, 255, 255, 255, 255},
	{0xd3, 128, 0, 0, 0, 0, 0, 0, 0},
	{0xca, 0x7f, 0xc0, 0, 0},
	{0xcb, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0},
	{0xa0},
	{0xa3, 'a', 0xff, 'c'},
	{0xc4, 0},
	{0xc4, 1, 0},
	{0x90},
	{0x92, 0xc0, 0xc0},
	{0x80},
	{0x81, 0xc0, 0xc0},
	{0x81, 0xa1, 'k', 0xc0},
	{0xc7, 0, 5},
	{0xd6, 0xff, 255, 255, 255, 255},
	{0xc7, 12, 0xff, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255},
	{0xd7, 3, 0, 0, 0, 0, 0, 0, 0, 0},
	{0xc7, 1, 3, 0},
	{0xc7, 1, 4, 0},
	{0xc7, 1, 5, 0},
}

// replaced puts a value of every kind, and one of many levels, in the place of
// each value.
func (j *judge) replaced(encoded []byte, values []value) {
	j.t.Helper()
	deep := [][]byte{
		append(bytes.Repeat([]byte{0x91}, levels), 0xc0),
		append(bytes.Repeat([]byte{0x81, 0xa0}, levels), 0xc0),
	}
	for _, v := range values {
		in := func(stranger []byte) []byte {
			return slices.Concat(encoded[:v.start], stranger, encoded[v.end:])
		}
		for _, stranger := range strangers {
			j.judgef(in(stranger), false, "in which % x is at byte %d in place of the %v", stranger, v.start, v.head.Kind)
		}
		for _, stranger := range deep {
			j.judgef(in(stranger), false, "in which %d levels are at byte %d in place of the %v", levels, v.start, v.head.Kind)
		}
		j.judgef(in(greedy()), false, "in which each of many levels at byte %d announces as many elements as bytes follow", v.start)
	}
}

// greedy is arrays within each other that each announce as many elements as
// there are bytes behind them.
func greedy() (b []byte) {
	const arrays = 1000
	for left := arrays - 1; left >= 0; left-- {
		b = binary.BigEndian.AppendUint16(append(b, 0xdc), uint16(3*left))
	}
	return b
}

// nested puts values into themselves. A value has the type of one that is within
// it if it can take its place.
func (j *judge) nested(encoded []byte, values []value) {
	j.t.Helper()
	for i, outer := range values {
		for _, inner := range values[i+1:] {
			if inner.end > outer.end {
				break // behind it, as are all that follow
			}
			if inner.head.Kind != outer.head.Kind {
				continue
			}
			in := func(levels int, innermost []byte) []byte {
				return slices.Concat(encoded[:outer.start],
					bytes.Repeat(encoded[outer.start:inner.start], levels), innermost, bytes.Repeat(encoded[inner.end:outer.end], levels),
					encoded[outer.end:])
			}
			whole := encoded[inner.start:inner.end]
			if v := j.try(in(8, whole)); v.err != nil || v.panicked != nil {
				continue
			}
			for _, levels := range []int{levels / 100, levels} {
				good := j.judgef(in(levels, whole), false, "in which the value at byte %d is %d times within itself", outer.start, levels)
				// The path to what is wrong is as long as the value is deep.
				wrong := []byte{0xc3}
				bad := j.judgef(in(levels, wrong), false, "in which the value at byte %d is %d times within itself, wrong at the end",
					outer.start, levels)
				if !good || !bad {
					break
				}
			}
		}
	}
}
