package sim_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/transport/inmem"
)

// TestCauseIsNoReasonToTryAgain holds that a call that waits for connections ends
// with its context, also if that ended because of some other connection. The
// simulation found that it was repeated for ever: its seeds change with the
// tables, so what it takes stands here.
func TestCauseIsNoReasonToTryAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := coretest.NewCluster(t, 2, coretest.WithNetwork(inmem.NewNetwork()))
		cluster.Network().Stall(cluster.Node(0).Name, cluster.Node(1).Name)
		ctx, cancel := context.WithCancelCause(t.Context())
		errs := make(chan error, 2)
		for range cap(errs) { // one that is not acknowledged, and one that waits for that
			go func() {
				_, err := cluster.Conn(0, 1).Request(ctx, hNobody, make([]byte, 2*wholeUpTo), core.WaitForConnection())
				errs <- err
			}()
			synctest.Wait()
		}
		cancel(core.ErrDisconnected)
		for range cap(errs) {
			select {
			case err := <-errs:
				if !errors.Is(err, context.Canceled) {
					t.Errorf("a call whose context has ended returned %v", err)
				}
			case <-time.After(time.Second):
				t.Fatal("a call whose context has ended does not return")
			}
		}
	})
}

// TestTimeoutAfterTheAnswer holds that the time-out of a stream also ends a wait
// for memory for a message that had arrived, by itself, before the answer: others
// may keep that memory for ever. The simulation found it with windows of a byte.
func TestTimeoutAfterTheAnswer(t *testing.T) {
	const size, patience = 100 << 10, time.Second
	synctest.Test(t, func(t *testing.T) {
		cluster := coretest.NewCluster(t, 2, coretest.WithConfig(func(_ int, cfg *core.Config) {
			cfg.MaxMessage, cfg.MaxReassembly = size, size
		}), coretest.WithHandlers(func(_ int, m *core.Manager) error {
			return m.HandleStreamFunc("one", func(_ context.Context, _ []byte, s *core.RawStream) error { return s.Send(make([]byte, size)) })
		}))
		open := func(opts ...core.CallOption) *core.RawStream {
			s, err := cluster.Conn(0, 1).OpenStream(t.Context(), "one", nil, opts...)
			if err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			return s
		}
		holds := open()
		began := time.Now()
		waits := open(core.WithTimeout(patience))
		if _, err := waits.Recv(nil); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != patience {
			t.Errorf("a message that waits for memory: after %v %v, want the time-out after %v", time.Since(began), err, patience)
		}
		if _, err := holds.Recv(nil); err != nil {
			t.Error(err)
		}
	})
}
