package inmem

import (
	"context"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/gridmux/gridmux/transport"
)

// backlog is how many connections of a listener may wait for Accept. Further
// dials wait.
const backlog = 128

// A listener holds the connections that wait for Accept. It is given them with
// Network.mu held, so one that is no longer registered there gets none.
type listener struct {
	node  *Transport
	addr  Addr
	queue *queue[*conn] // given connections with net.mu held

	// Guarded by net.mu.
	pending int            // connections in queue and in delayed
	delayed []*delayedConn // oldest first
}

// A delayedConn is a connection that Accept must not see before its time.
type delayedConn struct {
	conn  *conn
	timer *time.Timer
}

// offer makes c wait for Accept. It is called with net.mu held.
func (l *listener) offer(c *conn) {
	l.pending++
	n, d := l.node.net, l.node.acceptDelay
	if n.instants != nil {
		now := time.Now()
		d = n.instants.reserve(now, now.Add(d), slot(c.peer.node, l.node, acceptSlot)).Sub(now)
	}
	if d == 0 {
		l.queue.put(c)
		return
	}
	waiting := &delayedConn{conn: c}
	waiting.timer = time.AfterFunc(d, func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		if i := slices.Index(l.delayed, waiting); i >= 0 {
			l.delayed = slices.Delete(l.delayed, i, i+1)
			l.queue.put(c)
		}
	})
	l.delayed = append(l.delayed, waiting)
}

func (l *listener) Accept(ctx context.Context) (transport.Conn, error) {
	c, err := l.queue.take(ctx)
	if err != nil {
		return nil, err
	}
	n := l.node.net
	n.mu.Lock()
	defer n.mu.Unlock()
	if l.pending == backlog {
		n.announce()
	}
	l.pending--
	return c, nil
}

func (l *listener) Addr() net.Addr { return l.addr }

func (l *listener) Info() transport.ListenerInfo { return transport.ListenerInfo{Local: true} }

func (l *listener) Close() error {
	for _, c := range l.end(fmt.Errorf("inmem: listener closed: %w", net.ErrClosed)) {
		_ = c.CloseWithError(0, "listener closed")
	}
	return nil
}

// end takes the listener out of the network and returns the connections that
// nobody accepted.
func (l *listener) end(err error) []*conn {
	n := l.node.net
	n.mu.Lock()
	defer n.mu.Unlock()
	return l.endLocked(err)
}

func (l *listener) endLocked(err error) []*conn {
	n := l.node.net
	if n.listeners[string(l.addr)] == l {
		delete(n.listeners, string(l.addr))
	}
	n.announce()
	left := l.queue.end(err)
	for _, o := range l.delayed {
		o.timer.Stop()
		left = append(left, o.conn)
	}
	l.delayed = nil
	return left
}
