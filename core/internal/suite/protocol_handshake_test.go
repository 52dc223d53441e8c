package suite_test

import (
	"bytes"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/internal/wire"
	"github.com/gridmux/gridmux/transport"
)

// outOfPlace are frames that no handshake has room for (W55), and bytes that
// are no frame.
var outOfPlace = []struct {
	name  string
	bytes []byte
}{
	{"no bytes", nil},
	{"one byte", []byte{0}},
	{"text", []byte("GET / HTTP/1.1\r\nHost: example.org\r\n\r\n")},
	{"zeros", make([]byte, 100)},
	{"a body that is longer than the batch", []byte{255, 255, 255, 255, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}},
	{"PADDING", rawFrame(wire.Frame{Type: wire.TypePadding, Body: make([]byte, 8)})},
	{"a type that may be ignored elsewhere", rawFrame(wire.Frame{Type: 0x80})},
	{"PING", wire.AppendPing(nil, wire.TypePing, 1)},
	{"GOAWAY", rawStatus(wire.TypeGoaway, 0, 30)},
	{"REQUEST", wire.AppendRequest(nil, wire.MakeCallID(1, 0, 0), rawHash("echo"), 0, 0, nil)},
	{"a reserved type", rawFrame(wire.Frame{Type: 0x07})},
	{"16 KiB and one byte", rawFrame(wire.Frame{Type: wire.TypeInit, Body: make([]byte, wire.MaxHandshakeFrame+1-wire.HeaderSize)})},
}

// badInits are INITs that are malformed by W51 and W16.
var badInits = map[string][]byte{
	"INIT that is short":                 rawFrame(wire.Frame{Type: wire.TypeInit, Body: rawInit(1, 1)[wire.HeaderSize : wire.HeaderSize+38]}),
	"INIT with other bytes in front":     rawFrame(wire.Frame{Type: wire.TypeInit, Body: bytes.Replace(rawInit(1, 1)[wire.HeaderSize:], []byte("GMUX"), []byte("GMUY"), 1)}),
	"INIT with lowest above highest":     rawInit(2, 1),
	"INIT with a call id":                rawFrame(wire.Frame{Type: wire.TypeInit, ID: 1, Body: rawInit(1, 1)[wire.HeaderSize:]}),
	"INIT with a flag":                   rawFrame(wire.Frame{Type: wire.TypeInit, Flags: 1, Body: rawInit(1, 1)[wire.HeaderSize:]}),
	"INIT and PADDING in a batch":        append(rawInit(1, 1), rawFrame(wire.Frame{})...),
	"INIT twice in a batch":              append(rawInit(1, 1), rawInit(1, 1)...),
	"INIT and a byte":                    append(rawInit(1, 1), 0),
	"INIT with no version in the header": rawFrame(wire.Frame{Type: wire.TypeInit}),
}

// badHellos are HELLOs that are malformed by W52 and W59.
var badHellos = map[string]func(p *rawPeer) []byte{
	"HELLO with a wrong checksum": func(p *rawPeer) []byte {
		b := p.helloBytes()
		b[len(b)-1] ^= 1
		return b
	},
	"HELLO without a name": func(p *rawPeer) []byte { return p.helloBytes(func(h *wire.Hello) { h.From = "" }) },
	"HELLO with a long name": func(p *rawPeer) []byte {
		return p.helloBytes(func(h *wire.Hello) { h.From = strings.Repeat("x", 256) })
	},
	"HELLO with a name not in UTF-8": func(p *rawPeer) []byte { return p.helloBytes(func(h *wire.Hello) { h.From = "\xff" }) },
	"HELLO with short frames":        func(p *rawPeer) []byte { return p.helloBytes(func(h *wire.Hello) { h.MaxFrame = 65535 }) },
	"HELLO with huge messages":       func(p *rawPeer) []byte { return p.helloBytes(func(h *wire.Hello) { h.MaxMsg = 1 << 63 }) },
	"HELLO with an unknown map":      func(p *rawPeer) []byte { return p.rawHello(oneMore("future", 0x80)) },
	"HELLO with a field twice":       func(p *rawPeer) []byte { return p.rawHello(oneMore("maxcalls", 1)) },
	"HELLO with bytes at the end":    func(p *rawPeer) []byte { return p.rawHello(func(b []byte) []byte { return append(b, 0xc0) }) },
	"HELLO with no map":              func(p *rawPeer) []byte { return p.rawHello(func([]byte) []byte { return []byte{0x80} }) },
	"HELLO twice in a batch":         func(p *rawPeer) []byte { return append(p.helloBytes(), p.helloBytes()...) },
	"INIT once more":                 func(*rawPeer) []byte { return rawInit(1, 1) },
	"REJECT":                         func(*rawPeer) []byte { return rawStatus(wire.TypeReject, 0, 23) },
	"HELLO of more than 16 KiB": func(p *rawPeer) []byte {
		return p.rawHello(oneMore("future", append([]byte{0xc5, 0x40, 0x00}, make([]byte, 0x4000)...)...))
	},
}

// badProofs are what must not follow on HELLO.
var badProofs = map[string][]byte{
	"a long PROOF":           wire.AppendProof(nil, make([]byte, wire.MaxProof+1)),
	"PROOF with a call id":   rawFrame(wire.Frame{Type: wire.TypeProof, ID: 2}),
	"PROOF and PADDING":      append(rawProof(), rawFrame(wire.Frame{})...),
	"INIT":                   rawInit(1, 1),
	"PING":                   wire.AppendPing(nil, wire.TypePing, 1),
	"READY":                  wire.AppendReady(nil),
	"REJECT":                 rawStatus(wire.TypeReject, 0, 23),
	"REQUEST":                wire.AppendRequest(nil, wire.MakeCallID(1, 0, 0), rawHash("echo"), 0, 0, nil),
	"PROOF beyond the limit": rawFrame(wire.Frame{Type: wire.TypeProof, Body: make([]byte, wire.MaxHandshakeFrame)}),
}

// wantRejected holds an acceptor to W57: a stranger learns code 20 and nothing
// else, in REJECT and in the end of the connection.
func (p *rawPeer) wantRejected(sentence string) {
	p.t.Helper()
	if st := p.wantStatus(wire.TypeReject, wire.CodeRejected, sentence); st.Message != "" {
		p.t.Errorf("%s: a stranger was told %q, want no word", sentence, st.Message)
	}
	if reason := p.wantClosed(wire.CodeRejected, sentence); reason != "" {
		p.t.Errorf("%s: a stranger was told %q in the end, want no word", sentence, reason)
	}
}

// TestProtocolStranger breaks the handshake in every place and learns nothing
// by it (W55, W57); the acceptor is as it was, and so is a session that stands
// under the same name (T1, T11, T13, T18).
func TestProtocolStranger(t *testing.T) {
	rawTest(t, "W57", rawSetup{}, func(_ *testing.T, r *rawCluster) {
		twin := r.connect()
		first := map[string][]byte{"HELLO": r.dial().helloBytes(), "REJECT": rawStatus(wire.TypeReject, 0, 20)}
		for _, f := range outOfPlace {
			first[f.name] = f.bytes
		}
		maps.Copy(first, badInits)
		for name, b := range first {
			p := r.dial()
			p.write(b)
			p.wantRejected("first " + name)
		}
		for _, f := range outOfPlace {
			p := r.dial()
			p.swapInits()
			p.write(f.bytes)
			p.wantRejected("after INIT " + f.name)
		}
		for name, hello := range badHellos {
			p := r.dial()
			p.swapInits()
			p.write(hello(p))
			p.wantRejected("after INIT " + name)
		}
		for name, proof := range badProofs {
			p := r.dial()
			p.swapInits()
			p.write(p.helloBytes())
			p.write(proof)
			p.wantRejected("after HELLO " + name)
		}
		twin.wantLife(0, "W57: others have failed to connect under the same name")
		r.alive("after all strangers")
	})
}

// TestProtocolAcceptorSaysWhy holds an acceptor to W58 and to W57 towards a
// dialler that has proved itself: REJECT and the end of the connection carry
// the same code, and a word (D25).
func TestProtocolAcceptorSaysWhy(t *testing.T) {
	rawTest(t, "W58", rawSetup{}, func(t *testing.T, r *rawCluster) {
		twin := r.connect()
		for name, test := range map[string]struct {
			code   wire.Code
			word   string
			change func(h *wire.Hello)
		}{
			"another cluster":         {wire.CodeCluster, "Config.Cluster", func(h *wire.Hello) { h.Cluster = "staging" }},
			"no cluster":              {wire.CodeCluster, "Config.Cluster", func(h *wire.Hello) { h.Cluster = "" }},
			"meant for another node":  {wire.CodeName, `"elsewhere"`, func(h *wire.Hello) { h.To = "elsewhere" }},
			"meant for the sender":    {wire.CodeName, r.raw, func(h *wire.Hello) { h.To = r.raw }},
			"from no peer":            {wire.CodeName, `"mallory"`, func(h *wire.Hello) { h.From = "mallory" }},
			"from the acceptor":       {wire.CodeName, rawSubject, func(h *wire.Hello) { h.From = rawSubject }},
			"all of it, cluster wins": {wire.CodeCluster, "", func(h *wire.Hello) { h.Cluster, h.From, h.To = "a", "b", "c" }},
		} {
			p := r.dial()
			p.swapInits()
			p.sayHello(test.change)
			if st := p.wantStatus(wire.TypeReject, test.code, name); !strings.Contains(st.Message, test.word) {
				t.Errorf("%s: REJECT says %q, want it to mention %s", name, st.Message, test.word)
			}
			if reason := p.wantClosed(test.code, name); reason == "" {
				t.Errorf("%s: the connection ended without a word", name)
			}
		}
		twin.wantLife(0, "W58: others were refused under the same name")
	})
	proves := func(name string) rawSetup {
		return rawSetup{info: func(info *transport.Info) {
			if info.RemoteAddr.String() != rawHonest && info.LocalAddr.String() != rawHonest {
				info.PeerName = name
			}
		}}
	}
	rawTest(t, "W58 the link proves another name", proves("somebody"), func(_ *testing.T, r *rawCluster) {
		p := r.dial()
		p.swapInits()
		p.sayHello()
		p.wantStatus(wire.TypeReject, wire.CodeName, "the link proved another name than the peer's")
		p.wantClosed(wire.CodeName, "the link proved another name than the peer's")
	})
	rawTest(t, "W58 the link proves the name", proves(rawName(false)), func(_ *testing.T, r *rawCluster) {
		r.connect().wantLife(0, "the link proved the peer's name")
	})
	insecure := rawSetup{info: func(info *transport.Info) {
		info.Local = info.RemoteAddr.String() == rawHonest || info.LocalAddr.String() == rawHonest
	}}
	rawTest(t, "W58 the link proves nothing", insecure, func(t *testing.T, r *rawCluster) {
		for what, change := range map[string]func(h *wire.Hello){
			"an ordinary HELLO":      func(*wire.Hello) {},
			"one to another cluster": func(h *wire.Hello) { h.Cluster = "another" },
			"one to another node":    func(h *wire.Hello) { h.To = "another" },
		} {
			p := r.dial()
			p.swapInits()
			p.sayHello(change)
			st := p.wantStatus(wire.TypeReject, wire.CodeRejected, what+": a node that demands proof got none")
			reason := p.wantClosed(wire.CodeRejected, what+": a node that demands proof got none")
			if st.Message != "" || reason != "" {
				t.Errorf("%s: who has proved nothing is told %q and %q", what, st.Message, reason)
			}
		}
	})
}

// TestProtocolVersions holds an acceptor to W56: REJECT with code 21 in place of
// INIT, which even a stranger may know (D26, F24).
func TestProtocolVersions(t *testing.T) {
	rawTest(t, "W56", rawSetup{}, func(_ *testing.T, r *rawCluster) {
		for _, v := range [][2]uint8{{0, 0}, {2, 2}, {2, 255}, {255, 255}} {
			p := r.dial()
			p.write(rawInit(v[0], v[1]))
			p.wantStatus(wire.TypeReject, wire.CodeVersion, "no version in common")
			p.wantClosed(wire.CodeVersion, "no version in common")
		}
		for i, v := range [][2]uint8{{0, 1}, {1, 1}, {1, 2}, {0, 255}} {
			p := r.dial()
			p.write(rawInit(v[0], v[1]))
			p.takeInit()
			p.sayHello()
			p.takeHello()
			p.wantLife(uint32(i), "version 1 lies in both ranges")
			p.tc.CloseWithError(0, "")
		}
	})
}

// TestProtocolHelloOfTomorrow holds that what a later version may add is no
// obstacle: W51, W52, W53, and proofs, which this version does not look at
// (W58) (D26, F24).
func TestProtocolHelloOfTomorrow(t *testing.T) {
	rawTest(t, "W58", rawSetup{}, func(_ *testing.T, r *rawCluster) {
		for name, hello := range map[string]func(p *rawPeer) []byte{
			"features": func(p *rawPeer) []byte {
				return p.helloBytes(func(h *wire.Hello) { h.Features = ^wire.FeatureChecksum })
			},
			"compressors": func(p *rawPeer) []byte {
				return p.helloBytes(func(h *wire.Hello) { h.Codecs = []string{"zstd", "s2"} })
			},
			"an unknown nil":        func(p *rawPeer) []byte { return p.rawHello(oneMore("future", 0xc0)) },
			"an unknown string":     func(p *rawPeer) []byte { return p.rawHello(oneMore("future", 0xa2, 'h', 'i')) },
			"an unknown number":     func(p *rawPeer) []byte { return p.rawHello(oneMore("future", 0xcb, 1, 2, 3, 4, 5, 6, 7, 8)) },
			"an unknown byte array": func(p *rawPeer) []byte { return p.rawHello(oneMore("future", 0xc4, 1, 0)) },
		} {
			p := r.dial()
			// An INIT may be longer, up to what a batch may be (W50).
			body := make([]byte, wire.MaxHandshakeFrame-wire.HeaderSize)
			copy(body, rawInit(1, 1)[wire.HeaderSize:])
			p.write(rawFrame(wire.Frame{Type: wire.TypeInit, Body: body}))
			p.takeInit()
			p.write(hello(p))
			p.write(wire.AppendProof(nil, make([]byte, wire.MaxProof)))
			p.takeHello()
			p.wantLife(0, "a HELLO with "+name)
			p.tc.CloseWithError(0, "")
		}
	})
}

// TestProtocolAcceptorWaitsNoLonger holds that a connection that does not get
// on with the handshake is ended by code 32 (W57) when its time is over,
// counted from its beginning, and costs nobody else anything (T3, F3).
func TestProtocolAcceptorWaitsNoLonger(t *testing.T) {
	const limit = 5 * time.Second
	rawTest(t, "W57", rawSetup{config: func(cfg *core.Config) { cfg.ConnectTimeout = limit }}, func(t *testing.T, r *rawCluster) {
		began := time.Now()
		silent, afterInit := r.dial(), r.dial()
		time.Sleep(limit - time.Millisecond)
		afterInit.swapInits()
		silent.wantIdle("just before its time is over")
		time.Sleep(time.Millisecond)
		for name, p := range map[string]*rawPeer{"silence": silent, "silence after INIT": afterInit} {
			p.wantClosed(wire.CodeTimeout, name)
			if d := p.endedAt.Sub(began); d != limit {
				t.Errorf("%s was ended after %v, want exactly %v", name, d, limit)
			}
		}
		// As many as may stand in their handshake at once. The oldest has to go
		// for one more, without a word.
		oldest := r.dial()
		for range 255 {
			r.dial()
		}
		oldest.wantIdle("as many connections as may be in their handshake")
		r.dial()
		if reason := oldest.wantClosed(wire.CodeRejected, "one connection too many"); reason != "" {
			t.Errorf("the oldest of too many was told %q, want no word (W57)", reason)
		}
		r.alive("while strangers hold all places of handshakes")
		p := r.dial()
		p.handshake()
		p.wantLife(0, "strangers hold all places of handshakes")
		p.tc.CloseWithError(0, "")
		time.Sleep(limit)
		r.connect().wantLife(0, "the strangers' time was over")
	})
}

// TestProtocolReady holds an acceptor to W55: it has no session before READY,
// so that a dialler which finds fault with it changes nothing.
func TestProtocolReady(t *testing.T) {
	changes := make(chan core.StateChange, 100)
	setup := rawSetup{config: func(cfg *core.Config) { cfg.OnState = func(c core.StateChange) { changes <- c } }}
	rawTest(t, "W55", setup, func(t *testing.T, r *rawCluster) {
		greeted := func() *rawPeer {
			p := r.dial()
			p.swapInits()
			p.sayHello()
			p.want(wire.TypeHello, "the acceptor finds no fault")
			p.want(wire.TypeProof, "the acceptor finds no fault")
			return p
		}
		p := greeted()
		p.wantIdle("W55: the dialler is to say READY")
		if got := r.conn().State(); got != core.StateConnecting {
			t.Errorf("W55: the peer is %v before READY", got)
		}
		p.tc.CloseWithError(uint32(wire.CodeRejected), "I do not believe you")
		p = greeted()
		p.send(wire.AppendPing(nil, wire.TypePing, 1))
		p.wantStatus(wire.TypeReject, wire.CodeProtocol, "W55: another frame in place of READY")
		p.wantClosed(wire.CodeProtocol, "W55: another frame in place of READY")
		for len(changes) > 0 {
			if c := <-changes; c.Peer == r.raw && c.To == core.StateConnected {
				t.Errorf("W55: the peer has become connected without READY: %+v", c)
			}
		}
		p = greeted()
		p.write(wire.AppendReady(nil))
		p.wantLife(0, "READY was said")
	})
}
