//go:build !race

package streamcost_test

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/core/internal/lab"
)

// roomy lets a node have so many streams at once.
func roomy(n int) coretest.Option {
	return lab.Configure(func(cfg *core.Config) {
		cfg.MaxHandlers, cfg.MaxHandlersTotal = n, n
		cfg.StreamWindow, cfg.MaxStreamBuffers = 16<<10, 2*n*16<<10
		cfg.KeepAlive, cfg.KeepAliveTimeout = 100*time.Millisecond, 10*time.Second
	})
}

// TestIdleStreams holds an open stream that idles, before its first message and
// after some, to 2 KiB of heap at both ends together, beside the goroutine of its
// handler, and to no goroutine at the calling end. A context that can end adds
// what it takes to watch it, and an initial payload is held until the handler
// returns.
func TestIdleStreams(t *testing.T) {
	const n = 10_000
	// What the runtime keeps of a goroutine stays when it has ended, so the
	// goroutines of the handlers add nothing to it.
	var wg sync.WaitGroup
	begin := make(chan struct{})
	for range 3 * n {
		wg.Go(func() { <-begin })
	}
	close(begin)
	wg.Wait()
	var running atomic.Int64
	c := lab.InmemLink().Cluster(t, 2, roomy(n), coretest.WithHandlers(func(_ int, m *core.Manager) error {
		return m.HandleStreamFunc("idle", func(_ context.Context, payload []byte, s *core.RawStream) error {
			if len(payload) > 0 {
				for range payload[0] {
					if err := s.Send(payload); err != nil {
						return err
					}
				}
			}
			running.Add(1)
			defer running.Add(-1)
			_, err := s.Recv(nil) // waits for the end
			return err
		})
	}))
	for _, test := range []struct {
		name     string
		watched  bool
		payload  []byte // its first byte says how many messages come first
		messages int
		most     int
	}{
		{"", false, nil, 0, 2 << 10},
		{" whose context can end", true, nil, 0, 2<<10 + 256},
		{" that had messages, with a payload", false, []byte{5}, 5, 2<<10 + 896},
	} {
		keep := make([]*core.RawStream, n)
		buf := make([]byte, 0, 1024)
		ctx, cancel := context.WithCancel(t.Context())
		watched := context.Background() //nolint:usetesting // one that cannot end
		if test.watched {
			watched = ctx
		}
		before := rest()
		for i := range n {
			s, err := c.Conn(0, 1).OpenStream(watched, "idle", test.payload)
			for j := 0; err == nil && j < test.messages; j++ {
				_, err = s.Recv(buf[:0])
			}
			if err != nil {
				t.Fatal(err)
			}
			keep[i] = s
		}
		lab.Until(t, "all handlers run", func() bool { return running.Load() == n })
		idle := rest().less(before)
		// Until the writers have let go of what the opening took.
		for began := time.Now(); idle.bytes/n > test.most && time.Since(began) < comingToRest; idle = rest().less(before) {
			time.Sleep(100 * time.Millisecond)
		}
		t.Logf("an idle stream%s costs %d bytes at both ends together", test.name, idle.bytes/n)
		if idle.bytes/n > test.most {
			t.Errorf("an idle stream%s costs %d bytes at both ends together, want at most %d", test.name, idle.bytes/n, test.most)
		}
		if idle.goroutines > n+100 {
			t.Errorf("%d idle streams have %d goroutines, want those of the handlers", n, idle.goroutines)
		}
		cancel()
		for _, s := range keep {
			_ = s.Close()
		}
		lab.Until(t, "all handlers have returned", func() bool { return running.Load() == 0 })
		runtime.KeepAlive(keep)
	}
}

// TestStreamsLeaveNothing opens and finishes a hundred thousand streams, a third
// of them in the form of channels, with every ending there is in rotation: heap and goroutines are where
// they were.
func TestStreamsLeaveNothing(t *testing.T) {
	const openers = 200
	streamLinks(t, func(t *testing.T, l *lab.Link) {
		n := 100_000
		if l.Name != "inmem" && !lab.Heavy() {
			n /= 10
		}
		c := l.Cluster(t, 2, roomy(1000), coretest.WithHandlers(func(_ int, m *core.Manager) error {
			return m.HandleStreamFunc("end", func(ctx context.Context, payload []byte, s *core.RawStream) error {
				return endings[payload[0]].serve(ctx, s)
			})
		}))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		run := func(n int) {
			var wg sync.WaitGroup
			for o := range openers {
				wg.Go(func() {
					for i := range n / openers {
						e := (o + i) % len(endings)
						if err := endings[e].call(ctx, c.Conn(0, 1), i%3 == 0, byte(e)); err != nil {
							t.Errorf("%s: %v", endings[e].name, err)
							return
						}
					}
				})
			}
			wg.Wait()
		}
		run(n / 10)
		before := rest()
		run(n)
		after := rest().less(before)
		// Workers go with time, and with them what they have.
		const workers = 300
		for began := time.Now(); (after.bytes > 1<<20 || after.goroutines > workers) && time.Since(began) < comingToRest; {
			time.Sleep(100 * time.Millisecond)
			after = rest().less(before)
		}
		t.Logf("%d streams leave %d KiB and %d goroutines", n, after.bytes>>10, after.goroutines)
		if after.bytes > 1<<20 || after.goroutines > workers {
			t.Errorf("%d streams leave %d KiB and %d goroutines", n, after.bytes>>10, after.goroutines)
		}
	})
}
