package proctest_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/transport/websocket"
)

// clusterName is the same in all nodes of these tests.
const clusterName = "proctest"

// dials reports whether the first node makes the connection to the second: the
// rule of W60, written down once more.
func dials(own, other string) bool {
	a, b := sha256.Sum256([]byte(own+"\x00"+other)), sha256.Sum256([]byte(other+"\x00"+own))
	return bytes.Compare(a[:], b[:]) < 0
}

// dialling returns a name for a node that dials the acceptor.
func dialling(prefix, acceptor string) string {
	for i := 0; ; i++ {
		if name := prefix + "-" + strconv.Itoa(i); dials(name, acceptor) {
			return name
		}
	}
}

// accepting returns a name for a node that the dialler dials.
func accepting(prefix, dialler string) string {
	for i := 0; ; i++ {
		if name := prefix + "-" + strconv.Itoa(i); dials(dialler, name) {
			return name
		}
	}
}

// host is a node in the process of the test, and what it was told of its peers.
type host struct {
	*core.Manager
	self   core.Node
	states chan core.StateChange
}

// hostSetup is what a test wants to be different about a host.
type hostSetup struct {
	name     string
	peers    []core.Node
	config   func(cfg *core.Config)
	options  websocket.Options
	register func(m *core.Manager) error
}

// newHost starts a node on a port of its own. listen is nil for any.
func newHost(t testing.TB, setup hostSetup, listen net.Listener) *host {
	t.Helper()
	if listen == nil {
		listen = listenAnywhere(t)
	}
	setup.options.Listener = listen
	h := &host{
		self:   core.Node{Name: setup.name, Addr: listen.Addr().String()},
		states: make(chan core.StateChange, 1<<16),
	}
	cfg := core.Config{
		Cluster: clusterName, Local: h.self, Peers: setup.peers, AllowInsecure: true,
		Transport: websocket.New(setup.options),
		OnState:   func(c core.StateChange) { h.states <- c },
	}
	if setup.config != nil {
		setup.config(&cfg)
	}
	m, err := core.NewManager(cfg)
	if err != nil {
		t.Fatalf("making the node %s failed: %v", setup.name, err)
	}
	t.Cleanup(func() { m.Close() })
	if setup.register != nil {
		if err := setup.register(m); err != nil {
			t.Fatalf("registering the handlers of %s failed: %v", setup.name, err)
		}
	}
	if err := m.Start(t.Context()); err != nil {
		t.Fatalf("starting the node %s failed: %v", setup.name, err)
	}
	h.Manager = m
	return h
}

// listenAnywhere opens a port for a node whose address is needed before it is
// made.
func listenAnywhere(t testing.TB) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("listening failed: %v", err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln
}

// awaitState returns the next change of the peer to the state, passing over
// others.
func (h *host) awaitState(t testing.TB, peer string, to core.State) core.StateChange {
	t.Helper()
	for {
		if c := wait(t, h.states, fmt.Sprintf("%s sees %s %v", h.self.Name, peer, to)); c.Peer == peer && c.To == to {
			return c
		}
	}
}

// mustCall makes a call that has to succeed, waiting for a connection.
func mustCall(t testing.TB, ctx context.Context, c core.Caller, h core.HandlerID, req []byte) []byte {
	t.Helper()
	resp, err := c.Request(ctx, h, req, core.WaitForConnection(), core.WithTimeout(patience))
	if err != nil {
		t.Fatalf("a call of %s failed: %v", h, err)
	}
	return resp
}

func echo(_ context.Context, req []byte) ([]byte, error) { return req, nil }

// slowEcho returns a handler that takes a while.
func slowEcho(d time.Duration) core.HandlerFunc {
	return func(_ context.Context, req []byte) ([]byte, error) {
		pass(d)
		return req, nil
	}
}
