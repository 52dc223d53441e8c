package core

import (
	"sync/atomic"

	"github.com/gridmux/gridmux/core/internal/wire"
)

// sharedWindows is what the messages of a stream share. It is made where there is
// something to share: most streams have none.
type sharedWindows struct {
	sends    bool // messages of this end share send
	send     sendWindow
	received atomic.Pointer[receiveWindow] // nil: none yet, or it is in use or over
	receives bool                          // of who receives: there is or was one
}

// sendWindow is what the messages share that one end of a stream sends.
type sendWindow struct {
	// Guarded by RawStream.mu.
	window streamWindow // nil: none yet, it is in use, or it is over
	used   bool         // there is or was one
	over   bool         // no more messages share it
	busy   bool         // a message is between its turn and the queue; its sender has the window
}

// forgetShared makes room for the window of another stream, when this one is over. If
// the window is in use, who uses it does, who has its memory. st.mu is held.
func (st *RawStream) forgetShared() {
	if sh := st.shared.Load(); sh != nil && sh.send.used && !sh.send.busy {
		st.s.peer.sharing.sends.giveBack()
	}
}

// share makes messages share a window that the packer says shall.
func (st *RawStream) share() {
	if p := st.pack; p.window && p.with != nil && p.with.windowed() != nil {
		st.shared.Store(&sharedWindows{sends: true})
	}
}

// takeShared returns the window of what was sent, when that has ended, for the caller
// to close. If it is in use, who uses it does. st.mu is held.
func (st *RawStream) takeShared() (w streamWindow) {
	if sh := st.shared.Load(); sh != nil {
		w = sh.send.window
		sh.send.window, sh.send.over = nil, true
	}
	return w
}

// sendShared sends a message that shares the window of the stream. It reports false
// if it is not for that: it is small or large, or the peer knows no window.
//
// Its place among the messages is taken before it is compressed, with as much credit as
// it may need: what is in the window has to be sent, in this order.
func (st *RawStream) sendShared(sh *sendWindow, p []byte) (done bool, err error) {
	n, o := len(p), &st.out
	most := n + wire.WindowExcess
	if n < smallShared && st.pack.threshold == 0 || n < int(st.pack.threshold) || n == 0 || n > maxSmall || most > o.window {
		return false, nil
	}
	codec := st.s.root.peerCodecs.Load().number(st.pack.with.windowed().name)
	if codec == 0 {
		return false, nil
	}
	if !st.pack.flow.due() {
		st.pack.flow.sampled.Add(1)
		return true, st.sendAs(p, packed{})
	}
	st.mu.Lock()
	st.awaitTurn(false)
	for {
		switch {
		case st.ending():
		case st.sendError() != nil:
			err := st.sendError()
			st.leaveTurn(false, false)
			st.mu.Unlock()
			return true, err
		case sh.over:
			st.leaveTurn(false, false)
			st.mu.Unlock()
			return false, nil
		case sh.busy || !o.turns.may(false) || !st.hasRoom(most):
		case !sh.used && !st.s.peer.sharing.sends.take(maxSendWindows):
			st.leaveTurn(false, false)
			st.mu.Unlock()
			return false, nil
		default:
			st.leaveTurn(false, true)
			return true, st.sendNext(sh, p, packed{codec: codec, bytes: uint32(n)})
		}
		st.waitOut()
	}
}

// hasRoom reports whether a message with up to n bytes can be sent in one frame. st.mu
// is held.
func (st *RawStream) hasRoom(n int) bool {
	o := &st.out
	return o.messages > 0 && o.bytes >= n && o.large == nil && o.fits(wire.DecodedSize+n)
}

// sendNext sends the message whose turn it is to share the window. st.mu is held, and
// released.
func (st *RawStream) sendNext(sh *sendWindow, p []byte, how packed) error {
	o := &st.out
	most := len(p) + wire.WindowExcess
	o.messages--
	o.bytes -= most
	w, first := sh.window, !sh.used
	sh.window, sh.used, sh.busy = nil, true, true
	st.mu.Unlock()
	if first {
		w = newWindow(st.pack.with.windowed())
	}
	buf := st.pack.encodeShared(w, p)
	var err error
	st.mu.Lock()
	if buf != nil {
		err = st.awaitPlace(len(buf.b))
	}
	sh.busy = false
	o.bytes += most
	if buf == nil || err != nil {
		// What is in the window from here on will not be sent, so that it is over.
		o.messages++
		sh.over = true
		o.wakeUp()
		ended := st.over
		st.mu.Unlock()
		closeWindow(w)
		if ended {
			st.s.peer.sharing.sends.giveBack()
		}
		if err == nil {
			return st.sendAs(p, packed{})
		}
		buf.put()
		return err
	}
	sh.window = w
	o.bytes -= how.cost(len(how.body(buf.b)), o.window)
	o.buf = room(o.buf, wire.HeaderSize+len(buf.b))
	at := len(o.buf.b)
	o.buf.b = wire.AppendData(o.buf.b, st.id, buf.b)
	how.mark(o.buf.b, at)
	st.countOut(len(p))
	o.wakeUp()
	tell := o.schedule()
	st.mu.Unlock()
	buf.put()
	if tell {
		st.s.w.schedule(st)
	}
	return nil
}

// awaitPlace waits until a frame with n bytes whose credit is taken can be queued.
// st.mu is held.
func (st *RawStream) awaitPlace(n int) error {
	for o := &st.out; ; st.waitOut() {
		if st.ending() {
			continue
		}
		if err := st.sendError(); err != nil || o.large == nil && o.fits(n) {
			return err
		}
	}
}

// newWindow returns nil if the Compressor does not make one.
func newWindow(c *compressor) (w streamWindow) {
	defer func() {
		if recover() != nil {
			w = nil
		}
	}()
	return c.shares.NewWindow()
}

// encodeShared compresses a message in the window. The result stands in a buffer
// behind room for its decoded size; it is nil if the window is of no more use.
func (p *packer) encodeShared(w streamWindow, src []byte) *buffer {
	n := len(src)
	began, weight := clock(n, p.flow.out.count())
	buf := getBrief(wire.DecodedSize + n + n/expansionShare + wire.WindowExcess)
	out := appendShared(w, buf.b[:wire.DecodedSize], src)
	p.flow.out.took(began, weight)
	packed := len(out) - wire.DecodedSize
	if packed < 1 || packed > n+wire.WindowExcess {
		buf.put()
		return nil
	}
	p.flow.tried(worthIt(len(out), n))
	p.flow.out.add(n, packed)
	if sameMemory(out, buf.b) {
		buf.b = out
	} else {
		// What has grown is not known to be ours to recycle.
		buf.b = append(buf.b[:0], out...)
	}
	return buf
}

// appendShared returns nil if the window panics, or is none.
func appendShared(w streamWindow, dst, src []byte) (out []byte) {
	defer func() {
		if recover() != nil {
			out = nil
		}
	}()
	return w.Append(dst, src)
}
