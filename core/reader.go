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
	left := true
	defer func() {
		if left {
			// An inline handler took the goroutine with it by runtime.Goexit.
			s.inUserCode.Store(false)
			go s.readLoop()
			return
		}
		s.retire()
	}()
	s.readFrames()
	left = false
}

// readFrames reads until the session ends. It begins with what is left of a
// batch.
func (s *session) readFrames() {
	defer s.submit()
	b, pending := s.in.rest, 0
	if len(b) == 0 {
		s.ackBulk() // an inline handler may have left in between
	}
	for !s.ending.Load() {
		if len(b) == 0 {
			var err error
			if b, err = s.nextBatch(); err != nil {
				return
			}
		}
		n, err := s.readBatch(b)
		if err != nil {
			s.root.end(fmt.Errorf("protocol error: %w", err), breachCode(err))
			return
		}
		b = nil
		if pending += n; s.ahead != nil && s.ahead.FrameBuffered() {
			continue
		}
		told := s.ackBulk()
		s.submit()
		if pending > 1 || told {
			// The callers, the workers and the writer that were woken start at once
			// instead of after the next read. Beside bulk there is always a next
			// one, and the peer waits for what the writer is about to tell it.
			runtime.Gosched()
		}
		pending = 0
	}
}

// breachCode is the code that a session ends with whose peer broke the protocol.
func breachCode(err error) wire.Code {
	if errors.Is(err, errManyUngranted) {
		return wire.CodeOverflow
	}
	return wire.CodeProtocol
}

// nextBatch returns the frames of the next transport frame, or ends the session.
func (s *session) nextBatch() ([]byte, error) {
	b, err := s.tc.ReadFrame(ownMaxFrame)
	if err != nil {
		s.readFailed(err)
		return nil, err
	}
	s.root.alive.received()
	s.peer.traffic.received.Add(int64(len(b)))
	if s.layout.checksum {
		frames, ok := wire.CheckBatch(b)
		if !ok {
			s.root.end(errChecksum, wire.CodeCorrupt)
			return nil, errChecksum
		}
		b = frames
	}
	return b, nil
}

// retire is the end of the reader.
func (s *session) retire() {
	for _, chunk := range s.in.chunks {
		for i := range chunk.cells() {
			s.dropPartial(&chunk[i])
		}
	}
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
	defer func() {
		if s.in.rest = b; len(b) == 0 {
			s.in.rest = nil // the transport's memory is not kept
		}
	}()
	for len(b) > 0 {
		var f wire.Frame
		if f, b, err = wire.Next(b); err == nil {
			if f.Paced() {
				s.in.paced += wire.HeaderSize + uint64(len(f.Body))
			}
			err = s.dispatch(&f)
		}
		if err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

// ackBulk tells the peer how much bulk was read, if it has asked (W44).
func (s *session) ackBulk() (told bool) {
	if !s.in.marked {
		return false
	}
	s.in.marked = false
	s.w.ack(s.in.paced)
	return true
}

func (s *session) dispatch(f *wire.Frame) error {
	switch f.Type {
	case wire.TypeRequest:
		return s.onRequest(f)
	case wire.TypeData:
		return s.onData(f)
	case wire.TypeOpen:
		return s.onOpen(f)
	case wire.TypeEnd:
		return s.onEnd(f)
	case wire.TypeCredit:
		return s.onCredit(f)
	case wire.TypeGrant:
		return s.onGrant(f)
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
		if st := s.in.last; st != nil && st.id == f.ID {
			// As for DATA, also where the call is being ended just now: else the
			// next message would stand in the middle of this one.
			return st.deliverPart(f.Body)
		}
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
		v, err := wire.ParsePing(f)
		if err == nil {
			s.onPong(v)
		}
		return err
	case wire.TypeAck:
		v, err := wire.ParseAck(f)
		if err == nil && !s.w.acked(v, s.m.now()) {
			err = fmt.Errorf("%w: ACK of %d bytes", wire.ErrMalformed, v)
		}
		return err
	case wire.TypeMark:
		s.in.marked = true
		return nil
	case wire.TypeGoaway:
		st, err := wire.ParseStatus(f)
		if err == nil {
			s.onGoaway(st)
		}
		return err
	case wire.TypeLanes:
		return s.onLanes(f)
	case wire.TypeCodecs:
		return s.onCodecs(f)
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
