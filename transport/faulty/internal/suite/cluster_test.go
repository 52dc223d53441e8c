package suite_test

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
	"github.com/gridmux/gridmux/internal/memnet"
	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/faulty"
	"github.com/gridmux/gridmux/transport/websocket"
)

// A cluster is two nodes over websocket without a network, so that they can live
// in a bubble.
type cluster struct {
	*coretest.Cluster

	nodes [2]*faulty.Transport
}

func newCluster(t *testing.T, opts ...coretest.Option) *cluster {
	t.Helper()
	c, network := new(cluster), new(memnet.Network)
	for i := range c.nodes {
		c.nodes[i] = faulty.Wrap(websocket.New(websocket.Options{
			DialContext: network.DialContext, Listen: network.ListenContext,
		}))
		t.Cleanup(c.nodes[i].Heal)
	}
	opts = append(opts,
		coretest.WithTransport(func(i int, name string) (transport.Transport, string) { return c.nodes[i], name + ":1" }),
		coretest.WithHandlers(func(_ int, m *core.Manager) error {
			return m.Handle("echo", func(_ context.Context, req []byte) ([]byte, error) { return req, nil })
		}))
	c.Cluster = coretest.NewCluster(t, 2, opts...)
	return c
}

// call returns what a call from node i to the other one gave.
func (c *cluster) call(ctx context.Context, i int, opts ...core.CallOption) error {
	answer, err := c.Conn(i, 1-i).Request(ctx, "echo", []byte("x"), opts...)
	if err == nil && string(answer) != "x" {
		return fmt.Errorf("the answer is %q", answer) //nolint:err113 // It fails the test.
	}
	return err
}

// TestBytesAreCountedWithoutHeadroom expects a cut and a flipped bit where they
// were asked for, on a link whose frames begin with room for its header.
func TestBytesAreCountedWithoutHeadroom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := new(memnet.Network)
		node := faulty.Wrap(websocket.New(websocket.Options{DialContext: network.DialContext}), faulty.WithoutIntegrity())
		l, err := websocket.New(websocket.Options{Listen: network.ListenContext}).Listen(t.Context(), "b:1")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		near, err := node.Dial(t.Context(), transport.Peer{Addr: "b:1"})
		if err != nil {
			t.Fatal(err)
		}
		defer near.CloseWithError(0, "")
		far, err := l.Accept(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer far.CloseWithError(0, "")
		headroom := near.Info().Headroom
		if headroom == 0 || near.Info().Integrity {
			t.Fatalf("Info is %+v", near.Info())
		}
		node.CorruptNext(faulty.Out, 16)
		node.CutAfter(faulty.Out, 9)
		for _, want := range []string{"hemlo", "four"} {
			frame := append(make([]byte, headroom), map[string]string{"hemlo": "hello", "four": "four"}[want]...)
			if err := near.WriteFrames([][]byte{frame}); err != nil {
				t.Fatal(err)
			}
			if got, err := far.ReadFrame(100); string(got) != want {
				t.Errorf("read %q and error %v, not %q", got, err, want)
			}
		}
		if _, err := far.ReadFrame(100); err == nil {
			t.Error("the connection was not cut")
		}
	})
}

// TestOneWayStall expects calls over a link that is dead in one direction to end
// at their deadline in both, the link to be given up, and calls to work after
// the heal.
func TestOneWayStall(t *testing.T) {
	for name, d := range map[string]faulty.Direction{"out": faulty.Out, "in": faulty.In} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t)
				c.nodes[0].Stall(d)
				c.nodes[0].RefuseDials()
				c.nodes[1].RefuseDials()
				var calls sync.WaitGroup
				for i := range 2 {
					calls.Go(func() {
						began := time.Now()
						err := c.call(t.Context(), i, core.WithTimeout(time.Second))
						if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
							t.Errorf("a call from node %d gave error %v after %v", i, err, time.Since(began))
						}
					})
				}
				calls.Wait()
				time.Sleep(time.Minute)
				for i := range 2 {
					if s := c.Conn(i, 1-i).State(); s == core.StateConnected {
						t.Errorf("after a minute node %d still trusts the link", i)
					}
				}
				for i := range 2 {
					c.nodes[i].Heal()
					c.nodes[i].AllowDials()
				}
				for i := range 2 {
					if err := c.call(t.Context(), i, core.WaitForConnection()); err != nil {
						t.Errorf("after the heal a call from node %d gave error %v", i, err)
					}
				}
			})
		})
	}
}

// TestKills cuts the connection 500 times from either end, at random bytes or at
// once, under callers on both sides, and expects every call to return and the
// nodes to find each other again each time.
func TestKills(t *testing.T) {
	const kills = 500
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		ctx, stop := context.WithCancel(t.Context())
		var callers sync.WaitGroup
		var answered [2]int
		for i := range 2 {
			callers.Go(func() {
				for ctx.Err() == nil {
					if c.call(t.Context(), i, core.WithTimeout(time.Minute)) == nil {
						answered[i]++
					}
					time.Sleep(ms)
				}
			})
		}
		rng := rand.New(rand.NewPCG(1, 1))
		for n := range kills {
			node := c.nodes[rng.IntN(2)]
			if n%2 == 0 {
				node.Cut()
			} else {
				node.CutAfter(faulty.Direction(rng.IntN(2)), rng.IntN(2000))
			}
			time.Sleep(time.Duration(rng.IntN(200)) * ms)
			for i := range 2 {
				if err := c.call(t.Context(), i, core.WaitForConnection(), core.WithTimeout(time.Minute)); errors.Is(err, context.DeadlineExceeded) {
					t.Fatalf("kill %d: node %d is not connected again: %v", n, i, err)
				}
			}
		}
		stop()
		callers.Wait()
		if answered[0] < kills || answered[1] < kills {
			t.Errorf("only %v calls were answered", answered)
		}
	})
}

// TestStallInHandshake stalls the first connection of two nodes at every byte of
// what either of them sends, and expects them to give it up and to connect with
// the next one.
func TestStallInHandshake(t *testing.T) {
	for d := range faulty.In + 1 {
		stalled := 0
		for n := range 400 {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t, coretest.Unstarted())
				c.nodes[0].StallAfter(d, n)
				began := time.Now()
				c.Start(0)
				c.Start(1)
				c.WaitConnected()
				if time.Since(began) > time.Second {
					stalled++
				}
			})
		}
		if stalled < 100 || stalled == 400 {
			t.Errorf("direction %d: %d connections were stalled in their handshake", d, stalled)
		}
	}
}
