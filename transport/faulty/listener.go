package faulty

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/gridmux/gridmux/transport"
)

var errListenerClosed = fmt.Errorf("faulty: listener closed: %w", net.ErrClosed)

type listener struct {
	t     *Transport
	inner transport.Listener

	mu sync.Mutex // a leaf; never held while waiting

	// Guarded by mu.
	closed bool
	over   chan struct{} // closed with it
	late   []lateConn    // whose Accept was given up
}

// A lateConn is a connection that Accept has found before it may return it.
type lateConn struct {
	conn transport.Conn
	at   time.Time
}

func (l *listener) Addr() net.Addr { return l.inner.Addr() }

func (l *listener) Info() transport.ListenerInfo { return l.inner.Info() }

func (l *listener) Accept(ctx context.Context) (transport.Conn, error) {
	if ctx == nil {
		return nil, errNilContext
	}
	c, ok := l.takeLate()
	if !ok {
		inner, err := l.inner.Accept(ctx)
		if err != nil {
			return nil, err //nolint:wrapcheck // This transport adds nothing to it.
		}
		c = l.found(inner)
	}
	d := time.Until(c.at)
	if d <= 0 {
		return l.hand(c)
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-l.over:
	case <-ctx.Done():
		if l.giveBack(c) {
			return nil, ctx.Err()
		}
	}
	return l.hand(c)
}

func (l *listener) takeLate() (c lateConn, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.late) == 0 {
		return c, false
	}
	c = l.late[0]
	l.late = l.late[1:]
	return c, true
}

// found wraps a connection that the transport below has accepted.
func (l *listener) found(inner transport.Conn) lateConn {
	l.t.mu.Lock()
	d := l.t.acceptDelay
	l.t.mu.Unlock()
	return lateConn{conn: l.t.wrap(inner, "accept", &l.t.accepted), at: time.Now().Add(d)}
}

// giveBack keeps c for the next Accept, unless the listener is closed.
func (l *listener) giveBack(c lateConn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.late = append(l.late, c)
	return true
}

// hand returns c, unless the listener has been closed while c had to wait.
func (l *listener) hand(c lateConn) (transport.Conn, error) {
	l.mu.Lock()
	closed := l.closed
	l.mu.Unlock()
	if closed {
		_ = c.conn.CloseWithError(0, "listener closed")
		return nil, errListenerClosed
	}
	return c.conn, nil
}

func (l *listener) Close() error {
	l.mu.Lock()
	late := l.late
	l.late = nil
	if !l.closed {
		l.closed = true
		close(l.over)
	}
	l.mu.Unlock()
	for _, c := range late {
		_ = c.conn.CloseWithError(0, "listener closed")
	}
	return l.inner.Close() //nolint:wrapcheck // This transport adds nothing to it.
}
