package transport_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/inmem"
	"github.com/gridmux/gridmux/transport/transporttest"
)

// twoNetworks are the networks of a Fallback of two transports, between the
// nodes a and b.
type twoNetworks struct{ preferred, other *inmem.Network }

func newTwoNetworks() twoNetworks { return twoNetworks{inmem.NewNetwork(), inmem.NewNetwork()} }

func (n twoNetworks) node(name string) transport.Transport {
	return transport.Fallback(n.preferred.Node(name), n.other.Node(name))
}

func (n twoNetworks) fixture() transporttest.Fixture {
	for _, net := range []*inmem.Network{n.preferred, n.other} {
		net.Partition("a", "silent")
	}
	return transporttest.Fixture{
		Dialer: n.node("a"), Listener: n.node("b"), Addr: "b.example:7",
		Silent: transport.Peer{Name: "silent", Addr: "silent"},
		Lanes:  true,
		Cut: func() {
			n.preferred.Cut("a", "b")
			n.other.Cut("a", "b")
		},
	}
}

// TestFallbackConformance holds a Fallback, as one transport, to the contract of
// every transport: where the preferred one works, where its dials fail, and where
// nothing of it gets through.
func TestFallbackConformance(t *testing.T) {
	transporttest.Run(t, func(*testing.T) transporttest.Fixture { return newTwoNetworks().fixture() })
	for name, disturb := range map[string]func(*inmem.Network){
		"works":   func(*inmem.Network) {},
		"refuses": func(n *inmem.Network) { n.RefuseDials("a", "b") },
		"blocked": func(n *inmem.Network) { n.Partition("a", "b") },
	} {
		t.Run(name, func(t *testing.T) {
			transporttest.RunInBubble(t, func(*testing.T) transporttest.Fixture {
				n := newTwoNetworks()
				disturb(n.preferred)
				return n.fixture()
			})
		})
	}
}

// TestFallbackDial dials by two transports and holds which is taken, and after
// how long: the second begins when the first has failed, or after 250 ms.
func TestFallbackDial(t *testing.T) {
	ms := time.Millisecond
	for _, test := range []struct {
		name    string
		disturb func(n twoNetworks)
		network func(n twoNetworks) *inmem.Network // over which the connection is; nil: there is none
		after   time.Duration
		errs    []string
	}{
		{name: "the preferred one works", network: func(n twoNetworks) *inmem.Network { return n.preferred }, after: 20 * ms},
		{
			name:    "the preferred one refuses",
			disturb: func(n twoNetworks) { n.preferred.RefuseDials("a", "b") },
			network: func(n twoNetworks) *inmem.Network { return n.other }, after: 20*ms + 20*ms,
		},
		{
			name:    "the preferred one is blocked",
			disturb: func(n twoNetworks) { n.preferred.Partition("a", "b") },
			network: func(n twoNetworks) *inmem.Network { return n.other }, after: 250*ms + 20*ms,
		},
		{
			name:    "the preferred one is slow, and first",
			disturb: func(n twoNetworks) { n.preferred.SetLatency(130 * ms) },
			network: func(n twoNetworks) *inmem.Network { return n.preferred }, after: 260 * ms,
		},
		{
			name: "both refuse",
			disturb: func(n twoNetworks) {
				n.preferred.RefuseDials("a", "b")
				n.other.RefuseDials("a", "b")
			},
			after: 40 * ms, errs: []string{"inmem to b (b): dial:", "; "},
		},
		{
			name: "both are blocked",
			disturb: func(n twoNetworks) {
				n.preferred.Partition("a", "b")
				n.other.Partition("a", "b")
			},
			after: time.Minute, errs: []string{"deadline exceeded"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newTwoNetworks()
				n.preferred.SetLatency(10 * ms)
				n.other.SetLatency(10 * ms)
				if test.disturb != nil {
					test.disturb(n)
				}
				ln, err := n.node("b").Listen(t.Context(), "b")
				if err != nil {
					t.Fatal(err)
				}
				defer ln.Close()
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				began := time.Now()
				tc, err := n.node("a").Dial(ctx, transport.Peer{Name: "b", Addr: "b"})
				if took := time.Since(began); took != test.after {
					t.Errorf("the dial took %v, want %v", took, test.after)
				}
				if test.network == nil {
					wantDialError(t, err, test.errs)
					return
				}
				if err != nil {
					t.Fatalf("the dial failed: %v", err)
				}
				defer tc.CloseWithError(0, "")
				far, err := ln.Accept(ctx)
				if err != nil {
					t.Fatal(err)
				}
				defer far.CloseWithError(0, "")
				test.network(n).Cut("a", "b")
				if _, err := tc.ReadFrame(1); err == nil {
					t.Error("the connection is not over the transport that was to be taken: it outlives a cut of that")
				}
			})
		})
	}
}

func wantDialError(t *testing.T, err error, texts []string) {
	t.Helper()
	e, ok := errors.AsType[*transport.DialError](err)
	if !ok || e.Phase != transport.PhaseDial {
		t.Fatalf("got error %v, want a DialError of the phase dial", err)
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("got error %q, want it to mention %q", err, text)
		}
	}
}

// TestFallbackAddresses holds how an address is divided among the transports.
func TestFallbackAddresses(t *testing.T) {
	n := newTwoNetworks()
	for _, test := range []struct {
		listen, dial, reported, err string
	}{
		{listen: "b", dial: "b", reported: "b"},
		{listen: "b1,b2", dial: "b1,b2", reported: "b1,b2"},
		{listen: "b1, b2", dial: "wrong,b2", reported: "b1,b2"},
		{listen: "b1,b2", dial: "b1,", reported: "b1,b2"},
		{listen: "b1,b2", dial: ",", reported: "b1,b2", err: "not to be reached by it"},
		{listen: "b1,b2", dial: "b1,b2,b3", reported: "b1,b2", err: "3 parts for 2 transports"},
	} {
		ln, err := n.node("b").Listen(t.Context(), test.listen)
		if err != nil {
			t.Fatalf("listening on %q failed: %v", test.listen, err)
		}
		if got := ln.Addr().String(); got != test.reported {
			t.Errorf("listening on %q reports the address %q, want %q", test.listen, got, test.reported)
		}
		tc, err := n.node("a").Dial(t.Context(), transport.Peer{Name: "b", Addr: test.dial})
		switch {
		case test.err == "" && err != nil:
			t.Errorf("dialling %q failed: %v", test.dial, err)
		case test.err != "":
			wantDialError(t, err, []string{test.err})
		default:
			_ = tc.CloseWithError(0, "")
		}
		if err := ln.Close(); err != nil {
			t.Errorf("Close failed: %v", err)
		}
	}
	for addr, want := range map[string]string{
		"1,2,3": "3 parts for 2 transports",
		"1,":    "empty part for transport 2 of 2",
		" ,2":   "empty part for transport 1 of 2",
	} {
		if ln, err := n.node("b").Listen(t.Context(), addr); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("listening on %q returned %v, %v, want an error that mentions %q", addr, ln, err, want)
		}
	}
}

// TestFallbackListensOnAllOrNone makes the second of two transports fail to
// listen. The first is free again.
func TestFallbackListensOnAllOrNone(t *testing.T) {
	n := newTwoNetworks()
	taken, err := n.other.Node("b").Listen(t.Context(), "b")
	if err != nil {
		t.Fatal(err)
	}
	if ln, err := n.node("b").Listen(t.Context(), "b"); err == nil {
		ln.Close()
		t.Fatal("listening on an address that is in use succeeded")
	}
	if err := taken.Close(); err != nil {
		t.Fatal(err)
	}
	ln, err := n.node("b").Listen(t.Context(), "b")
	if err != nil {
		t.Fatalf("listening failed after an attempt that failed: %v", err)
	}
	defer ln.Close()
	n.other.Crash("b")
	if _, err := ln.Accept(t.Context()); err == nil || errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept returned %v when one of the listeners had failed, want an error that says so", err)
	}
}

// TestFallbackInfo holds that a listener promises only what all transports keep.
func TestFallbackInfo(t *testing.T) {
	all := transport.ListenerInfo{Local: true, TLS: true, MutualTLS: true}
	for _, test := range []struct{ one, other, want transport.ListenerInfo }{
		{all, all, all},
		{all, transport.ListenerInfo{}, transport.ListenerInfo{}},
		{transport.ListenerInfo{TLS: true}, all, transport.ListenerInfo{TLS: true}},
		{transport.ListenerInfo{TLS: true, MutualTLS: true}, all, transport.ListenerInfo{TLS: true, MutualTLS: true}},
	} {
		ln, err := transport.Fallback(promises{test.one}, promises{test.other}).Listen(t.Context(), "b")
		if err != nil {
			t.Fatal(err)
		}
		if got := ln.Info(); got != test.want {
			t.Errorf("of %+v and %+v a listener promises %+v, want %+v", test.one, test.other, got, test.want)
		}
		ln.Close()
	}
}

// promises is a transport whose listeners promise something.
type promises struct{ info transport.ListenerInfo }

func (promises) Dial(context.Context, transport.Peer) (transport.Conn, error) {
	return nil, errors.New("not dialled")
}

func (p promises) Listen(ctx context.Context, addr string) (transport.Listener, error) {
	ln, err := inmem.NewNetwork().Node("b").Listen(ctx, addr)
	return promisingListener{ln, p.info}, err
}

type promisingListener struct {
	transport.Listener

	info transport.ListenerInfo
}

func (l promisingListener) Info() transport.ListenerInfo { return l.info }

// TestFallbackParts holds what the parts of a Fallback are: those of one that is
// within another stand in its place, and one that is nil is an error when used.
func TestFallbackParts(t *testing.T) {
	n, m := newTwoNetworks(), newTwoNetworks()
	f := transport.Fallback(n.preferred.Node("b"), transport.Fallback(n.other.Node("b"), m.other.Node("b")))
	if got := len(f.(transport.MultiTransport).Transports()); got != 3 {
		t.Errorf("a Fallback within another makes %d transports, want 3", got)
	}
	ln, err := f.Listen(t.Context(), "1,2,3")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	tc, err := m.other.Node("a").Dial(t.Context(), transport.Peer{Name: "b", Addr: "3"})
	if err != nil {
		t.Fatalf("the third transport does not listen on the third address: %v", err)
	}
	_ = tc.CloseWithError(0, "")

	f = transport.Fallback(nil, nil)
	_, err = f.Dial(t.Context(), transport.Peer{Name: "b", Addr: "b"})
	wantDialError(t, err, []string{"is nil"})
	if _, err := f.Listen(t.Context(), "b"); err == nil || !strings.Contains(err.Error(), "is nil") {
		t.Errorf("listening by a transport that is nil returned %v, want an error that says so", err)
	}
}
