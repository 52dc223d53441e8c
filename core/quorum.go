package core

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"
)

// First calls all of a set of peers at once and returns the first answer that is
// no error. The other calls are cancelled, and their handlers see it. If every
// call fails, the error is a *[QuorumError]. It is [Quorum] with an n of 1;
// what is said there holds.
func First[R any](ctx context.Context, to iter.Seq[*Connection],
	call func(ctx context.Context, c *Connection) (R, error),
) (Answer[R], error) {
	return single(gather(ctx, "First", to, 1, 0, call))
}

// Quorum calls all of a set of peers at once and returns as soon as n calls have
// succeeded, with their answers in the order of arrival. It fails as soon as so
// many have failed that n cannot succeed any more. Either way the calls that are
// still under way are cancelled, and their handlers see it, or never run: a write
// that all peers shall have in the end needs something besides that brings it to
// the slow ones, or goroutines of its own whose contexts last longer.
//
//	_, err := core.Quorum(ctx, m.Connections(), 2,
//		func(ctx context.Context, c *core.Connection) ([]byte, error) {
//			return c.Request(ctx, "storage.write", block)
//		})
//
// Success is what call says it is: where answers have to agree, call compares
// them and returns an error for one that differs. [Manager.Connections] leaves
// the local node out: either add it to the set, or ask for one less.
//
// The error is a *[QuorumError], which names every peer that failed and why.
// Beside it come the answers of those that succeeded, fewer than n, for callers
// that have something to undo. An n below 1 and one above the size of the set are errors, and
// nobody is asked then. But 0 answers of an empty set are a success, for the node of a
// cluster of one, which is a majority by itself.
//
// How call is run, how long its context lasts, what it costs, and what becomes of
// a panic is as with [Each]: one goroutine for each peer, and none when Quorum
// has returned.
func Quorum[R any](ctx context.Context, to iter.Seq[*Connection], n int,
	call func(ctx context.Context, c *Connection) (R, error),
) ([]Answer[R], error) {
	return gather(ctx, "Quorum", to, n, 0, call)
}

// Hedged calls the first of a set of peers, and the next one, in the order of the
// set, whenever the pause has passed or a call has failed. It returns the first
// answer that is no error. The calls that are still under way then are
// cancelled, and their handlers see it. So a peer that is slow or silent costs
// the pause, one that is not connected costs nothing, and where the first one is
// quick nobody else is asked.
//
// More than one handler may run: it is for calls that may be repeated. A good
// pause is one that nine of ten calls do not need. With 0 all are called at
// once, as by [First]; below 0 it is an error. When ctx has ended nobody else is
// asked.
//
// If every call fails, the error is a *[QuorumError]. What is said of [Each] and
// [Quorum] holds, except that only those cost a goroutine that were asked.
func Hedged[R any](ctx context.Context, to iter.Seq[*Connection], pause time.Duration,
	call func(ctx context.Context, c *Connection) (R, error),
) (Answer[R], error) {
	return single(gather(ctx, "Hedged", to, 1, pause, call))
}

func single[R any](answers []Answer[R], err error) (Answer[R], error) {
	if err != nil {
		return Answer[R]{}, err
	}
	return answers[0], nil
}

// gather makes calls until n of them have succeeded or cannot any more: all at
// once, or one more after every pause and every failure.
func gather[R any](ctx context.Context, op string, to iter.Seq[*Connection], n int, pause time.Duration,
	call func(ctx context.Context, c *Connection) (R, error),
) ([]Answer[R], error) {
	f, err := newFanOut(ctx, to, call)
	if err == nil {
		defer f.stop()
		err = checkQuorum(n, len(f.to), pause)
	}
	if err != nil {
		return nil, &QuorumError{op: op, Needed: n, Err: err, outcome: OutcomeNotSent}
	}
	if n == 0 {
		return nil, nil
	}
	var paused <-chan time.Time
	next := func() {
		for f.begun < len(f.to) {
			f.begin()
			if pause > 0 {
				paused = time.After(pause)
				return
			}
		}
	}
	t := tally[R]{f: f, errs: make([]error, len(f.to)), givenUp: make([]bool, len(f.to))}
	next()
	for len(t.answers) < n && t.failed <= len(f.to)-n && f.running > 0 {
		select {
		case r := <-f.replies:
			t.count(f.take(r))
			if r.err != nil && !over(ctx) {
				next() // does nothing if all are asked
			}
		case <-paused:
			if !over(ctx) {
				next()
			}
		}
	}
	if len(t.answers) >= n {
		return t.answers, nil
	}
	e := t.failure(ctx)
	e.op, e.Needed = op, n
	return t.answers, e
}

func checkQuorum(n, peers int, pause time.Duration) error {
	switch {
	case n == 0 && peers == 0:
	case n < 1:
		return fmt.Errorf("%d answers asked for: ask for 1 or more", n)
	case peers == 0:
		return errors.New("there is nobody to ask: the set of peers is empty")
	case n > peers:
		return fmt.Errorf("%d answers asked for: the set has %d peers", n, peers)
	case pause < 0:
		return fmt.Errorf("a pause of %v: use 0 to ask all at once", pause)
	}
	return nil
}

// over reports whether ctx has ended, or is about to: a peer that keeps to the
// same deadline may be the first to tell of it.
func over(ctx context.Context) bool {
	deadline, ok := ctx.Deadline()
	return ctx.Err() != nil || ok && !time.Now().Before(deadline)
}

// tally keeps what became of the calls.
type tally[R any] struct {
	f       *fanOut[R]
	answers []Answer[R]
	errs    []error // by the place in the set
	failed  int
	givenUp []bool // by the place in the set: failed after all were given up
	givesUp bool
}

func (t *tally[R]) count(r reply[R]) {
	if r.err == nil {
		t.answers = append(t.answers, Answer[R]{t.f.to[r.index], r.value})
		return
	}
	t.errs[r.index] = r.err
	t.failed++
	t.givenUp[r.index] = t.givesUp
}

// failure ends the calls that are under way and says why there are not enough
// answers.
func (t *tally[R]) failure(ctx context.Context) *QuorumError {
	f, e := t.f, &QuorumError{}
	ended := over(ctx)
	if !ended { // else the calls end with the context, and say so
		t.givesUp = true
		f.cancel()
	}
	for f.running > 0 {
		t.count(f.take(<-f.replies))
	}
	if ended {
		e.Err = context.DeadlineExceeded // which ctx may be about to say
		if ctx.Err() != nil {
			_, e.Err = contextEnd(ctx)
		}
	}
	e.Succeeded = len(t.answers)
	for i, c := range f.to {
		err := t.errs[i]
		switch {
		case i >= f.begun, t.givenUp[i]:
			e.GivenUp = append(e.GivenUp, c.Peer())
		case err != nil:
			e.Failed = append(e.Failed, &PeerError{Peer: c.Peer(), Err: err})
		}
		if i < f.begun {
			o := OutcomeRemote // it ran, as one does whose answer is an error
			if err != nil {
				o = OutcomeOf(err)
			}
			if i == 0 {
				e.outcome = o
			}
			e.outcome = bothOutcomes(e.outcome, o)
		}
	}
	return e
}
