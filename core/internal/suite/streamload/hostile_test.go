package streamload_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/internal/lab"
	"github.com/gridmux/gridmux/core/internal/wire"
)

// TestSenderBeyondItsCredit has a peer send more on one stream than there is room
// for, more messages or more bytes, to a handler that does not read: that stream
// ends, and its handler learns why. Another stream of the peer, with messages
// waiting, keeps all of them, and calls go on (D7, W84).
func TestSenderBeyondItsCredit(t *testing.T) {
	const capacity, window = 8, 4 << 10
	for _, test := range []struct {
		name           string
		messages, size int
	}{
		{"one message too many", capacity + 1, 10},
		{"one byte too many", 2, window/2 + 1},
		{"very many messages", 10_000, 0},
		{"very many bytes", 2000, 32 << 10},
	} {
		lab.Bubble(t, test.name, func(t *testing.T) {
			told := make(chan error, 1)
			kept := make(chan error, 1)
			read := make(chan struct{})
			r := lab.NewRawCluster(t, lab.RawSetup{
				Config: func(cfg *core.Config) { cfg.StreamWindow = window },
				Register: func(m *core.Manager) error {
					return errors.Join(
						m.HandleStreamFunc("deaf", func(ctx context.Context, _ []byte, _ *core.RawStream) error {
							<-ctx.Done()
							told <- context.Cause(ctx)
							return ctx.Err()
						}, core.WithCapacity(capacity, 1)),
						m.HandleStreamFunc("kept", func(_ context.Context, _ []byte, s *core.RawStream) error {
							<-read
							err := receiveMessages(s, capacity)
							kept <- err
							return err
						}, core.WithCapacity(capacity, 1)),
					)
				},
			})
			p := r.Connect()
			for slot, handler := range []string{"deaf", "kept"} {
				p.Send(wire.AppendOpen(nil, p.ID(uint32(slot), 1), lab.HandlerHash(handler), 0, 1, 0, nil))
			}
			synctest.Wait()
			for i := range capacity {
				msg := make([]byte, 100)
				stamp(msg, i)
				p.Send(wire.AppendData(nil, p.ID(1, 1), msg))
			}
			for range test.messages {
				p.Send(wire.AppendData(nil, p.ID(0, 1), make([]byte, test.size)))
			}
			p.WantStatus(wire.TypeError, wire.CodeFlowControl, "W84: what there is no credit for ends the stream")
			why := lab.Wait(t, told, "the handler is told")
			lab.WantText(t, "the end of a stream whose sender breaks the rules", why, "flow control")
			p.Send(p.Request(2, 1, "echo", []byte("x")))
			p.Want(wire.TypeResponse, "W84: calls go on")
			p.Send(wire.AppendEnd(nil, p.ID(1, 1)))
			close(read)
			check(t, "another stream of the same peer", lab.Wait(t, kept, "it is read"))
			r.Alive("after the end of a stream by force")
		})
	}
}
