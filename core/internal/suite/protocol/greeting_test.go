package protocol_test

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/internal/lab"
	"github.com/gridmux/gridmux/core/internal/wire"
)

// TestProtocolDiallerRefuses holds a dialler to W55, W56, W57 and W58: it ends
// the connection with the code, never sends REJECT, and says at home what was
// wrong. Every time it dials again (D25, D26).
func TestProtocolDiallerRefuses(t *testing.T) {
	type step struct {
		code  wire.Code
		word  string // of the reason and of the error at home
		bytes func(p *lab.RawPeer) []byte
		proof bool // is sent too
	}
	hello := func(change func(h *wire.Hello)) func(p *lab.RawPeer) []byte {
		return func(p *lab.RawPeer) []byte { return p.HelloBytes(change) }
	}
	constant := func(b []byte) func(p *lab.RawPeer) []byte { return func(*lab.RawPeer) []byte { return b } }
	initSteps := map[string]step{
		"versions above":         {wire.CodeVersion, "version", constant(lab.RawInit(2, 9)), false},
		"versions below":         {wire.CodeVersion, "version", constant(lab.RawInit(0, 0)), false},
		"HELLO instead of INIT":  {wire.CodeProtocol, "", func(p *lab.RawPeer) []byte { return p.HelloBytes() }, false},
		"REJECT that is too big": {wire.CodeProtocol, "", constant(lab.RawFrame(wire.Frame{Type: wire.TypeReject, Body: make([]byte, 5)})), false},
	}
	helloSteps := map[string]step{
		"another cluster":     {wire.CodeCluster, "Config.Cluster", hello(func(h *wire.Hello) { h.Cluster = "staging" }), true},
		"another node":        {wire.CodeName, `"mallory"`, hello(func(h *wire.Hello) { h.From = "mallory" }), false},
		"another known node":  {wire.CodeName, lab.HonestName, hello(func(h *wire.Hello) { h.From = lab.HonestName }), false},
		"the dialler's name":  {wire.CodeName, lab.SubjectName, hello(func(h *wire.Hello) { h.From = lab.SubjectName }), false},
		"meant for another":   {wire.CodeName, `"elsewhere"`, hello(func(h *wire.Hello) { h.To = "elsewhere" }), true},
		"a frame of sessions": {wire.CodeProtocol, "", func(p *lab.RawPeer) []byte { return p.Request(0, 1, "echo", nil) }, false},
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
	check := func(t *testing.T, p *lab.RawPeer, name string, s step) {
		p.Write(s.bytes(p))
		if s.proof {
			p.Write(lab.RawProof())
		}
		if reason := p.WantClosed(s.code, name); reason == "" || !strings.Contains(reason, s.word) {
			t.Errorf("%s: the reason is %q, want it to mention %s", name, reason, s.word)
		}
		if err := p.Cluster.WhyNot(); !strings.Contains(err.Error(), s.word) || strings.Contains(err.Error(), "connecting to") {
			t.Errorf("%s: the dialler says %v, want the reason", name, err)
		}
	}
	lab.RawTest(t, "W57", lab.RawSetup{Dials: true}, func(t *testing.T, r *lab.RawCluster) {
		for name, s := range initSteps {
			p := r.Accept()
			p.TakeInit()
			check(t, p, name, s)
		}
		for name, s := range helloSteps {
			p := r.Accept()
			p.TakeInit()
			p.Write(lab.RawInit(1, 1))
			p.TakeHello()
			check(t, p, "after INIT: "+name, s)
		}
		r.Alive("after all that acceptors can do wrong")
		p := r.Accept()
		p.Handshake()
		p.WantLife(0, "the dialler has tried again")
	})
}

// TestProtocolDiallerIsRefused holds that a dialler learns the reason from
// REJECT, in place of INIT and of HELLO (W57) (D25).
func TestProtocolDiallerIsRefused(t *testing.T) {
	lab.RawTest(t, "W57", lab.RawSetup{Dials: true}, func(t *testing.T, r *lab.RawCluster) {
		for _, afterInit := range []bool{false, true} {
			p := r.Accept()
			p.TakeInit()
			if afterInit {
				p.Write(lab.RawInit(1, 1))
				p.TakeHello()
			}
			p.Write(lab.RawStatus(wire.TypeReject, 0, wire.CodeCluster))
			// Whoever was refused has found no fault with the other.
			p.WantClosed(wire.CodeNone, "the acceptor has refused")
			err := r.WhyNot()
			lab.WantText(t, "a dialler that was refused", err, "the raw peer says so", "22")
			if !errors.Is(err, core.ErrDisconnected) {
				t.Errorf("a dialler that was refused says %v, want ErrDisconnected", err)
			}
		}
		p := r.Accept()
		p.Handshake()
		p.WantLife(0, "the refused dialler has tried again")
	})
}

// TestProtocolDiallerWaitsNoLonger holds that an acceptor that says nothing is
// given up with code 32, and when (T3, F3).
func TestProtocolDiallerWaitsNoLonger(t *testing.T) {
	const limit = 3 * time.Second
	setup := lab.RawSetup{Dials: true, Config: func(cfg *core.Config) { cfg.ConnectTimeout = limit }}
	lab.RawTest(t, "W57", setup, func(t *testing.T, r *lab.RawCluster) {
		r.Accept().Conn.CloseWithError(0, "") // it may have waited to be accepted
		for _, afterInit := range []bool{false, true} {
			p := r.Accept()
			began := time.Now()
			p.TakeInit()
			time.Sleep(limit - time.Millisecond)
			if afterInit {
				p.Write(lab.RawInit(1, 1))
				p.TakeHello()
			}
			p.WantIdle("just before the time is over")
			time.Sleep(time.Millisecond)
			p.WantClosed(wire.CodeTimeout, "the time is over")
			if d := p.EndTime().Sub(began); d != limit {
				t.Errorf("an acceptor that says nothing was given up after %v, want exactly %v", d, limit)
			}
		}
		// Not in between: it takes time, in which the dialler may try again.
		lab.WantText(t, "a silent acceptor", r.WhyNot(), "not finished within 3s")
	})
}

// TestProtocolWhoDials holds the nodes to W60: between two of them the one with
// the lower hash dials, and the other only when it has had no session for a
// second.
func TestProtocolWhoDials(t *testing.T) {
	if !lab.Dials("node-2", "node-1") {
		t.Error("W60: the test's own rule does not agree with the example")
	}
	lab.RawTest(t, "W60 the raw peer is to dial", lab.RawSetup{}, func(t *testing.T, r *lab.RawCluster) {
		ln, err := r.Network.Node(r.Name).Listen(t.Context(), r.Name)
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		r.Connect().WantLife(0, "W60: the raw peer dials")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := ln.Accept(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("W60: a node that has a session has dialled: %v", err)
		}
	})
	lab.RawTest(t, "W60 the subject is to dial", lab.RawSetup{Dials: true}, func(_ *testing.T, r *lab.RawCluster) {
		for range 5 { // again and again
			p := r.Accept()
			p.Handshake()
			p.WantLife(0, "W60: the subject dials")
			p.Conn.CloseWithError(0, "")
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
		lab.RawTest(t, "W62", lab.RawSetup{Config: limits}, func(t *testing.T, r *lab.RawCluster) {
			a := r.Connect()
			a.Conn.CloseWithError(0, "")
			b := r.Connect()
			if a.Hello.Instance != b.Hello.Instance {
				t.Error("W62: a node has two instance ids in one life")
			}
			if a.Init.Nonce == b.Init.Nonce {
				t.Error("W51: a nonce was used twice")
			}
			instances = append(instances, a.Hello.Instance)
			hashes := []uint64{lab.HandlerHash("echo"), lab.HandlerHash("echo.append"), lab.HandlerHash("echo.inline")}
			slices.Sort(hashes)
			var entries []byte
			for _, h := range hashes {
				entries = append(binary.LittleEndian.AppendUint64(entries, h), 1, 0, 0, 0, 0, 0, 0, 0, 0, 0)
			}
			want := wire.Hello{
				Cluster: lab.RawClusterName, From: lab.SubjectName, To: r.Name, Instance: a.Hello.Instance, Catalogue: sha256.Sum256(entries),
				MaxFrame: a.Hello.MaxFrame, MaxMsg: 123_456, MaxCalls: 789, KeepAlive: 1500,
			}
			if got := a.Hello; got.MaxFrame < wire.MinMaxFrame || len(got.Codecs) > 0 ||
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
