package memnet

import (
	"context"
	"errors"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
)

// backlog is how many connections a listener holds that nobody accepted yet.
const backlog = 128

var (
	errRefused = errors.New("connection refused")
	errInUse   = errors.New("address already in use")
)

// Addr is the address of a listener or a connection.
type Addr string

// Network returns "mem".
func (Addr) Network() string { return "mem" }

func (a Addr) String() string { return string(a) }

// An Option sets up the connections of a listener or a pipe.
type Option func(*settings)

type settings struct {
	buffer int
}

// DefaultBuffer is how many bytes each direction of a connection holds.
const DefaultBuffer = 64 << 10

func newSettings(opts []Option) settings {
	s := settings{buffer: DefaultBuffer}
	for _, o := range opts {
		o(&s)
	}
	return s
}

// WithBuffer sets how many bytes each direction holds before a write blocks; at
// least 1.
func WithBuffer(n int) Option { return func(s *settings) { s.buffer = max(n, 1) } }

// Network is a set of listeners that are dialled by address. The zero value is
// ready to use. All methods may be called concurrently.
type Network struct {
	mu        sync.Mutex
	listeners map[string]*Listener // guarded by mu
}

// Listen opens a listener at addr, which is any string that is not in use.
func (n *Network) Listen(addr string, opts ...Option) (*Listener, error) {
	l := Listen(addr, opts...)
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, taken := n.listeners[addr]; taken {
		return nil, &net.OpError{Op: "listen", Net: "mem", Addr: Addr(addr), Err: errInUse}
	}
	if n.listeners == nil {
		n.listeners = make(map[string]*Listener)
	}
	n.listeners[addr] = l
	l.onClose = func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(n.listeners, addr)
	}
	return l, nil
}

// ListenContext is Listen in the form of net.ListenConfig; ctx and network are
// ignored.
func (n *Network) ListenContext(_ context.Context, _, addr string) (net.Listener, error) {
	l, err := n.Listen(addr)
	if err != nil {
		return nil, err
	}
	return l, nil
}

// DialContext connects to the listener at addr; network is ignored. Nobody
// listening there is an error at once, as on one machine.
func (n *Network) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	n.mu.Lock()
	l := n.listeners[addr]
	n.mu.Unlock()
	if l == nil {
		return nil, &net.OpError{Op: "dial", Net: "mem", Addr: Addr(addr), Err: errRefused}
	}
	return l.DialContext(ctx, network, addr)
}

// Listener is a net.Listener in memory. All methods may be called concurrently.
type Listener struct {
	addr     Addr
	settings settings
	queue    chan *Conn
	done     chan struct{}
	onClose  func() // set before the listener is shared
	closed   atomic.Bool
	dialed   atomic.Int64 // numbers the clients' addresses
}

// Listen opens a listener of its own, outside any [Network].
func Listen(addr string, opts ...Option) *Listener {
	return &Listener{
		addr:     Addr(addr),
		settings: newSettings(opts),
		queue:    make(chan *Conn, backlog),
		done:     make(chan struct{}),
	}
}

// Accept returns the next connection, always a *[Conn]. After Close its error
// matches net.ErrClosed.
func (l *Listener) Accept() (net.Conn, error) {
	if !l.isClosed() {
		select {
		case c := <-l.queue:
			return c, nil
		case <-l.done:
		}
	}
	return nil, &net.OpError{Op: "accept", Net: "mem", Addr: l.addr, Err: net.ErrClosed}
}

// Addr returns the address given to Listen.
func (l *Listener) Addr() net.Addr { return l.addr }

// Close ends the listener and closes the connections that nobody accepted.
func (l *Listener) Close() error {
	if !l.closed.CompareAndSwap(false, true) {
		return &net.OpError{Op: "close", Net: "mem", Addr: l.addr, Err: net.ErrClosed}
	}
	close(l.done)
	if l.onClose != nil {
		l.onClose()
	}
	l.reset()
	return nil
}

// DialContext connects to the listener and returns a *[Conn]; network and addr
// are ignored. It does not wait for Accept unless the queue is full. Its errors
// are ctx's, and "connection refused" after Close.
func (l *Listener) DialContext(ctx context.Context, _, _ string) (net.Conn, error) {
	return l.DialFrom(ctx, Addr("client:"+strconv.FormatInt(l.dialed.Add(1), 10)))
}

// DialFrom is DialContext with an address for the dialling end, for tests of
// what is decided by it.
func (l *Listener) DialFrom(ctx context.Context, from Addr) (net.Conn, error) {
	fail := func(err error) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: "mem", Addr: l.addr, Err: err}
	}
	if err := ctx.Err(); err != nil {
		return fail(err)
	}
	if l.isClosed() {
		return fail(errRefused)
	}
	near, far := pipe(from, l.addr, l.settings)
	select {
	case l.queue <- far:
	case <-l.done:
		return fail(errRefused)
	case <-ctx.Done():
		return fail(ctx.Err())
	}
	// Close may have emptied the queue just before.
	if l.isClosed() {
		l.reset()
	}
	return near, nil
}

func (l *Listener) isClosed() bool {
	select {
	case <-l.done:
		return true
	default:
		return false
	}
}

func (l *Listener) reset() {
	for {
		select {
		case c := <-l.queue:
			c.Close()
		default:
			return
		}
	}
}
