package streamload_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/internal/audit"
	"github.com/gridmux/gridmux/core/internal/lab"
)

// TestMemoryOfAPeer has a peer send all it can to a node whose handlers take
// nothing: small messages, large ones, and large requests. What it makes the node
// hold stays within what docs/limits.md says, and when the handlers have returned
// all of it is free again: as many streams and large requests as at first find
// room, and not one more.
func TestMemoryOfAPeer(t *testing.T) {
	const (
		window, buffers = 16 << 10, 4 << 20
		reassembly      = 4 << 20
		large           = 1 << 20
		senders         = 100 // of each kind
		head, ungranted = 128 << 10, 16
		// Windows at twice their size, two budgets, and what waits for them.
		most = 2*min(buffers, 2*senders*window) + 2*(reassembly+ungranted*head)
		// What the sender has in its own queues, and goroutines, in one process
		// with the node.
		own = 4 << 20
	)
	synctest.Test(t, func(t *testing.T) {
		requests := lab.NewGate(t, 1000)
		open := make(chan struct{})
		c := lab.InmemLink().Cluster(t, 2, lab.Handle("gate", requests.Handle),
			lab.Configure(func(cfg *core.Config) {
				cfg.StreamWindow, cfg.MaxStreamBuffers, cfg.MaxReassembly, cfg.MaxMessage = window, buffers, reassembly, large
			}),
			handleStream("hold", func(ctx context.Context, payload []byte, _ *core.RawStream) error {
				if len(payload) > 0 {
					<-open
				} else {
					<-ctx.Done()
				}
				return nil
			}, core.WithCapacity(1000, 1)))
		conn := c.Conn(0, 1)
		msg := make([]byte, large)
		fits(t, conn, buffers/window)
		before := heapAlive()

		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for i := range 2 * senders {
			size := 1 << 10
			if i%2 == 0 {
				size = large
			}
			// Half of the handlers do not even look at their contexts.
			st, err := conn.OpenStream(ctx, "hold", make([]byte, i/2%2))
			if err != nil {
				t.Fatalf("opening a stream failed: %v", err)
			}
			wg.Go(func() {
				for st.Send(msg[:size]) == nil {
				}
			})
		}
		for range senders {
			wg.Go(func() { _, _ = conn.Request(ctx, "gate", msg) })
		}
		synctest.Wait()
		if n := len(requests.Began); n != reassembly/large {
			t.Errorf("%d large requests run at once, want as many as there is memory for, %d", n, reassembly/large)
		}
		for _, u := range audit.Of(c.Manager(1)).Usages {
			if u.Windows > buffers {
				t.Errorf("%d bytes are reserved for windows, want at most %d", u.Windows, buffers)
			}
			for k, m := range u.Memory {
				if m.Held > reassembly || m.Waiting > ungranted {
					t.Errorf("%d bytes are reserved for messages of kind %d, and %d messages wait, want at most %d and %d", m.Held, k, m.Waiting, reassembly, ungranted)
				}
			}
		}
		held := heapAlive() - before
		t.Logf("%d KiB are held, %d KiB are allowed", held>>10, most>>10)
		if held > most+own {
			t.Errorf("a peer that sends all it can makes the process hold %d KiB, want at most %d KiB and %d KiB of its own",
				held>>10, most>>10, own>>10)
		}
		if held < reassembly {
			t.Errorf("%d KiB are held: the test is not what it means to be", held>>10)
		}

		cancel()
		requests.Release()
		wg.Wait()
		synctest.Wait()
		close(open)
		wantNothingHeld(t, c)
		for range 3 {
			fits(t, conn, buffers/window)
		}
		var done sync.WaitGroup
		for range reassembly / large {
			done.Go(func() {
				_, err := conn.Request(t.Context(), "gate", msg)
				check(t, "a large request afterwards", err)
			})
		}
		done.Wait()
		wantNothingHeld(t, c)
		// Workers, and what is pooled, go with time.
		time.Sleep(time.Minute)
		if left := heapAlive() - before; left > 1<<20 {
			t.Errorf("%d KiB are held when all is over", left>>10)
		}
	})
}

// heapAlive is what is alive in the heap: the second collection empties what the
// first has left in pools.
func heapAlive() int {
	lab.HeapInUse()
	return int(lab.HeapInUse())
}

// fits holds that so many streams, and not one more, find room.
func fits(t *testing.T, conn *core.Connection, n int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer synctest.Wait()
	defer cancel()
	for i := range n {
		if _, err := conn.OpenStream(ctx, "hold", nil); err != nil {
			t.Errorf("stream %d of %d that there is memory for failed: %v", i, n, err)
			return
		}
	}
	_, err := conn.OpenStream(ctx, "hold", nil)
	lab.WantFailure(t, "a stream for which there is no memory", err, core.ErrOverloaded, core.OutcomeNotSent)
	synctest.Wait()
}

// TestReconnectUnderPendingStreams opens very many streams over a link that is
// blocked in one direction, and kills it, once for each direction: all streams
// end with the connection and their contexts, the nodes find each other again,
// and there is room for as many streams as before (D8).
func TestReconnectUnderPendingStreams(t *testing.T) {
	n := lab.Scale(5000, 1000, 131_070)
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		const window = 512
		var running sync.WaitGroup
		c := l.Cluster(t, 2, lab.Impatient(),
			lab.Configure(func(cfg *core.Config) {
				cfg.StreamWindow, cfg.MaxStreamBuffers = window, n*window
				cfg.MaxHandlers, cfg.MaxHandlersTotal = n, n
				// Nobody is to be declared dead before the link is cut.
				cfg.KeepAlive = time.Hour
			}),
			handleStream("pending", func(ctx context.Context, _ []byte, s *core.RawStream) error {
				running.Add(1)
				defer running.Done()
				for {
					if err := s.Send(make([]byte, window/2)); err != nil {
						<-ctx.Done()
						return err
					}
				}
			}, core.WithCapacity(4, 4)))
		for _, from := range []int{0, 1} {
			c.Stall(from, 1-from)
			errs := make([]error, n)
			var wg sync.WaitGroup
			for i := range n {
				st := mustOpen(t, c.Conn(0, 1), "pending", []byte("hello"))
				wg.Go(func() {
					for {
						if _, err := st.Recv(nil); err != nil {
							errs[i] = err
							return
						}
					}
				})
			}
			synctest.Wait()
			began := time.Now()
			c.Cut(0, 1)
			wg.Wait()
			running.Wait()
			if d := time.Since(began); d > time.Second {
				t.Errorf("%d streams ended %v after their link", n, d)
			}
			for i, err := range errs {
				if !errors.Is(err, core.ErrDisconnected) {
					t.Fatalf("stream %d of a link that was killed ended with %v", i, err)
				}
			}
			lab.MustCall(t, c.Conn(0, 1), "echo", []byte("again"), core.WaitForConnection())
			lab.MustCall(t, c.Conn(1, 0), "echo", []byte("again"), core.WaitForConnection())
			all := make([]*core.RawStream, n)
			for i := range all {
				all[i] = mustOpen(t, c.Conn(0, 1), "pending", nil)
			}
			for i, st := range all {
				if _, err := st.Recv(nil); err != nil {
					t.Fatalf("stream %d over the new link: %v", i, err)
				}
				check(t, fmt.Sprintf("closing stream %d", i), st.Close())
			}
			running.Wait()
			wantNothingHeld(t, c)
		}
	})
}
