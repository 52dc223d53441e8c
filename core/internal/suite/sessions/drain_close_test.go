package sessions_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/core/internal/lab"
)

// endings are the ways to end a node.
var endings = []struct {
	name string
	end  func(m *core.Manager) error
}{
	{"Close", (*core.Manager).Close},
	{"Shutdown", func(m *core.Manager) error { return m.Shutdown(context.Background()) }},
}

// TestEndInEveryPhaseOfTheHandshake stops a link at one byte of the handshake
// after another, in either direction, and ends the dialling node or the other
// meanwhile. It takes no time, and nothing is left behind (F35, D23).
func TestEndInEveryPhaseOfTheHandshake(t *testing.T) {
	const longest = 450 // more than either side says
	step := lab.Scale(10, 40, 1)
	for _, ending := range endings {
		for who := range 2 {
			for from := range 2 {
				t.Run(fmt.Sprintf("%s of node %d, silence of node %d", ending.name, who, from), func(t *testing.T) {
					var connected, connecting int
					for at := 0; at < longest; at += step {
						synctest.Test(t, func(t *testing.T) {
							c := lab.InmemLink().Cluster(t, 2, coretest.Unstarted())
							c.Memory().StallAfter(c.Node(from).Name, c.Node(1-from).Name, at)
							c.Start(0)
							c.Start(1)
							time.Sleep(time.Second / 2)
							if c.Conn(who, 1-who).State() == core.StateConnected {
								connected++
							} else {
								connecting++
							}
							waiting := lab.GoCall(t.Context(), c.Conn(who, 1-who), "echo", nil, core.WaitForConnection())
							synctest.Wait()
							began := time.Now()
							for _, i := range []int{who, 1 - who} {
								if err := lab.Wait(t, lab.Go(func() error { return ending.end(c.Manager(i)) }), ending.name+" returns"); err != nil {
									t.Errorf("stopped at byte %d: %s returned %v", at, ending.name, err)
								}
								if ending.name == "Close" && time.Since(began) > 0 {
									t.Errorf("stopped at byte %d: Close took %v", at, time.Since(began))
								}
							}
							if d := time.Since(began); d > 16*time.Second {
								t.Errorf("stopped at byte %d: %s of both nodes took %v", at, ending.name, d)
							}
							lab.Wait(t, waiting, "a call that waits for the link returns")
						})
					}
					if connected == 0 || connecting == 0 {
						t.Errorf("the node was connected in %d cases and not yet in %d: the silence does not walk over the handshake", connected, connecting)
					}
				})
			}
		}
	}
}

// TestEverythingAtOnce starts, calls, changes, drains and closes three nodes at
// the same time, from everywhere: from goroutines, from handlers of both kinds
// and from OnState. Every call of every function returns, with an error that it
// may return, and nobody is told wrong (F35, D23, D24).
func TestEverythingAtOnce(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		rounds := lab.Scale(10, 3, 100)
		if l.Name == "inmem" {
			rounds = lab.Scale(150, 30, 2000)
		}
		for seed := range rounds {
			everythingAtOnce(t, l, uint64(seed))
			if t.Failed() {
				t.Fatalf("in round %d", seed)
			}
		}
	})
}

func everythingAtOnce(t *testing.T, l *lab.Link, seed uint64) {
	const nodes = 3
	var c *lab.Cluster
	random := func(n uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, n)) }
	end := func(ctx context.Context, _ []byte) ([]byte, error) {
		for i := range nodes {
			if c.Node(i).Name == core.PeerFromContext(ctx) {
				return nil, c.Manager((i + 1) % nodes).Close()
			}
		}
		return nil, nil
	}
	ready := make(chan struct{})
	c = l.Cluster(t, nodes, coretest.Unstarted(), lab.Handle("close", end), lab.Handle("close.inline", end, core.WithInline()),
		coretest.WithConfig(func(i int, cfg *core.Config) {
			cfg.OnState = func(s core.StateChange) {
				<-ready
				if i == 2 && s.To == core.StateConnected && seed%4 == 0 {
					_ = c.Manager(2).Close()
				}
			}
		}))
	close(ready)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	var all sync.WaitGroup
	act := func(n uint64, what string, f func(r *rand.Rand) error, allowed ...error) {
		all.Go(func() {
			r := random(n)
			time.Sleep(time.Duration(r.IntN(4000)) * time.Microsecond)
			err := f(r)
			if err == nil {
				return
			}
			for _, a := range append(allowed, core.ErrClosed, core.ErrDraining) {
				if errors.Is(err, a) {
					return
				}
			}
			t.Errorf("%s returned %v", what, err)
		})
	}
	for i := range nodes {
		n := uint64(i) * 100
		m := c.Manager(i)
		act(n+1, "Start", func(*rand.Rand) error { return m.Start(t.Context()) })
		act(n+2, "WaitConnected", func(*rand.Rand) error { return m.WaitConnected(ctx) },
			core.ErrNotStarted, context.DeadlineExceeded, core.ErrUnknownPeer)
		for k := range uint64(3) {
			act(n+10+k, "SetPeers", func(r *rand.Rand) error {
				peers := []core.Node{c.Node(0), c.Node(1), c.Node(2)}
				return m.SetPeers(peers[:r.IntN(4)])
			})
		}
		for k := range uint64(6) {
			act(n+20+k, "a call", func(r *rand.Rand) error {
				to := r.IntN(nodes)
				conn := c.Conn(i, to)
				switch r.IntN(8) {
				case 0:
					_, err := conn.Request(ctx, "close", nil, core.WaitForConnection())
					return err
				case 1:
					_, err := conn.Request(ctx, "close.inline", nil)
					return err
				}
				job := coretest.Job{Request: r.IntN(2) * r.IntN(3*lab.PartSize), Response: r.IntN(2) * r.IntN(3*lab.PartSize)}
				return c.Ledger.Call(ctx, conn, fmt.Sprintf("caller %d of node %d", k, i), coretest.LedgerAppend, job, core.WaitForConnection())
			}, core.ErrNotStarted, core.ErrDisconnected, core.ErrUnknownPeer, context.DeadlineExceeded)
		}
		act(n+30, "Shutdown", func(*rand.Rand) error { return m.Shutdown(ctx) }, context.DeadlineExceeded)
		for k := range uint64(2) {
			act(n+40+k, "Close", func(r *rand.Rand) error {
				time.Sleep(time.Duration(r.IntN(6000)) * time.Microsecond)
				return m.Close()
			})
		}
	}
	done := lab.Go(func() error { all.Wait(); return nil })
	lab.Wait(t, done, "everything that was begun returns")
	c.CheckLedger()
	for i := range nodes {
		if s := c.Conn(i, (i+1)%nodes).State(); s == core.StateConnected || s == core.StateConnecting {
			t.Errorf("after Close the state of a peer is %v", s)
		}
	}
}
