//go:build !race

package quic_test

import (
	"runtime"
	"testing"

	"github.com/gridmux/gridmux/transport"
)

// What quic-go allocates for packets, acknowledgements and timers, per round trip
// of frames as measured, with room for its releases. Nothing of it is ours: see
// BenchmarkRoundTrip with -memprofile.
const (
	mostAllocs = 16 // small frames
	mostBytes  = 3 << 10
)

// TestAllocations holds what a frame costs there and back.
func TestAllocations(t *testing.T) {
	client, ln := loopbackPair(t, "127.0.0.1:0")
	c := dial(t, client, transport.Peer{Name: "server", Addr: ln.Addr().String()})
	s := accept(t, ln)
	exchange := roundTrips(t, c, s, 512)
	exchange()
	var before, after runtime.MemStats
	const rounds = 2000
	runtime.ReadMemStats(&before)
	for range rounds {
		exchange()
	}
	runtime.ReadMemStats(&after)
	allocs := float64(after.Mallocs-before.Mallocs) / rounds
	bytes := float64(after.TotalAlloc-before.TotalAlloc) / rounds
	t.Logf("%.1f allocations, %.0f bytes", allocs, bytes)
	if allocs > mostAllocs || bytes > mostBytes {
		t.Errorf("a round trip costs %.1f allocations and %.0f bytes; at most %d and %d", allocs, bytes, mostAllocs, mostBytes)
	}
}

// roundTrips returns a function that sends a frame from a to b and back.
func roundTrips(t testing.TB, a, b transport.Conn, size int) func() {
	bufs := [2][]byte{make([]byte, a.Info().Headroom+size), make([]byte, b.Info().Headroom+size)}
	batch := make([][]byte, 1)
	return func() {
		for i, ends := range [][2]transport.Conn{{a, b}, {b, a}} {
			batch[0] = bufs[i]
			if err := ends[0].WriteFrames(batch); err != nil {
				t.Fatal(err)
			}
			if p, err := ends[1].ReadFrame(size); err != nil || len(p) != size {
				t.Fatalf("%d bytes, %v", len(p), err)
			}
		}
	}
}

// TestIdleConnection expects idle connections to hold no buffers of ours: with a
// chunk for each of its two readers, a pair would hold 128 KiB more than the 100 KiB
// or so that quic-go needs.
func TestIdleConnection(t *testing.T) {
	const pairs, most = 50, 160 << 10
	client, ln := loopbackPair(t, "127.0.0.1:0")
	to := transport.Peer{Name: "server", Addr: ln.Addr().String()}
	before := inUse()
	var conns []transport.Conn
	for range pairs {
		c := dial(t, client, to)
		s := accept(t, ln)
		exchange(t, c, s)
		conns = append(conns, c, s)
	}
	for _, c := range conns {
		go c.ReadFrame(100)
	}
	// The readers wait soon, and quic-go forgets the handshake soon after; nothing
	// tells when.
	var perPair int64
	for range 100 {
		perPair = (int64(inUse()) - int64(before)) / pairs
		if perPair <= most {
			break
		}
	}
	t.Logf("%d bytes per idle pair", perPair)
	if perPair > most {
		t.Errorf("an idle pair holds %d bytes", perPair)
	}
}

func inUse() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}

func BenchmarkRoundTrip(b *testing.B) {
	client, ln := loopbackPair(b, "127.0.0.1:0")
	c := dial(b, client, transport.Peer{Name: "server", Addr: ln.Addr().String()})
	exchange := roundTrips(b, c, accept(b, ln), 512)
	b.ReportAllocs()
	for b.Loop() {
		exchange()
	}
}
