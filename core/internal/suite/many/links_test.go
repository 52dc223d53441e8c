package many_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/internal/lab"
)

// begun waits for the handlers behind the gates to begin and returns their
// contexts.
func begun(t *testing.T, list ...*lab.Gate) (contexts []context.Context) {
	t.Helper()
	for _, g := range list {
		contexts = append(contexts, lab.Wait(t, g.Began, "the handler of everybody who is asked begins"))
	}
	return contexts
}

func wantEnded(t *testing.T, contexts ...context.Context) {
	t.Helper()
	for _, ctx := range contexts {
		lab.Wait(t, ctx.Done(), "the handler of a loser sees that its call was cancelled")
		if !errors.Is(ctx.Err(), context.Canceled) {
			t.Errorf("the context of a loser's handler ended with %v, want that it was cancelled", ctx.Err())
		}
	}
}

type result[T any] struct {
	value T
	err   error
}

// TestLosersSeeIt holds over every link that the handlers of those whose answers
// are not waited for any more see it: the rest after the first answer, after a
// quorum, after a quorum that cannot be reached any more, after a break, and
// those that were too slow of a hedged call. The local node is among those that
// are asked.
func TestLosersSeeIt(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		list, register := gates(t, 4)
		c := l.Cluster(t, 4, register, lab.Handle("refuses", func(ctx context.Context, _ []byte) ([]byte, error) {
			for _, g := range list[2:] {
				g.Began <- <-g.Began // when those have begun
			}
			return nil, errors.New("no")
		}))
		open := func(i int) { list[i].Open <- struct{}{} }
		all := nodes(c, 0, 1, 2, 3)

		first := lab.Go(func() result[core.Answer[string]] {
			a, err := core.First(t.Context(), all, ask("gate"))
			return result[core.Answer[string]]{a, err}
		})
		contexts := begun(t, list...)
		open(2)
		if got := lab.Wait(t, first, "First returns"); got.err != nil || got.value.Value != node(2) || got.value.From != c.Conn(0, 2) {
			t.Errorf("First returned %+v, want the answer of node 2", got)
		}
		wantEnded(t, contexts[0], contexts[1], contexts[3])

		quorum := lab.Go(func() result[[]core.Answer[string]] {
			a, err := core.Quorum(t.Context(), all, 2, ask("gate"))
			return result[[]core.Answer[string]]{a, err}
		})
		contexts = begun(t, list...)
		open(3)
		open(0)
		got := lab.Wait(t, quorum, "Quorum returns")
		if who := names(got.value); got.err != nil || who != node(3)+" "+node(0) && who != node(0)+" "+node(3) {
			t.Errorf("Quorum returned the answers of %q and %v, want those of nodes 0 and 3", who, got.err)
		}
		wantEnded(t, contexts[1], contexts[2])

		// Nodes 0 and 1 fail when 2 and 3 have begun, so 3 of 4 cannot be reached.
		impossible := lab.Go(func() result[[]core.Answer[string]] {
			a, err := core.Quorum(t.Context(), all, 3, func(ctx context.Context, conn *core.Connection) (string, error) {
				if conn.Peer() < node(2) {
					return ask("refuses")(ctx, conn)
				}
				return ask("gate")(ctx, conn)
			})
			return result[[]core.Answer[string]]{a, err}
		})
		got = lab.Wait(t, impossible, "a Quorum that cannot be reached returns")
		e := wantQuorumError(t, "a quorum that cannot be reached", got.err)
		if failed(e) != node(0)+" "+node(1) || !slices.Equal(e.GivenUp, []string{node(2), node(3)}) {
			t.Errorf("got %+v, want that 0 and 1 failed, and 2 and 3 were given up", e)
		}
		wantEnded(t, begun(t, list[2:]...)...)

		broken := lab.Go(func() string {
			for a, err := range core.Each(t.Context(), all, ask("gate")) {
				if err != nil {
					return err.Error()
				}
				return a.Value
			}
			return "nothing"
		})
		contexts = begun(t, list...)
		open(1)
		if got := lab.Wait(t, broken, "the loop over Each ends"); got != node(1) {
			t.Errorf("Each yielded %s, want the answer of node 1", got)
		}
		wantEnded(t, contexts[0], contexts[2], contexts[3])

		hedged := lab.Go(func() result[core.Answer[string]] {
			a, err := core.Hedged(t.Context(), nodes(c, 3, 2, 1), time.Millisecond, ask("gate"))
			return result[core.Answer[string]]{a, err}
		})
		contexts = begun(t, list[3], list[2], list[1])
		open(2)
		if got := lab.Wait(t, hedged, "Hedged returns"); got.err != nil || got.value.Value != node(2) {
			t.Errorf("Hedged returned %+v, want the answer of node 2", got)
		}
		wantEnded(t, contexts[0], contexts[2])
		c.CheckLedger()
	})
}

// TestEachOverLinks holds over every link that everybody in the set is yielded
// once, with an answer or with the error of the call, whatever else happens; and
// that an iterator asks again when it is ranged over again.
func TestEachOverLinks(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		c := l.Cluster(t, 3)
		stranger := c.Manager(0).Connection("stranger")
		set := slices.Values([]*core.Connection{c.Conn(0, 0), c.Conn(0, 1), stranger, c.Conn(0, 2), c.Conn(0, 1), nil})
		each := core.Each(t.Context(), set, ask("echo"))
		for range 2 {
			got := map[string]int{}
			for a, err := range each {
				got[a.From.Peer()]++
				switch a.From {
				case stranger:
					lab.WantFailure(t, "a stranger", err, core.ErrUnknownPeer, core.OutcomeNotSent)
				case nil:
					lab.WantFailure(t, "no connection", err, core.ErrNotStarted, core.OutcomeNotSent)
				default:
					if err != nil || a.Value != a.From.Peer() {
						t.Errorf("%s answered %q, %v", a.From.Peer(), a.Value, err)
					}
				}
			}
			if len(got) != 5 || got[node(1)] != 2 || got[node(0)] != 1 || got[node(2)] != 1 {
				t.Errorf("Each yielded %v, want everybody of the set once", got)
			}
		}
		for a, err := range core.Each(t.Context(), c.Manager(0).Connections(), ask("nobody's")) {
			lab.WantFailure(t, "a handler that "+a.From.Peer()+" has not", err, core.ErrUnknownHandler, core.OutcomeRefused)
		}
	})
}
