package identity_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/internal/lab"
	"github.com/gridmux/gridmux/core/internal/wire"
	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/devtls"
)

// middle is somebody between the nodes "good" and "bad", who has a certificate of
// their authority for both names, and not their key. TLS ends there, for both, and
// what they say goes on as he likes.
type middle struct {
	t         *testing.T
	transport transport.Transport
	forge     forgery
	wg        sync.WaitGroup

	mu   sync.Mutex
	over bool             // guarded by mu
	open []transport.Conn // guarded by mu
	said [][]byte         // guarded by mu; what the first node has said that came by
}

// forgery is what somebody in the middle makes of a node that has dialled. near is the
// connection of that one.
type forgery func(m *middle, near transport.Conn, to transport.Peer)

func newMiddle(t *testing.T, network secureNetwork, ca *devtls.Authority, forge forgery) *middle {
	t.Helper()
	config := lab.Certified(t, ca, "good", func(c *x509.Certificate) { c.DNSNames = []string{"good", "bad"} })
	get := func() (*tls.Config, error) { return config, nil }
	m := &middle{t: t, transport: network.node("middle", get, nil, new(lab.LogBook)), forge: forge}
	ln, err := m.transport.Listen(t.Context(), "middle:1")
	if err != nil {
		t.Fatal(err)
	}
	m.wg.Go(func() {
		for {
			near, err := ln.Accept(t.Context())
			if err != nil {
				return
			}
			to := transport.Peer{Name: "good", Addr: "good:1"}
			if near.Info().PeerName == "good" {
				to = transport.Peer{Name: "bad", Addr: "bad:1"}
			}
			if m.keep(near) {
				m.wg.Go(func() { m.forge(m, near, to) })
			}
		}
	})
	t.Cleanup(func() {
		ln.Close()
		m.mu.Lock()
		m.over = true
		open := m.open
		m.mu.Unlock()
		for _, tc := range open {
			tc.CloseWithError(0, "")
		}
		m.wg.Wait()
	})
	return m
}

// keep notes a connection, to be closed at the end.
func (m *middle) keep(tc transport.Conn) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.open = append(m.open, tc)
	if m.over {
		tc.CloseWithError(0, "")
	}
	return !m.over
}

// record notes what a node has said, and lets it pass but for the proof: nobody else is
// to have heard that.
func (m *middle) record(frame []byte) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.said = append(m.said, slices.Clone(frame))
	if f, _, err := wire.Next(frame); err == nil && f.Type == wire.TypeProof {
		return nil
	}
	return frame
}

func (m *middle) recorded() [][]byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.said)
}

func (m *middle) dial(to transport.Peer) transport.Conn {
	tc, err := m.transport.Dial(context.Background(), to)
	if err != nil {
		m.t.Logf("somebody in the middle cannot reach %s: %v", to.Name, err) // it may not have started
		return nil
	}
	if !m.keep(tc) {
		return nil
	}
	return tc
}

func say(tc transport.Conn, frame []byte) error {
	return tc.WriteFrames([][]byte{append(make([]byte, tc.Info().Headroom), frame...)})
}

// pass carries frames from one connection to the other until either ends, or change
// returns nil.
func pass(from, to transport.Conn, change func(frame []byte) []byte) {
	for {
		frame, err := from.ReadFrame(1 << 20)
		if err == nil {
			frame = change(frame)
		}
		if err == nil && frame != nil {
			err = say(to, frame)
		}
		if err != nil || frame == nil {
			from.CloseWithError(0, "")
			to.CloseWithError(0, "")
			return
		}
	}
}

func unchanged(frame []byte) []byte { return frame }

// relay passes everything on, both ways, after a change.
func relay(change func(frame []byte) []byte) forgery {
	return func(m *middle, near transport.Conn, to transport.Peer) {
		m.between(near, m.dial(to), change, change)
	}
}

// between passes everything on between two connections, the second of which may be nil.
func (m *middle) between(near, far transport.Conn, there, back func(frame []byte) []byte) {
	if far == nil {
		near.CloseWithError(0, "")
		return
	}
	m.wg.Go(func() { pass(far, near, back) })
	pass(near, far, there)
}

// changeInit changes what a node says of its end of the link, if frame is that.
func changeInit(change func(i *wire.Init)) func(frame []byte) []byte {
	return func(frame []byte) []byte {
		f, _, err := wire.Next(frame)
		if err != nil {
			return frame
		}
		i, err := wire.ParseInit(&f)
		if err != nil {
			return frame
		}
		change(&i)
		return wire.AppendInit(nil, &i)
	}
}

// mirror sends a node what it says itself.
func mirror(_ *middle, near transport.Conn, _ transport.Peer) { pass(near, near, unchanged) }

// replay listens to the first attempt of a node, and says later in its place what it
// has said then.
func replay(m *middle, near transport.Conn, to transport.Peer) {
	if to.Name == "good" {
		return // it is the other one that is to be deceived
	}
	before, far := m.recorded(), m.dial(to)
	if len(before) < 3 { // INIT, HELLO and PROOF
		m.between(near, far, m.record, unchanged)
		return
	}
	for _, frame := range before {
		if far == nil || say(far, frame) != nil {
			near.CloseWithError(0, "")
			return
		}
	}
	pass(far, near, unchanged)
}

// TestSomebodyInTheMiddle puts somebody between two nodes who has certificates for the
// names of both, but not their key. Whether he passes on what they say, hides that they
// speak TLS, says that they allow a proxy, says it again later, or sends it back: the
// nodes do not connect, no handler runs, and at least one of them is told why. That it
// is the TLS session that gives him away shows where both nodes allow a proxy: then he
// is one (T15, T16, T17).
func TestSomebodyInTheMiddle(t *testing.T) {
	for _, test := range []struct {
		name     string
		forge    forgery
		proxy    bool // both allow one
		connects bool
		says     string // one of the two, in its log or of its peer
	}{
		{"passes on", relay(unchanged), false, false, "or else something in between ends TLS"},
		{"passes on, and may", relay(unchanged), true, true, ""},
		{
			"hides TLS", relay(changeInit(func(i *wire.Init) { i.Link &^= wire.LinkTLS })), false, false,
			"one end of the link speaks TLS and the other does not",
		},
		{
			"says that a proxy is allowed", relay(changeInit(func(i *wire.Init) { i.Link |= wire.LinkProxy })), false, false,
			"proof was not accepted",
		},
		{"says it again", replay, false, false, "proof was not accepted"},
		{"says it again, as a proxy", replay, true, false, "proof was not accepted"},
		{"sends it back", mirror, false, false, "is \"good\", not \"bad\""},
		{"sends it back, as a proxy", mirror, true, false, "is \"good\", not \"bad\""},
	} {
		t.Run(test.name, func(t *testing.T) {
			overSecureLinks(t, func(t *testing.T, l secureLink) {
				network, ca := l.network(t), devtls.New()
				var ran atomic.Int32
				var nodes []*node
				for _, name := range []string{"good", "bad"} {
					n, config := &node{book: new(lab.LogBook)}, ca.Config(name)
					m, err := core.NewManager(core.Config{
						Local: core.Node{Name: name}, Listen: name + ":1",
						Peers:     []core.Node{{Name: "good", Addr: "middle:1"}, {Name: "bad", Addr: "middle:1"}},
						Transport: network.node(name, func() (*tls.Config, error) { return config, nil }, nil, n.book), Logger: n.book.Logger(),
						Auth: core.SharedKey([]byte("the key of the whole cluster")), AllowTLSProxy: test.proxy,
						MaxBackoff: 20 * time.Second, // every attempt costs handshakes
					})
					if err != nil {
						t.Fatal(err)
					}
					t.Cleanup(func() { m.Close() })
					n.Manager = m
					nodes = append(nodes, n)
				}
				newMiddle(t, network, ca, test.forge)
				var told strings.Builder
				for _, n := range nodes {
					count := func(_ context.Context, req []byte) ([]byte, error) { ran.Add(1); return req, nil }
					if err := errors.Join(n.Handle("count", count), n.Start(t.Context())); err != nil {
						t.Fatal(err)
					}
				}
				time.Sleep(90 * time.Second) // of refusals one a minute is logged
				for _, n := range nodes {
					for c := range n.Connections() {
						_, err := c.Request(t.Context(), "count", nil)
						if (err == nil) != test.connects {
							t.Errorf("a call to %s: %v", c.Peer(), err)
						}
					}
					told.WriteString(n.book.String())
					for _, p := range n.Stats().Peers {
						if p.Down != nil {
							told.WriteString(p.Down.Error())
						}
					}
				}
				if test.connects != (ran.Load() > 0) {
					t.Errorf("%d handlers have run", ran.Load())
				}
				if !strings.Contains(told.String(), test.says) {
					t.Errorf("nobody says %q:\n%s", test.says, told.String())
				}
			})
		})
	}
}
