package websocket

import (
	"context"
	"errors"
	"net/http"
	"sync"

	"github.com/gridmux/gridmux/transport"
)

// name is what this transport calls itself in Info and errors.
const name = "websocket"

var (
	_ transport.Transport = (*Transport)(nil)
	_ http.Handler        = (*Transport)(nil)
)

// Transport makes framed connections over websocket. It is a
// transport.Transport and an http.Handler; see the package comment for which is
// used when. All methods may be called concurrently.
type Transport struct {
	opts Options

	mu           sync.Mutex
	mounted      *listener // guarded by mu; what ServeHTTP feeds
	listenerUsed bool      // guarded by mu; opts.Listener was handed out
}

// New returns a transport. It does nothing yet; options that make no sense are
// reported by Dial and Listen.
func New(o Options) *Transport {
	o.Header = o.Header.Clone()
	return &Transport{opts: o}
}

var (
	errMountedTwice = errors.New("websocket: a mounted transport has one listener at a time, and it is open")
	errNilTransport = errors.New("websocket: the transport is nil: make it with New")
	errNilContext   = errors.New("websocket: the context is nil: pass context.Background() for none")
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

// mount makes ServeHTTP feed l.
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
