package core

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/gridmux/gridmux/core/internal/wire"
)

// callTimer ends calls by their time-out option. One timer serves all calls of
// a session: with equal time-outs it is hardly ever moved.
type callTimer struct {
	next  atomic.Int64 // when it fires, manager's clock; 0: not set
	mu    sync.Mutex
	timer *time.Timer
	rest  int64 // it does not fire before, manager's clock
	over  bool
}

// The timer rests after each look at all slots, if there are more than lookAtOnce, for
// timerRest for each of those, some ten times as long as that takes. Else where very
// many calls run out of time one by one it would do nothing else.
const (
	lookAtOnce = 1024
	timerRest  = 200 * time.Nanosecond
)

// watch makes sure that the timer fires by deadline, or as soon as it has rested.
func (s *session) watch(deadline int64) {
	if next := s.timer.next.Load(); next != 0 && next <= deadline {
		return
	}
	t := &s.timer
	t.mu.Lock()
	defer t.mu.Unlock()
	deadline = max(deadline, t.rest)
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

// lateGrace is how long the context of a call may take to end after its deadline.
const lateGrace = 100 * time.Millisecond

// tooLate is told of calls that were not opened since the deadlines of their contexts
// were over. The contexts are about to end them, and know of a cause. But a context need
// not end by its deadline: it may have timed that by what the wall clock said before
// that was set, or keep no time at all.
func (s *session) tooLate(calls []wire.CallID, now int64) {
	for _, id := range calls {
		if end := addClock(now, lateGrace); s.calls.tooLate(id, end) {
			s.watch(end)
		}
	}
}

func (s *session) expire() {
	s.timer.next.Store(0)
	now := s.m.now()
	over, next, looked := s.calls.expired(now)
	s.timer.restAfter(looked, now)
	if next != 0 {
		s.watch(next)
	}
	for _, sl := range over {
		st, err := sl.stream, errTimeout
		if sl.overdue {
			err = errOverdue
		}
		s.abandon(sl, err, wire.CodeDeadline)
		if st != nil {
			st.discard(err)
		}
	}
}

func (t *callTimer) restAfter(looked int, now int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rest = now + int64(max(0, looked-lookAtOnce))*int64(timerRest)
}

func (t *callTimer) stop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.over = true
	if t.timer != nil {
		t.timer.Stop()
	}
}
