package quic

import (
	"context"
	"errors"
	"sync"

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
	reset  *quicgo.StatelessResetKey

	mu       sync.Mutex
	sockets  []*socket // guarded by mu; all that are open, or are being closed
	mounted  *listener // guarded by mu; what ServeConn feeds
	measured bool      // guarded by mu; the buffers of a socket were looked at
}

// New returns a transport. It does nothing yet; options that make no sense are
// reported by Dial and Listen.
func New(o Options) *Transport {
	t := &Transport{opts: o, log: newCalmLog(o.logger())}
	t.config = t.opts.quicConfig()
	t.reset = t.opts.resetKey()
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

func (t *Transport) mountedListener() *listener {
	if t == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.mounted
}
