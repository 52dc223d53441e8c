package payload

import (
	"fmt"
	"log/slog"
	"strconv"
	"unsafe"

	"github.com/tinylib/msgp/msgp"

	"github.com/gridmux/gridmux/core/internal/msgpack"
)

// message is what an element is: what the msgp tool generates for T, or a type
// of this package.
type message[T any] interface {
	*T
	msgp.Marshaler
	msgp.Unmarshaler
	msgp.Sizer
}

// Array is a message of elements of type T in order, of [MaxElements] at most. PT
// is always *T; Go does not infer it in a type: payload.Array[Disk, *Disk]. In a
// program an alias saves repeating it:
//
//	type Disks = payload.Array[Disk, *Disk]
//
// A slice of T converts to it: Disks(list). Elements nest at most [MaxDepth]
// deep, and the counts that they announce are checked too, whatever their own
// decoder checks. Each is decoded over a zero T.
type Array[T any, PT message[T]] []T

// firstBytes is what memory an array begins with at most. Beyond it memory
// grows with the elements that have been decoded.
const firstBytes = 64 << 10

// MarshalMsg implements msgp.Marshaler.
func (a Array[T, PT]) MarshalMsg(b []byte) ([]byte, error) {
	if a == nil {
		return msgp.AppendNil(b), nil
	}
	if err := checkLimit(len(a), "Array"); err != nil {
		return b, err
	}
	out := msgp.AppendArrayHeader(b, uint32(len(a)))
	for i := range a {
		var err error
		if out, err = PT(&a[i]).MarshalMsg(out); err != nil {
			return b, fmt.Errorf("payload: Array: element %d: %w", i, err)
		}
	}
	return out, nil
}

// UnmarshalMsg implements msgp.Unmarshaler.
func (a *Array[T, PT]) UnmarshalMsg(b []byte) ([]byte, error) {
	h, elements, err := readHead(b, "Array", msgpack.Array)
	if err != nil {
		return nil, err
	}
	if h.Kind == msgpack.Nil {
		*a = nil
		return elements, nil
	}
	if err := checkCount(h.Len, 1, elements, "Array"); err != nil {
		return nil, err
	}
	// Elements decode themselves, and may believe what they read.
	if _, err := msgpack.Skip(b, MaxDepth); err != nil {
		return nil, fmt.Errorf("payload: Array of %d: %w", h.Len, err)
	}
	var zero T
	list := (*a)[:0]
	if list == nil {
		list = make(Array[T, PT], 0, min(int(h.Len), firstBytes/max(int(unsafe.Sizeof(zero)), 1)+1))
	}
	for i := range int(h.Len) {
		list = append(list, zero)
		if elements, err = PT(&list[i]).UnmarshalMsg(elements); err != nil {
			return nil, fmt.Errorf("payload: Array: element %d of %d: %w", i, h.Len, err)
		}
	}
	*a = list
	return elements, nil
}

// Msgsize implements msgp.Sizer: an upper bound, if those of the elements are.
func (a Array[T, PT]) Msgsize() int {
	n := msgp.ArrayHeaderSize
	for i := range a {
		n += PT(&a[i]).Msgsize()
	}
	return n
}

// LogValue implements slog.LogValuer: the number of elements, and the first of
// them if they are slog.LogValuers themselves.
func (a Array[T, PT]) LogValue() slog.Value {
	if a == nil {
		return slog.AnyValue(nil)
	}
	attrs := []slog.Attr{slog.Int("len", len(a))}
	for i := range a[:min(len(a), maxLogElements)] {
		if v, ok := any(PT(&a[i])).(slog.LogValuer); ok {
			attrs = append(attrs, slog.Attr{Key: strconv.Itoa(i), Value: v.LogValue()})
		}
	}
	return slog.GroupValue(attrs...)
}
