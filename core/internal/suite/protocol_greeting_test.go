package suite_test

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/internal/wire"
)

// whyNot is what the subject says of its missing connection to the raw peer.
func (r *rawCluster) whyNot() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Nanosecond)
	defer cancel()
	return r.conn().WaitConnected(ctx)
}

// TestProtocolDiallerRefuses holds a dialler to W55, W56, W57 and W58: it ends
// the connection with the code, never sends REJECT, and says at home what was
// wrong. Every time it dials again (D25, D26).
func TestProtocolDiallerRefuses(t *testing.T) {
	type step struct {
		code  wire.Code
		word  string // of the reason and of the error at home
		bytes func(p *rawPeer) []byte
		proof bool // is sent too
	}
	hello := func(change func(h *wire.Hello)) func(p *rawPeer) []byte {
		return func(p *rawPeer) []byte { return p.helloBytes(change) }
	}
	constant := func(b []byte) func(p *rawPeer) []byte { return func(*rawPeer) []byte { return b } }
	initSteps := map[string]step{
		"versions above":         {wire.CodeVersion, "version", constant(rawInit(2, 9)), false},
		"versions below":         {wire.CodeVersion, "version", constant(rawInit(0, 0)), false},
		"HELLO instead of INIT":  {wire.CodeProtocol, "", func(p *rawPeer) []byte { return p.helloBytes() }, false},
		"REJECT that is too big": {wire.CodeProtocol, "", constant(rawFrame(wire.Frame{Type: wire.TypeReject, Body: make([]byte, 5)})), false},
	}
	helloSteps := map[string]step{
		"another cluster":     {wire.CodeCluster, "Config.Cluster", hello(func(h *wire.Hello) { h.Cluster = "staging" }), true},
		"another node":        {wire.CodeName, `"mallory"`, hello(func(h *wire.Hello) { h.From = "mallory" }), false},
		"another known node":  {wire.CodeName, rawHonest, hello(func(h *wire.Hello) { h.From = rawHonest }), false},
		"the dialler's name":  {wire.CodeName, rawSubject, hello(func(h *wire.Hello) { h.From = rawSubject }), false},
		"meant for another":   {wire.CodeName, `"elsewhere"`, hello(func(h *wire.Hello) { h.To = "elsewhere" }), true},
		"a frame of sessions": {wire.CodeProtocol, "", func(p *rawPeer) []byte { return p.request(0, 1, "echo", nil) }, false},
	}
	for _, f := range outOfPlace {
		initSteps[f.name] = step{wire.CodeProtocol, "", constant(f.bytes), false}
		helloSteps[f.name] = step{wire.CodeProtocol, "", constant(f.bytes), false}
	}
	for name, b := range badInits {
		initSteps[name] = step{wire.CodeProtocol, "", constant(b), false}
	}
	for name, b := range badHellos {
		if name != "REJECT" {
			helloSteps[name] = step{wire.CodeProtocol, "", b, false}
		}
	}
	check := func(t *testing.T, p *rawPeer, name string, s step) {
		p.write(s.bytes(p))
		if s.proof {
			p.write(rawProof())
		}
		if reason := p.wantClosed(s.code, name); reason == "" || !strings.Contains(reason, s.word) {
			t.Errorf("%s: the reason is %q, want it to mention %s", name, reason, s.word)
		}
		if err := p.r.whyNot(); !strings.Contains(err.Error(), s.word) || strings.Contains(err.Error(), "connecting to") {
			t.Errorf("%s: the dialler says %v, want the reason", name, err)
		}
	}
	rawTest(t, "W57", rawSetup{dials: true}, func(t *testing.T, r *rawCluster) {
		for name, s := range initSteps {
			p := r.accept()
			p.takeInit()
			check(t, p, name, s)
		}
		for name, s := range helloSteps {
			p := r.accept()
			p.takeInit()
			p.write(rawInit(1, 1))
			p.takeHello()
			check(t, p, "after INIT: "+name, s)
		}
		r.alive("after all that acceptors can do wrong")
		p := r.accept()
		p.handshake()
		p.wantLife(0, "the dialler has tried again")
	})
}

// TestProtocolDiallerIsRefused holds that a dialler learns the reason from
// REJECT, in place of INIT and of HELLO (W57) (D25).
func TestProtocolDiallerIsRefused(t *testing.T) {
	rawTest(t, "W57", rawSetup{dials: true}, func(t *testing.T, r *rawCluster) {
		for _, afterInit := range []bool{false, true} {
			p := r.accept()
			p.takeInit()
			if afterInit {
				p.write(rawInit(1, 1))
				p.takeHello()
			}
			p.write(rawStatus(wire.TypeReject, 0, wire.CodeCluster))
			// Whoever was refused has found no fault with the other.
			p.wantClosed(wire.CodeNone, "the acceptor has refused")
			err := r.whyNot()
			wantText(t, "a dialler that was refused", err, "the raw peer says so", "22")
			if !errors.Is(err, core.ErrDisconnected) {
				t.Errorf("a dialler that was refused says %v, want ErrDisconnected", err)
			}
		}
		p := r.accept()
		p.handshake()
		p.wantLife(0, "the refused dialler has tried again")
	})
}

// TestProtocolDiallerWaitsNoLonger holds that an acceptor that says nothing is
// given up with code 32, and when (T3, F3).
func TestProtocolDiallerWaitsNoLonger(t *testing.T) {
	const limit = 3 * time.Second
	setup := rawSetup{dials: true, config: func(cfg *core.Config) { cfg.ConnectTimeout = limit }}
	rawTest(t, "W57", setup, func(t *testing.T, r *rawCluster) {
		r.accept().tc.CloseWithError(0, "") // it may have waited to be accepted
		for _, afterInit := range []bool{false, true} {
			p := r.accept()
			began := time.Now()
			p.takeInit()
			time.Sleep(limit - time.Millisecond)
			if afterInit {
				p.write(rawInit(1, 1))
				p.takeHello()
			}
			p.wantIdle("just before the time is over")
			time.Sleep(time.Millisecond)
			p.wantClosed(wire.CodeTimeout, "the time is over")
			if d := p.endedAt.Sub(began); d != limit {
				t.Errorf("an acceptor that says nothing was given up after %v, want exactly %v", d, limit)
			}
		}
		// Not in between: it takes time, in which the dialler may try again.
		wantText(t, "a silent acceptor", r.whyNot(), "not finished within 3s")
	})
}

// TestProtocolWhoDials holds the nodes to W60: between two of them the one with
// the lower hash dials, and the other only when it has had no session for a
// second.
func TestProtocolWhoDials(t *testing.T) {
	if !lowerHash("node-2", "node-1") {
		t.Error("W60: the test's own rule does not agree with the example")
	}
	rawTest(t, "W60 the raw peer is to dial", rawSetup{}, func(t *testing.T, r *rawCluster) {
		ln, err := r.network.Node(r.raw).Listen(t.Context(), r.raw)
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		r.connect().wantLife(0, "W60: the raw peer dials")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := ln.Accept(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("W60: a node that has a session has dialled: %v", err)
		}
	})
	rawTest(t, "W60 the subject is to dial", rawSetup{dials: true}, func(_ *testing.T, r *rawCluster) {
		for range 5 { // again and again
			p := r.accept()
			p.handshake()
			p.wantLife(0, "W60: the subject dials")
			p.tc.CloseWithError(0, "")
		}
	})
}

// TestProtocolInstances holds HELLO to W62, W54 and to what the configuration
// says, and INIT to W51.
func TestProtocolInstances(t *testing.T) {
	limits := func(cfg *core.Config) {
		cfg.MaxMessage, cfg.MaxCalls, cfg.KeepAlive = 123_456, 789, 1500*time.Millisecond
	}
	var instances [][wire.InstanceSize]byte
	for range 2 {
		rawTest(t, "W62", rawSetup{config: limits}, func(t *testing.T, r *rawCluster) {
			a := r.connect()
			a.tc.CloseWithError(0, "")
			b := r.connect()
			if a.hello.Instance != b.hello.Instance {
				t.Error("W62: a node has two instance ids in one life")
			}
			if a.init.Nonce == b.init.Nonce {
				t.Error("W51: a nonce was used twice")
			}
			instances = append(instances, a.hello.Instance)
			hashes := []uint64{rawHash("echo"), rawHash("echo.append"), rawHash("echo.inline")}
			slices.Sort(hashes)
			var entries []byte
			for _, h := range hashes {
				entries = append(binary.LittleEndian.AppendUint64(entries, h), 1)
			}
			want := wire.Hello{
				Cluster: rawClusterName, From: rawSubject, To: r.raw, Instance: a.hello.Instance, Catalogue: sha256Of(entries),
				MaxFrame: a.hello.MaxFrame, MaxMsg: 123_456, Window: wire.DefaultWindow, MaxCalls: 789, KeepAlive: 1500,
			}
			if got := a.hello; got.MaxFrame < wire.MinMaxFrame || len(got.Codecs) > 0 ||
				got.Catalogue != want.Catalogue || got.From != want.From || got.To != want.To || got.Cluster != want.Cluster ||
				got.MaxMsg != want.MaxMsg || got.MaxCalls != want.MaxCalls || got.KeepAlive != want.KeepAlive || got.Features != 0 {
				t.Errorf("W54, W58, W59: HELLO is %+v, want %+v", got, want)
			}
		})
	}
	if len(instances) == 2 && instances[0] == instances[1] {
		t.Error("W62: two lives have the same instance id")
	}
}
