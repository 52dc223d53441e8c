package wire

import (
	"bytes"
	"fmt"
	"strings"
)

// vector is a frame whose bytes testdata pins.
type vector struct {
	name string
	data []byte
}

const (
	goldenHandler = 0x46d4a1f2356ce6ae // storage.stat without a route, see PROTOCOL.md
	goldenTimeout = 2_000_000
)

var goldenID = MakeCallID(7, 3, 0)

// goldenFiles are the vectors of each file in testdata: every type, and every
// combination of flags that a type allows.
func goldenFiles() map[string][]vector {
	return map[string][]vector{
		"request":   requestVectors(),
		"response":  responseVectors(),
		"fragment":  {{"FRAGMENT of the callee", AppendFragment(nil, goldenID, []byte("the rest"))}},
		"status":    statusVectors(),
		"control":   controlVectors(),
		"handshake": handshakeVectors(),
		"open":      openVectors(),
		"stream":    streamVectors(),
		"exchange":  exchange(),
	}
}

func requestVectors() (out []vector) {
	for _, prio := range []Flags{0, FlagHigh, FlagLow} {
		for _, meta := range []Flags{0, FlagMetadata} {
			for _, kind := range []Flags{0, FlagNil, FlagFragmented, FlagAccept, FlagAccept | FlagNil, FlagAccept | FlagFragmented} {
				payload := "hello"
				if kind&FlagNil != 0 {
					payload = ""
				}
				fl := prio | meta | kind
				out = append(out, vector{"REQUEST " + flagNames(fl), raw(TypeRequest, fl, 0, 0, goldenID,
					u64(goldenHandler), u64(goldenTimeout), blocks(fl, 40_000, "opaque", payload))})
			}
		}
	}
	return append(out,
		vector{"REQUEST of the acceptor, empty, without time-out", AppendRequest(nil, MakeCallID(1, 0, 1), goldenHandler, 0, 0, []byte{})},
		vector{"REQUEST with the largest id", AppendRequest(nil, MakeCallID(1<<32-1, 1<<31-1, 1), 1<<64-1, 1<<64-1, 0, nil)},
		vector{"REQUEST with a codec and a dictionary", raw(TypeRequest, 0, 2, 3, goldenID, u64(goldenHandler), u64(0), u32(600), []byte("packed"))},
		vector{"REQUEST with a codec and all there is", raw(TypeRequest, FlagMetadata|FlagAccept|FlagHigh, 2, 0, goldenID,
			u64(goldenHandler), u64(0), u16(6), []byte("opaque"), []byte{0}, u32(600), []byte("packed"))},
		vector{"REQUEST with a codec, the first part", raw(TypeRequest, FlagFragmented, 2, 0, goldenID,
			u64(goldenHandler), u64(0), u64(40_000), u64(1<<40), []byte("packed"))},
		vector{"REQUEST with empty metadata", raw(TypeRequest, FlagMetadata, 0, 0, goldenID, u64(goldenHandler), u64(0), u16(0), []byte("hello"))},
	)
}

func responseVectors() (out []vector) {
	for _, meta := range []Flags{0, FlagMetadata} {
		for _, kind := range []Flags{0, FlagNil, FlagFragmented} {
			payload := "world"
			if kind == FlagNil {
				payload = ""
			}
			fl := meta | kind
			out = append(out, vector{"RESPONSE " + flagNames(fl), raw(TypeResponse, fl, 0, 0, goldenID, blocks(fl, 40_000, "opaque", payload))})
		}
	}
	return append(out,
		vector{"RESPONSE, empty", AppendResponse(nil, goldenID, []byte{})},
		vector{"RESPONSE with a codec and a dictionary", raw(TypeResponse, 0, 1, 255, goldenID, u32(600), []byte("packed"))},
		vector{"RESPONSE with a codec, the first part", raw(TypeResponse, FlagFragmented, 2, 0, goldenID, u64(40_000), u64(1<<40), []byte("packed"))},
	)
}

func openVectors() (out []vector) {
	for _, prio := range []Flags{0, FlagHigh, FlagLow} {
		for _, meta := range []Flags{0, FlagMetadata} {
			for _, kind := range []Flags{0, FlagNil, FlagFragmented, FlagAccept, FlagAccept | FlagNil, FlagAccept | FlagFragmented} {
				payload := "first"
				if kind&FlagNil != 0 {
					payload = ""
				}
				fl := prio | meta | kind
				out = append(out, vector{"OPEN " + flagNames(fl), raw(TypeOpen, fl, 0, 0, goldenID,
					u64(goldenHandler), u64(goldenTimeout), u32(64), blocks(fl, 40_000, "opaque", payload))})
			}
		}
	}
	return append(out,
		vector{"OPEN of the acceptor, empty, without time-out, least capacity", AppendOpen(nil, MakeCallID(1, 0, 1), goldenHandler, 0, 1, 0, []byte{})},
		vector{"OPEN with the largest id and capacity", AppendOpen(nil, MakeCallID(1<<32-1, 1<<31-1, 1), 1<<64-1, 1<<64-1, MaxCapacity, 0, nil)},
		vector{"OPEN with a codec and a dictionary", raw(TypeOpen, 0, 2, 3, goldenID, u64(goldenHandler), u64(0), u32(1), u32(600), []byte("packed"))},
		vector{"OPEN with a codec, the first part", raw(TypeOpen, FlagFragmented, 2, 0, goldenID,
			u64(goldenHandler), u64(0), u32(1), u64(40_000), u64(1<<40), []byte("packed"))},
	)
}

func streamVectors() []vector {
	return []vector{
		{"DATA", AppendData(nil, goldenID, []byte("item"))},
		{"DATA, empty", AppendData(nil, goldenID, nil)},
		{"DATA FRAGMENTED", AppendDataStart(nil, goldenID, 40_000, []byte("item"))},
		{"DATA with a codec and a dictionary", raw(TypeData, 0, 2, 3, goldenID, u32(600), []byte("packed"))},
		{"DATA with a codec, the first part", raw(TypeData, FlagFragmented, 2, 0, goldenID, u64(40_000), u64(1<<40), []byte("packed"))},
		{"END", AppendEnd(nil, goldenID)},
		{"CREDIT", AppendCredit(nil, goldenID, 32, 0x01020304)},
		{"CREDIT of messages only", AppendCredit(nil, goldenID, MaxCapacity, 0)},
		{"CREDIT of bytes only", AppendCredit(nil, goldenID, 0, MaxWindow)},
		{"GRANT", AppendGrant(nil, goldenID)},
	}
}

func statusVectors() (out []vector) {
	st := func(name string, t Type, id CallID, s Status) {
		out = append(out, vector{fmt.Sprintf("%v %s", t, name), AppendStatus(nil, t, id, s)})
	}
	st("without a detail", TypeError, goldenID, Status{Code: CodeNone, Message: "no such file"})
	st("for a message beyond the credit", TypeError, goldenID, Status{Code: CodeFlowControl, Message: "17 messages, 16 allowed"})
	st("with a detail", TypeError, goldenID, Status{Code: 1001, Message: "no disk", Detail: []byte("disk1")})
	st("with an empty detail", TypeError, goldenID, Status{Code: CodeApplication, Detail: []byte{}})
	st("without a detail", TypeRefused, goldenID, Status{Code: CodeUnknownHandler, Message: "no handler"})
	st("with a detail", TypeRefused, goldenID, Status{Code: CodeOverloaded, Message: "später", Detail: []byte{0}})
	st("after cancellation", TypeReset, goldenID, Status{Code: CodeCanceled})
	st("after a time-out", TypeReset, goldenID, Status{Code: CodeDeadline, Message: "2s"})
	st("for a message beyond the credit", TypeReset, goldenID, Status{Code: CodeFlowControl})
	st("for a shutdown", TypeGoaway, 0, Status{Code: CodeShutdown, Message: "restart"})
	st("of a stranger", TypeReject, 0, Status{Code: CodeRejected})
	return out
}

func controlVectors() []vector {
	padded := AppendRequest(nil, goldenID, goldenHandler, goldenTimeout, FlagHigh, []byte("taken back"))
	Pad(padded)
	return []vector{
		{"PING", AppendPing(nil, TypePing, 0x0102030405060708)},
		{"PONG", AppendPing(nil, TypePong, 0x0102030405060708)},
		{"PADDING made of a REQUEST", padded},
		{"PADDING, anything", raw(TypePadding, 0xff, 9, 9, goldenID, []byte("whatever"))},
		{"PADDING, empty", raw(TypePadding, 0, 0, 0, 0)},
		{"ignorable frame", raw(0x9a, 0xff, 9, 9, goldenID, []byte("from the future"))},
		{"frame of an unknown type", raw(0x17, 0, 0, 0, goldenID, u32(1), u64(512))},
		{"MARK", AppendMark(nil)},
		{"ACK", AppendAck(nil, 0x0102030405060708)},
		{"ACK of nothing yet", AppendAck(nil, 0)},
		{"LANES", AppendLanes(nil, 0x0102030405060708)},
		{"CODECS", AppendCodecs(nil, []string{"zstd", "s2"}, []Dict{{2, 0x0102030405060708}, {1, 9}})},
		{"CODECS, a name", AppendCodecs(nil, []string{"brotli"}, nil)},
		{"CODECS, a dictionary", AppendCodecs(nil, nil, []Dict{{255, 1<<64 - 1}})},
	}
}

func handshakeVectors() []vector {
	init := Init{MinVersion: 1, MaxVersion: Version, Link: LinkTLS | LinkProxy}
	for i := range init.Nonce {
		init.Nonce[i] = byte(i)
	}
	longer := raw(TypeInit, 0, 0, 0, 0, AppendInit(nil, &init)[HeaderSize:], []byte("of a later version"))
	return []vector{
		{"INIT", AppendInit(nil, &init)},
		{"INIT, longer than known", longer},
		{"HELLO", AppendHello(nil, goldenHello())},
		{"HELLO, of a link with lanes", AppendHello(nil, lanesHello())},
		{"HELLO, with dictionaries", AppendHello(nil, dictsHello())},
		{"HELLO, required fields and an unknown one", helloWith(map[string]any{"later": true})},
		{"PROOF", AppendProof(nil, []byte("proof of identity"))},
		{"PROOF, empty", AppendProof(nil, nil)},
		{"READY", AppendReady(nil)},
	}
}

// exchange is the example of PROTOCOL.md: two batches, with checksums.
func exchange() []vector {
	request := AppendRequest(make([]byte, ChecksumSize), goldenID, goldenHandler, goldenTimeout, 0, []byte("hello"))
	response := AppendResponse(make([]byte, ChecksumSize), goldenID, []byte("world"))
	PutChecksum(request)
	PutChecksum(response)
	return []vector{{"batch with a REQUEST", request}, {"batch with its RESPONSE", response}}
}

func lanesHello() *Hello {
	h := goldenHello()
	h.Lanes = 64
	return h
}

// fullHello has all fields.
func fullHello() *Hello {
	h := dictsHello()
	h.Lanes = 64
	return h
}

func dictsHello() *Hello {
	h := goldenHello()
	h.Dicts = []Dict{{1, 0x0102030405060708}, {2, 1<<64 - 1}}
	return h
}

func goldenHello() *Hello {
	h := &Hello{
		Features: FeatureChecksum, Cluster: "production", From: "node-2", To: "node-1",
		MaxFrame: 1 << 20, MaxMsg: 16 << 20, MaxCalls: 1 << 18,
		Window: 256 << 10, KeepAlive: 5000, Codecs: []string{"zstd", "s2"},
	}
	copy(h.Instance[:], "instance of 16 B")
	copy(h.Catalogue[:], bytes.Repeat([]byte{0xca}, DigestSize))
	return h
}

func largestHello() *Hello {
	name := strings.Repeat("n", MaxName)
	h := &Hello{
		Features: 1<<64 - 1, Cluster: name, From: name, To: name,
		MaxFrame: 1<<32 - 1, MaxMsg: 1<<63 - 1, MaxCalls: 1<<32 - 1,
		Window: MaxWindow, KeepAlive: 1<<32 - 1,
	}
	for range MaxCodecs {
		h.Codecs = append(h.Codecs, strings.Repeat("c", MaxCodecName))
	}
	for i := range MaxDicts {
		h.Dicts = append(h.Dicts, Dict{uint8(i), 1<<64 - 1})
	}
	h.Lanes = 1<<32 - 1
	for i := range h.Instance {
		h.Instance[i] = 0xff
	}
	for i := range h.Catalogue {
		h.Catalogue[i] = 0xff
	}
	return h
}
