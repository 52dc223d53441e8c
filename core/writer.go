package core

import (
	"runtime"
	"slices"
	"sync"

	"github.com/gridmux/gridmux/core/internal/wire"
)

// writer sends the frames of a session. Callers and workers append under a
// short lock and never touch the link, so nobody but the writer's own goroutine
// ever waits for a peer that does not read. Everything that is appended during
// a write is the next one.
//
// There are three classes. Control goes first, then small frames, then bulk: the
// fragments of large messages and the frames of streams, in turns, at least one
// per write as far as the pace lets it. The goroutine starts with the first frame
// and ends when the session idles.
type writer struct {
	s    *session
	wake chan struct{} // capacity 1: one token whenever parked is cleared

	mu      sync.Mutex
	control controlFrames
	urgent  batch        // control frames that are of a call
	credits []*RawStream // that have credit to give back
	later   []batch      // small frames for the next writes, oldest first
	small   batch        // the one after those, which is appended to
	fresh   batch        // recycled memory for the one after that
	bulk    bulkClass
	unsent  int    // bytes of small frames that the link has not taken
	writes  uint64 // that are over
	pings   uint64 // value of the last one that was queued
	lanes   uint64 // that were opened
	notices uint64 // times that the peer was to be told of lanes
	held    bool   // nothing is written yet: the peer does not know of the lane
	room    roomQueue
	running bool
	parked  bool   // the goroutine waits for wake
	linger  bool   // it parks when there is nothing to do, else it ends
	active  bool   // something but control was appended since the last tick
	shut    uint64 // the first batch without requests, since none are taken any more; 0: they are
	proof   uint64 // value of a ping behind all that was appended of calls; 0: there is none
	closed  bool

	// Of the goroutine alone.
	ctl      batch
	spare    batch    // the small frames of the write
	part     batch    // the bulk of it
	turns    []source // of which served, those that go on, have had theirs
	served   []source
	unserved int
	quota    int    // bytes of bulk for it
	alone    bool   // no other source had something to send
	telling  uint64 // notice of lanes that is in the write; 0: none
	frames   [][]byte
}

const (
	// keepBatch is the capacity that a batch keeps between writes.
	keepBatch = 2 * writeSize
	// writeSize is how many bytes of small frames go out in one write, about.
	// Control frames go first in each, so it bounds what a ping waits behind.
	writeSize = 256 << 10
	// fragmentsPerWrite is how many fragments go out in one write when no small
	// frame waits. Beside small frames it is one, and one more for every
	// smallPerFragment bytes of them: that is the guaranteed share of large
	// messages, about a third.
	fragmentsPerWrite = 4
	smallPerFragment  = 64 << 10
)

// dropLarge ends the sending of a large request whose call is complete. When it
// returns the request's memory is not read any more.
func (w *writer) dropLarge(sl *slot) {
	w.mu.Lock()
	b := sl.bulk
	if b != nil {
		w.discard(b)
	}
	w.unlock()
}

// open makes room for a small frame of n bytes. w.mu is held.
func (w *writer) open(n int) {
	if len(w.small.buf) > writeSize {
		w.later = append(w.later, w.small)
		w.fresh.seq = w.small.seq + 1
		w.small, w.fresh = w.fresh, batch{}
	}
	w.small.room(w.s.layout, n)
}

// appended accounts for what was appended to w.small from offset at on. w.mu is
// held.
func (w *writer) appended(at int) {
	n := len(w.small.buf) - at
	w.small.bytes += n
	w.unsent += n
}

// waiting returns the batch that has the sequence number, if the writer has not
// taken it yet. w.mu is held.
func (w *writer) waiting(seq uint64) *batch {
	switch behind := w.small.seq - seq; {
	case behind == 0:
		return &w.small
	case behind <= uint64(len(w.later)):
		return &w.later[len(w.later)-int(behind)]
	default:
		return nil
	}
}

// appendAnswer queues the result of a handler that fits into one frame, or why
// it failed. If there is no room, and force is not set, it returns the place to wait
// in, and is called again with that.
func (w *writer) appendAnswer(c *inCall, result []byte, failed *failedAnswer, force bool, p *place) *place {
	n := wire.HeaderSize + len(result)
	if failed != nil {
		n = wire.StatusSize(failed.Status)
	}
	w.mu.Lock()
	if !force {
		if p = w.enter(p, n, c.prio, c.ctx); p != nil {
			w.mu.Unlock()
			return p
		}
	}
	if failed != nil {
		w.appendStatus(failed.typ, c.id, failed.Status)
	} else {
		w.open(n)
		at := len(w.small.buf)
		w.small.buf = wire.AppendResponse(w.small.buf, c.id, result)
		c.how.mark(w.small.buf, at)
		w.appended(at)
	}
	c.leave()
	w.kick(true)
	return nil
}

// answer queues a REFUSED without ever waiting, since the reader sends it. A
// peer that provokes them without reading them is cut off.
func (w *writer) answer(t wire.Type, id wire.CallID, st wire.Status) {
	w.mu.Lock()
	w.appendStatus(t, id, st)
	overflow := int64(w.unsent) > w.overflow()
	if !w.s.pastFence() {
		w.proof = 0 // else nobody who keeps to W43 waits for it
	}
	w.active, w.linger = true, true
	w.kick(false)
	if overflow {
		w.s.root.end(errOverflow, wire.CodeOverflow)
	}
}

// overflow is how many bytes of answers that it does not read a peer may provoke. On
// a lane beside the first one it makes one call at a time.
func (w *writer) overflow() int64 {
	if w.s.isLane() {
		return maxLaneOutput
	}
	return 2*int64(w.s.maxOutput) + maxSmall
}

const maxLaneOutput = 8 * maxSmall

func (w *writer) appendStatus(t wire.Type, id wire.CallID, st wire.Status) {
	w.open(wire.StatusSize(st))
	at := len(w.small.buf)
	w.small.buf = wire.AppendStatus(w.small.buf, t, id, st)
	w.appended(at)
}

// kick makes sure that the goroutine sees what was appended, and releases mu.
// The wake-up is sent only on the edge from nothing to something: parked is set
// and cleared under the lock.
func (w *writer) kick(traffic bool) {
	if traffic {
		w.active, w.linger, w.proof = true, true, 0
	}
	switch {
	case w.closed, w.held:
	case !w.running:
		w.running = true
		w.s.m.wg.Add(1)
		go w.run()
	case w.parked:
		w.parked = false
		w.mu.Unlock()
		w.wake <- struct{}{}
		return
	}
	w.mu.Unlock()
}

// idle is called at every keep-alive tick: a goroutine that had no traffic
// since the last one ends.
func (w *writer) idle() {
	w.mu.Lock()
	if w.active {
		w.active = false
		w.mu.Unlock()
		return
	}
	w.linger = false
	if w.parked {
		w.kick(false)
		return
	}
	w.mu.Unlock()
}

// close makes the writer take nothing more and wakes everybody who waits for
// it. What the goroutine has taken already may still reach the link.
func (w *writer) close() {
	w.mu.Lock()
	w.closed = true
	held := w.bulk.close()
	w.room.lookAgain(nil)
	if w.parked {
		w.parked = false
		w.wake <- struct{}{}
	}
	w.mu.Unlock()
	for _, b := range held {
		b.finish()
	}
}

// flushed reports whether everything that was appended was given to the link.
func (w *writer) flushed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.closed || w.written() && w.noControl()
}

// written is flushed for all but control frames. w.mu is held.
func (w *writer) written() bool { return w.unsent == 0 && w.bulk.empty() && len(w.turns) == 0 }

// prove returns the value of a ping behind all that was written of calls: its answer
// shows that the peer has read it. It queues one if there is none yet. ok is false as long
// as something waits to be written ahead of it.
func (w *writer) prove() (ping uint64, ok bool) {
	w.mu.Lock()
	if w.closed || w.proof != 0 || !w.written() {
		defer w.mu.Unlock()
		return w.proof, w.closed || w.proof != 0
	}
	ping = w.nextPing()
	w.proof = ping
	w.kick(false)
	return ping, true
}

// progress is how many writes are over, and whether something small, or a ping, waits for
// one.
func (w *writer) progress() (writes uint64, waits bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.writes, w.unsent > 0 || w.control.ping
}

func (w *writer) run() {
	defer w.s.m.wg.Done()
	left, more := w.next()
	for ; more; left, more = w.next() {
		w.seal()
		w.s.peer.traffic.wrote(w.frames, w.s.layout.headroom)
		if err := w.s.tc.WriteFrames(w.frames); err != nil {
			w.s.writeFailed(linkError("write", err))
		} else if w.telling != 0 {
			w.s.lanes.told(w.telling)
			w.telling = 0
		}
	}
	for _, src := range left {
		if b, ok := src.(*bulkSend); ok {
			b.finish()
		}
	}
}

// next waits until there is something to write and takes it. When the goroutine
// is to end more is false, and left is what has had its turn in the last write:
// another goroutine may have started by then.
func (w *writer) next() (left []source, more bool) {
	w.yield()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.settle()
	for !w.closed && w.nothing() {
		if w.s.m.draining.Load() || w.s.root.leaving.Load() {
			w.s.signalRest()
		}
		if !w.linger {
			break
		}
		w.parked = true
		w.mu.Unlock()
		<-w.wake
		w.yield()
		w.mu.Lock()
	}
	if w.closed || w.nothing() {
		// Nothing is kept while the session idles. It is let go before another
		// goroutine can start.
		w.running = false
		w.small.reset(0)
		w.ctl, w.spare, w.fresh, w.part, w.frames = batch{}, batch{}, batch{}, batch{}, nil
		w.urgent, w.credits, w.served = batch{}, nil, nil
		left, w.turns = w.turns, nil
		return left, false
	}
	w.take()
	return nil, true
}

// yield lets the other callers and workers that are about to run append to the
// same write. Once is worth a factor of two in throughput.
func (w *writer) yield() {
	if w.s.busy.Load() > 1 || len(w.turns) > 0 {
		runtime.Gosched()
	}
}

func (w *writer) nothing() bool {
	return w.small.empty() && len(w.later) == 0 && !w.bulk.ready() && w.noControl()
}

// settle accounts for the write that is over. w.mu is held.
func (w *writer) settle() {
	w.unsent -= w.spare.bytes
	w.writes++
	w.admit()
	w.spare.reset(keepBatch)
	if w.closed {
		return // run looks after the turns
	}
	w.bulk.putBack(w.served, w.turns[len(w.turns)-w.unserved:])
	clear(w.turns)
	clear(w.served)
	w.turns, w.served, w.unserved = w.turns[:0], w.served[:0], 0
}

// take takes what the next write consists of. w.mu is held.
func (w *writer) take() {
	if len(w.later) > 0 {
		w.fresh, w.spare = w.spare, w.later[0]
		w.later = slices.Delete(w.later, 0, 1)
	} else {
		w.spare.seq = w.small.seq + 1
		w.small, w.spare = w.spare, w.small
	}
	w.takeControl()
	n := fragmentsPerWrite
	if !w.spare.empty() {
		w.bulk.pace.passed = true
		n = 1 + len(w.spare.buf)/smallPerFragment
	}
	if w.quota = w.bulk.pace.quota(n * maxSmall); w.quota > 0 {
		w.turns = w.bulk.take(w.turns)
		w.alone = w.bulk.empty()
	}
}

// seal turns what was taken into transport frames.
func (w *writer) seal() {
	var now int64
	if w.spare.timed || len(w.turns) > 0 {
		now = w.s.m.now()
	}
	l := w.s.layout
	w.frames = w.ctl.seal(l, now, w.frames[:0])
	w.frames = w.spare.seal(l, now, w.frames)
	w.s.tooLate(w.spare.late, now)
	if len(w.turns) > 0 {
		w.fillTurns(l, now)
		w.frames = w.part.seal(l, now, w.frames)
		w.s.tooLate(w.part.late, now)
	}
}
