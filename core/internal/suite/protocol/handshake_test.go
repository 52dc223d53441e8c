package protocol_test

import (
	"bytes"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/internal/lab"
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
	{"PADDING", lab.RawFrame(wire.Frame{Type: wire.TypePadding, Body: make([]byte, 8)})},
	{"a type that may be ignored elsewhere", lab.RawFrame(wire.Frame{Type: 0x80})},
	{"PING", wire.AppendPing(nil, wire.TypePing, 1)},
	{"GOAWAY", lab.RawStatus(wire.TypeGoaway, 0, 30)},
	{"REQUEST", wire.AppendRequest(nil, wire.MakeCallID(1, 0, 0), lab.HandlerHash("echo"), 0, 0, nil)},
	{"a reserved type", lab.RawFrame(wire.Frame{Type: 0x07})},
	{"16 KiB and one byte", lab.RawFrame(wire.Frame{Type: wire.TypeInit, Body: make([]byte, wire.MaxHandshakeFrame+1-wire.HeaderSize)})},
}

// badInits are INITs that are malformed by W51 and W16.
var badInits = map[string][]byte{
	"INIT that is short":                 lab.RawFrame(wire.Frame{Type: wire.TypeInit, Body: lab.RawInit(1, 1)[wire.HeaderSize : wire.HeaderSize+38]}),
	"INIT with other bytes in front":     lab.RawFrame(wire.Frame{Type: wire.TypeInit, Body: bytes.Replace(lab.RawInit(1, 1)[wire.HeaderSize:], []byte("GMUX"), []byte("GMUY"), 1)}),
	"INIT with lowest above highest":     lab.RawInit(2, 1),
	"INIT with a call id":                lab.RawFrame(wire.Frame{Type: wire.TypeInit, ID: 1, Body: lab.RawInit(1, 1)[wire.HeaderSize:]}),
	"INIT with a flag":                   lab.RawFrame(wire.Frame{Type: wire.TypeInit, Flags: 1, Body: lab.RawInit(1, 1)[wire.HeaderSize:]}),
	"INIT and PADDING in a batch":        append(lab.RawInit(1, 1), lab.RawFrame(wire.Frame{})...),
	"INIT twice in a batch":              append(lab.RawInit(1, 1), lab.RawInit(1, 1)...),
	"INIT and a byte":                    append(lab.RawInit(1, 1), 0),
	"INIT with no version in the header": lab.RawFrame(wire.Frame{Type: wire.TypeInit}),
}

// badHellos are HELLOs that are malformed by W52 and W59.
var badHellos = map[string]func(p *lab.RawPeer) []byte{
	"HELLO with a wrong checksum": func(p *lab.RawPeer) []byte {
		b := p.HelloBytes()
		b[len(b)-1] ^= 1
		return b
	},
	"HELLO without a name": func(p *lab.RawPeer) []byte { return p.HelloBytes(func(h *wire.Hello) { h.From = "" }) },
	"HELLO with a long name": func(p *lab.RawPeer) []byte {
		return p.HelloBytes(func(h *wire.Hello) { h.From = strings.Repeat("x", 256) })
	},
	"HELLO with a name not in UTF-8": func(p *lab.RawPeer) []byte { return p.HelloBytes(func(h *wire.Hello) { h.From = "\xff" }) },
	"HELLO with short frames":        func(p *lab.RawPeer) []byte { return p.HelloBytes(func(h *wire.Hello) { h.MaxFrame = 65535 }) },
	"HELLO with huge messages":       func(p *lab.RawPeer) []byte { return p.HelloBytes(func(h *wire.Hello) { h.MaxMsg = 1 << 63 }) },
	"HELLO with an unknown map":      func(p *lab.RawPeer) []byte { return p.HelloWith(lab.HelloField("future", 0x80)) },
	"HELLO with a field twice":       func(p *lab.RawPeer) []byte { return p.HelloWith(lab.HelloField("maxcalls", 1)) },
	"HELLO with bytes at the end":    func(p *lab.RawPeer) []byte { return p.HelloWith(func(b []byte) []byte { return append(b, 0xc0) }) },
	"HELLO with no map":              func(p *lab.RawPeer) []byte { return p.HelloWith(func([]byte) []byte { return []byte{0x80} }) },
	"HELLO twice in a batch":         func(p *lab.RawPeer) []byte { return append(p.HelloBytes(), p.HelloBytes()...) },
	"INIT once more":                 func(*lab.RawPeer) []byte { return lab.RawInit(1, 1) },
	"REJECT":                         func(*lab.RawPeer) []byte { return lab.RawStatus(wire.TypeReject, 0, 23) },
	"HELLO of more than 16 KiB": func(p *lab.RawPeer) []byte {
		return p.HelloWith(lab.HelloField("future", append([]byte{0xc5, 0x40, 0x00}, make([]byte, 0x4000)...)...))
	},
}

// badProofs are what must not follow on HELLO.
var badProofs = map[string][]byte{
	"a long PROOF":           wire.AppendProof(nil, make([]byte, wire.MaxProof+1)),
	"PROOF with a call id":   lab.RawFrame(wire.Frame{Type: wire.TypeProof, ID: 2}),
	"PROOF and PADDING":      append(lab.RawProof(), lab.RawFrame(wire.Frame{})...),
	"INIT":                   lab.RawInit(1, 1),
	"PING":                   wire.AppendPing(nil, wire.TypePing, 1),
	"READY":                  wire.AppendReady(nil),
	"REJECT":                 lab.RawStatus(wire.TypeReject, 0, 23),
	"REQUEST":                wire.AppendRequest(nil, wire.MakeCallID(1, 0, 0), lab.HandlerHash("echo"), 0, 0, nil),
	"PROOF beyond the limit": lab.RawFrame(wire.Frame{Type: wire.TypeProof, Body: make([]byte, wire.MaxHandshakeFrame)}),
}

// TestProtocolStranger breaks the handshake in every place and learns nothing
// by it (W55, W57); the acceptor is as it was, and so is a session that stands
// under the same name (T1, T11, T13, T18).
func TestProtocolStranger(t *testing.T) {
	lab.RawTest(t, "W57", lab.RawSetup{}, func(_ *testing.T, r *lab.RawCluster) {
		twin := r.Connect()
		first := map[string][]byte{"HELLO": r.Dial().HelloBytes(), "REJECT": lab.RawStatus(wire.TypeReject, 0, 20)}
		for _, f := range outOfPlace {
			first[f.name] = f.bytes
		}
		maps.Copy(first, badInits)
		for name, b := range first {
			p := r.Dial()
			p.Write(b)
			p.WantRejected("first " + name)
		}
		for _, f := range outOfPlace {
			p := r.Dial()
			p.SwapInits()
			p.Write(f.bytes)
			p.WantRejected("after INIT " + f.name)
		}
		for name, hello := range badHellos {
			p := r.Dial()
			p.SwapInits()
			p.Write(hello(p))
			p.WantRejected("after INIT " + name)
		}
		for name, proof := range badProofs {
			p := r.Dial()
			p.SwapInits()
			p.Write(p.HelloBytes())
			p.Write(proof)
			p.WantRejected("after HELLO " + name)
		}
		twin.WantLife(0, "W57: others have failed to connect under the same name")
		r.Alive("after all strangers")
	})
}

// TestProtocolAcceptorSaysWhy holds an acceptor to W58 and to W57 towards a
// dialler that has proved itself: REJECT and the end of the connection carry
// the same code, and a word (D25).
func TestProtocolAcceptorSaysWhy(t *testing.T) {
	lab.RawTest(t, "W58", lab.RawSetup{}, func(t *testing.T, r *lab.RawCluster) {
		twin := r.Connect()
		for name, test := range map[string]struct {
			code   wire.Code
			word   string
			change func(h *wire.Hello)
		}{
			"another cluster":         {wire.CodeCluster, "Config.Cluster", func(h *wire.Hello) { h.Cluster = "staging" }},
			"no cluster":              {wire.CodeCluster, "Config.Cluster", func(h *wire.Hello) { h.Cluster = "" }},
			"meant for another node":  {wire.CodeName, `"elsewhere"`, func(h *wire.Hello) { h.To = "elsewhere" }},
			"meant for the sender":    {wire.CodeName, r.Name, func(h *wire.Hello) { h.To = r.Name }},
			"from no peer":            {wire.CodeName, `"mallory"`, func(h *wire.Hello) { h.From = "mallory" }},
			"from the acceptor":       {wire.CodeName, lab.SubjectName, func(h *wire.Hello) { h.From = lab.SubjectName }},
			"all of it, cluster wins": {wire.CodeCluster, "", func(h *wire.Hello) { h.Cluster, h.From, h.To = "a", "b", "c" }},
		} {
			p := r.Dial()
			p.SwapInits()
			p.SayHello(test.change)
			if st := p.WantStatus(wire.TypeReject, test.code, name); !strings.Contains(st.Message, test.word) {
				t.Errorf("%s: REJECT says %q, want it to mention %s", name, st.Message, test.word)
			}
			if reason := p.WantClosed(test.code, name); reason == "" {
				t.Errorf("%s: the connection ended without a word", name)
			}
		}
		twin.WantLife(0, "W58: others were refused under the same name")
	})
	proves := func(name string) lab.RawSetup {
		return lab.RawSetup{Info: func(info *transport.Info) {
			if info.RemoteAddr.String() != lab.HonestName && info.LocalAddr.String() != lab.HonestName {
				info.PeerName = name
			}
		}}
	}
	lab.RawTest(t, "W58 the link proves another name", proves("somebody"), func(_ *testing.T, r *lab.RawCluster) {
		p := r.Dial()
		p.SwapInits()
		p.SayHello()
		p.WantStatus(wire.TypeReject, wire.CodeName, "the link proved another name than the peer's")
		p.WantClosed(wire.CodeName, "the link proved another name than the peer's")
	})
	lab.RawTest(t, "W58 the link proves the name", proves(lab.RawName(false)), func(_ *testing.T, r *lab.RawCluster) {
		r.Connect().WantLife(0, "the link proved the peer's name")
	})
	insecure := lab.RawSetup{Info: func(info *transport.Info) {
		info.Local = info.RemoteAddr.String() == lab.HonestName || info.LocalAddr.String() == lab.HonestName
	}}
	lab.RawTest(t, "W58 the link proves nothing", insecure, func(t *testing.T, r *lab.RawCluster) {
		for what, change := range map[string]func(h *wire.Hello){
			"an ordinary HELLO":      func(*wire.Hello) {},
			"one to another cluster": func(h *wire.Hello) { h.Cluster = "another" },
			"one to another node":    func(h *wire.Hello) { h.To = "another" },
		} {
			p := r.Dial()
			p.SwapInits()
			p.SayHello(change)
			st := p.WantStatus(wire.TypeReject, wire.CodeRejected, what+": a node that demands proof got none")
			reason := p.WantClosed(wire.CodeRejected, what+": a node that demands proof got none")
			if st.Message != "" || reason != "" {
				t.Errorf("%s: who has proved nothing is told %q and %q", what, st.Message, reason)
			}
		}
	})
}

// TestProtocolVersions holds an acceptor to W56: REJECT with code 21 in place of
// INIT, which even a stranger may know (D26, F24).
func TestProtocolVersions(t *testing.T) {
	lab.RawTest(t, "W56", lab.RawSetup{}, func(_ *testing.T, r *lab.RawCluster) {
		for _, v := range [][2]uint8{{0, 0}, {2, 2}, {2, 255}, {255, 255}} {
			p := r.Dial()
			p.Write(lab.RawInit(v[0], v[1]))
			p.WantStatus(wire.TypeReject, wire.CodeVersion, "no version in common")
			p.WantClosed(wire.CodeVersion, "no version in common")
		}
		for i, v := range [][2]uint8{{0, 1}, {1, 1}, {1, 2}, {0, 255}} {
			p := r.Dial()
			p.Write(lab.RawInit(v[0], v[1]))
			p.TakeInit()
			p.SayHello()
			p.TakeHello()
			p.WantLife(uint32(i), "version 1 lies in both ranges")
			p.Conn.CloseWithError(0, "")
		}
	})
}

// TestProtocolHelloOfTomorrow holds that what a later version may add is no
// obstacle: W51, W52, W53, and proofs, which this version does not look at
// (W58) (D26, F24).
func TestProtocolHelloOfTomorrow(t *testing.T) {
	lab.RawTest(t, "W58", lab.RawSetup{}, func(_ *testing.T, r *lab.RawCluster) {
		for name, hello := range map[string]func(p *lab.RawPeer) []byte{
			"features": func(p *lab.RawPeer) []byte {
				return p.HelloBytes(func(h *wire.Hello) { h.Features = ^wire.FeatureChecksum })
			},
			"compressors": func(p *lab.RawPeer) []byte {
				return p.HelloBytes(func(h *wire.Hello) { h.Codecs = []string{"zstd", "s2"} })
			},
			"an unknown nil":    func(p *lab.RawPeer) []byte { return p.HelloWith(lab.HelloField("future", 0xc0)) },
			"an unknown string": func(p *lab.RawPeer) []byte { return p.HelloWith(lab.HelloField("future", 0xa2, 'h', 'i')) },
			"an unknown number": func(p *lab.RawPeer) []byte {
				return p.HelloWith(lab.HelloField("future", 0xcb, 1, 2, 3, 4, 5, 6, 7, 8))
			},
			"an unknown byte array": func(p *lab.RawPeer) []byte { return p.HelloWith(lab.HelloField("future", 0xc4, 1, 0)) },
		} {
			p := r.Dial()
			// An INIT may be longer, up to what a batch may be (W50).
			body := make([]byte, wire.MaxHandshakeFrame-wire.HeaderSize)
			copy(body, lab.RawInit(1, 1)[wire.HeaderSize:])
			p.Write(lab.RawFrame(wire.Frame{Type: wire.TypeInit, Body: body}))
			p.TakeInit()
			p.Write(hello(p))
			p.Write(wire.AppendProof(nil, make([]byte, wire.MaxProof)))
			p.TakeHello()
			p.WantLife(0, "a HELLO with "+name)
			p.Conn.CloseWithError(0, "")
		}
	})
}

// TestProtocolAcceptorWaitsNoLonger holds that a connection that does not get
// on with the handshake is ended by code 32 (W57) when its time is over,
// counted from its beginning, and costs nobody else anything (T3, F3).
func TestProtocolAcceptorWaitsNoLonger(t *testing.T) {
	const limit = 5 * time.Second
	lab.RawTest(t, "W57", lab.RawSetup{Config: func(cfg *core.Config) { cfg.ConnectTimeout = limit }}, func(t *testing.T, r *lab.RawCluster) {
		began := time.Now()
		silent, afterInit := r.Dial(), r.Dial()
		time.Sleep(limit - time.Millisecond)
		afterInit.SwapInits()
		silent.WantIdle("just before its time is over")
		time.Sleep(time.Millisecond)
		for name, p := range map[string]*lab.RawPeer{"silence": silent, "silence after INIT": afterInit} {
			p.WantClosed(wire.CodeTimeout, name)
			if d := p.EndTime().Sub(began); d != limit {
				t.Errorf("%s was ended after %v, want exactly %v", name, d, limit)
			}
		}
		// As many as may stand in their handshake at once. The oldest has to go
		// for one more, without a word.
		oldest := r.Dial()
		for range 255 {
			r.Dial()
		}
		oldest.WantIdle("as many connections as may be in their handshake")
		r.Dial()
		if reason := oldest.WantClosed(wire.CodeRejected, "one connection too many"); reason != "" {
			t.Errorf("the oldest of too many was told %q, want no word (W57)", reason)
		}
		r.Alive("while strangers hold all places of handshakes")
		p := r.Dial()
		p.Handshake()
		p.WantLife(0, "strangers hold all places of handshakes")
		p.Conn.CloseWithError(0, "")
		time.Sleep(limit)
		r.Connect().WantLife(0, "the strangers' time was over")
	})
}

// TestProtocolReady holds an acceptor to W55: it has no session before READY,
// so that a dialler which finds fault with it changes nothing.
func TestProtocolReady(t *testing.T) {
	changes := make(chan core.StateChange, 100)
	setup := lab.RawSetup{Config: func(cfg *core.Config) { cfg.OnState = func(c core.StateChange) { changes <- c } }}
	lab.RawTest(t, "W55", setup, func(t *testing.T, r *lab.RawCluster) {
		greeted := func() *lab.RawPeer {
			p := r.Dial()
			p.SwapInits()
			p.SayHello()
			p.Want(wire.TypeHello, "the acceptor finds no fault")
			p.Want(wire.TypeProof, "the acceptor finds no fault")
			return p
		}
		p := greeted()
		p.WantIdle("W55: the dialler is to say READY")
		if got := r.Conn().State(); got != core.StateConnecting {
			t.Errorf("W55: the peer is %v before READY", got)
		}
		p.Conn.CloseWithError(uint32(wire.CodeRejected), "I do not believe you")
		p = greeted()
		p.Send(wire.AppendPing(nil, wire.TypePing, 1))
		p.WantStatus(wire.TypeReject, wire.CodeProtocol, "W55: another frame in place of READY")
		p.WantClosed(wire.CodeProtocol, "W55: another frame in place of READY")
		for len(changes) > 0 {
			if c := <-changes; c.Peer == r.Name && c.To == core.StateConnected {
				t.Errorf("W55: the peer has become connected without READY: %+v", c)
			}
		}
		p = greeted()
		p.Write(wire.AppendReady(nil))
		p.WantLife(0, "READY was said")
	})
}
