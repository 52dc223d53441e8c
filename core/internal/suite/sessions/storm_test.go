package sessions_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/core/internal/lab"
	"github.com/gridmux/gridmux/transport"
)

// densest returns how many of the times lie within one stretch of that length,
// at most.
func densest(times []time.Time, within time.Duration) (most int) {
	slices.SortFunc(times, time.Time.Compare)
	first := 0
	for last := range times {
		for times[last].Sub(times[first]) >= within {
			first++
		}
		most = max(most, last-first+1)
	}
	return most
}

// TestRestartOfTheCentralNode restarts a node of a cluster of 50, after
// outages of several lengths. The others do not come in a herd: in no 100 ms
// does it meet dials of more than a fifth of them. All are back within five
// seconds, and each writes a few lines (F13, T24).
func TestRestartOfTheCentralNode(t *testing.T) {
	// Of fewer, too many come together by chance.
	const n = 50
	for _, outage := range []time.Duration{0, time.Second, 10 * time.Second, time.Minute}[:lab.Scale(4, 2, 4)] {
		t.Run(outage.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var mu sync.Mutex
				var dials []time.Time
				all, counted := takeCensus(n)
				log := make([]*lab.LogBook, n)
				c := lab.InmemLink().Cluster(t, n, counted, coretest.WithConfig(func(i int, cfg *core.Config) {
					log[i] = new(lab.LogBook)
					cfg.Logger = log[i].Logger()
				}))
				for _, s := range all[1:] {
					s.refuseWith(func(_ context.Context, to transport.Peer) error {
						mu.Lock()
						defer mu.Unlock()
						if to.Name == c.Node(0).Name {
							dials = append(dials, time.Now())
						}
						return nil
					})
				}
				connected := func() {
					t.Helper()
					for i := 1; i < n; i++ {
						if err := c.Conn(i, 0).WaitConnected(t.Context()); err != nil {
							t.Fatalf("node %d does not find the central one: %v", i, err)
						}
					}
				}
				time.Sleep(time.Minute)
				synctest.Wait()
				lines := 0
				for _, b := range log {
					lines -= b.Lines()
				}
				c.Stop(0)
				time.Sleep(outage)
				c.Restart(0)
				began := time.Now()
				connected()
				if d := time.Since(began); d > 5*time.Second {
					t.Errorf("all were back %v after the restart, want within 5s", d)
				}
				time.Sleep(10 * time.Second)
				synctest.Wait()
				mu.Lock()
				defer mu.Unlock()
				slices.SortFunc(dials, time.Time.Compare)
				up, _ := slices.BinarySearchFunc(dials, began, time.Time.Compare)
				if most := densest(dials[up:], 100*time.Millisecond); most > n/5 {
					t.Errorf("the node that came back met %d dials within 100ms, of %d in all, want at most %d", most, len(dials)-up, n/5)
				}
				// Nobody is there to mind these, but the network. On average it is
				// one of each node in 1.5 s.
				if most := densest(dials, 100*time.Millisecond); most > n/2 {
					t.Errorf("%d dials within 100ms, of %d in all, want at most %d", most, len(dials), n/2)
				}
				for _, b := range log {
					lines += b.Lines()
				}
				if lines > 5*n {
					t.Errorf("%d nodes wrote %d lines about one restart", n, lines)
				}
			})
		})
	}
}

// TestFlappingLink breaks a link every 50 ms for ten minutes. The pauses grow and
// stay long while it goes on, and the log grows with the changes of state alone.
// Afterwards the link is back within the longest pause and stays (F14, D11).
func TestFlappingLink(t *testing.T) {
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		all, counted := takeCensus(2)
		book, note := lab.Books(2)
		log := [2]*lab.LogBook{new(lab.LogBook), new(lab.LogBook)}
		c := l.Cluster(t, 2, counted, note, coretest.WithConfig(func(i int, cfg *core.Config) { cfg.Logger = log[i].Logger() }))
		began := time.Now()
		dials := func() int { return len(all[0].dialled()) + len(all[1].dialled()) }
		var perMinute []int
		for time.Since(began) < time.Duration(lab.Scale(10, 3, 60))*time.Minute {
			before := dials()
			for minute := time.Now(); time.Since(minute) < time.Minute; {
				time.Sleep(50 * time.Millisecond)
				c.Cut(0, 1)
			}
			perMinute = append(perMinute, dials()-before)
		}
		for minute, n := range perMinute[1:] {
			// Either node may dial, with pauses of 1.5 s on average.
			if n > 100 {
				t.Errorf("minute %d: %d dials over a link that breaks every 50ms: the pauses do not grow; per minute %v", minute+1, n, perMinute)
				break
			}
		}
		began = time.Now()
		c.WaitConnected()
		if d := time.Since(began); d > 3*time.Second {
			t.Errorf("the link was back %v after the last break, want at most the longest pause of 3s", d)
		}
		synctest.Wait()
		before := len(book[0].Of(""))
		time.Sleep(time.Hour)
		if n := len(book[0].Of("")); n != before || dials() == 0 {
			t.Errorf("after the flapping there were %d more changes of state", n-before)
		}
		for i := range 2 {
			changes, lines := len(book[i].Of("")), log[i].Lines()
			if lines > changes+12 {
				t.Errorf("node %d wrote %d lines for %d changes of state", i, lines, changes)
			}
		}
		// What has lasted begins with a short pause again.
		began = time.Now()
		c.Cut(0, 1)
		c.WaitConnected()
		if d := time.Since(began); d > 20*time.Millisecond {
			t.Errorf("after an hour without a break the link was back after %v", d)
		}
		wantOneSession(t, c, all, "in the end")
	})
}

// TestFullJitter holds the pauses of a long outage to their distribution: evenly
// between nothing and the cap of three seconds, and differently for every node
// (F13, T24).
func TestFullJitter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all, counted := takeCensus(2)
		c := lab.InmemLink().Cluster(t, 2, counted, coretest.Unstarted())
		for _, s := range all {
			s.refuseWith(wall)
		}
		c.Start(0)
		c.Start(1)
		time.Sleep(time.Minute)
		from := [2]int{len(all[0].dialled()), len(all[1].dialled())}
		time.Sleep(time.Hour)
		synctest.Wait()
		var quarters [2][4]int
		for i, s := range all {
			dials := s.dialled()[from[i]:]
			for k := 1; k < len(dials); k++ {
				pause := dials[k].Sub(dials[k-1])
				if pause >= 3*time.Second {
					t.Fatalf("node %d paused for %v, want less than the cap of 3s", i, pause)
				}
				quarters[i][pause/(750*time.Millisecond)]++
			}
			for q, n := range quarters[i] {
				if share := float64(n) / float64(len(dials)); share < 0.2 || share > 0.3 {
					t.Errorf("node %d: %.0f %% of %d pauses lie in quarter %d of the window, want 25 %%", i, 100*share, len(dials), q)
				}
			}
		}
	})
}

// TestBackoffBeginsAnew holds that a session of less than ten seconds does not
// let the pauses begin short again, and a longer one does (F14).
func TestBackoffBeginsAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const rounds = 200
		all, counted := takeCensus(2)
		c := lab.InmemLink().Cluster(t, 2, counted)
		all[1].refuseWith(wall) // so that one node's pauses are all there is
		outage := func(life time.Duration) (total time.Duration) {
			for range rounds {
				time.Sleep(life)
				began := time.Now()
				c.Cut(0, 1)
				c.WaitConnected()
				total += time.Since(began)
			}
			return total / rounds
		}
		if d := outage(11 * time.Second); d > 20*time.Millisecond {
			t.Errorf("sessions of 11s were back after %v on average, want at once", d)
		}
		if d := outage(9 * time.Second); d < time.Second || d > 2*time.Second {
			t.Errorf("sessions of 9s were back after %v on average, want about half of the longest pause of 3s", d)
		}
	})
}

// TestStartInAnyOrder starts eight nodes in a random order with gaps of up to
// thirty seconds, each with names that cannot be resolved at first. All are
// connected soon after the last obstacle has gone (D28).
func TestStartInAnyOrder(t *testing.T) {
	for seed := range lab.Scale(10, 3, 200) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
				const n = 8
				r := rand.New(rand.NewPCG(uint64(seed), 28))
				all, counted := takeCensus(n)
				c := l.Cluster(t, n, counted, coretest.Unstarted())
				began := time.Now()
				var last time.Time
				for _, i := range r.Perm(n) {
					time.Sleep(time.Duration(r.IntN(30_000)) * time.Millisecond)
					known := time.Now().Add(time.Duration(r.IntN(30_000)) * time.Millisecond)
					if known.After(last) {
						last = known
					}
					all[i].refuseWith(func(_ context.Context, to transport.Peer) error {
						if time.Now().Before(known) {
							return &transport.DialError{Transport: "test", Peer: to, Phase: transport.PhaseDial, Err: errors.New("no such host")}
						}
						return nil
					})
					c.Start(i)
				}
				time.Sleep(time.Until(last))
				c.WaitConnected()
				if d := time.Since(last); d > 5*time.Second {
					t.Errorf("all were connected %v after the last obstacle had gone, %v after the first start", d, time.Since(began))
				}
				for i, s := range all {
					if n := densest(s.dialled(), time.Second); n > 10*len(all) {
						t.Errorf("node %d began %d dials within a second", i, n)
					}
				}
			})
		})
	}
}

// TestErrorOfAnObstacle holds that who waits for a node whose name cannot be
// resolved is told that, and for how long already (D28, D25).
func TestErrorOfAnObstacle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all, counted := takeCensus(2)
		c := lab.InmemLink().Cluster(t, 2, counted, coretest.Unstarted())
		for _, s := range all {
			s.refuseWith(func(_ context.Context, to transport.Peer) error {
				return &transport.DialError{Transport: "test", Peer: to, Phase: transport.PhaseDial, Err: errors.New("no such host")}
			})
		}
		c.Start(0)
		c.Start(1)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		for i := range 2 {
			err := c.Manager(i).WaitConnected(ctx)
			lab.WantText(t, "a node whose name cannot be resolved", err, c.Node(1-i).Name, "no such host", "1m0s", "attempt")
			if strings.Count(err.Error(), "no such host") != 1 {
				t.Errorf("the reason stands there more than once: %v", err)
			}
		}
	})
}
