package core_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log"
	"sync"
	"sync/atomic"

	"github.com/gridmux/gridmux/core"
)

// The form without allocations, on both sides: handler and caller append to
// memory that is there. This handler never blocks, so it need not have a
// goroutine of its own either.
func ExampleConnection_AppendRequest() {
	var position atomic.Uint64
	conn, stop := twoNodes(func(m *core.Manager) error {
		return m.HandleAppend("log.append", func(_ context.Context, req, dst []byte) ([]byte, error) {
			return binary.BigEndian.AppendUint64(dst, position.Add(uint64(len(req)))), nil
		}, core.WithInline())
	})
	defer stop()

	buf := make([]byte, 0, 64)
	for _, entry := range []string{"set colour", "set size"} {
		answer, err := conn.AppendRequest(context.Background(), "log.append", []byte(entry), buf[:0])
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(binary.BigEndian.Uint64(answer))
	}
	// Output:
	// 10
	// 18
}

// One handler for each disk of a node, under the same id: the route says which.
func ExampleConnection_Route() {
	conn, stop := twoNodes(func(m *core.Manager) error {
		stat := func(ctx context.Context, _ []byte) ([]byte, error) {
			return fmt.Appendf(nil, "%s is well", core.RouteFromContext(ctx)), nil
		}
		for _, disk := range []string{"disk1", "disk2"} {
			if err := m.Handle("disk.stat", stat, core.WithRoute(disk)); err != nil {
				return err
			}
		}
		return nil
	})
	defer stop()

	disk2 := conn.Route("disk2") // a Caller, as conn is: typed methods take it too
	answer, err := disk2.Request(context.Background(), "disk.stat", nil)
	fmt.Println(string(answer), err)

	// Is there a third disk?
	has, err := conn.Route("disk3").Handles(context.Background(), "disk.stat")
	fmt.Println(has, err)
	// Output:
	// disk2 is well <nil>
	// false <nil>
}

// A job that must not run twice at once. A call over the limit does not queue: the
// caller is told at once, and that nothing has run.
func ExampleWithConcurrency() {
	running, finish := make(chan struct{}), make(chan struct{})
	conn, stop := twoNodes(func(m *core.Manager) error {
		return m.Handle("compact", func(context.Context, []byte) ([]byte, error) {
			close(running)
			<-finish
			return []byte("compacted"), nil
		}, core.WithConcurrency(1))
	})
	defer stop()

	var first sync.WaitGroup
	first.Go(func() {
		answer, err := conn.Request(context.Background(), "compact", nil)
		fmt.Println(string(answer), err)
	})
	<-running
	_, err := conn.Request(context.Background(), "compact", nil)
	fmt.Println(errors.Is(err, core.ErrOverloaded), core.OutcomeOf(err))
	close(finish)
	first.Wait()
	// Output:
	// true refused
	// compacted <nil>
}

// A repair that copies blocks in the background, and leaves the link to the calls
// of users whenever there are any.
func ExampleWithPriority() {
	var blocks, gets atomic.Int32
	conn, stop := twoNodes(func(m *core.Manager) error {
		return errors.Join(
			m.Handle("block.put", func(context.Context, []byte) ([]byte, error) { blocks.Add(1); return nil, nil }),
			m.Handle("kv.get", func(context.Context, []byte) ([]byte, error) { gets.Add(1); return []byte("blue"), nil }),
		)
	})
	defer stop()

	background := core.WithPriority(core.PriorityLow) // made once: a kept option costs no allocation
	var repair sync.WaitGroup
	repair.Go(func() {
		block := make([]byte, 1<<20)
		for range 8 {
			if _, err := conn.Request(context.Background(), "block.put", block, background); err != nil {
				log.Print(err)
			}
		}
	})
	for range 100 {
		if _, err := conn.Request(context.Background(), "kv.get", []byte("colour")); err != nil {
			log.Print(err)
		}
	}
	repair.Wait()
	fmt.Println(blocks.Load(), gets.Load())
	// Output: 8 100
}
