package inmem_test

import (
	"testing"

	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/inmem"
)

// pair connects two nodes, "a" and "b", and returns the end of each.
func pair(t testing.TB, n *inmem.Network) (a, b transport.Conn) {
	t.Helper()
	l, err := n.Node("b").Listen(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return dialTo(t, n.Node("a"), l)
}

func dialTo(t testing.TB, from *inmem.Transport, l transport.Listener) (a, b transport.Conn) {
	t.Helper()
	a, err := from.Dial(t.Context(), transport.Peer{Addr: l.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.CloseWithError(0, "") })
	b, err = l.Accept(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.CloseWithError(0, "") })
	return a, b
}

// echo sends back every frame until the connection ends.
func echo(c transport.Conn) {
	batch := make([][]byte, 1)
	for {
		f, err := c.ReadFrame(1 << 20)
		if err != nil {
			return
		}
		batch[0] = f
		if c.WriteFrames(batch) != nil {
			return
		}
	}
}

// BenchmarkPingPong is a frame there and back, with both readers waiting.
func BenchmarkPingPong(b *testing.B) {
	near, far := pair(b, inmem.NewNetwork())
	go echo(far)
	frames := [][]byte{make([]byte, 512)}
	b.ReportAllocs()
	for b.Loop() {
		if err := near.WriteFrames(frames); err != nil {
			b.Fatal(err)
		}
		if _, err := near.ReadFrame(1 << 20); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkOneWay is one frame after the other to a reader that keeps up.
func BenchmarkOneWay(b *testing.B) {
	for _, bench := range []struct {
		name string
		size int
	}{{"512B", 512}, {"32KiB", 32 << 10}} {
		b.Run(bench.name, func(b *testing.B) {
			near, far := pair(b, inmem.NewNetwork())
			go func() {
				for {
					if _, err := far.ReadFrame(1 << 20); err != nil {
						return
					}
				}
			}()
			frames := [][]byte{make([]byte, bench.size)}
			b.SetBytes(int64(bench.size))
			b.ReportAllocs()
			for b.Loop() {
				if err := near.WriteFrames(frames); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkUncontended writes and reads on one goroutine: the cost of a
// hand-over without that of waking somebody.
func BenchmarkUncontended(b *testing.B) {
	near, far := pair(b, inmem.NewNetwork())
	frames := [][]byte{make([]byte, 512)}
	b.ReportAllocs()
	for b.Loop() {
		if err := near.WriteFrames(frames); err != nil {
			b.Fatal(err)
		}
		if _, err := far.ReadFrame(1 << 20); err != nil {
			b.Fatal(err)
		}
	}
}
