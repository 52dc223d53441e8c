package wire

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/tinylib/msgp/msgp"
)

func TestMalformedInit(t *testing.T) {
	good := AppendInit(nil, &Init{MinVersion: 1, MaxVersion: 3})[HeaderSize:]
	with := func(i int, v byte) []byte {
		b := bytes.Clone(good)
		b[i] = v
		return b
	}
	init := func(b ...[]byte) []byte { return raw(TypeInit, 0, 0, 0, 0, b...) }
	runChecks(t, []check{
		{"W51", "range of versions", init(good), ""},
		{"W51", "longer", init(good, []byte("x")), ""},
		{"W51", "shorter", init(good[:len(good)-1]), "does not speak gridmux"},
		{"W51", "empty", init(), "does not speak gridmux"},
		{"W51", "other magic", init(with(3, 'x')), "does not speak gridmux"},
		{"W51", "lowest version is the highest", init(with(4, 3)), ""},
		{"W51", "lowest version above the highest", init(with(4, 4)), "versions 4 to 3"},
	})
	if _, err := ParseInit(&Frame{Type: TypeHello, Body: good}); err == nil {
		t.Error("W51: ParseInit takes a HELLO")
	}
	if _, err := ParseHello(&Frame{Type: TypeInit, Body: helloWith(nil)[HeaderSize:]}); err == nil {
		t.Error("W52: ParseHello takes an INIT")
	}
}

func TestMalformedProof(t *testing.T) {
	proof := func(n int) []byte { return raw(TypeProof, 0, 0, 0, 0, make([]byte, n)) }
	runChecks(t, []check{
		{"W58", "empty", proof(0), ""},
		{"W50", "proof of 8192 bytes", proof(MaxProof), ""},
		{"W50", "proof of 8193 bytes", proof(MaxProof + 1), "PROOF of 8193 bytes"},
		{"W16", "PROOF with an id", raw(TypeProof, 0, 0, 0, 2), "PROOF with call id"},
		{"W16", "READY with an id", raw(TypeReady, 0, 0, 0, 2), "READY with call id"},
		{"W55", "READY", AppendReady(nil), ""},
		{"W55", "READY with a body", raw(TypeReady, 0, 0, 0, 0, []byte{1}), "READY of 1 bytes"},
	})
	if _, err := ParseProof(&Frame{Type: TypeHello}); err == nil {
		t.Error("W58: ParseProof takes a HELLO")
	}
	if ParseReady(&Frame{Type: TypeHello}) == nil {
		t.Error("W55: ParseReady takes a HELLO")
	}
}

// TestMalformedHello holds the parser of HELLO to refusing every breach of W52 and
// its limits (T13).
func TestMalformedHello(t *testing.T) {
	good := helloWith(nil)
	set := func(key string, v any) []byte { return helloWith(map[string]any{key: v}) }
	name := func(n int) string { return strings.Repeat("n", n) }
	list := func(n, size int) (out []any) {
		for range n {
			out = append(out, name(size))
		}
		return out
	}
	unknown := func(n int) []byte {
		m := map[string]any{}
		for i := range n - len(required()) {
			m[fmt.Sprintf("x%d", i)] = true
		}
		return helloWith(m)
	}
	body := good[HeaderSize : len(good)-4]
	twice := func(key string, v any) []byte {
		b := bytes.Clone(body)
		b[0]++ // a map of one more
		return helloFrame(appendField(b, key, v))
	}
	checks := []check{
		{"W52", "required fields", good, ""},
		{"W52", "empty body", raw(TypeHello, 0, 0, 0, 0), "HELLO of 0 bytes"},
		{"W52", "body of three bytes", raw(TypeHello, 0, 0, 0, 0, make([]byte, 3)), "HELLO of 3 bytes"},
		{"W52", "checksum only", helloFrame(nil), "map of 0 fields"},
		{"W52", "wrong checksum", raw(TypeHello, 0, 0, 0, 0, body, u32(0)), "checksum"},
		{"W52", "empty map", helloFrame([]byte{0x80}), "is missing"},
		{"W52", "array instead of a map", helloFrame([]byte{0x90}), "map"},
		{"W52", "byte after the last field", helloFrame(append(bytes.Clone(body), 0xc0)), "1 bytes after"},
		{"W52", "map that is cut", helloFrame(body[:len(body)-1]), "HELLO"},
		{"W52", "64 fields", unknown(64), ""},
		{"W52", "65 fields", unknown(65), "map of 65 fields"},
		{"W52", "2^32-1 fields", helloFrame(prefixed(0xdf, 1<<32-1)), "map of 4294967295 fields"},
		{"W52", "more fields than there are", helloFrame([]byte{0x81}), "key"},
		{"W52", "map header cut", helloFrame([]byte{0xdf, 0, 0}), "map"},
		{"W52", "known field twice", twice("from", "a"), "twice"},
		{"W52", "unknown field twice", helloFrame([]byte{0x82, 0xa1, 'x', 0xc0, 0xa1, 'x', 0xc0}), `field "x" twice`},
		{"W52", "empty key twice", helloFrame([]byte{0x82, 0xa0, 0xc0, 0xa0, 0xc0}), "twice"},
		{"W52", "key of 32 bytes", set(name(32), true), ""},
		{"W52", "key of 33 bytes", set(name(33), true), "key: malformed frame: 33 bytes, 32 allowed"},
		{"W52", "key that is a number", helloFrame([]byte{0x81, 0x01, 0x01}), "key"},
		{"W52", "key that is a byte string", helloFrame([]byte{0x81, 0xc4, 0x01, 'x', 0x01}), "key"},
		{"W52", "key that is not UTF-8", helloFrame([]byte{0x81, 0xa1, 0xff, 0x01}), "not UTF-8"},
		{"W52", "key longer than the body", helloFrame(append([]byte{0x81}, prefixed(0xdb, 1<<32-1)...)), "key"},
		{"W52", "instance of 15 bytes", set("inst", make([]byte, 15)), "15 bytes instead of 16"},
		{"W52", "instance of 17 bytes", set("inst", make([]byte, 17)), "17 bytes, 16 allowed"},
		{"W52", "instance that is a string", set("inst", name(16)), "inst"},
		{"W52", "digest of 32 bytes", set("catalogue", make([]byte, 32)), ""},
		{"W52", "digest of 31 bytes", set("catalogue", make([]byte, 31)), "31 bytes instead of 32"},
		{"W52", "empty digest", set("catalogue", []byte{}), "0 bytes instead of 32"},
		{"W52", "empty name of the sender", set("from", ""), "without a name"},
		{"W52", "empty name of the receiver", set("to", ""), "without a name"},
		{"W52", "empty name of the cluster", set("cluster", ""), ""},
		{"W52", "16 compressors of 32 bytes", set("codecs", list(16, 32)), ""},
		{"W52", "17 compressors", set("codecs", list(17, 2)), "17 elements, 16 allowed"},
		{"W52", "compressor of 33 bytes", set("codecs", list(1, 33)), "33 bytes, 32 allowed"},
		{"W52", "2^32-1 compressors", set("codecs", prefixed(0xdd, 1<<32-1)), "4294967295 elements, 16 allowed"},
		{"W52", "16 compressors announced, none there", helloFrame([]byte{0x81, 0xa6, 'c', 'o', 'd', 'e', 'c', 's', 0xdc, 0, 16}), "codecs"},
		{"W52", "compressors that are no array", set("codecs", "zstd"), "codecs"},
		{"W52", "compressor that is no string", set("codecs", []any{1}), "codecs"},
		{"W52", "255 dictionaries", set("dicts", make([]byte, 255*9)), ""},
		{"W52", "256 dictionaries", set("dicts", make([]byte, 256*9)), "2304 bytes, 2295 allowed"},
		{"W52", "no dictionaries", set("dicts", []byte{}), ""},
		{"W52", "a dictionary that is cut", set("dicts", make([]byte, 17)), "dictionaries of 17 bytes"},
		{"W52", "dictionaries that are no byte string", set("dicts", "123456789"), "dicts"},
		{"W59", "smallest maxframe", set("maxframe", uint64(65536)), ""},
		{"W59", "maxframe too small", set("maxframe", uint64(65535)), "frames of 65535 bytes"},
		{"W59", "maxframe 0", set("maxframe", uint64(0)), "frames of 0 bytes"},
		{"W59", "largest maxmsg", set("maxmsg", uint64(1<<63-1)), ""},
		{"W59", "smallest win", set("win", uint64(1)), ""},
		{"W59", "win 0", set("win", uint64(0)), "windows of 0"},
		{"W59", "largest win", set("win", uint64(1<<30)), ""},
		{"W59", "win too large", set("win", uint64(1<<30+1)), "windows of 1073741825"},
		{"W59", "win of 64 bits", set("win", uint64(1<<64-1)), "windows of 18446744073709551615"},
		{"W52", "linkwin is a field like any unknown one", set("linkwin", uint64(1<<64-1)), ""},
		{"W59", "maxmsg too large", set("maxmsg", uint64(1<<63)), "messages of 9223372036854775808"},
	}
	for key := range required() {
		checks = append(checks, check{"W52", "without " + key, set(key, nil), fmt.Sprintf("field %q is missing", key)})
	}
	for _, key := range []string{"cluster", "from", "to"} {
		checks = append(checks,
			check{"W50", key + " of 255 bytes", set(key, name(MaxName)), ""},
			check{"W50", key + " of 256 bytes", set(key, name(MaxName+1)), "256 bytes, 255 allowed"},
			check{"W52", key + " that is not UTF-8", set(key, msgp.Raw{0xa1, 0xff}), "not UTF-8"},
			check{"W52", key + " that is a byte string", set(key, []byte("x")), key},
		)
	}
	// maxmsg and win: W59.
	for key, bits := range map[string]int{"feat": 64, "maxframe": 32, "maxmsg": 63, "maxcalls": 32, "win": 30, "alive": 32} {
		checks = append(checks,
			check{"W52", key + " largest", set(key, uint64(1)<<(bits-1)<<1-1), ""},
			check{"W52", key + " in a wide signed form", set(key, msgp.Raw{0xd3, 0, 0, 0, 0, 0, 1, 0, 0}), ""},
			check{"W52", key + " negative", set(key, int64(-1)), key},
			check{"W52", key + " negative in a wide form", set(key, msgp.Raw{0xd3, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}), key},
			check{"W52", key + " that is a float", set(key, 1.5), key},
			check{"W52", key + " that is nil", set(key, msgp.Raw{0xc0}), key},
		)
		if bits == 32 {
			checks = append(checks, check{"W52", key + " over 32 bits", set(key, uint64(1)<<32), key})
		}
	}
	runChecks(t, append(checks, unknownFields()...))
}

// unknownFields are fields with the unknown key "x" and a value of every type
// that MessagePack has.
func unknownFields() (checks []check) {
	field := func(name string, v msgp.Raw, err string) {
		checks = append(checks, check{"W52", "unknown field: " + name, helloWith(map[string]any{"x": v}), err})
	}
	for name, v := range map[string]msgp.Raw{
		"nil": {0xc0}, "false": {0xc2}, "true": {0xc3}, "fixint": {0x7f}, "negative fixint": {0xff},
		"uint8": {0xcc, 1}, "uint16": {0xcd, 1, 2}, "uint32": {0xce, 1, 2, 3, 4}, "uint64": {0xcf, 1, 2, 3, 4, 5, 6, 7, 8},
		"int8": {0xd0, 1}, "int16": {0xd1, 1, 2}, "int32": {0xd2, 1, 2, 3, 4}, "int64": {0xd3, 1, 2, 3, 4, 5, 6, 7, 8},
		"float32": {0xca, 1, 2, 3, 4}, "float64": {0xcb, 1, 2, 3, 4, 5, 6, 7, 8},
		"fixstr": {0xa1, 'v'}, "str8": {0xd9, 1, 'v'}, "str16": {0xda, 0, 1, 'v'}, "str32": prefixed(0xdb, 1, 'v'),
		"bin8": {0xc4, 1, 'v'}, "bin16": {0xc5, 0, 1, 'v'}, "bin32": prefixed(0xc6, 1, 'v'),
	} {
		field(name, v, "")
	}
	for name, v := range map[string]msgp.Raw{
		"empty fixmap": {0x80}, "fixmap": {0x81, 0xa1, 'k', 0xc0}, "map16": {0xde, 0, 0}, "map32": prefixed(0xdf, 0),
		"empty fixarray": {0x90}, "fixarray": {0x91, 0xc0}, "array16": {0xdc, 0, 0}, "array32": prefixed(0xdd, 0),
		"endless map": prefixed(0xdf, 1<<32-1), "endless array": prefixed(0xdd, 1<<32-1),
	} {
		field(name, v, "with a map or an array")
	}
	for name, v := range map[string]msgp.Raw{
		"fixext1": {0xd4, 9, 0}, "fixext2": {0xd5, 9, 0, 0}, "fixext4": {0xd6, 9, 0, 0, 0, 0},
		"fixext8": append([]byte{0xd7, 9}, make([]byte, 8)...), "fixext16": append([]byte{0xd8, 9}, make([]byte, 16)...),
		"ext8": {0xc7, 1, 9, 0}, "ext16": {0xc8, 0, 1, 9, 0}, "ext32": prefixed(0xc9, 1, 9, 0),
		"timestamp":        append([]byte{0xd6, 0xff}, make([]byte, 4)...),
		"timestamp of 96":  append([]byte{0xc7, 12, 0xff}, make([]byte, 12)...),
		"time of msgp":     append([]byte{0xc7, 12, 5}, make([]byte, 12)...),
		"complex of msgp":  append([]byte{0xd7, 3}, make([]byte, 8)...),
		"endless time":     prefixed(0xc9, 1<<32-1, 5),
		"header cut short": {0xc9},
	} {
		field(name, v, "with an extension")
	}
	field("byte that begins nothing", msgp.Raw{0xc1}, "no MessagePack type")
	// Lengths that are negative, or wrap, where int has 32 bits.
	for _, lead := range []byte{0xdb, 0xc6} {
		for _, n := range []uint32{1 << 12, 1<<31 - 1, 1 << 31, 1<<32 - 6, 1<<32 - 5, 1<<32 - 1} {
			field(fmt.Sprintf("%#02x of %d bytes that are not there", lead, n), prefixed(lead, n), `field "x"`)
		}
	}
	return checks
}

// TestHelloLengths32: W52 a length of 32 bits that is more than is there is
// refused for every known field, also where int has 32 bits.
func TestHelloLengths32(t *testing.T) {
	for _, key := range []string{"cluster", "from", "to", "inst", "codecs", "dicts", "catalogue"} {
		for _, lead := range []byte{0xdb, 0xc6} {
			for _, n := range []uint32{1 << 12, 1<<31 - 1, 1 << 31, 1<<32 - 6, 1<<32 - 5, 1<<32 - 1} {
				v := prefixed(lead, n)
				if key == "codecs" {
					v = append(msgp.Raw{0x91}, v...)
				}
				if _, _, err := parseAll(helloWith(map[string]any{key: v})); err == nil {
					t.Errorf("%s: %#02x with a length of %d is accepted", key, lead, n)
				}
			}
		}
	}
}
