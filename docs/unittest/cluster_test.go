package unittest

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/transport/inmem"
)

func TestPartitionHeals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// Everything is made inside the bubble, and so sees its clock.
		network := inmem.NewNetwork()
		nodes := []core.Node{{Name: "a", Addr: "a:1"}, {Name: "b", Addr: "b:1"}}
		var managers []*core.Manager
		for _, n := range nodes {
			m, err := core.NewManager(core.Config{
				Local: n, Peers: nodes, AllowInsecure: true, Transport: network.Node(n.Name),
			})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = m.Close() })
			if err := m.Handle("ping", func(context.Context, []byte) ([]byte, error) {
				return []byte("pong"), nil
			}); err != nil {
				t.Fatal(err)
			}
			if err := m.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			managers = append(managers, m)
		}
		b := managers[0].Connection("b")
		if err := b.WaitConnected(t.Context()); err != nil {
			t.Fatal(err)
		}

		// Nothing gets through: the call ends at its time-out, to the nanosecond.
		network.Partition("a", "b")
		began := time.Now()
		_, err := b.Request(t.Context(), "ping", nil, core.WithTimeout(time.Second))
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
			t.Fatalf("after %v: %v", time.Since(began), err)
		}

		// Keep-alive notices, the nodes find each other again after the heal.
		time.Sleep(time.Minute)
		if got := b.State(); got != core.StateConnecting {
			t.Fatalf("state is %v in a partition", got)
		}
		network.Heal("a", "b")
		answer, err := b.Request(t.Context(), "ping", nil, core.WaitForConnection())
		if string(answer) != "pong" {
			t.Fatalf("after the heal: %q, %v", answer, err)
		}
	})
}
