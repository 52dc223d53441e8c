package compression_test

import (
	"context"
	"errors"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/compress"
	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/core/internal/lab"
)

// heavy is the size of the messages that a gated codec keeps.
const heavy = 100_000

// gated is a codec that counts its heavy messages, each of which then waits for the gate.
type gated struct {
	misbehaving

	gate chan struct{}
	kept atomic.Int32
}

func newGated() *gated {
	good := compress.S2()
	g := &gated{gate: make(chan struct{})}
	keep := func(size int) {
		if size >= heavy {
			g.kept.Add(1)
			<-g.gate
		}
	}
	g.misbehaving = misbehaving{
		Codec: good, name: good.Name(),
		pack: func(dst, src []byte) []byte {
			keep(len(src))
			return good.Append(dst, src)
		},
		unpack: func(dst, src []byte, limit int) ([]byte, error) {
			keep(limit)
			return good.Decode(dst, src, limit)
		},
	}
	return g
}

// TestGivenUpInTheQueue holds that a call or stream whose large message waits for its
// turn at a Compressor that is busy ends with its context or its time-out, to the instant,
// and that nothing of it is compressed or restored when the turn comes.
func TestGivenUpInTheQueue(t *testing.T) {
	turns := runtime.GOMAXPROCS(0)
	for _, at := range []struct {
		name   string
		option func(core.Compressor) core.Option
		node   int // whose codec is busy
		sent   bool
	}{
		{"requests, at the caller", core.WithRequestCompression, 0, false},
		{"requests, at the handler", core.WithRequestCompression, 1, true},
		{"responses, at the handler", core.WithResponseCompression, 1, true},
		{"responses, at the caller", core.WithResponseCompression, 0, true},
	} {
		lab.Bubble(t, at.name, func(t *testing.T) {
			codecs := [2]*gated{newGated(), newGated()}
			busy := codecs[at.node]
			close(codecs[1-at.node].gate)
			c := lab.InmemLink().Cluster(t, 2, coretest.WithHandlers(func(i int, m *core.Manager) error {
				return register(m, at.option(codecs[i]))
			}))
			conn, opt := c.Conn(0, 1), at.option(codecs[0])
			call := func(ctx context.Context, opts ...core.CallOption) error {
				_, err := conn.Request(ctx, "plain", text(1, heavy), append(opts, opt)...)
				return err
			}
			var first []<-chan error
			for range turns {
				first = append(first, lab.Go(func() error { return call(t.Context()) }))
			}
			synctest.Wait()
			began := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			for what, end := range map[string]<-chan error{
				"a call by its context":             lab.Go(func() error { return call(ctx) }),
				"a call by its time-out":            lab.Go(func() error { return call(t.Context(), core.WithTimeout(time.Second)) }),
				"a stream, its payload large":       lab.Go(func() error { return exchange(ctx, conn, "stream", [][]byte{text(1, heavy)}, opt) }),
				"a stream, its first message large": lab.Go(func() error { return exchange(ctx, conn, "stream", [][]byte{nil, text(1, heavy)}, opt) }),
			} {
				err := lab.Wait(t, end, what)
				if took := time.Since(began); took != time.Second || !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("%s ended after %v: %v", what, took, err)
				}
				if out := core.OutcomeOf(err); !at.sent && what[:6] == "a call" && out != core.OutcomeNotSent {
					t.Errorf("%s has the outcome %v before it is sent", what, out)
				}
			}
			synctest.Wait()
			close(busy.gate)
			for _, end := range first {
				if err := lab.Wait(t, end, "a call that has its turn"); err != nil {
					t.Error(err)
				}
			}
			synctest.Wait()
			if n := int(busy.kept.Load()); n != turns {
				t.Errorf("%d messages had their turn, of which %d were wanted", n, turns)
			}
			wantEcho(t, conn, "plain", text(1, heavy), opt)
			wantNothingHeld(t, c)
		})
	}
}
