package msgpack

import (
	"encoding/binary"

	"github.com/tinylib/msgp/msgp"
)

// Kind is what a value is.
type Kind uint8

// The kinds of values. Integers and floats of all widths are numbers.
const (
	Invalid Kind = iota
	Nil
	Bool
	Number
	Str
	Bin
	Array
	Map
	Ext
)

var kindNames = [...]string{"invalid byte", "nil", "bool", "number", "string", "binary", "array", "map", "extension"}

func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return kindNames[Invalid]
}

// Head is the beginning of a value.
type Head struct {
	Kind Kind
	Size int    // bytes of the head; all bytes of a nil, bool or number
	Len  uint32 // Str, Bin, Ext: bytes behind the head; Array: elements; Map: pairs
}

// form is what one leading byte between 0xc0 and 0xdf stands for.
type form struct {
	kind   Kind
	size   uint8 // of the head
	length uint8 // bytes of the head that hold Len, right behind the leading one
	fixed  uint8 // Len, if no bytes hold it
}

var forms = [32]form{
	{kind: Nil, size: 1},
	{kind: Invalid, size: 1},
	{kind: Bool, size: 1},
	{kind: Bool, size: 1},
	{kind: Bin, size: 2, length: 1},
	{kind: Bin, size: 3, length: 2},
	{kind: Bin, size: 5, length: 4},
	{kind: Ext, size: 3, length: 1},
	{kind: Ext, size: 4, length: 2},
	{kind: Ext, size: 6, length: 4},
	{kind: Number, size: 5},
	{kind: Number, size: 9},
	{kind: Number, size: 2},
	{kind: Number, size: 3},
	{kind: Number, size: 5},
	{kind: Number, size: 9},
	{kind: Number, size: 2},
	{kind: Number, size: 3},
	{kind: Number, size: 5},
	{kind: Number, size: 9},
	{kind: Ext, size: 2, fixed: 1},
	{kind: Ext, size: 2, fixed: 2},
	{kind: Ext, size: 2, fixed: 4},
	{kind: Ext, size: 2, fixed: 8},
	{kind: Ext, size: 2, fixed: 16},
	{kind: Str, size: 2, length: 1},
	{kind: Str, size: 3, length: 2},
	{kind: Str, size: 5, length: 4},
	{kind: Array, size: 3, length: 2},
	{kind: Array, size: 5, length: 4},
	{kind: Map, size: 3, length: 2},
	{kind: Map, size: 5, length: 4},
}

// ReadHead returns the head of the value that b begins with. The head is in b
// as a whole; what follows it may not be. Errors: msgp.ErrShortBytes,
// msgp.InvalidPrefixError.
func ReadHead(b []byte) (Head, error) {
	if len(b) == 0 {
		return Head{}, msgp.ErrShortBytes
	}
	switch c := b[0]; {
	case c < 0x80 || c >= 0xe0:
		return Head{Kind: Number, Size: 1}, nil
	case c < 0x90:
		return Head{Kind: Map, Size: 1, Len: uint32(c & 0x0f)}, nil
	case c < 0xa0:
		return Head{Kind: Array, Size: 1, Len: uint32(c & 0x0f)}, nil
	case c < 0xc0:
		return Head{Kind: Str, Size: 1, Len: uint32(c & 0x1f)}, nil
	}
	f := forms[b[0]-0xc0]
	if f.kind == Invalid {
		return Head{}, msgp.InvalidPrefixError(b[0])
	}
	if len(b) < int(f.size) {
		return Head{}, msgp.ErrShortBytes
	}
	h := Head{Kind: f.kind, Size: int(f.size), Len: uint32(f.fixed)}
	switch f.length {
	case 1:
		h.Len = uint32(b[1])
	case 2:
		h.Len = uint32(binary.BigEndian.Uint16(b[1:]))
	case 4:
		h.Len = binary.BigEndian.Uint32(b[1:])
	}
	return h, nil
}
