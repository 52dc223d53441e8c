package quic

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	quicgo "github.com/quic-go/quic-go"

	"github.com/gridmux/gridmux/transport"
)

// name is what this transport calls itself in Info and errors.
const name = "quic"

var _ transport.Transport = (*Transport)(nil)

// Transport makes framed connections over QUIC. All methods may be called
// concurrently.
type Transport struct {
	opts   Options
	log    *calmLog
	config *quicgo.Config

	mu        sync.Mutex
	sockets   []*socket          // guarded by mu; all that are open, or are being closed
	listeners int                // guarded by mu; that are open
	listened  bool               // guarded by mu; there was one
	mounted   *listener          // guarded by mu; what ServeConn feeds, one of them
	lingering map[*conn]struct{} // guarded by mu; connections whose owner has closed them
	measured  bool               // guarded by mu; the buffers of a socket were looked at
}

// New returns a transport. It does nothing yet; options that make no sense are
// reported by Dial and Listen.
func New(o Options) *Transport {
	t := &Transport{opts: o, log: newCalmLog(o.logger()), lingering: make(map[*conn]struct{})}
	t.config = t.opts.quicConfig()
	return t
}

var (
	errMountedTwice = errors.New("quic: a mounted transport has one listener at a time, and it is open")
	errNilTransport = errors.New("quic: the transport is nil: make it with New")
	errNilContext   = errors.New("quic: the context is nil: pass context.Background() for none")
)

// check returns what keeps Dial and Listen from working.
func (t *Transport) check(ctx context.Context) error {
	switch {
	case t == nil:
		return errNilTransport
	case ctx == nil:
		return errNilContext
	}
	return t.opts.check()
}

// mount makes ServeConn feed l.
func (t *Transport) mount(l *listener) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.mounted != nil {
		return errMountedTwice
	}
	t.mounted = l
	t.listeners++
	t.listened = true
	return nil
}

// unmount undoes mount; it does nothing if another listener is mounted.
func (t *Transport) unmount(l *listener) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.mounted == l {
		t.mounted = nil
	}
}

// mountedListener returns what is mounted, with a hold on its socket, nil if
// nothing is.
func (t *Transport) mountedListener() *listener {
	if t == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.mounted != nil {
		t.mounted.socket.refs++
	}
	return t.mounted
}

// opened notes that a listener is open, and that it is not so any more.
func (t *Transport) opened() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.listeners++
	t.listened = true
}

// closed returns the connections that linger, or are about to.
func (t *Transport) closed() []*conn {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.listeners--
	return slices.Collect(maps.Keys(t.lingering))
}

// patience is how long a connection that is closed waits for its peer.
func (t *Transport) patience() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.listeners > 0:
		return 0
	case t.listened:
		return portTime
	}
	return leaveTime
}

// linger notes that c is being closed here, and forget that it is gone.
func (t *Transport) linger(c *conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lingering[c] = struct{}{}
}

func (t *Transport) forget(c *conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.lingering, c)
}
