package wire

import (
	"encoding/binary"
	"hash/crc32"
	"math"
	"unicode/utf8"

	"github.com/tinylib/msgp/msgp"
)

// Version is the protocol version that this package speaks.
const Version = 1

// Sizes of the handshake (W50). What comes before a peer has proved itself is
// held to them.
const (
	NonceSize    = 32
	InstanceSize = 16
	DigestSize   = 32
	// MaxHandshakeFrame bounds a transport frame before the handshake is over.
	MaxHandshakeFrame = 16 << 10
	// MaxName bounds the names of nodes and clusters.
	MaxName = 255
	// MaxProof bounds the body of a PROOF.
	MaxProof = 8 << 10
	// MinMaxFrame is the least that a HELLO may announce as MaxFrame, so that
	// every frame that cannot be cut has room (W59).
	MinMaxFrame = 64 << 10
	// DefaultWindow is the window of a HELLO that announces none (W52).
	DefaultWindow = 64 << 10
	// MaxWindow bounds the window that a HELLO announces (W59), and the credit
	// of a stream in bytes (W83).
	MaxWindow = 1 << 30
	// MaxCodecs bounds the codecs that a node announces, MaxCodecName the length of
	// the name of one, and MaxDicts their dictionaries.
	MaxCodecs      = 16
	MaxCodecName   = 32
	MaxDicts       = 255
	maxHelloFields = 64
	maxHelloKey    = 32
)

var magic = [4]byte{'G', 'M', 'U', 'X'}

// Init is the body of INIT (W51):
//
//	0  "GMUX"
//	4  uint8  lowest version
//	5  uint8  highest version
//	6  uint8  what the sender says of its end of the link
//	7  nonce, 32 random bytes
type Init struct {
	MinVersion, MaxVersion uint8
	Link                   LinkFlags
	Nonce                  [NonceSize]byte
}

// LinkFlags say what a node knows of its end of the link. Unknown bits are
// ignored.
type LinkFlags uint8

const (
	LinkTLS   LinkFlags = 1 << 0 // this end of the link speaks TLS
	LinkProxy LinkFlags = 1 << 1 // the sender allows that a proxy ends TLS in between
)

const initSize = 7 + NonceSize

// AppendInit appends an INIT.
func AppendInit(dst []byte, i *Init) []byte {
	dst = appendHeader(dst, TypeInit, 0, 0, initSize)
	dst = append(dst, magic[:]...)
	dst = append(dst, i.MinVersion, i.MaxVersion, byte(i.Link))
	return append(dst, i.Nonce[:]...)
}

// ParseInit reads the body of an INIT.
func ParseInit(f *Frame) (i Init, err error) {
	if f.Type != TypeInit || len(f.Body) < initSize || [4]byte(f.Body) != magic {
		return i, malformed("%v of %d bytes is no INIT: the other side does not speak gridmux", f.Type, len(f.Body))
	}
	i.MinVersion, i.MaxVersion, i.Link = f.Body[4], f.Body[5], LinkFlags(f.Body[6])
	if i.MinVersion > i.MaxVersion {
		return i, malformed("INIT with versions %d to %d", i.MinVersion, i.MaxVersion)
	}
	copy(i.Nonce[:], f.Body[7:])
	return i, nil
}

// Features are the abilities that a HELLO announces (W53). One is in force if
// both sides announce it, unless its description says otherwise. Unknown bits
// are ignored.
type Features uint64

// FeatureChecksum: the sender's link does not detect corruption; it wants a
// checksum on every batch. It is in force if either side announces it.
const FeatureChecksum Features = 1 << 0

// FeatureMove: the sender has a session with the other side, of which this
// connection is to take the place (W66). Only the dialler's counts.
const FeatureMove Features = 1 << 1

// Hello is the body of HELLO (W52): a MessagePack map and a CRC32C over it.
type Hello struct {
	Features  Features
	Cluster   string
	From, To  string // names of the sender and of the node it means to reach
	Instance  [InstanceSize]byte
	MaxFrame  uint32 // longest transport frame that the sender accepts
	MaxMsg    uint64 // longest message, below 1<<63
	MaxCalls  uint32 // slots that the other side may use
	Window    uint64 // bytes of a stream that the other side may have under way, 1 to MaxWindow
	KeepAlive uint32 // milliseconds between its pings on an idle link
	Lanes     uint32 // lanes that the other side may have open
	Codecs    []string
	Dicts     []Dict
	Catalogue [DigestSize]byte // digest of its handler catalogue
}

// AppendHello appends a HELLO.
func AppendHello(dst []byte, h *Hello) []byte {
	start := len(dst)
	dst = appendHeader(dst, TypeHello, 0, 0, 0)
	fields := uint32(12)
	if h.Lanes > 0 {
		fields++
	}
	if len(h.Dicts) > 0 {
		fields++
	}
	dst = msgp.AppendMapHeader(dst, fields)
	dst = msgp.AppendUint64(msgp.AppendString(dst, "feat"), uint64(h.Features))
	dst = msgp.AppendString(msgp.AppendString(dst, "cluster"), h.Cluster)
	dst = msgp.AppendString(msgp.AppendString(dst, "from"), h.From)
	dst = msgp.AppendString(msgp.AppendString(dst, "to"), h.To)
	dst = msgp.AppendBytes(msgp.AppendString(dst, "inst"), h.Instance[:])
	dst = msgp.AppendUint64(msgp.AppendString(dst, "maxframe"), uint64(h.MaxFrame))
	dst = msgp.AppendUint64(msgp.AppendString(dst, "maxmsg"), h.MaxMsg)
	dst = msgp.AppendUint64(msgp.AppendString(dst, "maxcalls"), uint64(h.MaxCalls))
	dst = msgp.AppendUint64(msgp.AppendString(dst, "win"), h.Window)
	dst = msgp.AppendUint64(msgp.AppendString(dst, "alive"), uint64(h.KeepAlive))
	dst = msgp.AppendArrayHeader(msgp.AppendString(dst, "codecs"), uint32(len(h.Codecs)))
	for _, c := range h.Codecs {
		dst = msgp.AppendString(dst, c)
	}
	dst = msgp.AppendBytes(msgp.AppendString(dst, "catalogue"), h.Catalogue[:])
	if h.Lanes > 0 {
		dst = msgp.AppendUint64(msgp.AppendString(dst, "lanes"), uint64(h.Lanes))
	}
	if len(h.Dicts) > 0 {
		dst = msgp.AppendBytes(msgp.AppendString(dst, "dicts"), appendDicts(nil, h.Dicts))
	}
	dst = binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[start+HeaderSize:], castagnoli))
	binary.LittleEndian.PutUint32(dst[start:], uint32(len(dst)-start-HeaderSize))
	return dst
}

// ParseHello reads the body of a HELLO. Fields that it does not know are
// skipped, so that a later version can add some.
func ParseHello(f *Frame) (h Hello, err error) {
	if f.Type != TypeHello || len(f.Body) < 4 {
		return h, malformed("%v of %d bytes instead of HELLO", f.Type, len(f.Body))
	}
	b, sum := f.Body[:len(f.Body)-4], binary.LittleEndian.Uint32(f.Body[len(f.Body)-4:])
	if crc32.Checksum(b, castagnoli) != sum {
		return h, malformed("HELLO: checksum does not match")
	}
	n, b, err := msgp.ReadMapHeaderBytes(b)
	if err != nil || n > maxHelloFields {
		return h, malformed("HELLO: map of %d fields, %d allowed: %v", n, maxHelloFields, err)
	}
	h.Window = DefaultWindow
	seen := map[string]bool{}
	for range n {
		var key []byte
		if key, b, err = readStringZC(b, maxHelloKey); err != nil {
			return h, malformed("HELLO: key: %v", err)
		}
		if seen[string(key)] {
			return h, malformed("HELLO: field %q twice", key)
		}
		seen[string(key)] = true
		if b, err = h.parseField(string(key), b); err != nil {
			return h, malformed("HELLO: field %q: %v", key, err)
		}
	}
	if len(b) != 0 {
		return h, malformed("HELLO: %d bytes after the last field", len(b))
	}
	for _, key := range []string{"from", "to", "inst", "maxframe", "maxmsg", "maxcalls"} {
		if !seen[key] {
			return h, malformed("HELLO: field %q is missing", key)
		}
	}
	if h.From == "" || h.To == "" {
		return h, malformed("HELLO without a name")
	}
	if h.MaxFrame < MinMaxFrame || h.MaxMsg > math.MaxInt64 || h.Window == 0 || h.Window > MaxWindow {
		return h, malformed("HELLO: frames of %d bytes, messages of %d, windows of %d: out of range", h.MaxFrame, h.MaxMsg, h.Window)
	}
	return h, nil
}

func (h *Hello) parseField(key string, b []byte) (rest []byte, err error) {
	switch key {
	case "feat":
		var v uint64
		v, rest, err = msgp.ReadUint64Bytes(b)
		h.Features = Features(v)
	case "cluster":
		h.Cluster, rest, err = readString(b, MaxName)
	case "from":
		h.From, rest, err = readString(b, MaxName)
	case "to":
		h.To, rest, err = readString(b, MaxName)
	case "inst":
		rest, err = readExact(b, h.Instance[:])
	case "maxframe":
		h.MaxFrame, rest, err = msgp.ReadUint32Bytes(b)
	case "maxmsg":
		h.MaxMsg, rest, err = msgp.ReadUint64Bytes(b)
	case "maxcalls":
		h.MaxCalls, rest, err = msgp.ReadUint32Bytes(b)
	case "win":
		h.Window, rest, err = msgp.ReadUint64Bytes(b)
	case "alive":
		h.KeepAlive, rest, err = msgp.ReadUint32Bytes(b)
	case "lanes":
		h.Lanes, rest, err = msgp.ReadUint32Bytes(b)
	case "codecs":
		h.Codecs, rest, err = readStrings(b, MaxCodecs, MaxCodecName)
	case "dicts":
		var v []byte
		if v, rest, err = readBytesZC(b, MaxDicts*dictSize); err == nil {
			h.Dicts, err = parseDicts(v)
		}
	case "catalogue":
		rest, err = readExact(b, h.Catalogue[:])
	default:
		return skipScalar(b)
	}
	return rest, err
}

// AppendProof appends a PROOF (W58) of at most [MaxProof] bytes.
func AppendProof(dst, proof []byte) []byte {
	dst = appendHeader(dst, TypeProof, 0, 0, len(proof))
	return append(dst, proof...)
}

// ParseProof returns the body of a PROOF, a slice of the frame's.
func ParseProof(f *Frame) ([]byte, error) {
	if f.Type != TypeProof || len(f.Body) > MaxProof {
		return nil, malformed("%v of %d bytes instead of PROOF of at most %d", f.Type, len(f.Body), MaxProof)
	}
	return f.Body, nil
}

// AppendReady appends a READY (W55).
func AppendReady(dst []byte) []byte { return appendHeader(dst, TypeReady, 0, 0, 0) }

// ParseReady holds a frame to being a READY.
func ParseReady(f *Frame) error {
	if f.Type != TypeReady || len(f.Body) != 0 {
		return malformed("%v of %d bytes instead of READY", f.Type, len(f.Body))
	}
	return nil
}

// fits refuses a string or byte string whose length, written with 32 bits, is
// more than is there. msgp converts that length to int, which may have 32 bits.
func fits(b []byte) error {
	const bin32, str32 = 0xc6, 0xdb
	if len(b) >= 5 && (b[0] == bin32 || b[0] == str32) && uint64(binary.BigEndian.Uint32(b[1:])) > uint64(len(b)-5) {
		return msgp.ErrShortBytes
	}
	return nil
}

func readBytesZC(b []byte, limit int) (v, rest []byte, err error) {
	if err = fits(b); err != nil {
		return nil, nil, err
	}
	if v, rest, err = msgp.ReadBytesZC(b); err == nil && len(v) > limit {
		err = malformed("%d bytes, %d allowed", len(v), limit)
	}
	return v, rest, err
}

func readStringZC(b []byte, limit int) (v, rest []byte, err error) {
	if err = fits(b); err != nil {
		return nil, nil, err
	}
	if v, rest, err = msgp.ReadStringZC(b); err != nil {
		return nil, nil, err
	}
	if len(v) > limit {
		return nil, nil, malformed("%d bytes, %d allowed", len(v), limit)
	}
	if !utf8.Valid(v) {
		return nil, nil, malformed("not UTF-8")
	}
	return v, rest, nil
}

func readString(b []byte, limit int) (string, []byte, error) {
	v, rest, err := readStringZC(b, limit)
	return string(v), rest, err
}

func readExact(b, dst []byte) ([]byte, error) {
	v, rest, err := readBytesZC(b, len(dst))
	if err == nil && len(v) != len(dst) {
		err = malformed("%d bytes instead of %d", len(v), len(dst))
	}
	copy(dst, v)
	return rest, err
}

func readStrings(b []byte, count, limit int) (out []string, rest []byte, err error) {
	n, b, err := msgp.ReadArrayHeaderBytes(b)
	if err != nil {
		return nil, nil, err
	}
	if int64(n) > int64(count) {
		return nil, nil, malformed("%d elements, %d allowed", n, count)
	}
	for range n {
		var s string
		if s, b, err = readString(b, limit); err != nil {
			return nil, nil, err
		}
		out = append(out, s)
	}
	return out, b, nil
}

// skipScalar skips an unknown field, which may be anything but a map, an array
// or an extension, so that no nesting is walked before a peer is known. It looks
// at the leading byte itself: for msgp some extensions are types of their own.
func skipScalar(b []byte) ([]byte, error) {
	if len(b) == 0 {
		return nil, msgp.ErrShortBytes
	}
	switch c := b[0]; {
	case c >= 0x80 && c <= 0x9f, c >= 0xdc && c <= 0xdf:
		return nil, malformed("unknown field with a map or an array")
	case c >= 0xc7 && c <= 0xc9, c >= 0xd4 && c <= 0xd8:
		return nil, malformed("unknown field with an extension")
	case c == 0xc1:
		return nil, malformed("no MessagePack type begins with %#02x", c)
	}
	if err := fits(b); err != nil {
		return nil, err
	}
	return msgp.Skip(b)
}
