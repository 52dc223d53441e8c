package many_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime"
	"strings"
	"testing"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/core/internal/lab"
)

// star starts n nodes of which the first knows all others, and these only the
// first.
func star(t testing.TB, l *lab.Link, n int, opts ...coretest.Option) *lab.Cluster {
	t.Helper()
	c := l.Cluster(t, n, append(opts, coretest.Unstarted(), coretest.WithConfig(func(i int, cfg *core.Config) {
		if i > 0 {
			cfg.Peers = cfg.Peers[:1]
		}
	}))...)
	for i := range n {
		c.Start(i)
	}
	if err := c.Manager(0).WaitConnected(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c
}

// gates are a handler "gate" on every node, each of which the test opens by
// itself.
func gates(t testing.TB, nodes int) ([]*lab.Gate, coretest.Option) {
	list := make([]*lab.Gate, nodes)
	for i := range list {
		list[i] = lab.NewGate(t, 16)
	}
	return list, coretest.WithHandlers(func(i int, m *core.Manager) error { return m.Handle("gate", list[i].HandleContext) })
}

// nodes is the set of those nodes, as node 0 sees them.
func nodes(c *lab.Cluster, numbers ...int) iter.Seq[*core.Connection] {
	return func(yield func(*core.Connection) bool) {
		for _, i := range numbers {
			if !yield(c.Conn(0, i)) {
				return
			}
		}
	}
}

// ask calls a handler, with the name of the peer for a request.
func ask(h core.HandlerID, opts ...core.CallOption) func(ctx context.Context, c *core.Connection) (string, error) {
	return func(ctx context.Context, c *core.Connection) (string, error) {
		resp, err := c.Request(ctx, h, []byte(c.Peer()), opts...)
		return string(resp), err
	}
}

// names are those of the peers that have answered.
func names[R any](answers []core.Answer[R]) string {
	var list []string
	for _, a := range answers {
		list = append(list, a.From.Peer())
	}
	return strings.Join(list, " ")
}

// failed are the peers that a QuorumError says have failed.
func failed(e *core.QuorumError) string {
	var list []string
	for _, f := range e.Failed {
		list = append(list, f.Peer)
	}
	return strings.Join(list, " ")
}

// wantQuorumError returns the QuorumError in err, or fails the test.
func wantQuorumError(t testing.TB, what string, err error) *core.QuorumError {
	t.Helper()
	e, ok := errors.AsType[*core.QuorumError](err)
	if !ok {
		t.Fatalf("%s: got error %v, want a QuorumError", what, err)
	}
	return e
}

// callers counts the goroutines that make calls to many.
func callers() int {
	buf := make([]byte, 8<<20)
	n := 0
	for stack := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		if strings.Contains(stack, "core.(*fanOut") && strings.Contains(stack, ".run(") {
			n++
		}
	}
	return n
}

// from counts from one number to before another.
func from(first, end int) (list []int) {
	for i := first; i < end; i++ {
		list = append(list, i)
	}
	return list
}

func node(i int) string { return fmt.Sprintf("node-%d", i) }
