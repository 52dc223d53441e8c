package wire

import (
	"encoding/binary"
	"hash/crc32"
	"maps"
	"slices"

	"github.com/tinylib/msgp/msgp"
)

// helloFrame makes a HELLO of any body, with the checksum that it needs.
func helloFrame(m []byte) []byte {
	return raw(TypeHello, 0, 0, 0, 0, m, u32(crc32.Checksum(m, castagnoli)))
}

// required are the values of the fields that a HELLO cannot do without.
func required() map[string]any {
	return map[string]any{
		"from": "a", "to": "b", "inst": make([]byte, InstanceSize),
		"maxframe": uint64(MinMaxFrame), "maxmsg": uint64(0), "maxcalls": uint64(0),
	}
}

// helloWith makes a HELLO of the required fields, changed by the given ones. A
// value of type msgp.Raw stands as it is, also where it is no MessagePack; nil
// removes a field.
func helloWith(change map[string]any) []byte {
	fields := required()
	maps.Copy(fields, change)
	maps.DeleteFunc(fields, func(_ string, v any) bool { return v == nil })
	m := msgp.AppendMapHeader(nil, uint32(len(fields)))
	for _, key := range slices.Sorted(maps.Keys(fields)) {
		m = appendField(m, key, fields[key])
	}
	return helloFrame(m)
}

func appendField(m []byte, key string, v any) []byte {
	m = msgp.AppendString(m, key)
	if r, ok := v.(msgp.Raw); ok {
		return append(m, r...)
	}
	m, err := msgp.AppendIntf(m, v)
	if err != nil {
		panic(err)
	}
	return m
}

// prefixed is a MessagePack object that announces a length of 32 bits and has
// the given bytes.
func prefixed(lead byte, length uint32, rest ...byte) msgp.Raw {
	return append(binary.BigEndian.AppendUint32([]byte{lead}, length), rest...)
}
