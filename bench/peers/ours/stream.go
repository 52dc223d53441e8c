package ours

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/gridmux/gridmux/core"
)

const (
	// streamCapacity is how many messages of a stream may be in flight.
	streamCapacity = 1024

	sourceID     = core.HandlerID("source")
	sinkID       = core.HandlerID("sink")
	chanSourceID = core.HandlerID("source-chan")
	chanSinkID   = core.HandlerID("sink-chan")
)

// serveStreams registers a handler that sends messages and one that takes them,
// each with Send and Recv and in the form with channels.
func serveStreams(m *core.Manager) error {
	return errors.Join(
		m.HandleStreamFunc(sourceID, source, core.WithCapacity(0, streamCapacity)),
		m.HandleStreamFunc(sinkID, sink, core.WithCapacity(streamCapacity, 1)),
		m.HandleStream(chanSourceID, core.StreamHandler{Handle: chanSource, OutCapacity: streamCapacity}),
		m.HandleStream(chanSinkID, core.StreamHandler{Handle: chanSink, InCapacity: streamCapacity, OutCapacity: 1}),
	)
}

// mover moves count messages of size bytes over one stream, one way, and
// returns how many arrived.
type mover func(ctx context.Context, to *core.Connection, count, size int) (int, error)

// A stream is opened with the number and the size of its messages.
func streamRequest(count, size int) []byte {
	return binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, uint32(count)), uint32(size))
}

func parseStreamRequest(payload []byte) (count, size int, err error) {
	if len(payload) != 8 {
		return 0, 0, fmt.Errorf("a stream was opened with %d bytes, want 8", len(payload))
	}
	return int(binary.LittleEndian.Uint32(payload)), int(binary.LittleEndian.Uint32(payload[4:])), nil
}

func checkSize(msg []byte, size int) error {
	if len(msg) != size {
		return fmt.Errorf("got a message of %d bytes, want %d", len(msg), size)
	}
	return nil
}

// source sends.
func source(_ context.Context, payload []byte, s *core.RawStream) error {
	count, size, err := parseStreamRequest(payload)
	if err != nil {
		return err
	}
	msg := make([]byte, size)
	for range count {
		if err := s.Send(msg); err != nil {
			return err
		}
	}
	return nil
}

// fromSource takes what source sends.
func fromSource(ctx context.Context, to *core.Connection, count, size int) (n int, err error) {
	s, err := to.OpenStream(ctx, sourceID, streamRequest(count, size))
	if err != nil {
		return 0, err
	}
	defer func() { _ = s.Close() }()
	return receive(s, size)
}

// receive takes messages until the clean end.
func receive(s *core.RawStream, size int) (n int, err error) {
	var buf []byte
	for {
		buf, err = s.Recv(buf[:0])
		switch {
		case errors.Is(err, io.EOF):
			return n, nil
		case err != nil:
			return n, err
		}
		if err := checkSize(buf, size); err != nil {
			return n, err
		}
		n++
	}
}

// sink takes messages and answers with how many there were.
func sink(_ context.Context, payload []byte, s *core.RawStream) error {
	_, size, err := parseStreamRequest(payload)
	if err != nil {
		return err
	}
	n, err := receive(s, size)
	if err != nil {
		return err
	}
	return s.Send(streamRequest(n, size))
}

// toSink sends what sink takes.
func toSink(ctx context.Context, to *core.Connection, count, size int) (int, error) {
	s, err := to.OpenStream(ctx, sinkID, streamRequest(count, size))
	if err != nil {
		return 0, err
	}
	defer func() { _ = s.Close() }()
	msg := make([]byte, size)
	for range count {
		if err := s.Send(msg); err != nil {
			return 0, err
		}
	}
	if err := s.CloseSend(); err != nil {
		return 0, err
	}
	answer, err := s.Recv(nil)
	if err != nil {
		return 0, err
	}
	n, _, err := parseStreamRequest(answer)
	return n, err
}

// chanSource is source with channels. What is sent on a channel belongs to the
// library, so every message is one of its own.
func chanSource(ctx context.Context, payload []byte, _ <-chan []byte, out chan<- []byte) error {
	count, size, err := parseStreamRequest(payload)
	if err != nil {
		return err
	}
	for range count {
		out <- make([]byte, size) // it never blocks for ever
	}
	return context.Cause(ctx)
}

func fromChanSource(ctx context.Context, to *core.Connection, count, size int) (n int, err error) {
	s, err := to.NewStream(ctx, chanSourceID, streamRequest(count, size))
	if err != nil {
		return 0, err
	}
	defer func() { _ = s.Close() }()
	for r := range s.Responses {
		if r.Err != nil {
			return n, r.Err
		}
		if err := checkSize(r.Msg, size); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

// chanSink is sink with channels.
func chanSink(ctx context.Context, payload []byte, in <-chan []byte, out chan<- []byte) error {
	_, size, err := parseStreamRequest(payload)
	if err != nil {
		return err
	}
	n := 0
	for msg := range in {
		if err := checkSize(msg, size); err != nil {
			return err
		}
		n++
	}
	if err := context.Cause(ctx); err != nil {
		return err // the channel is closed then too, and the input is not complete
	}
	out <- streamRequest(n, size)
	return nil
}

func toChanSink(ctx context.Context, to *core.Connection, count, size int) (int, error) {
	s, err := to.NewStream(ctx, chanSinkID, streamRequest(count, size))
	if err != nil {
		return 0, err
	}
	defer func() { _ = s.Close() }()
	for range count {
		select {
		case s.Requests <- make([]byte, size):
		case <-s.Done():
			return 0, s.Err()
		}
	}
	close(s.Requests)
	r, ok := <-s.Responses
	switch {
	case !ok:
		return 0, errors.New("the stream ended without an answer")
	case r.Err != nil:
		return 0, r.Err
	}
	n, _, err := parseStreamRequest(r.Msg)
	return n, err
}
