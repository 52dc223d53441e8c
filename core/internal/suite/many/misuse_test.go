package many_test

import (
	"context"
	"errors"
	"io"
	"iter"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/internal/lab"
)

type asking = func(ctx context.Context, c *core.Connection) (string, error)

// forms are the ways to call many, as one that returns the error at the end.
var forms = map[string]func(ctx context.Context, to iter.Seq[*core.Connection], call asking) error{
	"First": func(ctx context.Context, to iter.Seq[*core.Connection], call asking) error {
		_, err := core.First(ctx, to, call)
		return err
	},
	"Quorum": func(ctx context.Context, to iter.Seq[*core.Connection], call asking) error {
		_, err := core.Quorum(ctx, to, 1, call)
		return err
	},
	"Hedged": func(ctx context.Context, to iter.Seq[*core.Connection], call asking) error {
		_, err := core.Hedged(ctx, to, 0, call)
		return err
	},
	"Each": func(ctx context.Context, to iter.Seq[*core.Connection], call asking) error {
		var last error
		for _, err := range core.Each(ctx, to, call) {
			last = err
		}
		return last
	},
}

// TestMisuse holds that whoever calls many in a wrong way is told what is wrong,
// and that nobody is asked then.
func TestMisuse(t *testing.T) {
	lab.Bubble(t, "inmem", func(t *testing.T) {
		c := star(t, lab.InmemLink(), 2)
		all := nodes(c, 0, 1)
		nobody := func(context.Context, *core.Connection) (string, error) {
			t.Error("somebody was asked")
			return "", nil
		}
		for form, call := range forms {
			lab.WantText(t, "a nil context", call(nil, all, nobody), "gridmux: "+form+": ", "context.Background()")
			lab.WantText(t, "a nil set", call(t.Context(), nil, nobody), "gridmux: "+form+": ", "Manager.Connections")
			lab.WantText(t, "a nil function", call(t.Context(), all, nil), "gridmux: "+form+": ", "function")
			empty := call(t.Context(), nodes(c), nobody)
			if form == "Each" {
				if empty != nil {
					t.Errorf("Each of an empty set yielded %v, want nothing", empty)
				}
				continue
			}
			lab.WantText(t, "an empty set", empty, "gridmux: "+form+": ", "nobody to ask")
			for _, err := range []error{empty, call(nil, all, nobody)} {
				if e := wantQuorumError(t, form, err); e.Err == nil || e.Needed != 1 || !errors.Is(err, e.Err) {
					t.Errorf("%s returned %+v", form, e)
				}
				if o := core.OutcomeOf(err); o != core.OutcomeNotSent {
					t.Errorf("%s has the outcome %q of %v, want that nothing was sent", form, o, err)
				}
			}
		}
		for n, text := range map[int]string{0: "0 answers asked for", -3: "-3 answers asked for", 3: "3 answers asked for: the set has 2 peers"} {
			_, err := core.Quorum(t.Context(), all, n, nobody)
			lab.WantText(t, "a quorum", err, text)
		}
		if answers, err := core.Quorum(t.Context(), nodes(c), 0, nobody); err != nil || len(answers) != 0 {
			t.Errorf("a quorum of nobody: %v, %v; want a success", answers, err)
		}
		_, err := core.Hedged(t.Context(), all, -time.Second, nobody)
		lab.WantText(t, "a negative pause", err, "a pause of -1s", "use 0")
	})
}

// TestPanics holds that a panic of the function arrives in the goroutine of the
// caller, whole, after the other calls were cancelled, and that
// runtime.Goexit does too.
func TestPanics(t *testing.T) {
	for form, call := range forms {
		inTime(t, form, []behaviour{{takes: ever}, {takes: 5 * ms}}, func(t *testing.T, c *lab.Cluster, d *does) {
			set := nodes(c, 0, 1)
			late := func(ctx context.Context, conn *core.Connection) (string, error) {
				s, err := ask("does")(ctx, conn)
				if conn == c.Conn(0, 1) {
					panic(io.ErrNoProgress)
				}
				return s, err
			}
			recovered := recoverFrom(func() { call(t.Context(), set, late) })
			err, ok := recovered.(error)
			if !ok || !errors.Is(err, io.ErrNoProgress) {
				t.Fatalf("got the panic %v, want the one of the function", recovered)
			}
			lab.WantText(t, "a panic", err, "node-1", io.ErrNoProgress.Error(), "misuse_test.go")
			asked := "0@0s 1@0s"
			d.want(t, "a panic", 5*ms, asked, "0@5ms")

			recovered = recoverFrom(func() {
				call(t.Context(), set, func(context.Context, *core.Connection) (string, error) { panic("plain") })
			})
			if err, ok := recovered.(error); !ok || !strings.Contains(err.Error(), "plain") || errors.Unwrap(err) != nil {
				t.Errorf("got the panic %v, want a plain one", recovered)
			}

			returned := false
			ended := lab.Go(func() bool {
				inner := make(chan struct{})
				go func() {
					defer close(inner)
					call(t.Context(), set, func(context.Context, *core.Connection) (string, error) {
						runtime.Goexit()
						return "", nil
					})
					returned = true
				}()
				<-inner
				return true
			})
			lab.Wait(t, ended, "the goroutine ends as the one of the function did")
			if returned {
				t.Error("the call returned although its function did not")
			}
		})
	}
}

// TestPanicOfALoser holds that a panic is raised although the call that panicked
// is not waited for any more.
func TestPanicOfALoser(t *testing.T) {
	inTime(t, "loser", []behaviour{{takes: ever}, {takes: 5 * ms}}, func(t *testing.T, c *lab.Cluster, _ *does) {
		recovered := recoverFrom(func() {
			core.First(t.Context(), nodes(c, 0, 1), func(ctx context.Context, conn *core.Connection) (string, error) {
				s, err := ask("does")(ctx, conn)
				if err != nil {
					panic("a loser's")
				}
				return s, err
			})
		})
		if err, ok := recovered.(error); !ok || !strings.Contains(err.Error(), "a loser's") {
			t.Errorf("got the panic %v, want the loser's", recovered)
		}
	})
}

func recoverFrom(f func()) (v any) {
	defer func() { v = recover() }()
	f()
	return nil
}

// TestOutcomeOfMany holds that the outcome of a call to many is what is true for
// all of them, and that the causes of all are found.
func TestOutcomeOfMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := star(t, lab.InmemLink(), 4)
		failing := func(o core.Outcome, err error) error { return &core.CallError{Peer: "x", Outcome: o, Err: err} }
		notSent := failing(core.OutcomeNotSent, core.ErrDisconnected)
		refused := failing(core.OutcomeRefused, core.ErrOverloaded)
		unsure := failing(core.OutcomeMaybeRun, core.ErrDisconnected)
		foreign := errors.New("it differs")
		for _, test := range []struct {
			results []error
			want    core.Outcome
		}{
			{[]error{notSent, notSent}, core.OutcomeNotSent},
			{[]error{refused, refused}, core.OutcomeRefused},
			{[]error{notSent, refused}, core.OutcomeRefused},
			{[]error{refused, notSent, notSent}, core.OutcomeRefused},
			{[]error{notSent, unsure}, core.OutcomeMaybeRun},
			{[]error{unsure, notSent, notSent}, core.OutcomeMaybeRun},
			{[]error{errBroken, errBroken}, core.OutcomeRemote},
			{[]error{errBroken, notSent}, core.OutcomeMaybeRun},
			{[]error{foreign, notSent}, core.OutcomeMaybeRun},
			{[]error{nil, notSent, notSent}, core.OutcomeMaybeRun},
			{[]error{nil, errBroken, errBroken}, core.OutcomeRemote},
		} {
			set := slices.Collect(nodes(c, from(0, len(test.results))...))
			// One more than there are, so that all failures are waited for.
			n := 1
			for _, err := range test.results {
				if err == nil {
					n++
				}
			}
			_, err := core.Quorum(t.Context(), slices.Values(set), n, func(ctx context.Context, conn *core.Connection) (int, error) {
				i := slices.Index(set, conn)
				return 0, test.results[i]
			})
			if got := core.OutcomeOf(err); got != test.want {
				t.Errorf("the outcome of %v is %q, want %q", err, got, test.want)
			}
			e := wantQuorumError(t, "failures", err)
			if len(e.Failed) != len(set)-n+1 || e.GivenUp != nil {
				t.Errorf("got %+v, want that every failure is in it", e)
			}
			for _, f := range e.Failed {
				i := slices.IndexFunc(set, func(c *core.Connection) bool { return c.Peer() == f.Peer })
				if !errors.Is(err, test.results[i]) || f.Err != test.results[i] || !errors.Is(f, f.Err) {
					t.Errorf("%v does not lead to what %s failed with", err, f.Peer)
				}
				if core.OutcomeOf(f) != core.OutcomeOf(test.results[i]) || !lab.Mentions(err, f.Peer+": ") || !lab.Mentions(f, "gridmux: "+f.Peer+": ") {
					t.Errorf("got the text %v, with %v, want each peer named", err, f)
				}
			}
		}
	})
}
