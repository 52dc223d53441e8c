package core

import (
	"errors"
	"fmt"
	"runtime"

	"github.com/gridmux/gridmux/core/internal/wire"
	"github.com/gridmux/gridmux/transport"
)

// readLoop is the session's one reader. It takes a transport frame, handles
// every frame of ours in it, and never waits for anything else: not for a user,
// a handler (but those marked WithInline) or the writer.
func (s *session) readLoop() {
	defer s.retire()
	for !s.ending.Load() {
		b, err := s.tc.ReadFrame(ownMaxFrame)
		if err != nil {
			s.end(linkError("read", err), readFailure(err))
			return
		}
		s.alive.received()
		n, err := s.readBatch(b)
		if err != nil {
			code := wire.CodeProtocol
			if errors.Is(err, errChecksum) {
				code = wire.CodeCorrupt
			}
			s.end(err, code)
			return
		}
		if n > 1 {
			// The callers and workers that the batch woke start at once instead
			// of after the next read.
			runtime.Gosched()
		}
	}
}

// retire is the end of the reader.
func (s *session) retire() {
	// Only an inline handler that leaves its goroutine gets here with the
	// session alive.
	s.end(errReaderGone, wire.CodeNone)
	// Until the end is through Close has to know of the session.
	<-s.over
	s.m.removeSession(s)
	close(s.readerDone)
}

// readFailure is the code that the other end is told where a read failed by its
// fault.
func readFailure(err error) wire.Code {
	if errors.Is(err, transport.ErrFrameTooLarge) {
		return wire.CodeProtocol
	}
	return wire.CodeNone
}

// readBatch handles the frames of one transport frame and returns how many
// there were.
func (s *session) readBatch(b []byte) (n int, err error) {
	if s.layout.checksum {
		frames, ok := wire.CheckBatch(b)
		if !ok {
			return 0, errChecksum
		}
		b = frames
	}
	defer s.submit()
	for len(b) > 0 {
		var f wire.Frame
		if f, b, err = wire.Next(b); err == nil {
			err = s.dispatch(&f)
		}
		if err != nil {
			return n, fmt.Errorf("protocol error: %w", err)
		}
		n++
	}
	return n, nil
}

func (s *session) dispatch(f *wire.Frame) error {
	switch f.Type {
	case wire.TypeRequest:
		return s.onRequest(f)
	case wire.TypeResponse:
		if f.ID.Side() != s.side {
			return wrongSide(f)
		}
		return s.onResponse(f)
	case wire.TypeError, wire.TypeRefused:
		if f.ID.Side() != s.side {
			return wrongSide(f)
		}
		return s.onStatus(f)
	case wire.TypeFragment:
		if f.ID.Side() == s.side {
			return s.onResponsePart(f.ID, f.Body)
		}
		return s.onRequestPart(f.ID, f.Body)
	case wire.TypeReset:
		return s.onReset(f)
	case wire.TypePing:
		v, err := wire.ParsePing(f)
		if err == nil {
			s.w.pong(v)
		}
		return err
	case wire.TypePong:
		_, err := wire.ParsePing(f)
		return err
	case wire.TypeGoaway:
		st, err := wire.ParseStatus(f)
		if err == nil {
			s.goaway.Store(true)
			s.m.cfg.Logger.Info("gridmux: peer is shutting down", "local", s.m.cfg.Local.Name, "peer", s.peer.node.Name,
				"reason", st.Message)
		}
		return err
	case wire.TypePadding:
		return nil
	default:
		if f.Type.Ignorable() {
			return nil
		}
		return fmt.Errorf("%w: %v is not expected here", wire.ErrMalformed, f.Type)
	}
}

func wrongSide(f *wire.Frame) error {
	return fmt.Errorf("%w: %v for call %v, which is not ours", wire.ErrMalformed, f.Type, f.ID)
}
