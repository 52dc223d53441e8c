package netstream_test

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/core/internal/lab"
)

// service is the id of the handler that the tests dial.
const service core.HandlerID = "service"

// nodes is a cluster whose nodes have a Listener each, for service.
type nodes struct {
	*lab.Cluster
	mu        sync.Mutex
	listeners map[int]net.Listener // of the present managers
}

// listen starts nodes that listen.
func listen(t *testing.T, l *lab.Link, n int, opts ...coretest.Option) *nodes {
	t.Helper()
	c := &nodes{listeners: map[int]net.Listener{}}
	c.Cluster = l.Cluster(t, n, append([]coretest.Option{coretest.WithHandlers(c.register)}, opts...)...)
	return c
}

func (c *nodes) register(i int, m *core.Manager) error {
	ln, err := m.Listener(service)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.listeners[i] = ln
	return err
}

func (c *nodes) listener(i int) net.Listener {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.listeners[i]
}

// dial opens a connection, which the end of the test closes.
func (c *nodes) dial(from, to int) net.Conn {
	c.T.Helper()
	conn, err := c.Conn(from, to).Dial(c.T.Context(), service)
	if err != nil {
		c.T.Fatalf("Dial returned %v", err)
	}
	c.T.Cleanup(func() { conn.Close() })
	return conn
}

// arrived waits until so many connections have come in at a node: between those
// that have lanes of their own there is no order.
func (c *nodes) arrived(at, n int) {
	c.T.Helper()
	lab.Until(c.T, "all connections have come in", func() bool { return len(c.Manager(at).Stats().Peers[0].Streams) == n })
}

// pair opens a connection and accepts it.
func (c *nodes) pair() (dialled, accepted net.Conn) {
	c.T.Helper()
	dialled = c.dial(0, 1)
	accepted = c.accept(1)
	c.T.Cleanup(func() { accepted.Close() })
	return dialled, accepted
}

// accept accepts a connection. One that was refused never comes, and Accept would
// wait for ever.
func (c *nodes) accept(at int) net.Conn {
	c.T.Helper()
	ln := c.listener(at)
	return lab.Wait(c.T, lab.Go(func() net.Conn {
		conn, err := ln.Accept()
		if err != nil {
			c.T.Errorf("Accept returned %v", err)
		}
		return conn
	}), "a connection is accepted")
}

// streamOption registers one more handler of streams on all nodes.
func streamOption(id core.HandlerID, fn core.StreamFunc, opts ...core.HandlerOption) coretest.Option {
	return coretest.WithHandlers(func(_ int, m *core.Manager) error { return m.HandleStreamFunc(id, fn, opts...) })
}

// copyBack is a handler that copies what comes back, by io.Copy.
func copyBack(_ context.Context, _ []byte, s *core.RawStream) error {
	conn := s.Conn()
	defer conn.Close()
	_, err := io.Copy(conn, conn)
	return err
}

func write(t testing.TB, c net.Conn, text string) {
	t.Helper()
	if n, err := c.Write([]byte(text)); n != len(text) || err != nil {
		t.Fatalf("Write of %d bytes returned %d, %v", len(text), n, err)
	}
}

// wantRead reads exactly the text.
func wantRead(t testing.TB, c net.Conn, text string) {
	t.Helper()
	got := make([]byte, len(text))
	if n, err := io.ReadFull(c, got); err != nil || string(got) != text {
		t.Fatalf("read %q, %v, want %q", got[:n], err, text)
	}
}

// wantEOF holds that nothing more comes, and that the end is clean.
func wantEOF(t testing.TB, c net.Conn) {
	t.Helper()
	rest, err := io.ReadAll(c)
	if len(rest) != 0 || err != nil {
		t.Fatalf("read %d more bytes, %v, want a clean end", len(rest), err)
	}
}
