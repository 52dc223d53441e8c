package core

import "github.com/gridmux/gridmux/core/internal/wire"

// controlFrames is the control class. Only the latest of each kind counts, so a
// peer that provokes answers without reading them makes nothing grow.
type controlFrames struct {
	pong, ping           bool
	pongValue, pingValue uint64
	goaway               *wire.Status
}

func (w *writer) pong(value uint64) {
	w.mu.Lock()
	w.control.pong, w.control.pongValue = true, value
	w.kick(false)
}

// ping queues a ping, in place of one that waits, and returns its value.
func (w *writer) ping() (value uint64) {
	w.mu.Lock()
	value = w.nextPing()
	w.kick(false)
	return value
}

// nextPing makes a ping follow on what is queued. w.mu is held.
func (w *writer) nextPing() uint64 {
	w.pings++
	w.control.ping, w.control.pingValue = true, w.pings
	return w.pings
}

// lastPing returns the value of the last ping that was queued.
func (w *writer) lastPing() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.pings
}

// pingWaits reports whether a ping is queued, and how many writes are over.
func (w *writer) pingWaits() (waits bool, writes uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.control.ping, w.writes
}

// goaway queues GOAWAY and a ping behind it, whose value it returns.
func (w *writer) goaway(st wire.Status) (ping uint64) {
	w.mu.Lock()
	w.control.goaway = &st
	ping = w.nextPing()
	w.kick(false)
	return ping
}

func (w *writer) takeControl() {
	w.ctl.reset(keepBatch)
	c := w.control
	w.control = controlFrames{}
	if c.goaway != nil {
		w.ctl.room(w.s.layout, 0)
		w.ctl.buf = wire.AppendStatus(w.ctl.buf, wire.TypeGoaway, 0, *c.goaway)
	}
	// Behind GOAWAY: whoever waits for the answer knows of it.
	if c.pong {
		w.ctl.room(w.s.layout, 0)
		w.ctl.buf = wire.AppendPing(w.ctl.buf, wire.TypePong, c.pongValue)
	}
	// Behind GOAWAY: its answer says that the peer knows (W43).
	if c.ping {
		w.ctl.room(w.s.layout, 0)
		w.ctl.buf = wire.AppendPing(w.ctl.buf, wire.TypePing, c.pingValue)
	}
}
