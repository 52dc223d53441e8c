package core

import (
	"context"
	"errors"
	"fmt"
	"net"
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

	dialled string // the address, where we dialled
	rank    int    // of the transport
	moves   bool   // it is to take the place of another session
	first   bool   // with this process of the peer
	number  uint64 // counts the sessions of the manager

	instance  [wire.InstanceSize]byte // of the peer
	catalogue [wire.DigestSize]byte   // digest of the peer's

	// Of the root: what the peer decodes, which of its handlers want compressed
	// requests (nil: none), and what it was told that we decode.
	peerCodecs atomic.Pointer[peerCodecs]
	wishes     atomic.Pointer[map[uint64]wish]
	wished     atomic.Bool // wishes is known
	learning   atomic.Bool // the peer is being asked for them
	told       atomic.Pointer[codecSet]

	link *linkInfo // what handlers can learn of the session

	// Agreed in the handshake.
	layout    layout
	maxOutput int
	maxSend   int // longest message the peer takes

	peerWindow int // of the streams towards the peer, at first

	w     writer
	calls callTable
	timer callTimer
	alive keepAlive

	// busy counts the calls in progress, both ways.
	busy atomic.Int32

	goaway  atomic.Bool   // the peer takes no new calls
	leaving atomic.Bool   // this side has said GOAWAY, and ends the session when it is at rest
	serves  atomic.Bool   // calls that arrive after our GOAWAY are served: another session has taken its place
	fence   atomic.Uint64 // value of the ping behind our GOAWAY; 0: none was said
	probes  probes

	in inbound // of the reader

	root  *session                    // the session of the first lane; s itself, if it is that one
	lane  lane                        // of others
	lanes lanes                       // of the root
	said  atomic.Pointer[wire.Status] // our GOAWAY

	debtor debtor // while this side ends the session

	last       atomic.Pointer[time.Timer] // ends the session, where that is set already
	ending     atomic.Bool
	done       chan struct{} // closed when the session has ended
	lost       error         // why; set before done is closed
	over       chan struct{} // closed when end is through
	inUserCode atomic.Bool   // the reader runs an inline handler
	readerDone chan struct{}
}

var (
	errOverflow    = errors.New("the peer provokes answers that it does not read")
	errUnanswered  = errors.New("the peer does not answer pings")
	errSuperseded  = errors.New("replaced by a newer connection of the same peer")
	errChecksum    = errors.New("a checksum did not match: the link corrupts data")
	errManagerDone = errors.New("the Manager was closed")
	errLeft        = errors.New("given up by the local node, after its last call")
)

// linkInfo is the part of a session that contexts of handlers lead to. Users may
// keep those for ever, so it is small.
type linkInfo struct {
	peer     *Connection
	identity Identity
	draining context.Context //nolint:containedctx // It ends when either side drains, and with it what the library itself asks.
	drain    context.CancelFunc
}

func newSession(m *Manager, peer *Connection, tc transport.Conn, a agreement) *session {
	size := batchSize
	if a.checksum {
		size = batchSizeChecksum
	}
	s := &session{
		m: m, peer: peer, side: a.side, moves: a.moves,
		layout:     layout{checksum: a.checksum, size: size},
		maxOutput:  m.cfg.MaxOutput,
		maxSend:    int(min(a.remote.MaxMsg, uint64(m.cfg.MaxMessage))),
		instance:   a.remote.Instance,
		catalogue:  a.remote.Catalogue,
		link:       &linkInfo{peer: peer, identity: a.identity},
		peerWindow: int(a.remote.Window),
	}
	s.link.draining, s.link.drain = context.WithCancel(context.Background())
	s.calls.limit = int(min(a.remote.MaxCalls, uint32(m.cfg.MaxCalls)))
	s.peerCodecs.Store(newPeerCodecs(a.remote.Codecs, a.remote.Dicts))
	s.told.Store(a.told)
	s.init(s, tc)
	s.useLanes(a.remote.Lanes)
	return s
}

// newSessionOf makes the session of a lane of s.
func newSessionOf(s *session, tc transport.Conn) *session {
	l := &session{
		m: s.m, peer: s.peer, side: s.side,
		layout:     layout{checksum: s.layout.checksum, size: s.layout.size},
		maxOutput:  s.maxOutput,
		maxSend:    s.maxSend,
		instance:   s.instance,
		catalogue:  s.catalogue,
		link:       s.link,
		peerWindow: s.peerWindow,
	}
	l.calls.limit, l.calls.all = s.calls.limit, s.calls.all
	l.init(s, tc)
	return l
}

// init sets what is not known before the link is.
func (s *session) init(root *session, tc transport.Conn) {
	s.root, s.tc, s.born = root, tc, time.Now()
	s.ahead, _ = tc.(transport.BufferedConn)
	s.layout.headroom = tc.Info().Headroom
	s.done, s.over, s.readerDone = make(chan struct{}), make(chan struct{}), make(chan struct{})
	s.w.s, s.w.wake = s, make(chan struct{}, 1)
	s.w.small.seq = 1
	s.w.bulk.pace.window, s.w.bulk.pace.flat = firstPace, flatAlone
	if s.isLane() {
		s.w.bulk.pace.flat, s.w.bulk.lane = flatLane, true
	}
	s.calls.side = s.side
}

// isLane reports whether the session is that of a lane beside the first one.
func (s *session) isLane() bool { return s.root != s }

// start runs the session, once it is the peer's current one.
func (s *session) start() {
	// Before the reader, which asks the keep-alive whether the process ran all
	// the time.
	s.alive.start(s)
	go s.readLoop()
	s.learnHandlers()
}

// end ends the session; only the first call counts. Calls that are waiting
// learn what became of them, handlers that are running see their contexts end,
// and the peer is told code and reason if the link takes them at once.
func (s *session) end(err error, code wire.Code) {
	if !s.ending.CompareAndSwap(false, true) {
		return
	}
	s.alive.stop()
	if t := s.last.Load(); t != nil {
		t.Stop()
	}
	// From here on nothing more is taken for writing, so what is still queued
	// counts as not sent.
	s.w.close()
	if s.isLane() {
		defer s.root.laneEnded(s)
	} else {
		s.peer.sessionEnded(s, err)
		// Side by side: telling the peer may take a moment for each.
		var lanes sync.WaitGroup
		for _, l := range s.lanes.end() {
			lanes.Go(func() { l.end(err, code) })
		}
		lanes.Wait()
	}
	lost := fmt.Errorf("%w: %w", ErrDisconnected, s.onTransport(err))
	s.lost = lost
	for _, sl := range s.calls.end(lost) {
		s.abandon(sl, lost, wire.CodeNone)
	}
	s.timer.stop()
	s.in.cancel(lost)
	close(s.done)
	_ = s.tc.CloseWithError(uint32(code), err.Error())
	close(s.over)
	if s.m.draining.Load() {
		s.m.signalDrained()
	}
}

// sayGoaway tells the peer that this side takes no new calls any more, and
// pings behind it: the answer says that everything the peer had sent before has
// arrived (W43).
func (s *session) sayGoaway(st wire.Status) {
	s.link.drain()
	s.said.Store(&st)
	s.fenceOff(st)
	for _, l := range s.lanes.each() {
		if !l.lane.own { // on which calls come in
			l.fenceOff(st)
		}
	}
}

// fenceOff says GOAWAY on one lane.
func (s *session) fenceOff(st wire.Status) {
	s.fence.CompareAndSwap(0, s.w.goaway(st))
	if s.fenced() {
		s.signalRest() // the answer was faster
	}
}

// leave says GOAWAY. The session ends by itself when its calls have.
func (s *session) leave(why string) {
	s.leaving.Store(true)
	s.sayGoaway(wire.Status{Code: wire.CodeShutdown, Message: why})
}

// fenced reports whether no request can arrive any more that the peer had sent
// before it knew of our GOAWAY.
func (s *session) fenced() bool {
	fence := s.fence.Load()
	if fence == 0 {
		// A session that leaves is about to say it. In others nobody does, as in
		// the loopback.
		return !s.leaving.Load()
	}
	return s.probes.answered.Load() >= fence
}

// pastFence reports whether GOAWAY was said, and its fence was answered.
func (s *session) pastFence() bool { return s.fence.Load() != 0 && s.fenced() }

// onGoaway is told that the peer takes no new calls any more. Requests that wait
// to be written are taken back, so that their callers can go elsewhere at once.
func (s *session) onGoaway(st wire.Status) {
	s.goaway.Store(true)
	s.link.drain()
	if !s.isLane() {
		// First, so that who makes a call again does not find the same session.
		s.peer.retire(s, fmt.Errorf("%w: %s", ErrDraining, describeGoaway(st)))
	}
	s.recall(errNoNewCalls)
	for _, l := range s.lanes.each() {
		l.recall(errNoNewCalls)
	}
	s.closeIdleLanes()
}

// recall ends the calls of which nothing was written, and lets no others begin.
func (s *session) recall(err error) {
	for _, id := range s.w.recall() {
		if sl := s.calls.take(id); sl != nil {
			s.abandon(sl, err, wire.CodeCanceled)
		}
	}
}

// whyShut is why no more calls begin.
func (s *session) whyShut() error {
	if s.goaway.Load() || s.root.goaway.Load() {
		return errNoNewCalls
	}
	return errUnwritable
}

var errUnwritable = fmt.Errorf("%w: the link takes nothing any more", ErrDisconnected)

// readOn is how long after a write has failed the link is still read, if it does
// not end by itself.
const readOn = time.Second

// writeFailed is told that the link takes nothing more. What the peer sent
// before its end may still wait to be read, and say what became of calls: the
// reader ends the session behind it.
func (s *session) writeFailed(err error) {
	s.recall(fmt.Errorf("%w: %w", ErrDisconnected, err))
	s.w.close()
	if !s.isLane() {
		s.peer.retire(s, err)
	}
	s.endWithin(readOn, err, wire.CodeNone)
}

// readFailed is told that the link brings nothing more.
func (s *session) readFailed(err error) {
	if s.ending.Load() {
		return
	}
	_, closed := errors.AsType[*transport.CloseError](err)
	closed = closed || errors.Is(err, net.ErrClosed)
	switch err, code := linkError("read", err), readFailure(err); {
	case !s.isLane() || !closed:
		s.root.end(err, code)
	case s.busy.Load() == 0 || !s.lane.own:
		s.end(err, code)
	default:
		// Nobody closes a lane that has a call, but with the connection. Then that
		// ends first, so that whoever repeats the call finds none.
		s.endWithin(readOn, err, code)
	}
}

// endWithin ends the session after d, if it has not ended by then.
func (s *session) endWithin(d time.Duration, err error, code wire.Code) {
	t := time.AfterFunc(d, func() { s.end(err, code) })
	if before := s.last.Swap(t); before != nil {
		before.Stop()
	}
	if s.ending.Load() {
		t.Stop()
	}
}

func describeGoaway(st wire.Status) string {
	if st.Message == "" {
		return "the peer is going away"
	}
	return "the peer said: " + printable(st.Message)
}

// errNoNewCalls is the end of a call of which nothing was sent, because one side
// has said GOAWAY.
var errNoNewCalls = fmt.Errorf("%w: the connection takes no new calls any more", ErrDraining)

// quiet reports whether no call is in progress, and nothing of one is on its way in
// either direction.
func (s *session) quiet() bool {
	return s.ending.Load() || s.fenced() && s.busy.Load() == 0 && s.quietLanes() && s.delivered()
}

// delivered reports whether the peer has read all that was written. It asks the peer as
// soon as nothing waits to be written. What is on its way when a connection is closed may
// be lost: TCP resets one whose peer sends something then (RFC 1122, section 4.2.2.13),
// and forgets what it has not sent yet.
func (s *session) delivered() bool {
	if s.fence.Load() == 0 {
		return s.w.flushed() // the loopback, which loses nothing
	}
	ping, ok := s.w.prove()
	return ok && s.probes.answered.Load() >= ping
}

// signalRest is called when the session may have come to rest.
func (s *session) signalRest() {
	if s.isLane() {
		s.root.signalRest()
		return
	}
	if s.m.draining.Load() {
		s.m.signalDrained()
	}
	if s.leaving.Load() {
		// Asked elsewhere: the caller may hold the writer's lock.
		go func() {
			if s.quiet() {
				s.end(errLeft, wire.CodeShutdown)
			}
		}()
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
	if sl.stream != nil {
		s.abandonStream(sl, err, code)
		return
	}
	sl.err = err
	sl.outcome = OutcomeMaybeRun
	if s.w.retract(sl, s.side, code) {
		sl.outcome = OutcomeNotSent
	}
	s.freePartial(sl)
	sl.token <- struct{}{}
}
