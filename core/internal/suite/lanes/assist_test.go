package lanes_test

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/core/internal/lab"
	"github.com/gridmux/gridmux/transport"
)

// watched is the transport of a node, which tells of the lanes of its links.
type watched struct {
	transport.Transport

	mu       sync.Mutex
	opened   []*watchedLane // by this node, in order
	accepted []*watchedLane
	hold     chan struct{} // if not nil, AcceptLane waits for it
	stuck    chan struct{} // if not nil, the first lane takes nothing until it is closed
}

func (w *watched) Dial(ctx context.Context, to transport.Peer) (transport.Conn, error) {
	tc, err := w.Transport.Dial(ctx, to)
	if err != nil {
		return nil, err
	}
	return &watchedConn{tc.(transport.LaneConn), w}, nil
}

func (w *watched) Listen(ctx context.Context, addr string) (transport.Listener, error) {
	ln, err := w.Transport.Listen(ctx, addr)
	return watchedListener{ln, w}, err
}

type watchedListener struct {
	transport.Listener

	w *watched
}

func (l watchedListener) Accept(ctx context.Context) (transport.Conn, error) {
	tc, err := l.Listener.Accept(ctx)
	if err != nil {
		return nil, err
	}
	return &watchedConn{tc.(transport.LaneConn), l.w}, nil
}

type watchedConn struct {
	transport.LaneConn

	w *watched
}

func (c *watchedConn) WriteFrames(frames [][]byte) error {
	c.w.mu.Lock()
	stuck := c.w.stuck
	c.w.mu.Unlock()
	if stuck != nil {
		<-stuck
	}
	return c.LaneConn.WriteFrames(frames)
}

func (c *watchedConn) OpenLane(ctx context.Context) (transport.Conn, error) {
	tc, err := c.LaneConn.OpenLane(ctx)
	return c.w.note(&c.w.opened, tc, err)
}

func (c *watchedConn) AcceptLane(ctx context.Context) (transport.Conn, error) {
	tc, err := c.LaneConn.AcceptLane(ctx)
	c.w.mu.Lock()
	hold := c.w.hold
	c.w.mu.Unlock()
	if hold != nil {
		<-hold
	}
	return c.w.note(&c.w.accepted, tc, err)
}

func (w *watched) note(list *[]*watchedLane, tc transport.Conn, err error) (transport.Conn, error) {
	if err != nil {
		return nil, err
	}
	l := &watchedLane{Conn: tc}
	w.mu.Lock()
	defer w.mu.Unlock()
	*list = append(*list, l)
	return l, nil
}

// lanes returns the lanes that this node has opened, and how many of those live.
func (w *watched) lanes() (all []*watchedLane, live int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, l := range w.opened {
		if !l.isClosed() {
			live++
		}
	}
	return w.opened, live
}

type watchedLane struct {
	transport.Conn

	mu      sync.Mutex
	closed  bool
	written int // bytes
}

func (l *watchedLane) WriteFrames(frames [][]byte) error {
	l.mu.Lock()
	for _, f := range frames {
		l.written += len(f)
	}
	l.mu.Unlock()
	return l.Conn.WriteFrames(frames)
}

func (l *watchedLane) CloseWithError(code uint32, reason string) error {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	return l.Conn.CloseWithError(code, reason)
}

func (l *watchedLane) isClosed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closed
}

func (l *watchedLane) sent() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.written
}

// cluster is two nodes over links with lanes, whose handlers are "echo", "stream",
// which sends back what it gets until its input ends, and "held", whose requests and
// streams last until the test ends them.
type cluster struct {
	*lab.Cluster

	transports [2]*watched
	began      chan struct{}
	end        chan struct{}
}

func newCluster(t *testing.T, opts ...coretest.Option) *cluster {
	t.Helper()
	c := &cluster{began: make(chan struct{}, 1000), end: make(chan struct{})}
	opts = append([]coretest.Option{
		coretest.WithConfig(func(i int, cfg *core.Config) {
			c.transports[i] = &watched{Transport: cfg.Transport}
			cfg.Transport = c.transports[i]
		}),
		coretest.WithHandlers(func(_ int, m *core.Manager) error {
			return errors.Join(
				m.HandleStreamFunc("stream", echoStream),
				m.HandleStreamFunc("held", func(ctx context.Context, _ []byte, _ *core.RawStream) error {
					c.began <- struct{}{}
					select {
					case <-c.end:
						return nil
					case <-ctx.Done():
						return context.Cause(ctx)
					}
				}))
		}),
	}, opts...)
	c.Cluster = lab.LanesLink().Cluster(t, 2, opts...)
	return c
}

func echoStream(_ context.Context, _ []byte, s *core.RawStream) error {
	for {
		msg, err := s.Recv(nil)
		if err == io.EOF {
			return nil
		}
		if err == nil {
			err = s.Send(msg)
		}
		if err != nil {
			return err
		}
	}
}

// open opens a stream from one node to the other.
func (c *cluster) open(h core.HandlerID, opts ...core.CallOption) *core.RawStream {
	c.T.Helper()
	st, err := c.Conn(0, 1).OpenStream(c.T.Context(), h, nil, opts...)
	if err != nil {
		c.T.Fatalf("OpenStream returned %v", err)
	}
	return st
}

// talk sends a message there and back.
func talk(t *testing.T, st *core.RawStream, msg string) {
	t.Helper()
	if err := st.Send([]byte(msg)); err != nil {
		t.Fatalf("Send returned %v", err)
	}
	if got, err := st.Recv(nil); err != nil || string(got) != msg {
		t.Fatalf("Recv returned %q, %v, want %q", got, err, msg)
	}
}

// finish ends the input of a stream, and expects its end.
func finish(t *testing.T, st *core.RawStream) {
	t.Helper()
	if err := st.CloseSend(); err != nil {
		t.Fatalf("CloseSend returned %v", err)
	}
	if _, err := st.Recv(nil); err != io.EOF {
		t.Fatalf("the stream ended with %v", err)
	}
	<-st.Done()
}
