package core

import "github.com/gridmux/gridmux/core/internal/wire"

// controlFrames is the part of the control class that belongs to no call. Only
// the latest of each kind counts, so a peer that provokes answers without reading
// them makes nothing grow.
type controlFrames struct {
	pong, ping, ack, lanes                     bool
	pongValue, pingValue, ackValue, lanesValue uint64
	goaway                                     *wire.Status
}

// ack queues that so many bytes of bulk were read.
func (w *writer) ack(total uint64) {
	w.mu.Lock()
	w.control.ack, w.control.ackValue = true, total
	w.kick(true)
}

// announceLane queues that n more lanes are being opened. It reports false, and
// does nothing, if no more calls begin; what was announced can be taken back at any
// time. notice is for [lanes.told].
func (w *writer) announceLane(n int) (notice uint64, ok bool) {
	w.mu.Lock()
	if n > 0 && (w.shut != 0 || w.closed) {
		w.mu.Unlock()
		return 0, false
	}
	w.control.lanes = true
	w.lanes += uint64(n)
	w.control.lanesValue = w.lanes
	w.notices++
	notice = w.notices
	w.kick(true)
	return notice, true
}

// release lets a lane write, of which the peer knows now.
func (w *writer) release() {
	w.mu.Lock()
	held := w.held
	w.held = false
	if !held || w.nothing() {
		w.mu.Unlock()
		return
	}
	w.kick(true)
}

// grant queues that the peer may send a message whole. A peer that provokes
// grants without reading them is cut off.
func (w *writer) grant(id wire.CallID) {
	w.mu.Lock()
	w.urgent.room(w.s.layout, wire.HeaderSize)
	w.urgent.buf = wire.AppendGrant(w.urgent.buf, id)
	overflow := int64(len(w.urgent.buf)) > w.overflow()
	w.kick(true)
	if overflow {
		w.s.root.end(errOverflow, wire.CodeOverflow)
	}
}

// appendReset queues a RESET. What it resets was given to the link already, or
// is queued no more. w.mu is held.
func (w *writer) appendReset(id wire.CallID, code wire.Code) {
	st := wire.Status{Code: code}
	w.urgent.room(w.s.layout, wire.StatusSize(st))
	w.urgent.buf = wire.AppendStatus(w.urgent.buf, wire.TypeReset, id, st)
}

// reset is appendReset for who does not hold w.mu.
func (w *writer) reset(id wire.CallID, code wire.Code) {
	w.mu.Lock()
	w.appendReset(id, code)
	w.kick(true)
}

// credit queues credit for a stream. What waits already is added to.
func (w *writer) credit(st *RawStream, messages, bytes int) {
	w.mu.Lock()
	if st.owedMessages == 0 && st.owedBytes == 0 {
		w.credits = append(w.credits, st)
	}
	st.owedMessages += messages
	st.owedBytes += bytes
	w.kick(true)
}

// noControl reports whether no control frame waits. w.mu is held.
func (w *writer) noControl() bool {
	return w.control == controlFrames{} && w.urgent.empty() && len(w.credits) == 0
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
	if w.written() {
		w.proof = ping
	}
	w.kick(false)
	return ping
}

// takeControl fills w.ctl. w.mu is held.
func (w *writer) takeControl() {
	l := w.s.layout
	w.ctl.reset(keepBatch)
	// RESET and GRANT. Nothing of them depends on what follows.
	w.ctl, w.urgent = w.urgent, w.ctl
	c := w.control
	w.control = controlFrames{}
	if c.goaway != nil {
		w.ctl.room(l, wire.StatusSize(*c.goaway))
		w.ctl.buf = wire.AppendStatus(w.ctl.buf, wire.TypeGoaway, 0, *c.goaway)
	}
	// Ahead of PONG: whoever has waited for it knows of all lanes (W91).
	if c.lanes {
		w.telling = w.notices
		w.ctl.room(l, pingSize)
		w.ctl.buf = wire.AppendLanes(w.ctl.buf, c.lanesValue)
	}
	// Behind GOAWAY: whoever waits for the answer knows of it.
	if c.pong {
		w.ctl.room(l, pingSize)
		w.ctl.buf = wire.AppendPing(w.ctl.buf, wire.TypePong, c.pongValue)
	}
	// Behind GOAWAY: its answer says that the peer knows (W43).
	if c.ping {
		w.ctl.room(l, pingSize)
		w.ctl.buf = wire.AppendPing(w.ctl.buf, wire.TypePing, c.pingValue)
	}
	if c.ack {
		w.ctl.room(l, pingSize)
		w.ctl.buf = wire.AppendAck(w.ctl.buf, c.ackValue)
	}
	for i, st := range w.credits {
		if !st.isOver() { // nothing follows RESET
			w.ctl.room(l, creditSize)
			w.ctl.buf = wire.AppendCredit(w.ctl.buf, st.id, uint32(st.owedMessages), uint32(st.owedBytes))
		}
		st.owedMessages, st.owedBytes = 0, 0
		w.credits[i] = nil
	}
	w.credits = w.credits[:0]
}

// Lengths of control frames, for the room that they need.
const (
	pingSize   = wire.HeaderSize + 8
	creditSize = wire.HeaderSize + 8
)
