package streamload_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/core/internal/audit"
	"github.com/gridmux/gridmux/core/internal/lab"
)

// order says what a source shall send: so many messages of so many bytes. It is
// the payload of the stream.
func order(messages, size int) []byte {
	return binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, uint32(messages)), uint32(size))
}

// source sends what was ordered.
func source(_ context.Context, payload []byte, s *core.RawStream) error {
	n, size := binary.LittleEndian.Uint32(payload), binary.LittleEndian.Uint32(payload[4:])
	return sendMessages(s, int(n), int(size))
}

func sendMessages(s *core.RawStream, n, size int) error {
	msg := make([]byte, size)
	for i := range n {
		stamp(msg, i)
		if err := s.Send(msg); err != nil {
			return err
		}
	}
	return nil
}

// stamp numbers a message, at both of its ends.
func stamp(msg []byte, i int) {
	if len(msg) >= 8 {
		binary.LittleEndian.PutUint32(msg, uint32(i))
		binary.LittleEndian.PutUint32(msg[len(msg)-4:], uint32(i))
	}
}

// receiveMessages receives until the end, and checks that it gets n messages in
// order.
func receiveMessages(s *core.RawStream, n int) error {
	var buf []byte
	for i := 0; ; i++ {
		var err error
		switch buf, err = s.Recv(buf[:0]); {
		case err == io.EOF && i == n:
			return nil
		case err != nil:
			return fmt.Errorf("after %d of %d messages: %w", i, n, err)
		case len(buf) >= 8 && (binary.LittleEndian.Uint32(buf) != uint32(i) || binary.LittleEndian.Uint32(buf[len(buf)-4:]) != uint32(i)):
			return fmt.Errorf("message %d has the number %d", i, binary.LittleEndian.Uint32(buf))
		}
	}
}

// sink takes the messages that the payload announces.
func sink(_ context.Context, payload []byte, s *core.RawStream) error {
	return receiveMessages(s, int(binary.LittleEndian.Uint32(payload)))
}

// endless sends messages of the size that was ordered until it fails.
func endless(_ context.Context, payload []byte, s *core.RawStream) error {
	msg := make([]byte, binary.LittleEndian.Uint32(payload[4:]))
	for i := 0; ; i++ {
		stamp(msg, i)
		if err := s.Send(msg); err != nil {
			return err
		}
	}
}

// echoStream returns every message.
func echoStream(_ context.Context, _ []byte, s *core.RawStream) error {
	for msg, err := range s.All() {
		if err != nil {
			return err
		}
		if err := s.Send(msg); err != nil {
			return err
		}
	}
	return nil
}

// handleStream registers one more handler of streams on all nodes.
func handleStream(id core.HandlerID, fn core.StreamFunc, opts ...core.HandlerOption) coretest.Option {
	return coretest.WithHandlers(func(_ int, m *core.Manager) error { return m.HandleStreamFunc(id, fn, opts...) })
}

// streams registers source, sink, endless and stream.echo on all nodes.
func streams(opts ...core.HandlerOption) coretest.Option {
	return coretest.WithHandlers(func(_ int, m *core.Manager) error {
		return errors.Join(
			m.HandleStreamFunc("source", source, opts...),
			m.HandleStreamFunc("sink", sink, opts...),
			m.HandleStreamFunc("endless", endless, opts...),
			m.HandleStreamFunc("stream.echo", echoStream, opts...),
		)
	})
}

// many lets a peer have so many streams and calls at once.
func many(n int) coretest.Option {
	return lab.Configure(func(cfg *core.Config) {
		cfg.MaxHandlers, cfg.MaxHandlersTotal = n, 2*n
		cfg.MaxStreamBuffers = max(64<<20, 2*n*max(cfg.StreamWindow, 64<<10))
	})
}

func mustOpen(t testing.TB, c core.Caller, h core.HandlerID, payload []byte, opts ...core.CallOption) *core.RawStream {
	t.Helper()
	st, err := c.OpenStream(t.Context(), h, payload, opts...)
	if err != nil {
		t.Fatalf("opening a stream to %s failed: %v", h, err)
	}
	return st
}

// check reports an error that nobody expected.
func check(t testing.TB, what string, err error) {
	t.Helper()
	if err != nil {
		t.Errorf("%s: %v", what, err)
	}
}

// wantNothingHeld holds that the nodes have given back all that they held for
// each other, once nothing is under way any more.
func wantNothingHeld(t testing.TB, c *lab.Cluster) {
	t.Helper()
	lab.Until(t, "nodes hold nothing for each other when all is over", func() bool {
		for i := range c.Len() {
			books := audit.Of(c.Manager(i))
			if books.Handlers != 0 {
				return false
			}
			for _, u := range books.Usages {
				if u.Handlers != 0 || u.Windows != 0 || u.Memory != (audit.Usage{}).Memory {
					return false
				}
			}
		}
		return true
	})
}
