package sim_test

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/gridmux/gridmux/core"
)

// A talk is a stream as the simulation sees it: who opens it, which messages go
// which way, who is slow, and how it ends.

// talkSpec is a talk as a schedule has it.
type talkSpec struct {
	to       int // the number of nodes stands for the rogue
	handler  core.HandlerID
	channels bool // its caller uses the form of channels
	payload  int
	prio     core.Priority
	up, down lane // towards the handler, and from it
	order    order
	first    bool // its caller sends everything before it receives
	finish   finish
	dropAt   int // its handler takes no more than so many messages, and drops the rest; 0: it takes all
	leave    leave
	leaveAt  int // after so many messages received
	end      endKind
	after    time.Duration // of end
	wait     bool          // WaitForConnection
}

// lane is what goes one way.
type lane struct {
	sizes []int
	over  bool          // the last one is over the limit, and cannot be sent
	gap   time.Duration // between messages, of who sends
	// half: its sender says when it has sent the last one, else its receiver
	// knows how many there are.
	half bool
	// hasty: it says so while it still sends the last one, so long after it has
	// begun to; 0: behind it.
	hasty time.Duration
	// Of who receives.
	pause   time.Duration // after each message
	stopAt  int           // after so many messages it stops
	stopFor time.Duration // for so long; 0: it does not, below 0: for ever
}

// order is what a handler does first.
type order int

const (
	orderBoth     order = iota // it receives and sends at once
	orderReceive               // it receives everything, then sends
	orderSend                  // it sends everything, then receives
	orderEcho                  // it sends a message for each that it receives
	orderSendOnly              // it sends, and never receives
	numOrders
)

// finish is how a handler ends.
type finish int

const (
	finishWell  finish = iota
	finishFail         // with an error
	finishPanic        // without returning
	finishBlock        // when its context ends
)

// leave is how a caller leaves before the end.
type leave int

const (
	leaveNever   leave = iota
	leaveClose         // by Close
	leaveBreak         // out of the loop over All, or by an error in Results
	leaveCancel        // by the end of its context
	leaveForgets       // it stops to look at the stream
)

func (s *talkSpec) String() string {
	if s == nil {
		return "-"
	}
	form := "raw"
	if s.channels {
		form = "channels"
	}
	text := fmt.Sprintf("{to %d %s %s, payload %d, priority %v, up %v, down %v, order %d finish %d",
		s.to, s.handler, form, s.payload, s.prio, &s.up, &s.down, s.order, s.finish)
	if s.dropAt != 0 {
		text += fmt.Sprintf(", drop from %d", s.dropAt)
	}
	if s.leave != leaveNever {
		text += fmt.Sprintf(", leave %d at %d", s.leave, s.leaveAt)
	}
	if s.first {
		text += ", sends first"
	}
	if s.end != endNever {
		text += fmt.Sprintf(", %v %v", s.end, s.after)
	}
	if s.wait {
		text += ", wait"
	}
	return text + "}"
}

func (l *lane) String() string {
	total := 0
	for _, n := range l.sizes {
		total += n
	}
	text := fmt.Sprintf("%d messages of %d bytes", len(l.sizes), total)
	if l.half {
		text += " and end"
	}
	if l.hasty != 0 {
		text += fmt.Sprintf(" within %v", l.hasty)
	}
	if l.gap != 0 || l.pause != 0 {
		text += fmt.Sprintf(" every %v, taken every %v", l.gap, l.pause)
	}
	if l.stopFor != 0 {
		text += fmt.Sprintf(", stop at %d for %v", l.stopAt, l.stopFor)
	}
	return text
}

// talk is a stream in progress or done.
type talk struct {
	w      *world
	spec   *talkSpec
	from   *incarnation
	number int
	// wellAtFirst: the two nodes and their link were well when it was opened.
	wellAtFirst bool
	opened      time.Duration
	deadline    time.Duration // by time-out or context; 0: none
	cancel      time.Duration // when its context is cancelled; 0: never

	mu       sync.Mutex
	up, down passage
	started  int             // handlers
	server   *incarnation    // that runs or ran the handler
	serving  context.Context // what the handler was given
	begun    time.Duration   // of the handler; 0: not yet
	ended    time.Duration   // of the handler; 0: not yet
	result   error           // of the handler
	left     time.Duration   // when the caller ended it before its end; 0: it did not
	returned time.Duration   // when the caller had done with it; 0: not yet
	err      error           // what it ended with for the caller
	moved    time.Duration   // when something last happened
	resting  int             // ends that do nothing on purpose
	told     bool            // a violation about its end was entered
}

// passage is what has gone one way. It is guarded by talk.mu.
type passage struct {
	tried int  // sends that were begun
	sent  int  // that have returned without an error
	last  bool // the sender has begun to say that these were all
	got   int
	clean bool // the receiver was told that these were all
}

func (t *talk) String() string {
	return fmt.Sprintf("stream %d from %s, opened at %v, %v", t.number, t.from.name, t.opened, t.spec)
}

// passage returns the account of a direction.
func (t *talk) passage(up bool) *passage {
	if up {
		return &t.up
	}
	return &t.down
}

func (t *talk) lane(up bool) *lane {
	if up {
		return &t.spec.up
	}
	return &t.spec.down
}

// rogue reports whether the other side does not keep to the protocol.
func (t *talk) rogue() bool { return t.spec.to >= t.w.p.nodes }

// nodes returns the two nodes of the talk, or -1 if one is no ordinary node.
func (t *talk) nodes() (from, to int) {
	if t.from.node == nil || t.rogue() {
		return -1, -1
	}
	return t.from.node.index, t.spec.to
}

// converse has a node hold a talk, on a goroutine of its own.
func (w *world) converse(from int, spec *talkSpec, delay time.Duration) {
	in := w.nodes[from].run
	if in == nil {
		return
	}
	go func() {
		if delay > 0 {
			time.Sleep(delay)
		}
		_ = w.talk(w.ctx, in, spec)
	}()
}

// beginTalk enters a talk that is about to be opened.
func (w *world) beginTalk(in *incarnation, spec *talkSpec) *talk {
	t := &talk{w: w, spec: spec, from: in, opened: w.now(), moved: w.now()}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.talks = append(w.talks, t)
	t.number = len(w.talks)
	w.openTalks = append(w.openTalks, t)
	from, to := t.nodes()
	t.wellAtFirst = from >= 0 && w.settledSince(from, to, t.opened)
	return t
}

// talkOf finds the talk that a payload belongs to.
func (w *world) talkOf(payload []byte) *talk {
	number, ok := numberOf(payload)
	w.mu.Lock()
	defer w.mu.Unlock()
	if !ok || number < 1 || number > len(w.talks) {
		return nil
	}
	return w.talks[number-1]
}

// move notes that something has happened on the stream. t.mu is held.
func (t *talk) move() { t.moved = t.w.now() }

// rest does nothing for d, or until the stream or its context is over; below 0
// for as long as that takes. It reports whether the stream still is.
func (t *talk) rest(ctx context.Context, over <-chan struct{}, d time.Duration) bool {
	t.mu.Lock()
	t.resting++
	t.mu.Unlock()
	defer func() {
		t.mu.Lock()
		t.resting--
		t.move()
		t.mu.Unlock()
	}()
	var enough <-chan time.Time
	if d >= 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		enough = timer.C
	}
	select {
	case <-enough:
		return true
	case <-ctx.Done():
	case <-over:
	}
	return false
}

// sendAll sends the messages of a direction, and says that these were all where
// it is to. send takes the message over if it keeps it.
func (t *talk) sendAll(ctx context.Context, over <-chan struct{}, up, keeps bool, send func(msg []byte) error, half func()) {
	l := t.lane(up)
	var hasty sync.WaitGroup
	defer hasty.Wait()
	for i := range l.sizes {
		if i > 0 && l.gap > 0 && !t.rest(ctx, over, l.gap) {
			return
		}
		if l.hasty > 0 && i == len(l.sizes)-1 {
			hasty.Go(func() {
				t.rest(ctx, over, l.hasty)
				t.sayLast(up)
				half()
			})
		}
		if !t.sendOne(up, i, keeps, send) {
			return
		}
	}
	if l.half && l.hasty == 0 {
		t.sayLast(up)
		half()
	}
}

func (t *talk) sendOne(up bool, i int, keeps bool, send func(msg []byte) error) bool {
	msg := appendMessage(nil, t.number, up, i, t.lane(up).sizes[i])
	p := t.passage(up)
	t.mu.Lock()
	p.tried++
	t.mu.Unlock()
	err := send(msg)
	if !keeps {
		clear(msg) // it is the sender's again
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.move()
	if err == nil {
		p.sent++
	}
	return err == nil
}

// sayLast notes that the sender is about to say that it has sent everything.
func (t *talk) sayLast(up bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.passage(up).last = true
}

// take looks at a message that was received, and does what its receiver does
// then: nothing, for some time or for ever.
func (t *talk) take(ctx context.Context, over <-chan struct{}, up bool, msg []byte) {
	n := t.checkMessage(up, msg)
	l := t.lane(up)
	if l.pause > 0 {
		t.rest(ctx, over, l.pause)
	}
	if l.stopFor != 0 && n == l.stopAt {
		t.rest(ctx, over, l.stopFor)
	}
}
