package core

import "github.com/gridmux/gridmux/core/internal/wire"

// queued says what became of a request that was given to the writer.
type queued uint8

const (
	queuedYes  queued = iota
	queuedFull        // there is no room: wait
	queuedOver        // the call is over already
	queuedShut        // no more requests are taken
)

// outRequest is a request on its way to the writer.
type outRequest struct {
	handler  uint64
	deadline int64 // manager's clock, 0: none
	prio     Priority
	meta     []byte // nil: none
	payload  []byte
	packed           // how payload is compressed
	own      *buffer // holds payload; nil: it is the caller's
	accept   wire.Accept
}

// frameSize is about how many bytes of small frames the request takes: none if it is
// sent in turns.
func (r *outRequest) frameSize() int {
	if r.weight(len(r.payload)) > maxSmall || r.prio == PriorityLow {
		return 0
	}
	return wire.RequestOverhead + wire.MetadataSize(r.meta) + len(r.payload)
}

// appendRequest queues a request. If there is no room it returns the place to wait
// in, and is called again with that.
func (w *writer) appendRequest(sl *slot, side uint8, r *outRequest, p *place) (queued, *place) {
	w.mu.Lock()
	if how := w.takes(sl); how != queuedYes {
		w.vacate(p)
		w.mu.Unlock()
		return how, nil
	}
	n := r.frameSize()
	if p = w.enter(p, n, r.prio, nil); p != nil {
		w.mu.Unlock()
		return queuedFull, p
	}
	if n == 0 {
		sl.bulk = &bulkSend{
			id: sl.id(side), kind: kindRequest, prio: r.prio, handler: r.handler, deadline: r.deadline, meta: r.meta, accept: r.accept,
		}
		sl.bulk.carry(r.payload, r.packed, maxSmall)
		w.bulk.announce(sl.bulk)
		w.bulk.resume(sl.bulk)
	} else {
		w.open(n)
		at := len(w.small.buf)
		sl.sent = outPosition{w.small.seq, at}
		w.small.buf = wire.AppendRequest(w.small.buf, sl.id(side), r.handler, uint64(r.deadline), r.prio.flag(), r.payload)
		r.mark(w.small.buf, at)
		w.small.buf = wire.InsertAccept(w.small.buf, at, r.accept)
		w.small.buf = wire.InsertMetadata(w.small.buf, at, r.meta)
		w.small.timed = w.small.timed || r.deadline != 0
		w.appended(at)
	}
	w.kick(true)
	return queuedYes, nil
}

// takes is whether a request is taken, and why not. w.mu is held.
func (w *writer) takes(sl *slot) queued {
	switch {
	case sl.gone:
		return queuedOver
	case w.shut != 0:
		return queuedShut
	case w.closed:
		return queuedOver
	}
	return queuedYes
}

// retract ends the sending of a request whose call is over. It reports whether
// nothing of the request was, or will be, given to the link. Otherwise a RESET
// with the code follows it.
func (w *writer) retract(sl *slot, side uint8, code wire.Code) (unsent bool) {
	w.mu.Lock()
	switch b := w.waiting(sl.sent.seq); {
	case sl.bulk != nil:
		unsent = w.discard(sl.bulk)
	case sl.sent.seq == 0:
		sl.gone, unsent = true, true
	case sl.late.Load() == sl.generation, w.shut != 0 && sl.sent.seq >= w.shut:
		unsent = true
	case b != nil:
		unsent = true
		if !w.closed {
			wire.Pad(b.buf[sl.sent.offset:])
		}
	}
	if unsent || w.closed {
		w.unlock()
		return unsent
	}
	w.appendReset(sl.id(side), code)
	w.kick(true)
	return false
}

// recall takes back every request of which nothing was given to the link, and
// takes no more. It returns the ids of their calls. Whoever ends such a call
// finds that it was not sent.
func (w *writer) recall() (ids []wire.CallID) {
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return nil
	}
	if w.shut == 0 {
		w.shut = w.small.seq - uint64(len(w.later))
	}
	for i := range w.later {
		ids = w.later[i].recall(w.s.layout, ids)
	}
	ids = w.small.recall(w.s.layout, ids)
	ids = w.bulk.recall(w.turns, ids)
	w.room.lookAgain(nil)
	w.mu.Unlock()
	return ids
}
