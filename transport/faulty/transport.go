package faulty

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/internal/linkmodel"
)

var (
	errClosed    = fmt.Errorf("faulty: connection closed: %w", net.ErrClosed)
	errReset     = errors.New("faulty: connection reset")
	errCorrupted = errors.New("faulty: a frame was corrupted")
	errRefused   = errors.New("connection refused")

	errNoTransport = errors.New("faulty: there is no transport: make it with Wrap")
	errNilContext  = errors.New("faulty: the context is nil: pass context.Background() for none")
)

// Transport is a transport under faults; [Wrap] makes it. It implements
// [transport.Transport]. All methods may be called concurrently and at any
// time; those that set something concern the connections that exist and those
// that will, unless they say otherwise.
type Transport struct {
	inner transport.Transport
	seed  uint64
	plain bool // connections announce no integrity
	plans [2]linkmodel.Plan

	mu sync.Mutex // before link.mu; never held while waiting

	// Guarded by mu.
	conditions  [2]linkmodel.Conditions
	refused     bool
	partitioned bool
	dialDelay   time.Duration
	acceptDelay time.Duration
	dialled     uint64        // connections so far
	accepted    uint64        // connections so far
	dials       uint64        // attempts so far
	links       []*link       // oldest first
	healed      chan struct{} // closed by Heal; nil while nobody waits
}

// Option changes a [Transport] as it is made.
type Option func(*Transport)

// WithSeed sets the seed of everything that is drawn by chance. Without it the
// seed is 0.
func WithSeed(seed uint64) Option {
	return func(t *Transport) {
		if t != nil {
			t.seed = seed
		}
	}
}

// WithoutIntegrity makes connections announce that they do not detect
// corruption, whatever the transport below does, so that a frame in which a bit
// has flipped is delivered. It is for both ends of a connection.
func WithoutIntegrity() Option {
	return func(t *Transport) {
		if t != nil {
			t.plain = true
		}
	}
}

// Wrap returns a transport that does all its work through t and at first
// disturbs nothing.
func Wrap(t transport.Transport, opts ...Option) *Transport {
	w := &Transport{inner: t}
	for _, o := range opts {
		if o != nil {
			o(w)
		}
	}
	return w
}

func (t *Transport) check(ctx context.Context) error {
	switch {
	case t == nil || t.inner == nil:
		return errNoTransport
	case ctx == nil:
		return errNilContext
	}
	return ctx.Err()
}

// Dial dials through the transport below, after the delay of
// [Transport.SetDialDelay] and a round trip of the conditions. It waits while
// the node is partitioned.
func (t *Transport) Dial(ctx context.Context, to transport.Peer) (transport.Conn, error) {
	if err := t.admit(ctx); err != nil {
		return nil, &transport.DialError{Transport: "faulty", Peer: to, Phase: transport.PhaseDial, Err: err}
	}
	c, err := t.inner.Dial(ctx, to)
	if err != nil {
		return nil, err //nolint:wrapcheck // It is a DialError already.
	}
	return t.wrap(c, "dial", &t.dialled), nil
}

// admit waits until a dial may begin.
func (t *Transport) admit(ctx context.Context) error {
	if err := t.check(ctx); err != nil {
		return err
	}
	if d := t.dialTime(); d > 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	for {
		t.mu.Lock()
		refused, healed := t.refused, t.healed
		if t.partitioned && healed == nil {
			healed = make(chan struct{})
			t.healed = healed
		}
		partitioned := t.partitioned
		t.mu.Unlock()
		switch {
		case refused:
			return errRefused
		case !partitioned:
			return nil
		}
		select {
		case <-healed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// dialTime is how long the next dial takes before it begins.
func (t *Transport) dialTime() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	d := t.dialDelay
	if t.conditions[Out].Perfect() && t.conditions[In].Perfect() {
		return d
	}
	t.dials++
	draws := linkmodel.NewDirection(linkmodel.NewKey(t.seed, t.dials, "dials"))
	for i := range t.conditions {
		d += draws.Next(&t.conditions[i], time.Time{}, 0).Delay
	}
	return d
}

// Listen listens through the transport below.
func (t *Transport) Listen(ctx context.Context, addr string) (transport.Listener, error) {
	if err := t.check(ctx); err != nil {
		return nil, err
	}
	l, err := t.inner.Listen(ctx, addr)
	if err != nil {
		return nil, err //nolint:wrapcheck // This transport adds nothing to it.
	}
	return &listener{t: t, inner: l, over: make(chan struct{})}, nil
}

// wrap makes a connection of the transport below one of t. counter is that of
// the connections made in the same way.
func (t *Transport) wrap(inner transport.Conn, way string, counter *uint64) transport.Conn {
	t.mu.Lock()
	defer t.mu.Unlock()
	*counter++
	l := &link{t: t, way: way, number: *counter, held: [2]bool{t.partitioned, t.partitioned}}
	l.conditions = t.conditions
	t.links = append(t.links, l)
	c := l.add(inner, "")
	lanes, ok := inner.(transport.LaneConn)
	if !ok {
		return c
	}
	lc := &laneConn{conn: c, inner: lanes}
	l.over, l.end = context.WithCancel(context.Background())
	return lc
}
