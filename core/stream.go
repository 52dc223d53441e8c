package core

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gridmux/gridmux/core/internal/wire"
)

// RawStream is one end of a stream: messages in both directions, in order, until
// the handler returns. The calling side gets one from [Connection.OpenStream],
// the serving side as the argument of its handler, for as long as that runs.
//
// One goroutine may receive while others send. Every method but Recv and All may
// be called by several goroutines at once.
//
// On the calling side a stream ends by itself when the handler returns, and
// early by Close, by the end of its context or of its [WithTimeout], and with
// the connection. One that is neither read to its end nor ended keeps what has
// arrived.
type RawStream struct {
	s    *session
	id   wire.CallID
	slot *slot        // of the calling side
	ctx  *callContext // of the serving side
	key  handlerKey
	hash uint64 // of the key; of the calling side

	pack *packer // of what this end sends; nil: none

	shared atomic.Pointer[sharedWindows] // what messages share; nil: nothing yet

	sizes *callSizes // for interceptors; nil: there are none

	// Guarded by writer.mu: credit that waits to be written.
	owedMessages, owedBytes int

	receiving atomic.Bool // a Recv, or a Read of the net.Conn, is under way
	dropped   atomic.Bool // what has arrived is dropped

	mu   sync.Mutex
	in   inbox
	out  outbox
	over bool // nothing more can be sent, and nothing more arrives
	// answered is set on the calling side where the stream is over because the
	// other side has said so.
	answered bool
	watched  bool          // the context is watched also after the end
	prio     Priority      // never changes; here it takes no room
	err      error         // why, unless the handler returned without an error
	done     chan struct{} // closed when over; made on demand
	stop     func() bool   // ends the watching of the context, on the calling side
	patience *time.Timer   // of large messages that an ended stream waits for; see watchLarge
	gone     chan struct{} // closed when what has arrived is dropped; made on demand
	nc       *netConn      // made on demand
}

var (
	errStreamClosed = fmt.Errorf("the stream was closed by this side: %w", net.ErrClosed)
	errInputClosed  = fmt.Errorf("CloseSend was called: %w", net.ErrClosed)
	errReturned     = fmt.Errorf("the handler has returned: %w", net.ErrClosed)
	errNoInput      = errors.New("the handler takes no messages: its input capacity is 0")
	errTwoReceivers = errors.New("another goroutine receives from this stream: only one may")
)

// serving reports whether this is the side of the handler.
func (st *RawStream) serving() bool { return st.slot == nil }

// Peer returns the name of the node at the other end.
func (st *RawStream) Peer() string {
	if st == nil || st.s == nil {
		return ""
	}
	return st.s.peer.name
}

// Send sends a message; p may be used again at once. It waits while as many
// messages or bytes are under way as the other side takes (see [WithCapacity]
// and Config.StreamWindow), and in the case of messages over 32 KiB until the
// last part is on its way. That Send has returned does not mean that the message
// has arrived. Any number of goroutines may send on one stream; none waits for ever
// while others send.
//
// It fails once the stream has ended, with the error that it ended with, and
// after CloseSend and Close, with one that matches [net.ErrClosed]. A message over
// Config.MaxMessage fails alone. The outcome of its errors is that of the stream, whose
// handler may run.
func (st *RawStream) Send(p []byte) error {
	if st == nil || st.s == nil {
		return st.misuse()
	}
	return st.send(p)
}

// Recv appends the next message to dst and returns the extended slice. If dst
// has room nothing is allocated. An empty message is told from the end by its
// nil error; with a nil dst it is an empty slice that is not nil.
//
// It returns [io.EOF] when the other side has ended its messages and all of them
// have been received: the handler has returned nil or has called CloseSend, or
// the caller has called CloseSend. Every other end is another error, after the
// messages that arrived before: a *[RemoteError] if the handler returned one, or
// a *[CallError]. Where this side ends the stream itself, by Close, with its
// context or by its time-out, what has arrived is dropped. Of a stream that has ended
// already those two drop only what holds memory beyond the window: where a message over
// Config.StreamWindow is among what was not received. On failure dst is returned as it
// was.
func (st *RawStream) Recv(dst []byte) ([]byte, error) {
	if st == nil || st.s == nil {
		return dst, st.misuse()
	}
	if !st.receiving.CompareAndSwap(false, true) {
		return dst, st.callError(errTwoReceivers)
	}
	msg, err := st.receive(dst)
	st.receiving.Store(false)
	return msg, err
}

// All returns an iterator over the messages that arrive, which ends after a
// clean end or with an error. A message is valid until the next step. To leave
// the loop early ends the stream on the calling side, as Close does; on the
// serving side what arrives later is dropped.
func (st *RawStream) All() iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		ended := false
		defer func() { // also where the loop panics
			if !ended {
				st.stopReading()
			}
		}()
		var buf []byte
		for {
			var err error
			switch buf, err = st.Recv(buf[:0]); {
			case err == io.EOF: //nolint:errorlint // Recv returns it as it is.
				ended = true
				return
			case err != nil:
				ended = true
				yield(nil, err)
				return
			case !yield(buf, nil):
				return
			}
		}
	}
}

func (st *RawStream) stopReading() {
	if !st.serving() {
		_ = st.Close()
		return
	}
	st.discard(errStreamClosed)
}

// CloseSend says that this side sends no more messages: the other side gets
// [io.EOF] behind the last one. Messages of the other direction go on.
func (st *RawStream) CloseSend() error {
	if st == nil || st.s == nil {
		return st.misuse()
	}
	st.closeSend()
	return nil
}

// Close ends the stream, unless it has ended. On the calling side it cancels the
// handler's context and drops what has arrived. On the serving side it is
// CloseSend, and drops what arrives; the stream ends when the handler returns.
// It returns nil; later calls do nothing.
func (st *RawStream) Close() error {
	if st == nil || st.s == nil {
		return st.misuse()
	}
	if st.serving() {
		st.closeSend()
		st.discard(errStreamClosed)
		return nil
	}
	st.giveUp(errStreamClosed, wire.CodeCanceled)
	st.discard(errStreamClosed)
	return nil
}

// Done returns a channel that is closed when the stream has ended. Messages that
// arrived before may still wait to be received.
func (st *RawStream) Done() <-chan struct{} {
	if st == nil || st.s == nil {
		return nil
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.done == nil {
		st.done = make(chan struct{})
		if st.over {
			close(st.done)
		}
	}
	return st.done
}

// Err returns nil as long as the stream has not ended, and if its handler
// returned without an error. Else it is the error that the stream ended with.
func (st *RawStream) Err() error {
	if st == nil || st.s == nil {
		return st.misuse()
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.err
}

func (st *RawStream) isOver() bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.over
}

func (st *RawStream) misuse() error {
	return &CallError{Outcome: OutcomeNotSent, Err: fmt.Errorf("%w: get streams from Connection.OpenStream", ErrNotStarted)}
}

// callError wraps an error for the user.
func (st *RawStream) callError(err error) error {
	return &CallError{Peer: st.s.peer.name, Handler: st.key.id, Route: st.key.route, Err: err}
}

// finish ends the stream for this side, unless it has ended. With err nil the
// handler has returned without an error.
func (st *RawStream) finish(err error) {
	st.mu.Lock()
	if st.over {
		st.mu.Unlock()
		return
	}
	st.over, st.err = true, err
	drop, waited := st.in.lose()
	owed := waited && st.answered
	// Whoever learns of the end finds room for another window.
	st.s.peer.windows.release(st.in.held)
	st.in.held = 0
	st.forgetShared()
	stop := st.takeStop()
	if st.nc != nil {
		st.nc.streamEnded()
	}
	st.in.wakeUp()
	st.out.wakeUp()
	if st.done != nil {
		close(st.done)
	}
	shared := st.takeShared()
	st.mu.Unlock()
	closeWindow(shared)
	for _, m := range drop {
		m.drop()
	}
	if owed {
		st.s.w.reset(st.id, wire.CodeCanceled) // as in discard
	}
	if stop != nil {
		stop()
	}
}

// takeStop returns what ends the watching of the context, once it has nothing
// left to drop. st.mu is held.
func (st *RawStream) takeStop() func() bool {
	if !st.over || st.watched || st.in.awaitsMemory() {
		return nil
	}
	stop, patience := st.stop, st.patience
	st.stop, st.patience = nil, nil
	if patience == nil {
		return stop
	}
	return func() bool {
		patience.Stop()
		return stop == nil || stop()
	}
}
