//go:build !race

package streamcost_test

import (
	"context"
	"encoding/binary"
	"io"
	"testing"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/core/internal/lab"
)

// streamLinks are those over which streams are counted.
func streamLinks(t *testing.T, f func(t *testing.T, l *lab.Link)) {
	for _, l := range lab.Links {
		if l.Name == "inmem" || l.Name == "websocket-tcp" {
			t.Run(l.Name, func(t *testing.T) { f(t, l) })
		}
	}
}

// TestAllocationsOfMessages holds Send and Recv to no allocation per message of
// up to 32 KiB, at both ends together, in either direction and in both at once.
func TestAllocationsOfMessages(t *testing.T) {
	const messages = 100_000
	streamLinks(t, func(t *testing.T, l *lab.Link) {
		c := l.Cluster(t, 2, coretest.WithHandlers(func(_ int, m *core.Manager) error {
			if err := m.HandleStreamFunc("send", func(_ context.Context, payload []byte, s *core.RawStream) error {
				n, size := binary.LittleEndian.Uint32(payload), binary.LittleEndian.Uint32(payload[4:])
				return sendAll(s, int(n), int(size))
			}); err != nil {
				return err
			}
			if err := m.HandleStreamFunc("receive", func(_ context.Context, _ []byte, s *core.RawStream) error {
				return receiveAll(s)
			}); err != nil {
				return err
			}
			return m.HandleStreamFunc("return", func(_ context.Context, _ []byte, s *core.RawStream) error {
				for msg, err := range s.All() {
					if err == nil {
						err = s.Send(msg)
					}
					if err != nil {
						return err
					}
				}
				return nil
			})
		}))
		for _, size := range []int{0, 64, 512, 16 << 10, 32 << 10} {
			n := messages
			if size > 512 {
				n /= 20
			}
			for _, test := range []struct {
				name core.HandlerID
				do   func(s *core.RawStream) error
			}{
				{"send", receiveAll},
				{"receive", func(s *core.RawStream) error {
					if err := sendAll(s, n, size); err != nil {
						return err
					}
					return receiveAll(s)
				}},
				{"return", func(s *core.RawStream) error {
					sent := make(chan error)
					go func() { sent <- sendAll(s, n, size) }()
					if err := receiveAll(s); err != nil {
						return err
					}
					return <-sent
				}},
			} {
				// What a stream costs as a whole is divided by its messages. The
				// pools lose what they have at each collection.
				const most = 0.02
				got := lab.LeastAllocations(1, n, most, func(int, int) {
					order := binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, uint32(n)), uint32(size))
					s, err := c.Conn(0, 1).OpenStream(t.Context(), test.name, order)
					if err == nil {
						err = test.do(s)
					}
					if err != nil {
						t.Error(err)
					}
				})
				t.Logf("%s, %d bytes: %.4f allocations per message", test.name, size, got)
				if got > most {
					t.Errorf("a stream to %q of messages of %d bytes makes %.4f allocations per message, want none", test.name, size, got)
				}
			}
		}
	})
}

func sendAll(s *core.RawStream, n, size int) error {
	msg := make([]byte, size)
	for range n {
		if err := s.Send(msg); err != nil {
			return err
		}
	}
	return s.CloseSend()
}

func receiveAll(s *core.RawStream) error { return receiveInto(s, make([]byte, 0, 32<<10)) }

func receiveInto(s *core.RawStream, buf []byte) error {
	for {
		var err error
		if buf, err = s.Recv(buf[:0]); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// TestAllocationsOfOpenStream holds what a stream costs from OpenStream to its
// end, at both ends together: each end is one object, its answer another, its
// first message makes a queue, and a context that can end is watched, which takes
// three.
func TestAllocationsOfOpenStream(t *testing.T) {
	streamLinks(t, func(t *testing.T, l *lab.Link) {
		c := l.Cluster(t, 2, coretest.WithHandlers(func(_ int, m *core.Manager) error {
			return m.HandleStreamFunc("send", func(_ context.Context, payload []byte, s *core.RawStream) error {
				for range int(payload[0]) {
					if err := s.Send(payload); err != nil {
						return err
					}
				}
				return nil
			})
		}))
		cancellable, cancel := context.WithCancel(t.Context())
		defer cancel()
		buf := make([]byte, 0, 512)
		forever := context.Background() //nolint:usetesting // one that cannot end
		for _, test := range []struct {
			name     string
			ctx      context.Context
			messages byte
			most     float64
		}{
			{"without messages", forever, 0, 3.1},
			{"with a message", forever, 1, 4.1},
			{"with a message, cancellable", cancellable, 1, 7.1},
		} {
			payload := make([]byte, 100)
			payload[0] = test.messages
			got := lab.LeastAllocations(1, 5000, test.most, func(_, times int) {
				for range times {
					s, err := c.Conn(0, 1).OpenStream(test.ctx, "send", payload)
					if err == nil {
						err = receiveInto(s, buf)
					}
					if err != nil {
						t.Error(err)
					}
				}
			})
			t.Logf("a stream %s makes %.2f allocations", test.name, got)
			if got > test.most {
				t.Errorf("a stream %s makes %.2f allocations, want at most %v", test.name, got, test.most)
			}
		}
	})
}
