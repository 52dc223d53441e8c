package sessions_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/core/internal/lab"
	"github.com/gridmux/gridmux/transport/inmem"
)

// mayRepeat reports whether a call that failed with err can be made again
// without its handler running twice.
func mayRepeat(err error) bool {
	o := core.OutcomeOf(err)
	return o == core.OutcomeNotSent || o == core.OutcomeRefused
}

// wantNoLoss holds that no call was left in doubt, closes all nodes, and has the
// ledger checked.
func wantNoLoss(c *lab.Cluster) {
	c.T.Helper()
	if n := c.Ledger.Counts(); n.MaybeRun != 0 || n.OK == 0 {
		c.T.Errorf("%+v: want successes, and no caller in doubt", n)
	}
	c.CheckLedger()
}

// relay is a handler that passes a request of the ledger on to another node,
// with the context of its own call.
func relay(c *atomic.Pointer[lab.Cluster], from, to int) core.HandlerFunc {
	return func(ctx context.Context, req []byte) ([]byte, error) {
		return c.Load().Conn(from, to).Request(ctx, coretest.LedgerAppend, req)
	}
}

// TestDrainUnderFullLoad drains a node that 64 callers on two others keep busy:
// with small calls, with callers that wait for room, with messages in parts, and
// by way of the node to a third one. What was accepted ends well, everything
// else may be repeated, and nobody is left in doubt (F19).
func TestDrainUnderFullLoad(t *testing.T) {
	for _, test := range []struct {
		name   string
		job    func(i int) coretest.Job
		output int // Config.MaxOutput
		relay  bool
	}{
		{name: "small", job: func(int) coretest.Job { return coretest.Job{} }},
		{name: "callers wait for room", output: 4 << 10, job: func(int) coretest.Job { return coretest.Job{Request: 3 << 10, Response: 3 << 10} }},
		{name: "large", job: func(i int) coretest.Job {
			return coretest.Job{Request: i % 5 * lab.PartSize, Response: i % 4 * lab.PartSize}
		}},
		{name: "slow handlers", job: func(i int) coretest.Job {
			return coretest.Job{Mode: coretest.Slow, For: time.Duration(i%7) * time.Millisecond, Response: i % 3 * lab.PartSize}
		}},
		{name: "on to a third node", relay: true, job: func(i int) coretest.Job { return coretest.Job{Request: i % 3 * lab.PartSize} }},
	} {
		t.Run(test.name, func(t *testing.T) {
			lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
				for range lab.Scale(2, 1, 10) {
					var known atomic.Pointer[lab.Cluster]
					c := l.Cluster(t, 3, lab.Handle("relay", relay(&known, 1, 2)), lab.Configure(func(cfg *core.Config) { cfg.MaxOutput = test.output }))
					known.Store(c)
					drainUnderLoad(t, c, test.job, test.relay)
				}
			})
		})
	}
}

func drainUnderLoad(t *testing.T, c *lab.Cluster, job func(i int) coretest.Job, relayed bool) {
	var over atomic.Bool
	var done, repeats atomic.Int32
	var load sync.WaitGroup
	enough := make(chan struct{})
	call := func(i, n int) error {
		conn, who := c.Conn(i%2*2, 1), fmt.Sprintf("caller %d", i)
		if !relayed {
			return c.Ledger.Call(t.Context(), conn, who, coretest.LedgerAppend, job(i+n))
		}
		one := c.Ledger.Begin(who, job(i+n))
		resp, err := c.Conn(0, 1).Request(t.Context(), "relay", one.Payload())
		one.Return(resp, err)
		return err
	}
	for i := range 64 {
		load.Go(func() {
			for n := 0; !over.Load(); n++ {
				err := call(i, n)
				switch {
				case err == nil:
					if done.Add(1) == 100 {
						close(enough)
					}
				case mayRepeat(err) && (errors.Is(err, core.ErrDraining) || errors.Is(err, core.ErrDisconnected)):
					repeats.Add(1)
					time.Sleep(10 * time.Microsecond) // lets the time of a bubble pass
				default:
					t.Errorf("a call to a node that drains returned outcome %q of %v", core.OutcomeOf(err), err)
					return
				}
			}
		})
	}
	lab.Wait(t, enough, "the load gets going")
	if err := lab.Wait(t, lab.Go(func() error { return c.Manager(1).Shutdown(t.Context()) }), "Shutdown under load returns"); err != nil {
		t.Errorf("Shutdown under load returned %v", err)
	}
	lab.Until(t, "callers notice that the node has gone", func() bool { return repeats.Load() > 64 })
	over.Store(true)
	load.Wait()
	wantNoLoss(c)
}

// TestDrainToTheInstant sends a call every 2 ms over a link of 10 ms around the
// moment at which its node begins to drain, or takes the caller out. Those that
// had arrived end well, those that were under way are refused, and those after
// the news are not sent (F19).
func TestDrainToTheInstant(t *testing.T) {
	const latency, takes = 10 * time.Millisecond, 30 * time.Millisecond
	for name, leave := range map[string]func(c *lab.Cluster) error{
		"Shutdown": func(c *lab.Cluster) error { return c.Manager(1).Shutdown(context.Background()) }, //nolint:usetesting // A context from outside the bubble would stop its clock.
		"SetPeers": func(c *lab.Cluster) error { return c.Manager(1).SetPeers(nil) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				all, counted := takeCensus(2)
				c := lab.InmemLink().Cluster(t, 2, counted)
				c.Memory().SetLatency(latency)
				c.Memory().RefuseDials(c.Node(0).Name, c.Node(1).Name) // what counts is the connection that is left
				time.Sleep(time.Second)
				drain := time.Now().Add(time.Second)
				var calls sync.WaitGroup
				for at := -31 * time.Millisecond; at < 40*time.Millisecond; at += 2 * time.Millisecond {
					calls.Go(func() {
						time.Sleep(time.Until(drain.Add(at)))
						job := coretest.Job{Mode: coretest.Slow, For: takes}
						err := c.Ledger.Call(t.Context(), c.Conn(0, 1), "caller", coretest.LedgerHandle, job)
						switch {
						case at < -latency && err != nil:
							t.Errorf("a call that arrived %v before the drain returned %v", -at-latency, err)
						case at > -latency && at < latency:
							lab.WantFailure(t, fmt.Sprintf("a call under way, made at %v,", at), err, core.ErrDraining, core.OutcomeRefused)
						case at > latency && (err == nil || core.OutcomeOf(err) != core.OutcomeNotSent):
							t.Errorf("a call after the news, made at %v, returned outcome %q of %v", at, core.OutcomeOf(err), err)
						}
					})
				}
				time.Sleep(time.Until(drain))
				if err := leave(c); err != nil {
					t.Errorf("%s returned %v", name, err)
				}
				for all[1].opened() > 0 {
					time.Sleep(time.Millisecond)
				}
				// The last handler has begun just before, and its answer is read half a round trip
				// before the node knows.
				if d := time.Since(drain); d < takes+2*latency-2*time.Millisecond || d > takes+2*latency+2*time.Millisecond {
					t.Errorf("the drain took %v, want about the %v of the last handler and the round trip of %v", d, takes, 2*latency)
				}
				calls.Wait()
				wantNoLoss(c)
			})
		})
	}
}

// TestDrainWithMessagesHalfWay drains a node while messages in parts are half
// way to it and from it, over a link that takes a second for each. They arrive
// whole; one that had not begun is not sent (F19).
func TestDrainWithMessagesHalfWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := lab.InmemLink().Cluster(t, 2)
		c.Memory().SetConditions(inmem.Conditions{Bandwidth: 1 << 20, Latency: time.Millisecond})
		big := coretest.Job{Request: 1 << 20, Response: 100}
		back := coretest.Job{Request: 100, Response: 1 << 20}
		var calls sync.WaitGroup
		for _, job := range []coretest.Job{big, back} {
			for from := range 2 {
				calls.Go(func() {
					if err := c.Ledger.Call(t.Context(), c.Conn(from, 1-from), "half way", coretest.LedgerAppend, job); err != nil {
						t.Errorf("a call of node %d that was half way when the other drained returned %v", from, err)
					}
				})
			}
		}
		time.Sleep(500 * time.Millisecond)
		if n := c.Ledger.Counts(); n.OK != 0 {
			t.Fatalf("%+v: the calls are over before the drain begins", n)
		}
		done := lab.Go(func() error { return c.Manager(1).Shutdown(t.Context()) })
		time.Sleep(300 * time.Millisecond)
		err := c.Ledger.Call(t.Context(), c.Conn(0, 1), "late", coretest.LedgerAppend, big)
		if err == nil || core.OutcomeOf(err) != core.OutcomeNotSent {
			t.Errorf("a large call after the news returned outcome %q of %v", core.OutcomeOf(err), err)
		}
		if err := lab.Wait(t, done, "Shutdown returns"); err != nil {
			t.Errorf("Shutdown returned %v", err)
		}
		calls.Wait()
		wantNoLoss(c)
	})
}

// TestDrainSaysWhatIsHalfWay drains with too little time for a request that is half way.
// The error says what was waited for. It used to say that everything had been answered.
func TestDrainSaysWhatIsHalfWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := lab.InmemLink().Cluster(t, 2)
		c.Memory().SetConditions(inmem.Conditions{Bandwidth: 1 << 20})
		called := lab.GoCall(t.Context(), c.Conn(0, 1), "echo", make([]byte, 1<<20))
		time.Sleep(500 * time.Millisecond)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		lab.WantText(t, "Shutdown", c.Manager(1).Shutdown(ctx), `in progress (request of which "node-0" has not sent all): `)
		r := lab.Wait(t, called, "the call ends")
		lab.WantFailure(t, "a request that was half way", r.Err, core.ErrDisconnected, core.OutcomeMaybeRun)
	})
}

// TestDrainOfANodeThatDoesNotRead fills the output towards a node that does not
// read, which then drains. Callers learn at once that what was not written was
// not sent; what the link had taken is refused when the node reads again (F19).
func TestDrainOfANodeThatDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := lab.InmemLink().Cluster(t, 2, lab.Configure(func(cfg *core.Config) { cfg.MaxOutput = 100_000 }))
		c.Stall(0, 1)
		var calls sync.WaitGroup
		var refused, notSent atomic.Int32
		for i := range 200 {
			calls.Go(func() {
				err := c.Ledger.Call(t.Context(), c.Conn(0, 1), "caller", coretest.LedgerAppend, coretest.Job{Request: 1000 + i%10*5000})
				switch core.OutcomeOf(err) {
				case core.OutcomeNotSent:
					notSent.Add(1)
				case core.OutcomeRefused:
					refused.Add(1)
				case core.OutcomeMaybeRun, core.OutcomeRemote:
					t.Errorf("a call to a node that drains unread returned %v", err)
				}
			})
		}
		time.Sleep(time.Second)
		done := lab.Go(func() error { return c.Manager(1).Shutdown(t.Context()) })
		synctest.Wait()
		if notSent.Load() < 100 || refused.Load() != 0 {
			t.Errorf("when the news of the drain has come %d calls have returned as not sent and %d as refused, want most and none",
				notSent.Load(), refused.Load())
		}
		select {
		case err := <-done:
			t.Errorf("Shutdown returned %v before it could know that nothing is under way", err)
		default:
		}
		atOnce := notSent.Load()
		c.Memory().HealAll()
		if err := lab.Wait(t, done, "Shutdown returns when the link is well"); err != nil {
			t.Errorf("Shutdown returned %v", err)
		}
		calls.Wait()
		if late := notSent.Load() - atOnce; late != 0 {
			t.Errorf("%d callers learned only later that nothing was sent", late)
		}
		if n := c.Ledger.Counts(); refused.Load() == 0 || n.Started != 0 || n.MaybeRun != 0 {
			t.Errorf("%d calls were refused, and %+v: want some refused, none run and nobody in doubt", refused.Load(), n)
		}
		c.CheckLedger()
	})
}

// TestDrainOfBoth drains both ends of a link at the same instant, with calls in
// progress both ways: all of them end well (F19).
func TestDrainOfBoth(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		g := lab.NewGate(t, 2)
		c := l.Cluster(t, 2, lab.Handle("block", g.Handle))
		var calls [2]<-chan lab.Reply
		for i := range calls {
			calls[i] = lab.GoCall(t.Context(), c.Conn(i, 1-i), "block", lab.Pattern(i, 3*lab.PartSize))
			lab.Wait(t, g.Began, "a handler begins")
		}
		var done [2]<-chan error
		for i := range done {
			done[i] = lab.Go(func() error { return c.Manager(i).Shutdown(t.Context()) })
		}
		lab.Until(t, "both drain", func() bool {
			_, a := c.Conn(0, 1).Request(t.Context(), "echo", nil)
			_, b := c.Conn(1, 0).Request(t.Context(), "echo", nil)
			return errors.Is(a, core.ErrDraining) && errors.Is(b, core.ErrDraining)
		})
		g.Release()
		for i := range calls {
			if r := lab.Wait(t, calls[i], "a call that was in progress ends"); r.Err != nil || !bytes.Equal(r.Resp, lab.Pattern(i, 3*lab.PartSize)) {
				t.Errorf("the call of node %d returned %d bytes, %v", i, len(r.Resp), r.Err)
			}
		}
		for i := range done {
			if err := lab.Wait(t, done[i], "Shutdown returns"); err != nil {
				t.Errorf("Shutdown of node %d returned %v", i, err)
			}
		}
	})
}

// TestDrainOfASilentPeer drains a node whose peer does not answer: that takes no
// longer than it takes to notice the silence, or as the context allows (F19).
func TestDrainOfASilentPeer(t *testing.T) {
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		c := l.Cluster(t, 3)
		c.Silence(0, 1)
		c.Silence(0, 2)
		began := time.Now()
		if err := c.Manager(0).Shutdown(t.Context()); err != nil {
			t.Errorf("Shutdown returned %v", err)
		}
		if d := time.Since(began); d > 15*time.Second+100*time.Millisecond || d < 5*time.Second {
			t.Errorf("the drain took %v while peers were silent, want at most the 15s after which that is noticed", d)
		}
		c.Silence(1, 2)
		began = time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		err := c.Manager(1).Shutdown(ctx)
		if d := time.Since(began); !errors.Is(err, context.DeadlineExceeded) || d < 2*time.Second || d > 3100*time.Millisecond {
			t.Errorf("Shutdown returned %v after %v, want the end of its context after 2s and the second that a transport may take", err, d)
		}
	})
}
