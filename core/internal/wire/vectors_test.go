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
		"exchange":  exchange(),
	}
}

func requestVectors() (out []vector) {
	for _, prio := range []Flags{0, FlagHigh, FlagLow} {
		for _, meta := range []Flags{0, FlagMetadata} {
			for _, kind := range []Flags{0, FlagNil, FlagFragmented} {
				payload := "hello"
				if kind == FlagNil {
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
		vector{"REQUEST with a codec and a dictionary", raw(TypeRequest, 0, 2, 3, goldenID, u64(goldenHandler), u64(0), []byte("packed"))},
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
	return append(out, vector{"RESPONSE, empty", AppendResponse(nil, goldenID, []byte{})})
}

func statusVectors() (out []vector) {
	st := func(name string, t Type, id CallID, s Status) {
		out = append(out, vector{fmt.Sprintf("%v %s", t, name), AppendStatus(nil, t, id, s)})
	}
	st("without a detail", TypeError, goldenID, Status{Code: CodeNone, Message: "no such file"})
	st("with a detail", TypeError, goldenID, Status{Code: 1001, Message: "no disk", Detail: []byte("disk1")})
	st("with an empty detail", TypeError, goldenID, Status{Code: CodeApplication, Detail: []byte{}})
	st("without a detail", TypeRefused, goldenID, Status{Code: CodeUnknownHandler, Message: "no handler"})
	st("with a detail", TypeRefused, goldenID, Status{Code: CodeOverloaded, Message: "später", Detail: []byte{0}})
	st("after cancellation", TypeReset, goldenID, Status{Code: CodeCanceled})
	st("after a time-out", TypeReset, goldenID, Status{Code: CodeDeadline, Message: "2s"})
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
		{"reserved frame, not known", raw(0x07, 0, 0, 0, goldenID, u32(1), u64(512))},
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

func goldenHello() *Hello {
	h := &Hello{
		Features: FeatureChecksum, Cluster: "production", From: "node-2", To: "node-1",
		MaxFrame: 1 << 20, MaxMsg: 16 << 20, MaxCalls: 1 << 18,
		Window: 256 << 10, LinkWin: 16 << 20, KeepAlive: 5000, Codecs: []string{"zstd", "s2"},
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
		Window: 1<<64 - 1, LinkWin: 1<<64 - 1, KeepAlive: 1<<32 - 1,
	}
	for range maxCompressors {
		h.Codecs = append(h.Codecs, strings.Repeat("c", maxCompressor))
	}
	for i := range h.Instance {
		h.Instance[i] = 0xff
	}
	for i := range h.Catalogue {
		h.Catalogue[i] = 0xff
	}
	return h
}
