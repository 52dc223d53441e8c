package sim_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/transport"
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

// slowToLeave is a transport whose listener takes its time to close, as that of QUIC
// does while peers are silent.
type slowToLeave struct{ transport.Transport }

func (s slowToLeave) Listen(ctx context.Context, addr string) (transport.Listener, error) {
	ln, err := s.Transport.Listen(ctx, addr)
	return slowListener{ln}, err
}

type slowListener struct{ transport.Listener }

func (l slowListener) Close() error {
	<-time.After(100 * time.Millisecond)
	return l.Listener.Close()
}

// TestShutdownTellsAtOnce holds that handlers, and so peers, learn of a shutdown when
// it begins, however long the listener takes to close. The simulation found it over
// QUIC.
func TestShutdownTellsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := inmem.NewNetwork()
		told := make(chan time.Time, 1)
		cluster := coretest.NewCluster(t, 2, coretest.WithTransport(func(_ int, name string) (transport.Transport, string) {
			return slowToLeave{network.Node(name)}, name
		}), coretest.WithHandlers(func(_ int, m *core.Manager) error {
			return m.Handle("waits", func(ctx context.Context, _ []byte) ([]byte, error) {
				<-core.Draining(ctx)
				told <- time.Now()
				return nil, nil
			})
		}))
		done := make(chan error, 1)
		go func() {
			_, err := cluster.Conn(0, 1).Request(t.Context(), "waits", nil)
			done <- err
		}()
		synctest.Wait()
		began := time.Now()
		if err := cluster.Manager(1).Shutdown(t.Context()); err != nil {
			t.Errorf("shutting down failed: %v", err)
		}
		if err := <-done; err != nil {
			t.Errorf("a call that was in progress failed: %v", err)
		}
		if at := (<-told).Sub(began); at != 0 {
			t.Errorf("a handler learned of the shutdown %v after it began", at)
		}
	})
}
