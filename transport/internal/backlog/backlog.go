// Package backlog is the queue of a listener, for every transport over sockets:
// connections enter it when their handshake is over, and Accept takes them. A place
// is reserved before the other end is told that it is in, so that nobody is who is
// not.
package backlog

import (
	"context"
	"fmt"
	"net"
	"sync"

	"github.com/gridmux/gridmux/transport"
)

// maxPending bounds the connections that nobody accepted yet.
const maxPending = 128

// A Queue holds connections that nobody accepted yet, at most 128. All methods may be
// called concurrently.
type Queue[C transport.Conn] struct {
	name     string // of the transport, for errors
	waiting  chan C
	ended    chan struct{} // closed when over is set
	finished chan struct{} // closed by Finish

	mu      sync.Mutex
	pending int   // guarded by mu; connections in waiting or about to be
	over    bool  // guarded by mu; ended is closed
	failure error // guarded by mu; why the listener ended, if by itself
	closing bool  // guarded by mu; Close was called
}

// New returns an empty queue of a listener of the transport with that name.
func New[C transport.Conn](name string) *Queue[C] {
	return &Queue[C]{
		name:     name,
		waiting:  make(chan C, maxPending),
		ended:    make(chan struct{}),
		finished: make(chan struct{}),
	}
}

// Accept returns the next connection, as transport.Listener says. After Fail the
// error is that one, and after Close one that matches net.ErrClosed.
func (q *Queue[C]) Accept(ctx context.Context) (transport.Conn, error) {
	select {
	case <-q.ended:
		return nil, q.err()
	default:
	}
	select {
	case c := <-q.waiting:
		q.Release()
		return c, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-q.ended:
		return nil, q.err()
	}
}

func (q *Queue[C]) err() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.failure != nil && !q.closing {
		return fmt.Errorf("%s: accept: %w", q.name, q.failure)
	}
	return fmt.Errorf("%s: %w", q.name, net.ErrClosed)
}

// Reserve takes a place for a connection that is about to be told that it is in. It
// fails when the queue is full or has ended.
func (q *Queue[C]) Reserve() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.over || q.pending == maxPending {
		return false
	}
	q.pending++
	return true
}

// Release gives a place back that Deliver has not used.
func (q *Queue[C]) Release() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.pending--
}

// Deliver puts c into its reserved place. If the queue has ended it gives that back
// and reports false.
func (q *Queue[C]) Deliver(c C) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.over {
		q.pending--
		return false
	}
	q.waiting <- c // never blocks: the place is reserved
	return true
}

// Fail ends the queue since the listener has ended by itself.
func (q *Queue[C]) Fail(why error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.end(why)
}

// Close ends the queue by the word of the owner. Only the first call reports true,
// and has to be followed by Drain and Finish; any other one waits for the latter.
func (q *Queue[C]) Close() (first bool) {
	if q.close() {
		return true
	}
	<-q.finished
	return false
}

func (q *Queue[C]) close() (first bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closing {
		return false
	}
	q.closing = true
	q.end(nil)
	return true
}

// end makes Accept return and new connections be refused. The caller holds mu.
func (q *Queue[C]) end(why error) {
	if q.over {
		return
	}
	q.over, q.failure = true, why
	close(q.ended)
}

// Drain closes the connections that nobody has accepted. After Close no other comes.
func (q *Queue[C]) Drain(code uint32) {
	var wg sync.WaitGroup
	for len(q.waiting) > 0 {
		select {
		case c := <-q.waiting:
			wg.Go(func() { _ = c.CloseWithError(code, "listener closed") })
		default: // an Accept was faster
		}
	}
	wg.Wait()
}

// Finish says that the listener is closed.
func (q *Queue[C]) Finish() { close(q.finished) }
