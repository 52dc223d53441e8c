package core_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/gridmux/gridmux/core"
)

// Ask all peers, and take the results as they arrive.
func ExampleEach() {
	m, stop := fiveNodes(func(m *core.Manager, name string) error {
		return m.Handle("disk.free", func(context.Context, []byte) ([]byte, error) {
			if name == "d" {
				return nil, errors.New("no disk")
			}
			return []byte("100 GB"), nil
		})
	})
	defer stop()

	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	var lines []string
	for answer, err := range core.Each(ctx, m.Connections(), func(ctx context.Context, c *core.Connection) ([]byte, error) {
		return c.Request(ctx, "disk.free", nil)
	}) {
		if err != nil {
			lines = append(lines, fmt.Sprintf("%s: %v", answer.From.Peer(), err))
			continue
		}
		lines = append(lines, fmt.Sprintf("%s: %s", answer.From.Peer(), answer.Value))
	}
	slices.Sort(lines) // they come in any order
	for _, line := range lines {
		fmt.Println(line)
	}
	// Output:
	// b: 100 GB
	// c: 100 GB
	// d: gridmux: disk.free on d: no disk
	// e: 100 GB
}

// Ask a chosen few, and take whoever answers first. What nobody waits for is
// cancelled.
func ExampleFirst() {
	m, stop := fiveNodes(func(m *core.Manager, name string) error {
		return m.Handle("block.read", func(ctx context.Context, _ []byte) ([]byte, error) {
			if name == "b" { // has got stuck
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return []byte("block of " + name), nil
		})
	})
	defer stop()

	replicas := slices.Values([]*core.Connection{m.Connection("b"), m.Connection("e")})
	answer, err := core.First(context.Background(), replicas, func(ctx context.Context, c *core.Connection) ([]byte, error) {
		return c.Request(ctx, "block.read", []byte("block-7"))
	})
	fmt.Printf("%s %v\n", answer.Value, err)
	// Output: block of e <nil>
}

// A write to all nodes, the local one among them, that has succeeded when a
// majority has it.
func ExampleQuorum() {
	full := &core.RemoteError{Code: 1001, Message: "disk full"}
	m, stop := fiveNodes(func(m *core.Manager, name string) error {
		return m.Handle("block.write", func(context.Context, []byte) ([]byte, error) {
			if name == "b" || name == "d" {
				return nil, full
			}
			return nil, nil
		})
	})
	defer stop()

	write := func(ctx context.Context, c *core.Connection) ([]byte, error) {
		return c.Request(ctx, "block.write", []byte("data"))
	}
	everybody := slices.Values(append(slices.Collect(m.Connections()), m.Connection("a")))
	answers, err := core.Quorum(context.Background(), everybody, 3, write)
	fmt.Println(len(answers), err)

	// Of four it cannot be: the error says who is to blame.
	_, err = core.Quorum(context.Background(), everybody, 4, write)
	fmt.Println(errors.Is(err, full))
	if failure, ok := errors.AsType[*core.QuorumError](err); ok {
		for _, f := range failure.Failed {
			fmt.Println(f.Peer+":", f.Err)
		}
	}
	// Output:
	// 3 <nil>
	// true
	// b: gridmux: block.write on b: disk full (code 1001)
	// d: gridmux: block.write on d: disk full (code 1001)
}

// Answers that have to agree: the function says what success is.
func ExampleQuorum_agreement() {
	m, stop := fiveNodes(func(m *core.Manager, name string) error {
		return m.Handle("leader", func(context.Context, []byte) ([]byte, error) {
			if name == "e" {
				return []byte("x"), nil
			}
			return []byte("a"), nil
		})
	})
	defer stop()

	answers, err := core.Quorum(context.Background(), m.Connections(), 3,
		func(ctx context.Context, c *core.Connection) ([]byte, error) {
			leader, err := c.Request(ctx, "leader", nil)
			if err == nil && !bytes.Equal(leader, []byte("a")) {
				err = fmt.Errorf("follows %s", leader)
			}
			return leader, err
		})
	fmt.Println(len(answers), err)
	// Output: 3 <nil>
}

// A read that asks the next replica when one has not answered for 20 ms, and at
// once when one fails.
func ExampleHedged() {
	m, stop := fiveNodes(func(m *core.Manager, name string) error {
		return m.Handle("block.read", func(ctx context.Context, _ []byte) ([]byte, error) {
			switch name {
			case "b": // is slow
				<-ctx.Done()
				return nil, ctx.Err()
			case "c":
				return nil, errors.New("no such block")
			}
			return []byte("block of " + name), nil
		})
	})
	defer stop()

	replicas := slices.Values([]*core.Connection{m.Connection("b"), m.Connection("c"), m.Connection("d")})
	answer, err := core.Hedged(context.Background(), replicas, 20*time.Millisecond,
		func(ctx context.Context, c *core.Connection) ([]byte, error) {
			return c.Request(ctx, "block.read", []byte("block-7"))
		})
	fmt.Printf("%s %v\n", answer.Value, err)
	// Output: block of d <nil>
}
