package lanes_test

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/core/internal/lab"
)

// TestWhatHasLanesOfItsOwn expects every stream, and every request that is large or of
// low priority, to be alone on a lane, small requests to be on the first one, and a lane to serve the next
// call when it is free.
func TestWhatHasLanesOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		for range 50 {
			lab.MustCall(t, c.Conn(0, 1), "echo", make([]byte, 64<<10))
		}
		if all, _ := c.transports[0].lanes(); len(all) != 0 {
			t.Fatalf("small requests have opened %d lanes", len(all))
		}
		a, b := c.open("stream"), c.open("stream")
		talk(t, a, "a")
		talk(t, b, "b")
		all, live := c.transports[0].lanes()
		if len(all) != 2 || live != 2 || all[0].sent() == 0 || all[1].sent() == 0 {
			t.Fatalf("two streams have opened %d lanes, and use %d", len(all), live)
		}
		before := all[0].sent() + all[1].sent()
		lab.MustCall(t, c.Conn(0, 1), "echo", make([]byte, 1<<20))
		all, _ = c.transports[0].lanes()
		if len(all) != 3 || all[0].sent()+all[1].sent() != before || all[2].sent() < 1<<20 {
			t.Fatalf("a large request beside two streams: %d lanes", len(all))
		}
		before = all[2].sent()
		lab.MustCall(t, c.Conn(0, 1), "echo", []byte("small, but for a large answer"), core.WithPriority(core.PriorityLow))
		if all, _ = c.transports[0].lanes(); len(all) != 3 || all[2].sent() == before {
			t.Errorf("a request of low priority has no lane")
		}
		finish(t, a)
		finish(t, b)
		synctest.Wait()
		for range 20 {
			st := c.open("stream")
			talk(t, st, "again")
			finish(t, st)
			lab.MustCall(t, c.Conn(0, 1), "echo", make([]byte, 1<<20))
		}
		if all, _ = c.transports[0].lanes(); len(all) != 3 {
			t.Errorf("calls one after the other have opened %d lanes, want the three to be used again", len(all))
		}
		if all, _ := c.transports[1].lanes(); len(all) != 0 {
			t.Errorf("the side that was called has opened %d lanes", len(all))
		}
		// The other side opens its own.
		st, err := c.Conn(1, 0).OpenStream(t.Context(), "stream", nil)
		if err != nil {
			t.Fatal(err)
		}
		talk(t, st, "back")
		if all, _ := c.transports[1].lanes(); len(all) != 1 {
			t.Errorf("a stream the other way has opened %d lanes", len(all))
		}
	})
}

// TestLanesWaitForTheirNotice expects nothing to be sent on a lane before the link has
// taken the notice of it on the first one. Lanes that the peer does not read yet could
// fill the window of the whole connection, so that the notice never came.
func TestLanesWaitForTheirNotice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		lab.MustCall(t, c.Conn(0, 1), "echo", nil)
		synctest.Wait()
		w, stuck := c.transports[0], make(chan struct{})
		w.mu.Lock()
		w.stuck = stuck
		w.mu.Unlock()
		calls := []<-chan lab.Reply{
			lab.GoCall(t.Context(), c.Conn(0, 1), "echo", make([]byte, 1<<20)),
			lab.GoCall(t.Context(), c.Conn(0, 1), "echo", nil, core.WithPriority(core.PriorityLow)),
		}
		st := c.open("stream")
		if err := st.Send([]byte("waits")); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		all, _ := w.lanes()
		for i, l := range all {
			if l.sent() != 0 {
				t.Errorf("%d bytes were sent on lane %d, of which the peer does not know yet", l.sent(), i)
			}
		}
		// One that is given up meanwhile was not sent.
		ctx, cancel := context.WithCancel(t.Context())
		given := lab.GoCall(ctx, c.Conn(0, 1), "echo", make([]byte, 1<<20))
		synctest.Wait()
		cancel()
		if r := lab.Wait(t, given, "a call that is given up returns"); core.OutcomeOf(r.Err) != core.OutcomeNotSent {
			t.Errorf("a call on a lane that never wrote: %v (%v)", r.Err, core.OutcomeOf(r.Err))
		}
		w.mu.Lock()
		w.stuck = nil
		w.mu.Unlock()
		close(stuck)
		for _, call := range calls {
			if r := lab.Wait(t, call, "a call goes on once the peer knows of its lane"); r.Err != nil {
				t.Error(r.Err)
			}
		}
		if msg, err := st.Recv(nil); string(msg) != "waits" || err != nil {
			t.Errorf("the stream received %q, %v", msg, err)
		}
		finish(t, st)
		if all, _ := w.lanes(); len(all) != 4 {
			t.Errorf("%d lanes were opened, want one for each call", len(all))
		}
	})
}

// TestUnusedLanesAreClosed expects lanes without calls to be closed after a while,
// with their goroutines, and those with calls to stay.
func TestUnusedLanesAreClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		time.Sleep(time.Minute)
		synctest.Wait()
		before := lab.Goroutines()
		stays := c.open("stream")
		talk(t, stays, "x")
		var streams []*core.RawStream
		for range 10 {
			streams = append(streams, c.open("stream"))
		}
		for _, st := range streams {
			talk(t, st, "y")
			finish(t, st)
		}
		if _, live := c.transports[0].lanes(); live != 11 {
			t.Errorf("%d lanes are open, want those of 11 streams", live)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if _, live := c.transports[0].lanes(); live != 1 {
			t.Errorf("%d lanes are open after a minute without calls, want that of the stream", live)
		}
		talk(t, stays, "still")
		finish(t, stays)
		time.Sleep(time.Minute)
		synctest.Wait()
		if _, live := c.transports[0].lanes(); live != 0 || lab.Goroutines() > before {
			t.Errorf("%d lanes and %d goroutines are left", live, lab.Goroutines()-before)
		}
		st := c.open("stream") // and a new one can be opened
		talk(t, st, "new")
	})
}

// TestLanesAreBounded expects streams beyond the bound on lanes to share the first
// one, and all to work.
func TestLanesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const streams, bound = 200, 64
		c := newCluster(t)
		var all []*core.RawStream
		for range streams {
			all = append(all, c.open("stream"))
		}
		for round := range 3 {
			for _, st := range all {
				talk(t, st, string(rune('a'+round)))
			}
		}
		if opened, live := c.transports[0].lanes(); len(opened) != bound || live != bound {
			t.Errorf("%d streams have opened %d lanes, and %d live; want %d", streams, len(opened), live, bound)
		}
		for _, st := range all {
			finish(t, st)
		}
	})
}

// TestLanesEndWithTheSession cuts the connection under streams on lanes and on the
// first one: all end, on both sides, and new ones work over the next session.
func TestLanesEndWithTheSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		for range 5 {
			var all []*core.RawStream
			for range 80 {
				all = append(all, c.open("held", core.WaitForConnection()))
			}
			for range all {
				lab.Wait(t, c.began, "the handlers begin")
			}
			large := lab.GoCall(t.Context(), c.Conn(0, 1), "ledger.unknown", make([]byte, 1<<20))
			c.Cut(0, 1)
			for _, st := range all {
				if _, err := st.Recv(nil); !errors.Is(err, core.ErrDisconnected) {
					t.Fatalf("a stream over a link that was cut ended with %v", err)
				}
			}
			<-large
			if _, live := c.transports[0].lanes(); live != 0 {
				t.Fatalf("%d lanes of a session that has ended are open", live)
			}
		}
		lab.Until(t, "the handlers have ended", func() bool { return c.Manager(1).Stats().Peers[0].Handlers == 0 })
	})
}

// TestEndOfALane ends one lane at the transport, which nobody who keeps to the
// protocol does while a call is on it: that call ends, and no other.
func TestEndOfALane(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		victim, other := c.open("stream"), c.open("stream")
		talk(t, victim, "a")
		talk(t, other, "b")
		_ = c.transports[1].accepted[0].Conn.CloseWithError(7, "reset")
		if _, err := victim.Recv(nil); !errors.Is(err, core.ErrDisconnected) || core.OutcomeOf(err) != core.OutcomeMaybeRun {
			t.Errorf("the stream of a lane that was reset ended with %v", err)
		}
		talk(t, other, "lives")
		lab.MustCall(t, c.Conn(0, 1), "echo", nil)
		talk(t, c.open("stream"), "new")
		time.Sleep(time.Minute)
		if n := c.Manager(1).Stats().Peers[0].Handlers; n != 2 {
			t.Errorf("%d handlers run, want those of two streams", n)
		}
		if c.Conn(0, 1).State() != core.StateConnected {
			t.Errorf("the end of a lane has made the peer %v", c.Conn(0, 1).State())
		}
	})
}

// TestDrainWithLanes drains the serving node while streams and large requests are on
// lanes, and while a lane is on its way that carries one more: everything that was
// there before goes on to its end, and what comes later is refused (W93).
func TestDrainWithLanes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		running := c.open("held")
		lab.Wait(t, c.began, "the handler begins")

		held := make(chan struct{})
		c.transports[1].mu.Lock()
		c.transports[1].hold = held
		c.transports[1].mu.Unlock()
		late := c.open("held")
		synctest.Wait() // its OPEN waits on a lane that was not accepted

		drained := lab.Go(func() error { return c.Manager(1).Shutdown(t.Context()) })
		time.Sleep(time.Second)
		if _, err := c.Conn(0, 1).OpenStream(t.Context(), "held", nil); core.OutcomeOf(err) != core.OutcomeNotSent {
			t.Errorf("a stream that is opened in the drain: %v, want that nothing was sent", err)
		}
		close(c.end)
		if _, err := running.Recv(nil); err == nil || errors.Is(err, core.ErrDisconnected) {
			t.Errorf("the stream that was there before ended with %v", err)
		}
		time.Sleep(time.Second)
		select {
		case err := <-drained:
			t.Fatalf("the drain has ended (%v), and a lane that was announced had not come yet", err)
		default:
		}
		close(held)
		_, err := late.Recv(nil)
		lab.WantFailure(t, "the stream on the lane that came late", err, core.ErrDraining, core.OutcomeRefused)
		if err := lab.Wait(t, drained, "the drain ends"); err != nil {
			t.Errorf("Shutdown returned %v", err)
		}
	})
}

// TestRollingRestartWithLanes restarts a node by Shutdown again and again under
// streams and large requests that repeat what has not run: none is lost.
func TestRollingRestartWithLanes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, coretest.WithConfig(func(_ int, cfg *core.Config) { cfg.MaxBackoff = 100 * time.Millisecond }))
		c.Memory().SetLatency(3 * time.Millisecond)
		ctx, stop := context.WithCancel(t.Context())
		var workers sync.WaitGroup
		repeat := func(do func() error) {
			for ctx.Err() == nil {
				err := do()
				if o := core.OutcomeOf(err); err != nil && o != core.OutcomeNotSent && o != core.OutcomeRefused {
					t.Errorf("a call was lost in a drain: %v", err)
					return
				}
				time.Sleep(time.Millisecond)
			}
		}
		for range 8 {
			workers.Go(func() {
				repeat(func() error {
					st, err := c.Conn(0, 1).OpenStream(t.Context(), "stream", nil, core.WaitForConnection())
					if err != nil {
						return err
					}
					if err := errors.Join(st.Send([]byte("m")), st.CloseSend()); err != nil {
						return st.Err()
					}
					for _, err := range st.All() {
						if err != nil {
							return err
						}
					}
					return nil
				})
			})
			workers.Go(func() {
				req := bytes.Repeat([]byte("x"), 512<<10)
				repeat(func() error {
					_, err := c.Conn(0, 1).Request(t.Context(), "echo", req, core.WaitForConnection())
					return err
				})
			})
		}
		for range 20 {
			time.Sleep(50 * time.Millisecond)
			if err := c.Manager(1).Shutdown(t.Context()); err != nil {
				t.Errorf("Shutdown returned %v", err)
			}
			c.Restart(1)
		}
		stop()
		workers.Wait()
	})
}

// TestCancelInADrain cancels streams on lanes while their node drains: the handler
// sees it at once, and the drain ends with it.
func TestCancelInADrain(t *testing.T) {
	for range 10 {
		synctest.Test(t, func(t *testing.T) {
			ended := make(chan struct{}, 1)
			c := newCluster(t, coretest.WithHandlers(func(_ int, m *core.Manager) error {
				return m.HandleStreamFunc("cancel", func(ctx context.Context, _ []byte, _ *core.RawStream) error {
					<-ctx.Done()
					ended <- struct{}{}
					return nil
				})
			}))
			st := c.open("cancel")
			time.Sleep(time.Second)
			drained := lab.Go(func() error { return c.Manager(1).Shutdown(t.Context()) })
			time.Sleep(100 * time.Millisecond)
			began := time.Now()
			st.Close()
			lab.Wait(t, ended, "the handler sees it")
			if err := lab.Wait(t, drained, "the drain ends"); err != nil || time.Since(began) > 0 {
				t.Errorf("after %v: %v", time.Since(began), err)
			}
		})
	}
}
