package many_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/internal/lab"
)

// TestQuorumOfBlackHoles asks 300 nodes, the local one among them, for a quorum
// of 200. Of 34 the handlers hang, of 33 the answers do not arrive, 33 are wholly
// silent; the others answer one after the other. The quorum returns at the
// instant of the 200th answer and leaves no goroutine. Every handler that hangs
// sees the end then; when the network has healed no handler is left.
func TestQuorumOfBlackHoles(t *testing.T) {
	const size, answering, hanging, mute = 300, 200, 34, 33
	list := make([]behaviour, size)
	answered := 0
	for i := range list {
		// Spread over the cluster, the local node among those that answer.
		switch {
		case i%3 != 2:
			answered++
			list[i].takes = time.Duration(answered) * ms
		case i/3 < hanging:
			list[i].takes = ever
		}
	}
	inTime(t, "inmem", list, func(t *testing.T, c *lab.Cluster, d *does) {
		for i := range size {
			switch {
			case i%3 != 2 || i/3 < hanging:
			case i/3 < hanging+mute:
				c.Stall(i, 0)
			default:
				c.Silence(i, 0)
			}
		}
		during := make(chan int, 1)
		time.AfterFunc(answering*ms-ms/2, func() { during <- callers() })
		answers, err := core.Quorum(t.Context(), nodes(c, from(0, size)...), answering, ask("does"))
		if passed := time.Since(d.begin); err != nil || len(answers) != answering || passed != answering*ms {
			t.Fatalf("Quorum returned %d answers and %v after %v, want %d after %v", len(answers), err, passed, answering, answering*ms)
		}
		if n := <-during; n != size-answering+1 {
			t.Errorf("before the last answer there were %d goroutines for the calls, want one for each of %d", n, size-answering+1)
		}
		for i, a := range answers {
			if a.Value != a.From.Peer() || i > 0 && d.list[number(c, answers[i-1])].takes >= d.list[number(c, a)].takes {
				t.Errorf("answer %d is %q of %s, want that of the next one to be ready", i, a.Value, a.From.Peer())
			}
		}
		synctest.Wait()
		if n := callers(); n != 0 {
			t.Errorf("%d goroutines that make calls are left", n)
		}
		d.mu.Lock()
		asked, ended := len(d.asked), len(d.ended)
		d.mu.Unlock()
		if asked != answering+hanging+mute || ended != hanging {
			t.Errorf("%d handlers ran and %d saw the end, want %d and %d", asked, ended, answering+hanging+mute, hanging)
		}
		c.Memory().HealAll()
		synctest.Wait()
		for i := range size {
			for _, s := range c.Manager(i).Stats().Peers {
				if s.Handlers != 0 {
					t.Errorf("after the heal node %d runs %d handlers for %s, want none", i, s.Handlers, s.Peer)
				}
			}
		}
	})
}

func number(c *lab.Cluster, a core.Answer[string]) int {
	for i := range c.Len() {
		if a.From == c.Conn(0, i) {
			return i
		}
	}
	return -1
}

// TestGoroutines holds that a call to many has one goroutine per peer that it has
// asked and not heard of, and none when it is over.
func TestGoroutines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list, register := gates(t, 1)
		c := star(t, lab.InmemLink(), 1, register)
		set := nodes(c, make([]int, 12)...) // one node, many times
		ctx, cancel := context.WithCancel(t.Context())
		want := func(what string, n int) {
			t.Helper()
			synctest.Wait()
			if got := callers(); got != n {
				t.Errorf("%s: %d goroutines make calls, want %d", what, got, n)
			}
		}
		done := lab.Go(func() error {
			for range core.Each(ctx, set, ask("gate")) {
			}
			return nil
		})
		want("Each", 12)
		list[0].Open <- struct{}{}
		list[0].Open <- struct{}{}
		want("Each, after two answers", 10)
		cancel()
		lab.Wait(t, done, "Each ends")
		want("after Each", 0)
		for range 12 {
			<-list[0].Began
		}

		ctx, cancel = context.WithCancel(t.Context())
		done = lab.Go(func() error {
			_, err := core.Hedged(ctx, set, time.Second, ask("gate"))
			return err
		})
		want("Hedged", 1)
		time.Sleep(2*time.Second + ms)
		want("Hedged after two pauses", 3)
		cancel()
		lab.WantFailure(t, "Hedged, cancelled", lab.Wait(t, done, "Hedged ends"), context.Canceled, core.OutcomeMaybeRun)
		want("after Hedged", 0)
	})
}
