package coretest_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
)

// A test of a program's own handler on two nodes.
func ExampleNewCluster() {
	greet := func(ctx context.Context, req []byte) ([]byte, error) {
		return fmt.Appendf(nil, "hello %s, I know you as %s", req, core.PeerFromContext(ctx)), nil
	}
	test := func(t testing.TB) { // a test function of yours
		cluster := coretest.NewCluster(t, 2, coretest.WithHandlers(func(_ int, m *core.Manager) error {
			return m.Handle("greet", greet)
		}))
		resp, err := cluster.Conn(0, 1).Request(t.Context(), "greet", []byte("world"))
		fmt.Println(string(resp), err)
	}
	run(test)
	// Output: hello world, I know you as node-0 <nil>
}

// TestPartition is the recipe for a test in virtual time: what a call does while
// its peer is cut off. The 30 seconds pass at once.
func TestPartition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := coretest.NewCluster(t, 2, coretest.WithHandlers(func(_ int, m *core.Manager) error {
			return m.Handle("stat", func(context.Context, []byte) ([]byte, error) { return nil, nil })
		}))
		cluster.Network().Partition("node-0", "node-1")
		time.Sleep(30 * time.Second)
		_, err := cluster.Conn(0, 1).Request(t.Context(), "stat", nil)
		if !errors.Is(err, core.ErrDisconnected) {
			t.Errorf("got %v, want ErrDisconnected", err)
		}
		cluster.Network().HealAll()
		cluster.WaitConnected()
	})
}

// A test that lets calls fail on purpose and holds that every error told the
// truth about whether the handler ran.
func ExampleLedger() {
	ledger := coretest.NewLedger()
	test := func(t testing.TB) { // a test function of yours
		cluster := coretest.NewCluster(t, 2, coretest.WithHandlers(func(_ int, m *core.Manager) error {
			return ledger.Register(m)
		}))
		for range 10 {
			_ = ledger.Call(t.Context(), cluster.Conn(0, 1), "caller-1", coretest.LedgerHandle, coretest.Job{Request: 1000, Response: 1000})
		}
	}
	run(test)
	fmt.Println(ledger.Check(), ledger.Counts().OK)
	// Output: <nil> 10
}

// What a peer that is broken or was taken over may send in place of a message: one
// line for each type, in any test. It finds a type whose file has no limits.
func ExampleHostileMessages() {
	test := func(t testing.TB) { // a test function of yours
		coretest.HostileMessages(t, &report{
			Disks:  []disk{{Name: "disk1", Sum: []byte{1}}}, // something in every field
			Labels: map[string]string{"rack": "7"},
			Marks:  []uint32{1},
		})
	}
	fmt.Println("with limits it fails:", len(failuresOf(test)) > 0)

	forgotten := func(t testing.TB) {
		coretest.HostileMessages(t, &unlimitedList{Items: []uint64{1}})
	}
	fmt.Println("without limits it fails:", len(failuresOf(forgotten)) > 0)
	// Output:
	// with limits it fails: false
	// without limits it fails: true
}
