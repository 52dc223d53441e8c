package sessions_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/core/internal/lab"
)

// TestStates holds what State and OnState say through the life of a connection.
func TestStates(t *testing.T) {
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		book, note := lab.Books(3)
		c := l.Cluster(t, 3, note, coretest.Unstarted())
		conn := c.Conn(0, 1)
		want := func(s core.State) {
			t.Helper()
			synctest.Wait()
			if got := conn.State(); got != s {
				t.Errorf("the state is %v, want %v", got, s)
			}
		}
		want(core.StateIdle)
		c.Start(0)
		want(core.StateConnecting)
		c.Start(1)
		c.Start(2)
		c.WaitConnected()
		want(core.StateConnected)
		for range 10 {
			time.Sleep(20 * time.Second)
			c.Cut(0, 1)
			c.WaitConnected()
			want(core.StateConnected)
		}
		c.Restart(1)
		c.WaitConnected()
		want(core.StateConnected)
		c.Stop(1)
		want(core.StateConnecting)
		c.Stop(0)
		want(core.StateClosed)
		if s := c.Conn(0, 0).State(); s != core.StateClosed {
			t.Errorf("after Close the local node is %v", s)
		}
		changes := book[0].Of("node-1")
		checkStates(t, changes, core.StateClosed)
		if len(changes) < 20 {
			t.Errorf("OnState was told of %d changes, want all", len(changes))
		}
		checkStates(t, book[0].Of("node-2"), core.StateClosed)
		if n := len(book[0].Of("node-0")); n != 0 {
			t.Errorf("OnState was told %d times of the local node", n)
		}
	})
}

// checkStates holds that changes follow on each other and end in the last state.
func checkStates(t testing.TB, changes []core.StateChange, last core.State) {
	t.Helper()
	state, at := core.StateIdle, time.Time{}
	for i, s := range changes {
		lost := s.From == core.StateConnected && s.To == core.StateConnecting
		if s.From != state || s.To == s.From || s.At.Before(at) || (s.Err != nil) != lost {
			t.Errorf("change %d is %v to %v at %v because of %v, after %v at %v", i, s.From, s.To, s.At, s.Err, state, at)
		}
		state, at = s.To, s.At
	}
	if state != last {
		t.Errorf("the last state that OnState was told is %v, want %v", state, last)
	}
}

// TestSlowOnState holds that a callback that does not return holds up nothing,
// and learns how it ended (T29).
func TestSlowOnState(t *testing.T) {
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		book := new(lab.StateBook)
		g := lab.NewGate(t, 100)
		c := l.Cluster(t, 2, coretest.WithConfig(func(i int, cfg *core.Config) {
			if i == 0 {
				cfg.OnState = func(s core.StateChange) {
					<-g.Open
					book.Note(s)
				}
			}
		}), lab.Impatient())
		for range 200 {
			c.Cut(0, 1)
			c.WaitConnected()
			lab.MustCall(t, c.Conn(0, 1), "echo", nil)
		}
		if n := len(book.Of("")); n != 0 {
			t.Fatalf("the blocked callback was called %d times", n)
		}
		g.Release()
		synctest.Wait()
		changes := book.Of("")
		checkStates(t, changes, core.StateConnected)
		if n := len(changes); n > 70 {
			t.Errorf("%d changes were kept for a callback that does not return, want a bounded number", n)
		}
		c.Stop(0)
		synctest.Wait()
		checkStates(t, book.Of(""), core.StateClosed)
	})
}

// TestOnStateMayDoAnything has the callback use the Manager, and close it.
func TestOnStateMayDoAnything(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		closed := make(chan error, 1)
		var c *lab.Cluster
		ready := make(chan struct{})
		c = l.Cluster(t, 2, coretest.WithConfig(func(i int, cfg *core.Config) {
			if i == 0 {
				cfg.OnState = func(s core.StateChange) {
					<-ready
					c.Conn(0, 1).State()
					if s.To == core.StateConnected {
						_, err := c.Conn(0, 1).Request(t.Context(), "echo", nil)
						closed <- errors.Join(err, c.Manager(0).Close())
					}
				}
			}
		}))
		close(ready)
		if err := lab.Wait(t, closed, "the callback calls a peer and closes the node"); err != nil {
			t.Errorf("in the callback: %v", err)
		}
	})
}

// TestQuietLog holds that an outage is one line, however many attempts are made
// (D11, T20).
func TestQuietLog(t *testing.T) {
	for _, test := range []struct {
		name string
		opts func(i int, cfg *core.Config)
	}{
		{"a node that is not there", func(i int, cfg *core.Config) {
			if i == 1 {
				cfg.Listen = "elsewhere"
			}
		}},
		{"a node of another cluster", func(i int, cfg *core.Config) { cfg.Cluster = fmt.Sprint(i) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				book := [2]*lab.LogBook{new(lab.LogBook), new(lab.LogBook)}
				c := lab.InmemLink().Cluster(t, 2, coretest.Unstarted(), coretest.WithConfig(test.opts), coretest.WithConfig(func(i int, cfg *core.Config) {
					cfg.Logger = book[i].Logger()
				}))
				c.Start(0)
				c.Start(1)
				time.Sleep(10 * time.Minute)
				for i, b := range book {
					if n := b.Lines(); n > 12 {
						t.Errorf("node %d wrote %d lines in 10 minutes of failed attempts, want a few:\n%.1000s", i, n, b)
					}
				}
			})
		})
	}
}
