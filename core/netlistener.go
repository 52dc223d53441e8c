package core

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
)

// maxBacklog is how many connections of a Listener may wait to be accepted.
const maxBacklog = 128

// Listener registers a handler of streams for id, like [Manager.Handle], that
// passes each on as a [net.Conn]: what other nodes open by [Connection.Dial] comes
// out of Accept. It is for whatever serves a [net.Listener], such as an
// http.Server.
//
// Accept brings connections that the interceptors of the node have let pass.
//
// A connection takes the place of a running handler until it is closed, or until
// the stream has ended. At most 128 wait to be accepted; further ones are refused
// with [ErrOverloaded], and all of them with [ErrUnknownHandler] once the Listener
// was closed. Accept fails with [net.ErrClosed] after that, or after
// [Manager.Close]. [Manager.Shutdown] waits for connections as for calls: end
// first what uses them.
func (m *Manager) Listener(id HandlerID, opts ...HandlerOption) (net.Listener, error) {
	l := &netListener{m: m, waiting: make(chan *netConn, maxBacklog), closed: make(chan struct{})}
	h := &handler{id: id, stream: l.serve, listener: l, inCapacity: netCapacity, outCapacity: netCapacity}
	if err := m.register(h, opts); err != nil {
		return nil, err
	}
	return l, nil
}

// netListener is the handler behind Listener.
type netListener struct {
	m       *Manager
	waiting chan *netConn // to be accepted

	mu     sync.Mutex
	ended  bool // nothing is added to waiting any more
	closed chan struct{}
}

var errNoBytesIn = errors.New("WithCapacity: a net.Conn takes bytes in both directions: use at least 1 for both")

// offer puts a stream into the queue of those that wait, or says why there is no
// place. The reader does, before the handler runs, or the handler itself where
// interceptors surround it.
func (l *netListener) offer(st *RawStream) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return fmt.Errorf("%w: %w", ErrUnknownHandler, errListenerClosed)
	}
	if len(l.waiting) == cap(l.waiting) {
		l.sweep()
	}
	select {
	case l.waiting <- st.netConn():
		return nil
	default:
		return fmt.Errorf("%w: %d connections wait to be accepted", ErrOverloaded, maxBacklog)
	}
}

// sweep takes those out of the queue whose callers wait no longer. l.mu is held, so
// nothing is added meanwhile.
func (l *netListener) sweep() {
	for range len(l.waiting) {
		select {
		case c := <-l.waiting:
			if !c.st.isOver() {
				l.waiting <- c
			}
		default:
			return // the rest was accepted meanwhile
		}
	}
}

// serve is the handler: it keeps the stream while somebody uses the connection.
func (l *netListener) serve(ctx context.Context, _ []byte, s *RawStream) error {
	c := s.netConn()
	if s.sizes != nil {
		if err := l.offer(s); err != nil {
			return &refusal{err: err}
		}
	}
	select {
	case <-c.closed:
		return c.declined
	case <-s.Done(): // that of ctx comes earlier: the stream would not know yet why it ends
		return ctx.Err()
	}
}

func (l *netListener) Accept() (net.Conn, error) {
	for {
		if err := l.isClosed(); err != nil {
			return nil, err
		}
		select {
		case c := <-l.waiting:
			if !c.st.isOver() { // else its caller did not wait
				return c, nil
			}
		case <-l.closed:
		case <-l.m.ctx.Done():
		}
	}
}

func (l *netListener) isClosed() error {
	select {
	case <-l.closed:
		return l.opError("accept", net.ErrClosed)
	case <-l.m.ctx.Done():
		return l.opError("accept", fmt.Errorf("%w: the Manager was: %w", net.ErrClosed, ErrClosed))
	default:
		return nil
	}
}

// Close ends those that wait. Connections that were accepted go on.
func (l *netListener) Close() error {
	l.mu.Lock()
	if l.ended {
		l.mu.Unlock()
		return l.opError("close", net.ErrClosed)
	}
	l.ended = true
	close(l.closed)
	l.mu.Unlock()
	for {
		select {
		case c := <-l.waiting:
			c.close(errListenerClosed)
		default:
			return nil
		}
	}
}

func (l *netListener) Addr() net.Addr { return nodeAddr(l.m.cfg.Local.Name) }

func (l *netListener) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: network, Source: l.Addr(), Err: err}
}

// Dial opens a stream to the handler id of the peer as a [net.Conn]; see
// [RawStream.Conn]. The handler may be a [Manager.Listener] or any other of
// streams. ctx, and a [WithTimeout], are for the dialling alone: the connection
// lives until it is closed.
//
// Dial takes no round trip where there is a connection to the peer. Whether there
// is a listener, and whether it has room, is learned from the first Read, as a
// [CallError] whose outcome is [OutcomeRefused].
func (c *Connection) Dial(ctx context.Context, id HandlerID, opts ...CallOption) (net.Conn, error) {
	return c.dialStream(ctx, handlerKey{id: id}, opts)
}

// Dial is [Connection.Dial] on the route.
func (r Route) Dial(ctx context.Context, id HandlerID, opts ...CallOption) (net.Conn, error) {
	return r.c.dialStream(ctx, handlerKey{id, r.name}, opts)
}

func (c *Connection) dialStream(ctx context.Context, key handlerKey, opts []CallOption) (net.Conn, error) {
	st, err := c.startStream(ctx, key, nil, opts, true)
	if err != nil {
		return nil, err
	}
	return st.netConn(), nil
}
