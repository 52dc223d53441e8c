package core

import (
	"fmt"

	"github.com/gridmux/gridmux/core/internal/wire"
)

// streamFor finds the stream that a frame of the peer is for. It is nil, or over,
// where the call is over.
func (s *session) streamFor(f *wire.Frame) (st *RawStream, err error) {
	if st := s.in.last; st != nil && st.id == f.ID {
		return st, nil
	}
	if f.ID.Side() == s.side {
		st, err = s.openedStream(f)
	} else {
		st, err = s.servedStream(f)
	}
	s.in.last = st
	return st, err
}

// openedStream is streamFor for a stream that this side has opened.
func (s *session) openedStream(f *wire.Frame) (st *RawStream, err error) {
	c, pending := s.calls.peek(f.ID)
	switch {
	case pending && c.stream == nil:
		err = noStream(f)
	case !pending && !s.calls.opened(f.ID):
		err = neverOpened(f)
	case pending && c.stream.opening():
		err = tooEarly(f)
	}
	return c.stream, err
}

// servedStream is streamFor for a stream that the peer has opened.
func (s *session) servedStream(f *wire.Frame) (st *RawStream, err error) {
	c := s.cellOf(f.ID.Slot())
	switch {
	case c == nil || f.ID.Generation() > c.generation || f.ID.Generation() == 0:
		return nil, neverOpened(f)
	case f.ID.Generation() < c.generation:
		return st, nil
	case c.partial.Load() != nil:
		return nil, tooEarly(f)
	}
	if ctx := c.ctx.Load(); ctx != nil {
		if ctx.h.stream == nil {
			return nil, noStream(f)
		}
		st = ctx.stream.Load()
	}
	return st, nil
}

func noStream(f *wire.Frame) error {
	return fmt.Errorf("%w: %v for call %v, which is no stream", wire.ErrMalformed, f.Type, f.ID)
}

func tooEarly(f *wire.Frame) error {
	return fmt.Errorf("%w: %v before the whole of what opens call %v", wire.ErrMalformed, f.Type, f.ID)
}

func neverOpened(f *wire.Frame) error {
	return fmt.Errorf("%w: %v for call %v, which was never opened", wire.ErrMalformed, f.Type, f.ID)
}

// onData takes a message of a stream, or its first part.
func (s *session) onData(f *wire.Frame) error {
	d, err := wire.ParseData(f)
	if err != nil {
		return err
	}
	if f.Codec != 0 && d.Size >= d.Decoded && !s.m.codecs.set.Load().shares(f.Codec) {
		return notSmaller(f, &d)
	}
	st, err := s.streamFor(f)
	if st == nil || err != nil {
		return err
	}
	switch how := packedOf(f, d.Decoded); {
	case f.Flags&wire.FlagFragmented != 0:
		err = st.deliverFirst(d.Size, d.Payload, how)
	case f.Codec != 0:
		err = st.deliverPacked(d.Payload, how)
	default:
		err = st.deliver(d.Payload)
	}
	switch err {
	case errNoCredit, errUncut: //nolint:errorlint // These are returned as they are.
		st.violated(err.Error())
		return nil
	case errOversize:
		st.violated(fmt.Sprintf("sent a message of %d bytes, limit %d", d.Decoded, s.m.cfg.MaxMessage))
		return nil
	}
	return err
}

// onEnd notes that the peer sends no more messages.
func (s *session) onEnd(f *wire.Frame) error {
	st, err := s.streamFor(f)
	if st == nil || err != nil {
		return err
	}
	if !st.endInput() {
		return fmt.Errorf("%w: END on stream %v after its end, or in the middle of a message", wire.ErrMalformed, f.ID)
	}
	return nil
}

// onCredit takes credit for a stream.
func (s *session) onCredit(f *wire.Frame) error {
	messages, bytes, err := wire.ParseCredit(f)
	if err != nil {
		return err
	}
	st, err := s.streamFor(f)
	if st == nil || err != nil {
		return err
	}
	if !st.onCredit(messages, bytes) {
		st.violated(fmt.Sprintf("granted %d messages and %d bytes more than there can be", messages, bytes))
	}
	return nil
}

// onGrant is told that the peer has memory for a large message.
func (s *session) onGrant(f *wire.Frame) error {
	if s.w.granted(f.ID) {
		return nil
	}
	if f.ID.Side() == s.side {
		_, pending := s.calls.peek(f.ID)
		switch {
		case pending:
			return fmt.Errorf("%w: GRANT for call %v, of which nothing waits for it", wire.ErrMalformed, f.ID)
		case !s.calls.opened(f.ID):
			return neverOpened(f)
		}
		return nil
	}
	c := s.cellOf(f.ID.Slot())
	switch {
	case c == nil || f.ID.Generation() > c.generation || f.ID.Generation() == 0:
		return neverOpened(f)
	case f.ID.Generation() == c.generation && (c.ctx.Load() != nil || c.partial.Load() != nil):
		return fmt.Errorf("%w: GRANT for call %v, of which nothing waits for it", wire.ErrMalformed, f.ID)
	}
	return nil
}
