package memnet

import (
	"math"
	"time"
)

// SetDelay makes what this end sends from now on arrive later: bytes that are
// written together after what delay returns for their number, and the end of the
// direction, or the news that this end was closed, after what it returns for 0. None
// overtakes another. What is on its way counts as buffered, as in the window of TCP.
// nil: everything arrives at once, which is how a connection begins. delay is called
// with a lock of the connection held.
func (c *Conn) SetDelay(delay func(bytes int) time.Duration) {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	c.out.transit.delay = delay
}

// Hold keeps everything that this end sends from arriving, the news of its end
// included, until it is called with false: then it arrives, as TCP would send again
// what was lost. Writes go on until the buffer is full.
func (c *Conn) Hold(on bool) {
	c.out.mu.Lock()
	c.out.transit.held = on
	c.out.mu.Unlock()
	if !on {
		c.out.arrive()
	}
}

// TakeAll makes this end take everything that is sent to it from now on, whether it
// reads or not: the writes of the other end never wait again.
func (c *Conn) TakeAll() {
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	c.in.size = math.MaxInt
	c.in.cond.Broadcast()
}

// Reset breaks the connection at both ends at once: reads and writes fail with
// "connection reset by peer", and what was not read is lost.
func (c *Conn) Reset() {
	for _, h := range []*half{c.in, c.out} {
		h.mu.Lock()
		h.reset = true
		h.transit.coming = nil
		h.cond.Broadcast()
		h.mu.Unlock()
	}
}

// transit is what is on its way in one direction. It is guarded by half.mu.
type transit struct {
	delay  func(bytes int) time.Duration // nil: none
	held   bool
	coming []arrival // in order
	last   time.Time // when the last of them is due, or was
}

// arrival is something that arrives.
type arrival struct {
	due   time.Time
	bytes int
	what  news
}

type news int

const (
	bytesCome  news = iota
	endComes        // of the direction
	closeComes      // the writer's end is closed: that of the direction, and it does not read either
)

// send sets something on its way. It reports whether the writer of the other
// direction has to be told that it is not read any more; see deafen. The caller
// holds mu.
func (h *half) send(bytes int, what news) (told bool) {
	t := &h.transit
	if t.delay == nil && !t.held && len(t.coming) == 0 {
		return h.deliver(arrival{bytes: bytes, what: what})
	}
	now := time.Now()
	due := now
	if t.delay != nil {
		due = now.Add(t.delay(bytes))
	}
	if due.Before(t.last) {
		due = t.last
	}
	t.last = due
	t.coming = append(t.coming, arrival{due, bytes, what})
	time.AfterFunc(due.Sub(now), h.arrive)
	return false
}

// arrive delivers what is due.
func (h *half) arrive() {
	h.mu.Lock()
	told, n, now := false, 0, time.Now()
	t := &h.transit
	for ; !t.held && n < len(t.coming) && !t.coming[n].due.After(now); n++ {
		told = h.deliver(t.coming[n]) || told
	}
	t.coming = t.coming[n:]
	h.mu.Unlock()
	if told {
		h.back.deafen()
	}
}

// deliver makes something that has arrived known. The caller holds mu.
func (h *half) deliver(a arrival) (told bool) {
	if !h.reader.closed {
		h.arrived += a.bytes
	}
	h.finished = h.finished || a.what != bytesCome
	h.cond.Broadcast()
	return a.what == closeComes
}

// deafen tells the writer that the reader has closed.
func (h *half) deafen() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.deaf = true
	h.cond.Broadcast()
}
