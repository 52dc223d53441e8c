package core

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gridmux/gridmux/core/internal/wire"
	"github.com/gridmux/gridmux/transport"
)

// race is one attempt to get a session with a peer, by one transport after the
// other. Each begins when the one before has failed or has had its head start,
// and the first that gets through the handshake with the peer is taken: that a
// transport connects does not say that it carries anything. With one transport
// there is nothing to race.
type race struct {
	c    *Connection
	to   transport.Peer
	from *session // that the new one is to take over from; nil: there is none
	//nolint:containedctx // It bounds the race and all its attempts.
	ctx    context.Context
	cancel context.CancelCauseFunc
	failed []error // by rank; of the goroutine that runs the race

	dialled []atomic.Bool // by rank: there is a connection, whether or not it carries anything

	// The turn of the Connection is held for all handshakes of the race together.
	gate     chan struct{} // capacity 1: held by who looks after greeting
	greeting int           // handshakes for which it is held

	mu  sync.Mutex
	won bool // one has got through, or none is to
}

// attempt is what came of one transport. With a session comes the turn, and the
// promise that it will be attached.
type attempt struct {
	rank int
	s    *session
	took time.Duration // where there is a session
	err  error
	last bool // nobody else can win
}

// errLost ends the attempts that others were faster than.
var errLost = errors.New("another transport was faster")

// newRace returns a race that cancel, or what calls the function that aim notes,
// ends.
func (c *Connection) newRace(from *session) *race {
	r := &race{c: c, from: from, gate: make(chan struct{}, 1)}
	r.failed, r.dialled = make([]error, len(c.m.transports)), make([]atomic.Bool, len(c.m.transports))
	r.ctx, r.cancel = context.WithCancelCause(c.m.ctx)
	r.to = c.aim(from != nil, func() { r.cancel(errOutrun) })
	return r
}

// run dials by the transports of those ranks, and by those in reserve if all of
// them fail. It attaches the session.
func (r *race) run(order, reserve []int) error {
	defer r.c.aim(r.from != nil, nil)
	defer r.cancel(errNotNeeded)
	if len(order)+len(reserve) == 1 {
		rank := append(order, reserve...)[0] // one of the two is empty
		return r.judge(r.try(rank), nil)
	}
	for _, ranks := range [][]int{order, reserve} {
		if over, err := r.heat(ranks); over {
			return err
		}
	}
	return r.judge(attempt{rank: -1}, nil)
}

// heat runs one field, and reports whether the race is over with it.
func (r *race) heat(ranks []int) (over bool, err error) {
	results := make(chan attempt, len(ranks))
	var running []int
	var next <-chan time.Time
	begin := func() {
		if len(ranks) == 0 || r.ctx.Err() != nil {
			return
		}
		rank := ranks[0]
		ranks = ranks[1:]
		if !r.c.m.spawn(func() { results <- r.try(rank) }) {
			r.cancel(ErrClosed)
			return
		}
		running = append(running, rank)
		next = time.After(r.c.headStart(rank))
	}
	begin()
	for len(running) > 0 || len(ranks) > 0 && r.ctx.Err() == nil {
		select {
		case <-next:
			begin()
		case a := <-results:
			running = without(running, a.rank)
			if a.s != nil || a.last || errors.Is(a.err, errNotNeeded) && r.claim() {
				return true, r.judge(a, running)
			}
			if !errors.Is(a.err, errLost) && !errors.Is(a.err, errNotNeeded) {
				r.failed[a.rank] = a.err
				begin()
			}
		}
	}
	return false, nil
}

func without(ranks []int, rank int) []int {
	out := ranks[:0]
	for _, r := range ranks {
		if r != rank {
			out = append(out, r)
		}
	}
	return out
}

// judge ends the race with what came of an attempt, the last one if that failed,
// and notes what was learned of the others and of those that still run.
func (r *race) judge(a attempt, running []int) error {
	if a.s == nil {
		if a.err != nil && a.rank >= 0 {
			r.failed[a.rank] = a.err
		}
		if r.ctx.Err() == nil && !errors.Is(a.err, errNotNeeded) {
			r.c.learn(r, a, running)
		}
		if errors.Is(a.err, errNotNeeded) {
			return errNotNeeded
		}
		var all linkErrors
		for _, err := range r.failed {
			if err != nil {
				all = append(all, err)
			}
		}
		if len(all) == 0 {
			return context.Cause(r.ctx) // it had ended before the first began
		}
		return all.orNil()
	}
	err := r.c.attach(a.s)
	r.yieldTurn()
	r.c.m.redeem()
	if err == nil {
		r.c.learn(r, a, running)
	}
	return err
}

// claim makes the caller the one that has won. It fails if there is one.
func (r *race) claim() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.won {
		return false
	}
	r.won = true
	return true
}

// try dials by one transport and shakes hands with the peer.
func (r *race) try(rank int) attempt {
	m, began := r.c.m, time.Now()
	ctx, cancel := context.WithTimeout(r.ctx, m.cfg.ConnectTimeout)
	defer cancel()
	tc, err := r.dial(ctx, rank)
	if err != nil {
		return attempt{rank: rank, err: err}
	}
	r.dialled[rank].Store(true)
	var features wire.Features
	if r.from != nil {
		features = wire.FeatureMove
	}
	var held, claimed, promised bool
	a, err := m.greet(ctx, tc, r.c, features, func() (err error) {
		err = r.takeTurn(ctx)
		held = err == nil
		return err
	}, func(peer *wire.Hello) (err error) {
		claimed, err = r.ready(ctx, peer)
		promised = claimed && err == nil
		return err
	})
	if err == nil {
		s := newSession(m, r.c, tc, a)
		s.rank, s.dialled = rank, r.to.Addr
		return attempt{rank: rank, s: s, took: time.Since(began), last: true}
	}
	if held {
		r.yieldTurn()
	}
	if promised {
		m.redeem()
	}
	return attempt{rank: rank, err: r.why(tc, err), last: claimed}
}

// errDialGone is what comes of a transport whose Dial does not return.
var errDialGone = errors.New("the transport did not return from Dial, but called runtime.Goexit")

// dial dials by one transport, on a goroutine of its own: that is all that
// runtime.Goexit in a transport of the user's ends.
func (r *race) dial(ctx context.Context, rank int) (transport.Conn, error) {
	var tc transport.Conn
	err := errDialGone
	done := make(chan struct{})
	go func() {
		defer close(done)
		tc, err = r.c.m.transports[rank].Dial(ctx, r.to)
	}()
	<-done
	return tc, err
}

// why is the error of an attempt whose handshake failed.
func (r *race) why(tc transport.Conn, err error) error {
	if errors.Is(err, errLost) {
		return errLost
	}
	if rejected, ok := errors.AsType[*rejectedError](err); ok && rejected.code == wire.CodeDuplicate {
		if s := r.c.current.Load(); s != nil && s != r.from {
			return errNotNeeded
		}
	}
	if errors.Is(err, errNotNeeded) {
		return errNotNeeded
	}
	return &transport.DialError{Transport: tc.Info().Transport, Peer: r.to, Phase: transport.PhaseHello, Err: err}
}

// takeTurn is called when a connection is about to say HELLO. The node that
// decides holds the turn from then on (W64).
func (r *race) takeTurn(ctx context.Context) error {
	select {
	case r.gate <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-r.gate }()
	c := r.c
	if r.greeting == 0 && c.decides {
		if err := c.takeTurn(ctx); err != nil {
			return err
		}
	}
	if !c.lacks(r.from) {
		if r.greeting == 0 && c.decides {
			c.yieldTurn()
		}
		return errNotNeeded
	}
	r.greeting++
	return nil
}

// yieldTurn is called when a handshake that has taken the turn has failed, or when
// its session is attached.
func (r *race) yieldTurn() {
	r.gate <- struct{}{}
	r.greeting--
	if r.greeting == 0 && r.c.decides {
		r.c.yieldTurn()
	}
	<-r.gate
}

// ready is called when the peer has answered, and before it can make calls. It
// reports whether the attempt has won, even where it has come to nothing.
func (r *race) ready(ctx context.Context, peer *wire.Hello) (won bool, err error) {
	if r.from != nil && peer.Instance != r.from.instance {
		// What one process has begun another cannot go on with, and which of the two
		// is the peer the session that there is will show.
		return false, reject(wire.CodeDuplicate,
			"another process answers by this transport than the one that node %q is connected to by another", r.c.name)
	}
	if !r.claim() {
		return false, errLost
	}
	// From here on the attempt is not given up because the peer is removed or
	// moves: it may have a session.
	r.c.aim(r.from != nil, nil)
	if err := ctx.Err(); err != nil {
		return true, err
	}
	return true, r.c.m.promise()
}
