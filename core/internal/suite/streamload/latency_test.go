package streamload_test

import (
	"context"
	"slices"
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

// The narrow link: 100 Mbit/s, and a millisecond each way.
const (
	latency   = time.Millisecond
	bandwidth = 100_000_000 / 8
)

// carry is how long the narrow link takes for so many bytes.
func carry(bytes int) time.Duration { return time.Duration(bytes) * time.Second / bandwidth }

const (
	firstWindow   = 128 << 10
	adaptedWindow = 2 * lab.PartSize
	// overhead is what a small call, its answer, and the headers of a window of
	// bulk take on the link.
	overhead = 4 << 10
)

// load keeps a link busy until its context ends, and counts the bytes that
// arrive.
type load func(ctx context.Context, t *testing.T, from *core.Connection, got *atomic.Int64)

// sideBySide runs a load several times at once.
func sideBySide(n int, one load) load {
	return func(ctx context.Context, t *testing.T, from *core.Connection, got *atomic.Int64) {
		var wg sync.WaitGroup
		for range n {
			wg.Go(func() { one(ctx, t, from, got) })
		}
		wg.Wait()
	}
}

// calls makes one call of so many bytes after the other.
func calls(h core.HandlerID, size int) load {
	req := make([]byte, size)
	return func(ctx context.Context, t *testing.T, from *core.Connection, got *atomic.Int64) {
		for ctx.Err() == nil {
			if _, err := from.Request(ctx, h, req); err == nil {
				got.Add(int64(len(req)))
			} else if ctx.Err() == nil {
				t.Errorf("a large call failed: %v", err)
			}
		}
	}
}

// fetches reads a stream of messages of so many bytes.
func fetches(size int) load {
	return func(ctx context.Context, t *testing.T, from *core.Connection, got *atomic.Int64) {
		st, err := from.OpenStream(ctx, "endless", order(0, size))
		if err != nil {
			t.Errorf("opening a stream failed: %v", err)
			return
		}
		for msg, err := range st.All() {
			if err == nil {
				got.Add(int64(len(msg)))
			} else if ctx.Err() == nil {
				t.Errorf("a stream failed: %v", err)
			}
		}
	}
}

// forget is a handler that takes a request and answers with nothing.
func forget() coretest.Option {
	return lab.Handle("forget", func(context.Context, []byte) ([]byte, error) { return nil, nil })
}

// TestSmallCallBesideBulk loads a link of 100 Mbit/s with bulk and makes calls of
// 512 bytes beside it, at every moment of that. None takes longer than a round
// trip and one window of bulk in each direction that is loaded; once the window
// has adapted, 999 of 1000 wait for two fragments, and none for more than the first
// window: every ten seconds the pace measures the link anew. The bulk has nearly all of the link
// nevertheless; two thirds of it where both directions are loaded, since
// acknowledgements then wait for what is under way the other way.
func TestSmallCallBesideBulk(t *testing.T) {
	for _, test := range []struct {
		name       string
		directions int // that are loaded at once
		ways       int // in which a small call may find bulk before it
		load       load
	}{
		// Where an echo turns round a call waits behind its end one way and behind
		// its beginning the other way.
		{"echoes of 4 MiB", 1, 2, calls("echo", 4<<20)},
		{"a request of 4 MiB", 1, 1, calls("forget", 4<<20)},
		{"16 requests of 512 KiB", 1, 1, sideBySide(16, calls("forget", 512<<10))},
		{"16 requests of 128 KiB each way", 2, 2, sideBySide(16, calls("forget", 128<<10))},
		{"a stream of 32 KiB", 1, 1, fetches(32 << 10)},
		{"a stream of 1 KiB", 1, 1, fetches(1 << 10)},
		{"a stream of 1 MiB", 1, 1, fetches(1 << 20)},
		{"64 streams of 32 KiB", 1, 1, sideBySide(64, fetches(32<<10))},
	} {
		lab.Bubble(t, test.name, func(t *testing.T) {
			// The window has to see to it: the buffers of the link take everything.
			c := lab.InmemLink(inmem.WithBuffer(64<<20)).Cluster(t, 2, streams(), forget())
			c.Memory().SetConditions(inmem.Conditions{Latency: latency, Bandwidth: bandwidth, Split: true})
			// Longer than the pace remembers what a round trip takes.
			const adapts = 500 * time.Millisecond
			whole := time.Duration(lab.Scale(12, 3, 30)) * time.Second
			ctx, cancel := context.WithCancel(t.Context())
			var got atomic.Int64
			var loaded sync.WaitGroup
			for from := range test.directions {
				loaded.Go(func() { test.load(ctx, t, c.Conn(from, 1-from), &got) })
			}
			first, _ := slowest(t, c, adapts)
			worst, adapted := slowest(t, c, whole-adapts)
			first = max(first, worst)
			cancel()
			loaded.Wait()
			share := float64(got.Load()) / whole.Seconds() / bandwidth / float64(test.directions)
			if test.name == "echoes of 4 MiB" {
				share *= 2 // they are on their way in either direction half of the time
			}
			t.Logf("small calls take up to %v, later up to %v; bulk has %.2f of the link", first, adapted, share)
			bound := func(window int) time.Duration { return 2*latency + carry(test.ways*window+overhead) }
			if first > bound(firstWindow) || adapted > bound(adaptedWindow) {
				t.Errorf("small calls beside bulk take up to %v, and %v once the window has adapted, want at most %v and %v",
					first, adapted, bound(firstWindow), bound(adaptedWindow))
			}
			if least := []float64{1: 0.85, 2: 0.66}[test.directions]; share < least {
				t.Errorf("bulk has %.2f of the link, want at least %.2f", share, least)
			}
			synctest.Wait()
		})
	}
}

// slowest makes small calls for so long, one every 1.37 ms whether or not those
// before have returned, and returns how long the slowest took, and how long 999 of
// 1000 took at most.
func slowest(t *testing.T, c *lab.Cluster, during time.Duration) (worst, most time.Duration) {
	const every = 1370 * time.Microsecond
	took := make([]time.Duration, during/every)
	var wg sync.WaitGroup
	for i := range took {
		wg.Go(func() {
			began := time.Now()
			_, err := c.Conn(0, 1).Request(t.Context(), "echo", make([]byte, 512))
			check(t, "a small call", err)
			took[i] = time.Since(began)
		})
		time.Sleep(every)
	}
	wg.Wait()
	slices.Sort(took)
	return took[len(took)-1], took[len(took)*999/1000-1]
}

// TestLongLink loads a link of 10 Gbit/s with 10 ms each way. The window grows to
// 4 MiB per round trip, which is a sixth of the link, within half a second; one
// stream has 1 MiB per round trip.
func TestLongLink(t *testing.T) {
	const latency, bandwidth = 10 * time.Millisecond, 10_000_000_000 / 8
	for _, test := range []struct {
		name   string
		window int // per round trip
		load   load
	}{
		{"16 requests", 4 << 20, sideBySide(16, calls("forget", 1<<20))},
		{"64 streams", 4 << 20, sideBySide(64, fetches(16<<10))},
		{"a stream", 1 << 20, fetches(16 << 10)},
	} {
		lab.Bubble(t, test.name, func(t *testing.T) {
			c := lab.InmemLink(inmem.WithBuffer(64<<20)).Cluster(t, 2, streams(core.WithCapacity(1024, 1024)), forget())
			c.Memory().SetConditions(inmem.Conditions{Latency: latency, Bandwidth: bandwidth, Split: true})
			ctx, cancel := context.WithCancel(t.Context())
			var got atomic.Int64
			loaded := lab.Go(func() bool { test.load(ctx, t, c.Conn(0, 1), &got); return true })
			time.Sleep(time.Second)
			measured := time.Duration(lab.Scale(2000, 500, 5000)) * time.Millisecond
			before := got.Load()
			time.Sleep(measured)
			rate := float64(got.Load()-before) / measured.Seconds()
			cancel()
			<-loaded
			want := float64(test.window) / (2 * latency).Seconds()
			t.Logf("%.0f MB/s, %.2f of the link; a window of %d bytes per round trip is %.0f MB/s", rate/1e6, rate/bandwidth, test.window, want/1e6)
			if rate < 0.85*want {
				t.Errorf("bulk on a long link is carried at %.0f MB/s, want about a window of %d bytes per round trip, %.0f MB/s",
					rate/1e6, test.window, want/1e6)
			}
			synctest.Wait()
		})
	}
}
