package core

// roomQueue is where callers with requests and workers with answers wait until the
// output is under its limit. As long as anybody waits newcomers do too, or they would
// take the room from under those who came before, for as long as there are any.
//
// What takes little room or is of PriorityHigh has a line of its own, which gets as many
// bytes as the other one while somebody waits in both: it does not wait for hundreds of
// large messages that came before, and these wait for at most twice as long as in one
// line. What is sent in turns takes none. writer.mu guards it.
type roomQueue struct {
	lines    [2]fifo[*place]
	lead     int // bytes that the quick line has had beyond the other
	promised int // bytes of those who may go on and have not yet
}

const (
	quickLine, slowLine = 0, 1
	// quickSize is that of the largest frame of the quick line, if its priority is not
	// high.
	quickSize = 4 << 10
)

// place is that of one who waits for room.
type place struct {
	wake     chan struct{} // capacity 1: there is something to look at
	line     int
	at       *inFifo[*place]
	bytes    int
	promised bool         // they may be queued
	call     *callContext // whose answer it is; nil: it is a request
}

func (p *place) rouse() {
	select {
	case p.wake <- struct{}{}:
	default: // it is about to look
	}
}

func (q *roomQueue) empty() bool { return q.lines[quickLine].empty() && q.lines[slowLine].empty() }

func (q *roomQueue) push(n int, prio Priority, call *callContext) *place {
	p := &place{wake: make(chan struct{}, 1), bytes: n, call: call}
	if n > quickSize && prio != PriorityHigh {
		p.line = slowLine
	}
	p.at = q.lines[p.line].push(p)
	return p
}

// pop takes out whose turn it is, or returns nil.
func (q *roomQueue) pop() *place {
	quick, slow := q.lines[quickLine].first, q.lines[slowLine].first
	at := quick
	switch {
	case quick == nil && slow == nil:
		return nil
	case quick == nil:
		at, q.lead = slow, 0
	case slow == nil:
		q.lead = 0
	case q.lead > 0:
		at = slow
	}
	p := at.of
	q.lines[p.line].remove(at)
	if at == quick {
		q.lead += p.bytes
	} else {
		q.lead -= p.bytes
	}
	return p
}

// lookAgain wakes those who wait with answers of a call, or with nil everybody.
func (q *roomQueue) lookAgain(call *callContext) {
	for i := range q.lines {
		for p := range q.lines[i].all() {
			if call == nil || p.call == call {
				p.rouse()
			}
		}
	}
}

// hasRoom reports whether somebody who comes now may queue something. One frame more
// than the limit is nothing to wait for, so that the largest one always gets its turn.
// w.mu is held.
func (w *writer) hasRoom() bool {
	return w.unsent+w.room.promised <= w.s.maxOutput && w.room.empty()
}

// full reports whether whoever has something to queue waits.
func (w *writer) full() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.hasRoom()
}

// enter is asked before n bytes are queued. It returns nil if they may be, or else
// the place to wait in until it is asked again with that. call is set if they are of
// an answer. w.mu is held.
func (w *writer) enter(p *place, n int, prio Priority, call *callContext) *place {
	switch {
	case w.closed: // what is queued goes nowhere
		w.vacate(p)
		return nil
	case p == nil && w.hasRoom():
		return nil
	case p == nil:
		return w.room.push(n, prio, call)
	case p.promised:
		w.room.promised -= p.bytes
		return nil
	}
	return p
}

// vacate is for who waits in a place no longer, nor queues anything: what it was
// promised goes to the next. w.mu is held.
func (w *writer) vacate(p *place) {
	switch {
	case p == nil:
	case p.promised:
		w.room.promised -= p.bytes
		w.admit()
	default:
		w.room.lines[p.line].remove(p.at)
	}
}

// leave is vacate for who does not hold w.mu.
func (w *writer) leave(p *place) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.vacate(p)
}

// admit lets as many go on as there is room for. w.mu is held.
func (w *writer) admit() {
	for w.unsent+w.room.promised <= w.s.maxOutput {
		p := w.room.pop()
		if p == nil {
			return
		}
		p.promised = true
		w.room.promised += p.bytes
		p.rouse()
	}
}

// answersInLine is how many answers wait for room.
func (w *writer) answersInLine() (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range w.room.lines {
		for p := range w.room.lines[i].all() {
			if p.call != nil {
				n++
			}
		}
	}
	return n
}
