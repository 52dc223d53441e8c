package lanes_test

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/core/internal/audit"
	"github.com/gridmux/gridmux/core/internal/lab"
)

// TestMaxCallsOnLanes expects calls on lanes to count for MaxCalls as those on the
// first one do, the lower of the two nodes' values to hold, and whoever opens one
// stream after the other never to find its place taken.
func TestMaxCallsOnLanes(t *testing.T) {
	for _, limits := range [][2]int{{5, 100}, {100, 5}} {
		synctest.Test(t, func(t *testing.T) {
			c := newCluster(t, coretest.WithConfig(func(i int, cfg *core.Config) { cfg.MaxCalls = limits[i] }))
			refused := func(what string, err error) {
				t.Helper()
				lab.WantFailure(t, what+" over MaxCalls", err, core.ErrOverloaded, core.OutcomeNotSent)
				lab.WantText(t, what+" over MaxCalls", err, "5 calls")
			}
			var all []*core.RawStream
			for range 5 {
				all = append(all, c.open("held"))
				lab.Wait(t, c.began, "a stream within the limit begins")
			}
			conn := c.Conn(0, 1)
			_, err := conn.OpenStream(t.Context(), "held", nil)
			refused("a stream", err)
			for _, size := range []int{1, 1 << 20} {
				_, err := conn.Request(t.Context(), "echo", make([]byte, size))
				refused("a request", err)
			}
			all[0].Close()
			for range 20 {
				lab.MustCall(t, conn, "echo", make([]byte, 1<<20))
				lab.MustCall(t, conn, "echo", nil)
				st := c.open("stream")
				talk(t, st, "again")
				finish(t, st)
			}
			for _, st := range all {
				st.Close()
			}
			// However calls end, their places are free then.
			var callers sync.WaitGroup
			for n := range 20 {
				callers.Go(func() {
					for k := range 50 {
						ctx, cancel := context.WithCancel(t.Context())
						if (n+k)%3 == 0 {
							go cancel()
						}
						timer := time.AfterFunc(time.Duration(1+(n+k)%3)*time.Microsecond, cancel)
						_, _ = conn.Request(ctx, "echo", make([]byte, k%3*(300<<10)))
						if st, err := conn.OpenStream(ctx, "stream", nil); err == nil {
							_ = st.Send(nil)
						}
						timer.Stop()
						cancel()
					}
				})
			}
			callers.Wait()
			synctest.Wait()
			for range 5 {
				c.open("held")
			}
			_, err = conn.OpenStream(t.Context(), "held", nil)
			refused("a stream", err)
		})
	}
}

// TestLargeMessagesOnManyLanes has as many streams as there are lanes send messages
// that fit into their windows, which have grown, and for which there is no memory, since
// nobody takes them any more. No more are begun than the other side puts up with, so
// the session lives, and all arrive when they are taken.
func TestLargeMessagesOnManyLanes(t *testing.T) {
	for range 3 { // how far the windows grow differs
		synctest.Test(t, testLargeMessagesOnManyLanes)
	}
}

func testLargeMessagesOnManyLanes(t *testing.T) {
	const streams, before, messages, size = 64, 20, 50, 100 << 10
	resume := make(chan struct{})
	c := newCluster(t,
		lab.Configure(func(cfg *core.Config) { cfg.MaxMessage, cfg.MaxReassembly = 1<<20, 1<<20 }),
		coretest.WithHandlers(func(_ int, m *core.Manager) error {
			return m.HandleStreamFunc("pauses", func(_ context.Context, _ []byte, s *core.RawStream) error {
				for n := 0; ; n++ {
					if n == before {
						<-resume
					}
					switch msg, err := s.Recv(nil); {
					case errors.Is(err, io.EOF) && n == messages:
						return nil
					case err != nil:
						return err
					case len(msg) != size:
						return errors.New("a message has another size")
					}
				}
			}, core.WithCapacity(1000, 1))
		}))
	sent := make(chan error, streams)
	for range streams {
		st := c.open("pauses")
		go func() {
			for range messages {
				if err := st.Send(make([]byte, size)); err != nil {
					sent <- err
					return
				}
			}
			_ = st.CloseSend()
			_, err := st.Recv(nil)
			sent <- err
		}()
	}
	synctest.Wait()
	for _, u := range audit.Of(c.Manager(1)).Usages {
		for k, m := range u.Memory {
			if m.Waiting > 2*streams {
				t.Errorf("%d messages of kind %d wait for memory", m.Waiting, k)
			}
		}
	}
	close(resume)
	for range streams {
		if err := <-sent; err != io.EOF {
			t.Fatalf("a stream ended with %v", err)
		}
	}
}
