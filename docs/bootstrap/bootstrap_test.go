package bootstrap_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/docs/bootstrap"
)

// logText is where a logger writes to.
type logText struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// TestAgree starts the nodes of a cluster one after the other. Those that are
// there serve when they are a quorum. The one that differs is named, once, and
// serves when it was started again with what the others have; until then it is
// told who differs from it.
func TestAgree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shards := []string{"16", "16", "8", "16"}
		digest := func(i int) []byte { return bootstrap.Digest(map[string]string{"shards": shards[i]}) }
		c := coretest.NewCluster(t, len(shards), coretest.Unstarted(), coretest.WithHandlers(func(i int, m *core.Manager) error {
			return bootstrap.Serve(m, digest(i))
		}))
		var text logText
		log := slog.New(slog.NewTextHandler(&text, nil))
		agree := func(ctx context.Context, i int) <-chan error {
			done := make(chan error, 1)
			go func() { done <- bootstrap.Agree(ctx, c.Manager(i), digest(i), 3, log) }()
			return done
		}
		waits := func(done <-chan error, who string) {
			t.Helper()
			time.Sleep(10 * time.Second)
			select {
			case err := <-done:
				t.Errorf("%s has %v already, without a quorum", who, err)
			default:
			}
		}
		returns := func(done <-chan error, within time.Duration, who string) error {
			t.Helper()
			select {
			case err := <-done:
				return err
			case <-time.After(within):
				t.Fatalf("%s has no result after %v", who, within)
				return nil
			}
		}

		c.Start(0)
		first := agree(t.Context(), 0)
		waits(first, "node 0, alone")
		c.Start(1)
		second := agree(t.Context(), 1)
		waits(first, "node 0, one of two")
		c.Start(2)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		third := agree(ctx, 2)
		waits(first, "node 0, one of three of which one differs")
		waits(second, "node 1, one of three of which one differs")
		err := returns(third, time.Second, "node 2, which differs,")
		var different *bootstrap.DifferentError
		e, ok := errors.AsType[*core.QuorumError](err)
		if !ok || !errors.As(err, &different) || !errors.Is(err, context.DeadlineExceeded) || len(e.Failed) != 3 {
			t.Fatalf("node 2, which differs, got the error %v", err)
		}
		for i, want := range []string{"node-0: its configuration is ", "node-1: its configuration is ", "on node-3: not sent"} {
			if !strings.Contains(e.Failed[i].Error(), want) {
				t.Errorf("node 2 is told %v, want %q", e.Failed[i], want)
			}
		}
		for _, want := range []string{"peer=node-0", "peer=node-1"} {
			if n := strings.Count(text.String(), want); n != 1 {
				t.Errorf("%s was logged %d times, want once:\n%s", want, n, &text)
			}
		}
		if n := strings.Count(text.String(), "peer=node-2"); n != 2 {
			t.Errorf("node-2 was logged %d times, want once by each of the others:\n%s", n, &text)
		}

		shards[2] = "16"
		c.Restart(2)
		third = agree(t.Context(), 2)
		for i, done := range []<-chan error{first, second, third} {
			if err := returns(done, 10*time.Second, "a node of three that are alike"); err != nil {
				t.Errorf("node %d got %v after it was mended, want that it serves", i, err)
			}
		}
	})
}

// TestQuorumOfOne holds that a node alone agrees with itself.
func TestQuorumOfOne(t *testing.T) {
	c := coretest.NewCluster(t, 1)
	if err := bootstrap.Agree(t.Context(), c.Manager(0), nil, 1, slog.New(slog.DiscardHandler)); err != nil {
		t.Errorf("a cluster of one node does not agree: %v", err)
	}
}
