package many_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/core/internal/lab"
)

// errBroken is what the nodes answer that are to fail.
var errBroken = &core.RemoteError{Code: 1001, Message: "broken disk"}

// behaviour is how the handler "does" of a node behaves.
type behaviour struct {
	takes time.Duration // below 0: until its caller goes away
	fails bool
}

const ever = -1

// does registers the handler "does", which behaves on node i as list[i] says, and
// reports the instants, after the begin, at which handlers begin and at which
// they see that their caller has gone away.
type does struct {
	list []behaviour

	mu    sync.Mutex
	begin time.Time
	asked []string
	ended []string
}

func (d *does) register() coretest.Option {
	return coretest.WithHandlers(func(i int, m *core.Manager) error {
		return m.Handle("does", func(ctx context.Context, _ []byte) ([]byte, error) { return d.handle(ctx, i) })
	})
}

func (d *does) handle(ctx context.Context, i int) ([]byte, error) {
	d.note(&d.asked, i)
	if takes := d.list[i].takes; takes != 0 {
		var over <-chan time.Time
		if takes > 0 {
			over = time.After(takes)
		}
		select {
		case <-over:
		case <-ctx.Done():
			d.note(&d.ended, i)
			return nil, ctx.Err()
		}
	}
	if d.list[i].fails {
		return nil, errBroken
	}
	return []byte(node(i)), nil
}

func (d *does) note(list *[]string, i int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	*list = append(*list, fmt.Sprintf("%d@%v", i, time.Since(d.begin)))
}

// restart begins a new account, with the time as it is.
func (d *does) restart() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.begin, d.asked, d.ended = time.Now(), nil, nil
}

// want holds who was asked and whose handlers saw an end, in any order for one
// instant, and how much time has passed.
func (d *does) want(t *testing.T, what string, passed time.Duration, asked, ended string) {
	t.Helper()
	if got := time.Since(d.begin); got != passed {
		t.Errorf("%s: it took %v, want %v", what, got, passed)
	}
	synctest.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	slices.Sort(d.asked)
	slices.Sort(d.ended)
	if got := strings.Join(d.asked, " "); got != asked {
		t.Errorf("%s: the handlers that ran are %q, want %q", what, got, asked)
	}
	if got := strings.Join(d.ended, " "); got != ended {
		t.Errorf("%s: the handlers that saw the end are %q, want %q", what, got, ended)
	}
}

const ms = time.Millisecond

// inTime runs a test on a cluster of nodes that behave so.
func inTime(t *testing.T, name string, list []behaviour, test func(t *testing.T, c *lab.Cluster, d *does)) {
	lab.Bubble(t, name, func(t *testing.T) {
		d := &does{list: list}
		c := star(t, lab.InmemLink(), len(list), d.register())
		d.restart()
		test(t, c, d)
		synctest.Wait()
		if n := callers(); n != 0 {
			t.Errorf("%d goroutines that make calls are left", n)
		}
	})
}

// TestEachAsTheyArrive holds that results are yielded at the instant at which they
// arrive, failures among them, and that a silent peer holds up nobody but the end.
func TestEachAsTheyArrive(t *testing.T) {
	inTime(t, "all", []behaviour{{takes: 30 * ms}, {takes: 10 * ms}, {takes: ever}, {takes: 20 * ms, fails: true}},
		func(t *testing.T, c *lab.Cluster, d *does) {
			ctx, cancel := context.WithTimeout(t.Context(), 50*ms)
			defer cancel()
			var got []string
			for a, err := range core.Each(ctx, nodes(c, 0, 1, 2, 3), ask("does")) {
				got = append(got, fmt.Sprintf("%s@%v", a.From.Peer(), time.Since(d.begin)))
				switch a.From {
				case c.Conn(0, 2):
					lab.WantFailure(t, "a silent peer", err, context.DeadlineExceeded, core.OutcomeMaybeRun)
				case c.Conn(0, 3):
					lab.WantFailure(t, "a peer that fails", err, errBroken, core.OutcomeRemote)
				default:
					if err != nil || a.Value != a.From.Peer() {
						t.Errorf("%s answered %q, %v", a.From.Peer(), a.Value, err)
					}
				}
			}
			if text := strings.Join(got, " "); text != "node-1@10ms node-3@20ms node-0@30ms node-2@50ms" {
				t.Errorf("the results were yielded as %s", text)
			}
			d.want(t, "Each", 50*ms, "0@0s 1@0s 2@0s 3@0s", "2@50ms")
		})
}

// TestBreak holds that leaving the loop over Each, by a break or by a panic, takes
// no time even if peers are silent, and that their handlers see it.
func TestBreak(t *testing.T) {
	list := []behaviour{{takes: ever}, {takes: 10 * ms}, {takes: ever}, {takes: ever}}
	inTime(t, "break", list, func(t *testing.T, c *lab.Cluster, d *does) {
		c.Stall(3, 0) // its answers do not arrive, its own end included
		c.Stall(0, 2) // what is sent to it waits, the cancellation too
		for range core.Each(t.Context(), nodes(c, 0, 1, 2, 3), ask("does")) {
			break
		}
		d.want(t, "a break", 10*ms, "0@0s 1@0s 3@0s", "0@10ms 3@10ms")
	})
	inTime(t, "panic", list, func(t *testing.T, c *lab.Cluster, d *does) {
		func() {
			defer func() {
				if v := recover(); v != "mine" {
					t.Errorf("the panic of the loop's body arrived as %v", v)
				}
			}()
			for range core.Each(t.Context(), nodes(c, 0, 1, 2, 3), ask("does")) {
				panic("mine")
			}
		}()
		d.want(t, "a panic in the body", 10*ms, "0@0s 1@0s 2@0s 3@0s", "0@10ms 2@10ms 3@10ms")
	})
	inTime(t, "never ranged", list, func(t *testing.T, c *lab.Cluster, d *does) {
		_ = core.Each(t.Context(), nodes(c, 0, 1, 2, 3), ask("does"))
		time.Sleep(time.Second)
		d.want(t, "an iterator that nobody ranges over", time.Second, "", "")
	})
}

// TestFirst holds that the first success counts, that failures before it do not,
// and that First fails when all have.
func TestFirst(t *testing.T) {
	inTime(t, "success", []behaviour{{takes: ever}, {takes: 5 * ms, fails: true}, {takes: 20 * ms}, {takes: 30 * ms}},
		func(t *testing.T, c *lab.Cluster, d *does) {
			a, err := core.First(t.Context(), nodes(c, 0, 1, 2, 3), ask("does"))
			if err != nil || a.Value != node(2) || a.From != c.Conn(0, 2) {
				t.Errorf("First returned %+v, %v", a, err)
			}
			d.want(t, "First", 20*ms, "0@0s 1@0s 2@0s 3@0s", "0@20ms 3@20ms")
		})
	inTime(t, "all fail", []behaviour{{takes: 10 * ms, fails: true}, {takes: 30 * ms, fails: true}, {takes: 20 * ms, fails: true}},
		func(t *testing.T, c *lab.Cluster, d *does) {
			a, err := core.First(t.Context(), nodes(c, 2, 0, 1), ask("does"))
			e := wantQuorumError(t, "all fail", err)
			if a.From != nil || failed(e) != "node-2 node-0 node-1" || e.GivenUp != nil || e.Succeeded != 0 || e.Needed != 1 {
				t.Errorf("First returned %+v, %+v", a, e)
			}
			lab.WantFailure(t, "all fail", err, errBroken, core.OutcomeRemote)
			want := "gridmux: First: 0 of 3 peers succeeded, 1 needed: does on node-2: broken disk (code 1001); " +
				"does on node-0: broken disk (code 1001); does on node-1: broken disk (code 1001)"
			if err.Error() != want {
				t.Errorf("the text is\n%v, want\n%s", err, want)
			}
			d.want(t, "all fail", 30*ms, "0@0s 1@0s 2@0s", "")
		})
}

// TestQuorumTimes holds that a quorum returns at the instant of the answer that
// makes it full, or of the failure that makes it impossible.
func TestQuorumTimes(t *testing.T) {
	list := []behaviour{{takes: 10 * ms}, {takes: 20 * ms, fails: true}, {takes: 30 * ms}, {takes: 40 * ms, fails: true}, {takes: ever}}
	asked := "0@0s 1@0s 2@0s 3@0s 4@0s"
	inTime(t, "reached", list, func(t *testing.T, c *lab.Cluster, d *does) {
		answers, err := core.Quorum(t.Context(), nodes(c, from(0, 5)...), 2, ask("does"))
		if err != nil || names(answers) != "node-0 node-2" || answers[1].Value != node(2) {
			t.Errorf("Quorum returned %+v, %v", answers, err)
		}
		d.want(t, "a quorum of 2", 30*ms, asked, "3@30ms 4@30ms")
	})
	inTime(t, "impossible", list, func(t *testing.T, c *lab.Cluster, d *does) {
		answers, err := core.Quorum(t.Context(), nodes(c, from(0, 5)...), 4, ask("does"))
		e := wantQuorumError(t, "impossible", err)
		if names(answers) != "node-0 node-2" || failed(e) != "node-1 node-3" || !slices.Equal(e.GivenUp, []string{node(4)}) ||
			e.Succeeded != 2 || e.Needed != 4 || e.Err != nil {
			t.Errorf("Quorum returned the answers of %s and %+v", names(answers), e)
		}
		lab.WantFailure(t, "impossible", err, errBroken, core.OutcomeMaybeRun)
		lab.WantText(t, "impossible", err, "Quorum: 2 of 5 peers succeeded, 4 needed: does on node-1: ", "; does on node-3: ", "; given up: node-4")
		if errors.Is(err, context.Canceled) {
			t.Errorf("the error %v says that the caller's context was cancelled, which is the library's own doing", err)
		}
		d.want(t, "a quorum of 4", 40*ms, asked, "4@40ms")
	})
	inTime(t, "deadline", list, func(t *testing.T, c *lab.Cluster, d *does) {
		ctx, cancel := context.WithTimeout(t.Context(), 25*ms)
		defer cancel()
		answers, err := core.Quorum(ctx, nodes(c, from(0, 5)...), 3, ask("does"))
		e := wantQuorumError(t, "a deadline", err)
		if names(answers) != "node-0" || failed(e) != "node-1 node-2 node-3 node-4" || e.GivenUp != nil {
			t.Errorf("Quorum returned the answers of %s and %+v, want that all others failed", names(answers), e)
		}
		lab.WantFailure(t, "a deadline", err, context.DeadlineExceeded, core.OutcomeMaybeRun)
		lab.WantFailure(t, "a deadline, and who failed before it", err, errBroken, core.OutcomeMaybeRun)
		d.want(t, "a deadline", 25*ms, asked, "2@25ms 3@25ms 4@25ms")
	})
	inTime(t, "cancelled", list, func(t *testing.T, c *lab.Cluster, d *does) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(15*ms, cancel)
		_, err := core.Quorum(ctx, nodes(c, from(0, 5)...), 5, ask("does"))
		lab.WantFailure(t, "a caller that cancels", err, context.Canceled, core.OutcomeMaybeRun)
		d.want(t, "a caller that cancels", 15*ms, asked, "1@15ms 2@15ms 3@15ms 4@15ms")
		d.restart()
		_, err = core.Quorum(ctx, nodes(c, from(0, 5)...), 5, ask("does"))
		lab.WantFailure(t, "a context that has ended", err, context.Canceled, core.OutcomeNotSent)
		d.want(t, "a context that has ended", 0, "", "")
	})
}

// TestHedgedTimes holds when the next peer is asked: after every pause without an
// answer, and at once after a failure, from which a new pause is counted.
func TestHedgedTimes(t *testing.T) {
	for _, test := range []struct {
		name   string
		list   []behaviour
		winner string
		passed time.Duration
		asked  string
		ended  string
	}{
		{
			"a quick one",
			[]behaviour{{takes: 9 * ms}, {}, {}},
			"node-0", 9 * ms, "0@0s", "",
		},
		{
			"a slow one is overtaken",
			[]behaviour{{takes: 100 * ms}, {takes: 5 * ms}, {}},
			"node-1", 15 * ms, "0@0s 1@10ms", "0@15ms",
		},
		{
			"a slow one wins nevertheless",
			[]behaviour{{takes: 12 * ms}, {takes: 5 * ms}, {}},
			"node-0", 12 * ms, "0@0s 1@10ms", "1@12ms",
		},
		{
			"two silent ones",
			[]behaviour{{takes: ever}, {takes: ever}, {takes: 3 * ms}, {}},
			"node-2", 23 * ms, "0@0s 1@10ms 2@20ms", "0@23ms 1@23ms",
		},
		{
			"failures make way",
			[]behaviour{{takes: 2 * ms, fails: true}, {takes: 3 * ms, fails: true}, {takes: ever}, {takes: ms}},
			"node-3", 16 * ms, "0@0s 1@2ms 2@5ms 3@15ms", "2@16ms",
		},
		{
			"a failure after the next was asked",
			[]behaviour{{takes: 14 * ms, fails: true}, {takes: ever}, {takes: ever}, {takes: ms}},
			"node-3", 25 * ms, "0@0s 1@10ms 2@14ms 3@24ms", "1@25ms 2@25ms",
		},
		{
			"the last one is waited for",
			[]behaviour{{takes: ever}, {takes: time.Minute}},
			"node-1", time.Minute + 10*ms, "0@0s 1@10ms", "0@1m0.01s",
		},
	} {
		inTime(t, test.name, test.list, func(t *testing.T, c *lab.Cluster, d *does) {
			a, err := core.Hedged(t.Context(), nodes(c, from(0, len(test.list))...), 10*ms, ask("does"))
			if err != nil || a.Value != test.winner || a.From.Peer() != test.winner {
				t.Errorf("Hedged returned %+v, %v, want the answer of %s", a, err, test.winner)
			}
			d.want(t, test.name, test.passed, test.asked, test.ended)
		})
	}
	inTime(t, "no pause", []behaviour{{takes: ever}, {takes: 2 * ms}, {takes: ever}}, func(t *testing.T, c *lab.Cluster, d *does) {
		a, err := core.Hedged(t.Context(), nodes(c, 0, 1, 2), 0, ask("does"))
		if err != nil || a.Value != node(1) {
			t.Errorf("Hedged returned %+v, %v", a, err)
		}
		d.want(t, "no pause", 2*ms, "0@0s 1@0s 2@0s", "0@2ms 2@2ms")
	})
	inTime(t, "all fail", []behaviour{{takes: ms, fails: true}, {takes: 14 * ms, fails: true}, {takes: ms, fails: true}},
		func(t *testing.T, c *lab.Cluster, d *does) {
			_, err := core.Hedged(t.Context(), nodes(c, 0, 1, 2), 10*ms, ask("does"))
			e := wantQuorumError(t, "all fail", err)
			if failed(e) != "node-0 node-1 node-2" || e.GivenUp != nil {
				t.Errorf("Hedged returned %+v", e)
			}
			lab.WantFailure(t, "all fail", err, errBroken, core.OutcomeRemote)
			d.want(t, "all fail", 15*ms, "0@0s 1@1ms 2@11ms", "")
		})
	inTime(t, "a deadline", []behaviour{{takes: ever}, {takes: ever}, {}, {}}, func(t *testing.T, c *lab.Cluster, d *does) {
		ctx, cancel := context.WithTimeout(t.Context(), 15*ms)
		defer cancel()
		_, err := core.Hedged(ctx, nodes(c, 0, 1, 2, 3), 10*ms, ask("does"))
		e := wantQuorumError(t, "a deadline", err)
		if failed(e) != "node-0 node-1" || !slices.Equal(e.GivenUp, []string{node(2), node(3)}) {
			t.Errorf("Hedged returned %+v, want that two failed and two were not asked", e)
		}
		lab.WantFailure(t, "a deadline", err, context.DeadlineExceeded, core.OutcomeMaybeRun)
		d.want(t, "a deadline", 15*ms, "0@0s 1@10ms", "0@15ms 1@15ms")
	})
	inTime(t, "a function that is slow to see the end", []behaviour{{takes: ever}, {}}, func(t *testing.T, c *lab.Cluster, d *does) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*ms)
		defer cancel()
		_, err := core.Hedged(ctx, nodes(c, 0, 1), 10*ms, func(ctx context.Context, conn *core.Connection) (string, error) {
			s, err := ask("does")(ctx, conn)
			time.Sleep(15 * ms)
			return s, err
		})
		if e := wantQuorumError(t, "a deadline", err); failed(e) != "node-0" || !slices.Equal(e.GivenUp, []string{node(1)}) {
			t.Errorf("Hedged returned %+v, want that the second was not asked", e)
		}
		d.want(t, "a deadline", 20*ms, "0@0s", "0@5ms")
	})
	inTime(t, "no connection", []behaviour{{}, {}, {takes: ms}}, func(t *testing.T, c *lab.Cluster, d *does) {
		c.Stop(1)
		synctest.Wait()
		a, err := core.Hedged(t.Context(), nodes(c, 1, 2), 10*ms, ask("does"))
		if err != nil || a.Value != node(2) {
			t.Errorf("Hedged returned %+v, %v", a, err)
		}
		d.want(t, "no connection to the first", ms, "2@0s", "")
	})
}
