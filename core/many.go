package core

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime"
	"runtime/debug"
	"slices"
)

// Answer is the result of one of the calls that [Each], [First], [Quorum] and
// [Hedged] make.
type Answer[R any] struct {
	From  *Connection // who was asked
	Value R           // what the function returned
}

// Each calls all of a set of peers at once and yields the results as they
// arrive: who was asked, and the answer or the error. Every member of the set is
// yielded exactly once.
//
//	for answer, err := range core.Each(ctx, m.Connections(),
//		func(ctx context.Context, c *core.Connection) ([]byte, error) {
//			return c.Request(ctx, "storage.stat", req)
//		}) {
//		…
//	}
//
// The set is [Manager.Connections], which are all peers and not the local node,
// or any other, as slices.Values of a chosen few. The local node can be among
// them, and so can a peer more than once. Of an empty set nothing is yielded. A
// nil ctx, set or function is yielded as one error, with a zero Answer.
//
// The calls begin with the loop, and every loop over the same iterator makes
// them anew. Leaving the loop cancels those that are still under way, and their
// handlers see it. The end of ctx ends all of them, and nothing else does:
// without a deadline the loop takes as long as the slowest peer.
//
// call runs on a goroutine of its own for each peer; that is all that a call to
// many costs, and none is left after the loop, which waits for them. So call
// has to return when its context ends, as everything in this package does; then
// leaving the loop takes no longer than that, even if a peer is silent. Its
// context ends with the loop: what it returns must not need it any more, as a
// stream would.
//
// A panic of call cancels the other calls and then goes on in the goroutine of
// the loop, as an error whose text has the value and the stack, and that wraps
// the value if it was an error. runtime.Goexit in call, so t.FailNow too, ends the
// goroutine of the loop likewise.
func Each[R any](ctx context.Context, to iter.Seq[*Connection],
	call func(ctx context.Context, c *Connection) (R, error),
) iter.Seq2[Answer[R], error] {
	return func(yield func(Answer[R], error) bool) {
		f, err := newFanOut(ctx, to, call)
		if err != nil {
			yield(Answer[R]{}, fmt.Errorf("gridmux: Each: %w", err))
			return
		}
		defer f.stop()
		for f.begun < len(f.to) {
			f.begin()
		}
		for f.running > 0 {
			r := f.take(<-f.replies)
			if !yield(Answer[R]{f.to[r.index], r.value}, r.err) {
				return
			}
		}
	}
}

// fanOut is a call to many while it lasts. It belongs to the goroutine that
// called; only replies is shared.
type fanOut[R any] struct {
	to   []*Connection
	call func(ctx context.Context, c *Connection) (R, error)
	//nolint:containedctx // It is the life of the calls, ended by stop.
	ctx     context.Context
	cancel  context.CancelFunc
	replies chan reply[R] // with room for all, so that no call waits to leave
	begun   int           // calls so far: those of to[:begun]
	running int           // calls whose reply was not taken
	raised  bool          // a panic goes on in this goroutine
}

// reply is how a call ended.
type reply[R any] struct {
	index int // in the set
	value R
	err   error
	left  *departure // it did not return
}

func newFanOut[R any](ctx context.Context, to iter.Seq[*Connection],
	call func(ctx context.Context, c *Connection) (R, error),
) (*fanOut[R], error) {
	switch {
	case ctx == nil:
		return nil, errNilContext
	case to == nil:
		return nil, errors.New("the set of peers is nil: pass Manager.Connections or slices.Values of connections")
	case call == nil:
		return nil, errors.New("the function that makes a call is nil")
	}
	f := &fanOut[R]{to: slices.Collect(to), call: call}
	f.replies = make(chan reply[R], len(f.to))
	f.ctx, f.cancel = context.WithCancel(ctx) //nolint:gosec // stop calls it.
	return f, nil
}

// begin makes the next call.
func (f *fanOut[R]) begin() {
	go f.run(f.begun)
	f.begun++
	f.running++
}

func (f *fanOut[R]) run(index int) {
	r := reply[R]{index: index}
	returned := false
	defer func() {
		if !returned {
			r.left = &departure{peer: f.to[index].Peer(), value: recover(), stack: debug.Stack()}
		}
		f.replies <- r
	}()
	r.value, r.err = f.call(f.ctx, f.to[index])
	returned = true
}

// take accounts for a reply. If its call did not return, neither does take.
func (f *fanOut[R]) take(r reply[R]) reply[R] {
	f.running--
	if r.left != nil && !f.raised {
		f.raised = true
		f.stop()
		r.left.goOn()
	}
	return r
}

// stop ends the calls that are under way and waits for them.
func (f *fanOut[R]) stop() {
	f.cancel()
	for f.running > 0 {
		f.take(<-f.replies)
	}
}

// departure is how a user's function left its goroutine without returning.
type departure struct {
	peer  string
	value any // nil: runtime.Goexit
	stack []byte
}

// goOn does in this goroutine what the function did in its own.
func (d *departure) goOn() {
	if d.value == nil {
		runtime.Goexit()
	}
	panic(&panicError{*d}) //nolint:forbidigo // It is the user's own, and nobody may swallow it.
}

// panicError is the panic of a user's function in the goroutine that waited for
// it.
type panicError struct{ departure }

func (e *panicError) Error() string {
	return fmt.Sprintf("gridmux: the function that calls %q panicked: %v\n\n%s", e.peer, e.value, e.stack)
}

func (e *panicError) Unwrap() error {
	err, _ := e.value.(error)
	return err
}
