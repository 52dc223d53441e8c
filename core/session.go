package core

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gridmux/gridmux/core/internal/wire"
	"github.com/gridmux/gridmux/transport"
)

// session is one incarnation of the link to a peer, from the end of the
// handshake to the first failure. It has its own calls, reader and writer and
// dies whole: nothing of it reaches a later session.
type session struct {
	m    *Manager
	peer *Connection
	tc   transport.Conn
	// ahead is tc if it reads ahead, else nil.
	ahead transport.BufferedConn
	side  uint8 // 0: we dialled
	born  time.Time

	// Agreed in the handshake.
	layout    layout
	maxOutput int
	maxSend   int // longest message the peer takes

	w     writer
	calls callTable
	timer callTimer
	alive keepAlive

	// busy counts the calls in progress, both ways.
	busy   atomic.Int32
	goaway atomic.Bool // the peer takes no new calls

	in inbound // of the reader

	ending     atomic.Bool
	done       chan struct{} // closed when the session has ended
	over       chan struct{} // closed when end is through
	inUserCode atomic.Bool   // the reader runs an inline handler
	readerDone chan struct{}
}

var (
	errOverflow    = errors.New("the peer provokes answers that it does not read")
	errUnanswered  = errors.New("the peer does not answer pings")
	errSuperseded  = errors.New("replaced by a newer connection of the same peer")
	errChecksum    = errors.New("a checksum did not match: the link corrupts data")
	errManagerDone = errors.New("the local node was closed")
)

// agreement is what two hellos amount to for one side.
type agreement struct {
	side     uint8
	checksum bool
	remote   wire.Hello
}

func newSession(m *Manager, peer *Connection, tc transport.Conn, a agreement) *session {
	size := batchSize
	if a.checksum {
		size = batchSizeChecksum
	}
	s := &session{
		m: m, peer: peer, tc: tc, side: a.side, born: time.Now(),
		layout:     layout{headroom: tc.Info().Headroom, checksum: a.checksum, size: size},
		maxOutput:  m.cfg.MaxOutput,
		maxSend:    int(min(a.remote.MaxMsg, uint64(m.cfg.MaxMessage))),
		done:       make(chan struct{}),
		over:       make(chan struct{}),
		readerDone: make(chan struct{}),
	}
	s.ahead, _ = tc.(transport.BufferedConn)
	s.w.s, s.w.wake = s, make(chan struct{}, 1)
	s.w.small.seq = 1
	s.calls.limit = int(min(a.remote.MaxCalls, uint32(m.cfg.MaxCalls)))
	return s
}

// start runs the session, once it is the peer's current one.
func (s *session) start() {
	go s.readLoop()
	s.alive.start(s)
}

// end ends the session; only the first call counts. Calls that are waiting
// learn what became of them, handlers that are running see their contexts end,
// and the peer is told code and reason if the link takes them at once.
func (s *session) end(err error, code wire.Code) {
	if !s.ending.CompareAndSwap(false, true) {
		return
	}
	s.alive.stop()
	// From here on nothing more is taken for writing, so what is still queued
	// counts as not sent.
	s.w.close()
	s.peer.sessionEnded(s, err)
	lost := fmt.Errorf("%w: %w", ErrDisconnected, err)
	for _, sl := range s.calls.end(lost) {
		s.abandon(sl, lost, wire.CodeNone)
	}
	s.timer.stop()
	s.in.cancel()
	close(s.done)
	_ = s.tc.CloseWithError(uint32(code), err.Error())
	close(s.over)
	if s.m.draining.Load() {
		s.m.signalDrained()
	}
}

// linkError wraps what the transport reported.
func linkError(op string, err error) error {
	if closed, ok := errors.AsType[*transport.CloseError](err); ok {
		return closed
	}
	return fmt.Errorf("%s: %w", op, err)
}

// abandon completes a claimed call without an answer: it takes back what was
// not sent, or tells the peer with a RESET.
func (s *session) abandon(sl *slot, err error, code wire.Code) {
	sl.err = err
	sl.outcome = OutcomeMaybeRun
	if s.w.retract(sl, s.side, code) {
		sl.outcome = OutcomeNotSent
	}
	s.freePartial(sl)
	sl.token <- struct{}{}
}

// callTimer ends calls by their time-out option. One timer serves all calls of
// a session: with equal time-outs it is hardly ever moved.
type callTimer struct {
	next  atomic.Int64 // when it fires, manager's clock; 0: not set
	mu    sync.Mutex
	timer *time.Timer
	over  bool
}

// watch makes sure that the timer fires by deadline.
func (s *session) watch(deadline int64) {
	if next := s.timer.next.Load(); next != 0 && next <= deadline {
		return
	}
	t := &s.timer
	t.mu.Lock()
	defer t.mu.Unlock()
	if next := t.next.Load(); t.over || next != 0 && next <= deadline {
		return
	}
	t.next.Store(deadline)
	wait := time.Duration(deadline - s.m.now())
	if t.timer == nil {
		t.timer = time.AfterFunc(wait, s.expire)
		return
	}
	t.timer.Reset(wait)
}

func (s *session) expire() {
	s.timer.next.Store(0)
	over, next := s.calls.expired(s.m.now())
	if next != 0 {
		s.watch(next)
	}
	for _, sl := range over {
		s.abandon(sl, errTimeout, wire.CodeDeadline)
	}
}

func (t *callTimer) stop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.over = true
	if t.timer != nil {
		t.timer.Stop()
	}
}
