package streamload_test

import (
	"context"
	"fmt"
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

// TestBulkOnLinksOfAnyLength holds that bulk fills links of any length, alone as beside
// a steady stream of small calls, which wait for a round trip and a half more at most: on
// the long ones it got half of that and less, and a quarter beside calls, since half a
// window went out at once and the queue that made kept the window from growing.
func TestBulkOnLinksOfAnyLength(t *testing.T) {
	for _, test := range []struct {
		latency   time.Duration // each way
		bandwidth int           // bytes per second
		least     float64       // of the link
	}{
		{100 * time.Microsecond, 1e9 / 8, 0.95},
		{time.Millisecond, 1e8 / 8, 0.85},
		{time.Millisecond, 1e9 / 8, 0.95},
		{10 * time.Millisecond, 1e8 / 8, 0.85},
		{10 * time.Millisecond, 1e9 / 8, 0.9},
		{50 * time.Millisecond, 1e8 / 8, 0.75},
		{25 * time.Millisecond, 1e9 / 8, 0.4}, // four messages at a time wait for their grants
	} {
		if lab.RaceEnabled && test.bandwidth > 1e8 && test.latency > time.Millisecond {
			continue // it copies a gigabyte, and races show on the others
		}
		lab.Bubble(t, fmt.Sprintf("%v, %d Mbit per s", 2*test.latency, test.bandwidth*8/1e6), func(t *testing.T) {
			c := lab.InmemLink(inmem.WithBuffer(64<<20)).Cluster(t, 2, streams(), forget())
			c.Memory().SetConditions(inmem.Conditions{Latency: test.latency, Bandwidth: test.bandwidth, Split: true})
			ctx, cancel := context.WithCancel(t.Context())
			var got atomic.Int64
			loaded := lab.Go(func() bool { sideBySide(4, calls("forget", 4<<20))(ctx, t, c.Conn(0, 1), &got); return true })
			// Long enough for the window to settle, which takes round trips.
			measured := min(max(200*test.latency, time.Second/2), time.Duration(lab.Scale(4, 2, 8))*time.Second)
			// What has arrived, not what is finished: that is only a few calls.
			arrived := func() int64 { return c.Manager(1).Stats().Peers[0].Received }
			share := func(bytes int64) float64 { return float64(bytes) / measured.Seconds() / float64(test.bandwidth) }
			time.Sleep(measured)
			before := arrived()
			time.Sleep(measured)
			alone := share(arrived() - before)
			slowest(t, c, measured)
			before = arrived()
			_, most := slowest(t, c, measured)
			beside := share(arrived() - before - int64(measured/callEvery)*smallCall)
			cancel()
			<-loaded
			t.Logf("bulk has %.2f of the link, and %.2f beside calls that take up to %v", alone, beside, most)
			if alone < test.least || beside < test.least {
				t.Errorf("bulk has %.2f of the link, and %.2f beside small calls, want at least %.2f", alone, beside, test.least)
			}
			fragments := 2 * lab.PartSize * time.Second / time.Duration(test.bandwidth)
			if bound := 5*test.latency + fragments; most > bound {
				t.Errorf("small calls take up to %v beside it, want at most %v", most, bound)
			}
			synctest.Wait()
		})
	}
}

// TestFirstLargeCallOnALongLink holds that the first call of 4 MiB over a link with a
// round trip of 100 ms takes eight of them at most, where TCP, which begins with 14
// KiB and doubles, needs nine. It took twelve, since the window grew by a quarter at a time.
func TestFirstLargeCallOnALongLink(t *testing.T) {
	const roundTrip = 100 * time.Millisecond
	lab.Bubble(t, "inmem", func(t *testing.T) {
		c := lab.InmemLink(inmem.WithBuffer(64<<20)).Cluster(t, 2, forget())
		c.Memory().SetConditions(inmem.Conditions{Latency: roundTrip / 2, Bandwidth: 1e9 / 8, Split: true})
		began := time.Now()
		_, err := c.Conn(0, 1).Request(t.Context(), "forget", make([]byte, 4<<20))
		check(t, "the first call", err)
		if took := time.Since(began); took > 8*roundTrip {
			t.Errorf("the first call of 4 MiB takes %v, want at most %v", took, 8*roundTrip)
		}
	})
}

const (
	callEvery = 1370 * time.Microsecond
	smallCall = 512 // bytes of its request
)

// slowest makes small calls for so long, one every callEvery whether or not those
// before have returned, and returns how long the slowest took, and how long 999 of
// 1000 took at most.
func slowest(t *testing.T, c *lab.Cluster, during time.Duration) (worst, most time.Duration) {
	took := make([]time.Duration, during/callEvery)
	var wg sync.WaitGroup
	for i := range took {
		wg.Go(func() {
			began := time.Now()
			_, err := c.Conn(0, 1).Request(t.Context(), "echo", make([]byte, smallCall))
			check(t, "a small call", err)
			took[i] = time.Since(began)
		})
		time.Sleep(callEvery)
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
