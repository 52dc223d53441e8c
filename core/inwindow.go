package core

import "fmt"

// receiveWindow is what the messages share that one end of a stream receives. Who
// restores one takes it away from the stream meanwhile, so that whoever drops what
// arrives closes it only while it is not in use.
type receiveWindow struct {
	window streamWindow
	codec  uint8
	of     *usage // which counts it; nil: the stream is this node's own
}

// sharer returns what made the message if that shares a window, else nil.
func (st *RawStream) sharer(how packed) *compressor {
	s := st.s.m.codecs.set.Load()
	if how.dict != 0 || !s.shares(how.codec) {
		return nil
	}
	return s.names[how.codec-1]
}

// unpack is Manager.unpack for a message of the stream that came in one frame.
func (st *RawStream) unpack(dst, src []byte, how packed) ([]byte, error) {
	if with := st.sharer(how); with != nil {
		return st.unpackShared(with, dst, src, how)
	}
	return st.s.m.unpack(dst, src, how, st.inFlow(), st.taking())
}

// unpackOwn is Manager.unpackOwn for a message of the stream that came in one frame.
func (st *RawStream) unpackOwn(src []byte, how packed) (out []byte, buf *buffer, err error) {
	with := st.sharer(how)
	if with == nil {
		return st.s.m.unpackOwn(src, how, st.inFlow(), st.taking())
	}
	return inOwn(how, func(dst []byte) ([]byte, error) { return st.unpackShared(with, dst, src, how) })
}

// unpackShared restores the next message that shares a window. On failure, after
// which nothing can be restored any more, it returns dst as it was.
func (st *RawStream) unpackShared(with *compressor, dst, src []byte, how packed) ([]byte, error) {
	f := st.inFlow()
	sh := st.shared.Load()
	if sh == nil {
		sh = new(sharedWindows)
		st.shared.Store(sh) // who sends makes one with the stream, or never
	}
	w := sh.received.Swap(nil)
	if w == nil && !sh.receives && !st.dropped.Load() {
		// Not before the first message, and once: what is dropped does not come back.
		sh.receives = true
		if w = st.newReceiveWindow(with, how.codec); w == nil {
			return dst, errManyWindows
		}
	}
	began, weight := clock(how.size(), f.in.count())
	out, err := w.decode(dst, src, how)
	if w == nil && st.dropped.Load() {
		return dst, errWindowGone // whoever drops what arrives has closed it: nothing is wrong with the message
	}
	if err != nil {
		f.failed.Add(1)
		w.close()
		return dst, malformedMessage(err)
	}
	f.in.took(began, weight)
	f.in.add(how.size(), len(src))
	sh.received.Store(w)
	if st.dropped.Load() {
		st.freeReceived()
	}
	return out, nil
}

// newReceiveWindow returns nil if the peer has too many. Of a stream that this node has
// opened it is made in any case: that it is read so slowly that the peer counts its
// own as over is not the peer's fault.
func (st *RawStream) newReceiveWindow(with *compressor, codec uint8) *receiveWindow {
	w := &receiveWindow{codec: codec}
	if st.serving() {
		if !st.s.peer.sharing.receives.take(maxReceiveWindows) {
			return nil
		}
		w.of = st.s.peer.usage
	}
	w.window = newWindow(with)
	return w
}

// freeReceived closes the window of what has arrived, unless it is in use.
func (st *RawStream) freeReceived() {
	if sh := st.shared.Load(); sh != nil {
		sh.received.Swap(nil).close()
	}
}

func (w *receiveWindow) close() {
	if w == nil {
		return
	}
	closeWindow(w.window)
	if w.of != nil {
		w.of.sharing.receives.giveBack()
	}
}

// decode appends what src is the compressed form of.
func (w *receiveWindow) decode(dst, src []byte, how packed) (out []byte, err error) {
	if w == nil || w.window == nil {
		return dst, errWindowGone
	}
	if w.codec != how.codec {
		return dst, fmt.Errorf("%w: that is codec %d, not %d", errNoWindowHere, w.codec, how.codec)
	}
	defer func() {
		if p := recover(); p != nil {
			out, err = dst, fmt.Errorf("%w: %v", errWindowPanic, p)
		}
	}()
	size := how.size()
	out, err = w.window.Decode(dst, src, size)
	if err == nil && len(out)-len(dst) != size {
		err = fmt.Errorf("%d bytes, not the %d that were announced", len(out)-len(dst), size)
	}
	if err != nil {
		return dst, err
	}
	return out, nil
}
