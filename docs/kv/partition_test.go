package main

import (
	"context"
	"errors"
	"iter"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/transport/inmem"
)

// cutOff partitions node-2 from the others.
func cutOff(network *inmem.Network) {
	network.Partition("node-0", "node-2")
	network.Partition("node-1", "node-2")
}

// TestPartition cuts node 2 off. The others go on writing. Clients of node 2 get
// errors that tell whether a repeat is safe, and when the partition has healed a
// watch on node 2 brings what was missed.
func TestPartition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		s.follow(t)
		next, stop := iter.Pull2(Watch.Call(t.Context(), s.Conn(2, 2), &WatchRequest{}))
		defer stop()
		if err := s.put(t.Context(), 0, 0, "k", "before"); err != nil {
			t.Fatal(err)
		}
		if got := watched(t, next); got != "k=before" {
			t.Errorf("node 2 has %q, want what was written before", got)
		}

		cutOff(s.Network())
		fails := func(what string, to int, want error, outcome core.Outcome, repeatable bool, after time.Duration) {
			t.Helper()
			began := time.Now()
			err := s.put(t.Context(), 2, to, "k", "lost")
			if !errors.Is(err, want) || core.OutcomeOf(err) != outcome || Repeatable(err) != repeatable {
				t.Errorf("%s: %v\noutcome %v, repeatable %v; want %v, %v, %v",
					what, err, core.OutcomeOf(err), Repeatable(err), want, outcome, repeatable)
			}
			if d := time.Since(began); d != after {
				t.Errorf("%s: the error comes after %v, want %v", what, d, after)
			}
		}
		// Nothing gets through, and nobody knows yet.
		fails("through the node that is cut off", 2, ErrNoMajority, core.OutcomeRefused, true, replicaTimeout)
		fails("through the other side", 0, context.DeadlineExceeded, core.OutcomeMaybeRun, false, clientTimeout)
		if _, err := s.get(t.Context(), 2, 2, "k"); !errors.Is(err, ErrNoMajority) {
			t.Errorf("a read through the node that is cut off: %v, want ErrNoMajority and no old value", err)
		}
		// By now keep-alive has noticed.
		time.Sleep(time.Minute)
		fails("through the node that is cut off, later", 2, ErrNoMajority, core.OutcomeRefused, true, 0)
		fails("through the other side, later", 0, core.ErrDisconnected, core.OutcomeNotSent, true, 0)

		began := time.Now()
		if err := s.put(t.Context(), 0, 1, "k", "meanwhile"); err != nil || time.Since(began) != 0 {
			t.Errorf("a write through the majority: %v after %v, want success at once", err, time.Since(began))
		}
		if got, err := s.get(t.Context(), 1, 0, "k"); err != nil || got != "meanwhile" {
			t.Errorf("a read through the majority: %q, %v", got, err)
		}

		s.Network().HealAll()
		s.WaitConnected()
		if got := watched(t, next); got != "k=meanwhile" {
			t.Errorf("node 2 has %q, want what it has missed", got)
		}
		if err := s.put(t.Context(), 2, 2, "k", "after"); err != nil {
			t.Errorf("a write through node 2 after the partition: %v", err)
		}
	})
}

// TestInterruptedPut cuts node 2 off in the middle of a Put: after the question
// for the version, before the value has gone to the others. The client is told
// that it may be there, and in this case it is, when the partition has healed.
func TestInterruptedPut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := inmem.NewNetwork()
		s := newService(t, coretest.WithNetwork(network), coretest.WithConfig(func(_ int, cfg *core.Config) {
			cfg.Intercept = []core.Interceptor{
				func(ctx context.Context, info core.CallInfo, next func(context.Context) error) error {
					if info.Handler == store.ID() && !info.Incoming {
						cutOff(network)
					}
					return next(ctx)
				},
			}
		}))
		err := s.put(t.Context(), 2, 2, "k", "v")
		if !errors.Is(err, ErrMaybeWritten) || Repeatable(err) {
			t.Errorf("got %v, want ErrMaybeWritten, which no client should repeat without a thought", err)
		}
		network.HealAll()
		s.follow(t)
		next, stop := iter.Pull2(Watch.Call(t.Context(), s.Conn(0, 0), &WatchRequest{}))
		defer stop()
		if got := watched(t, next); got != "k=v" {
			t.Errorf("node 0 has %q after the partition, want the value from node 2", got)
		}
	})
}

// TestReadCompletesPut holds that who reads a value which a minority has leaves it
// with a majority, so that no later read gets an older one.
func TestReadCompletesPut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t) // nobody follows: nothing but the read brings the value to node 1
		cutOff(s.Network())
		s.nodes[0].replica.apply(Entry{Key: "k", Value: []byte("v"), Version: 1, Writer: "node-0"})
		if got, err := s.get(t.Context(), 0, 1, "k"); err != nil || got != "v" {
			t.Errorf("read %q, %v, want v", got, err)
		}
		if e := s.nodes[1].replica.get("k"); string(e.Value) != "v" {
			t.Errorf("node 1 has %+v after the read, want v", e)
		}
	})
}

// TestShutdown holds that a node can be shut down in order although it is watched,
// and that the watchers are told.
func TestShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		s.follow(t)
		ended := make(chan error, 1)
		go func() {
			for _, err := range Watch.Call(t.Context(), s.Conn(0, 2), &WatchRequest{}) {
				ended <- err // there are no keys: the first thing that comes is the end
			}
		}()
		synctest.Wait()
		began := time.Now()
		if err := s.Manager(2).Shutdown(t.Context()); err != nil || time.Since(began) > time.Second {
			t.Errorf("Shutdown: %v after %v, want nil at once", err, time.Since(began))
		}
		if err := <-ended; !errors.Is(err, ErrLeaving) {
			t.Errorf("the watch has ended with %v, want ErrLeaving", err)
		}
	})
}
