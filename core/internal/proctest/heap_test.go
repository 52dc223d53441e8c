package proctest_test

import (
	"bytes"
	"runtime"
	"testing"

	"github.com/gridmux/gridmux/core"
)

// TestHeapAfterLargeMessages sends one message of the largest size in each
// direction between two nodes. When it is over, the heap is back to what it was
// but for a little: no buffer of that size stays with the connection (D22).
func TestHeapAfterLargeMessages(t *testing.T) {
	const size, tolerance = 16 << 20, 1 << 20
	const second = "second"
	first := dialling("first", second)
	lns := listenAnywhere(t)
	other := newHost(t, hostSetup{
		name: second, peers: []core.Node{{Name: first, Addr: lns.Addr().String()}},
		register: func(m *core.Manager) error { return m.Handle("echo", echo) },
	}, nil)
	one := newHost(t, hostSetup{
		name: first, peers: []core.Node{other.self},
		register: func(m *core.Manager) error { return m.Handle("echo", echo) },
	}, lns)
	conns := []*core.Connection{one.Connection(second), other.Connection(first)}
	for _, c := range conns {
		mustCall(t, t.Context(), c, "echo", make([]byte, 1000))
	}
	before := heap()
	for i, c := range conns {
		func() {
			req := pattern(i, size)
			if resp := mustCall(t, t.Context(), c, "echo", req); !bytes.Equal(resp, req) {
				t.Error("a large message was changed on the way")
			}
		}()
	}
	for _, c := range conns {
		mustCall(t, t.Context(), c, "echo", make([]byte, 1000))
	}
	var after uint64
	until(t, "the heap is back to what it was", func() bool {
		after = heap()
		return after <= before+tolerance
	})
	t.Logf("the heap was %d KiB before two echoes of %d MiB and is %d KiB after", before>>10, size>>20, after>>10)
	runtime.KeepAlive(conns)
}

// heap returns the bytes in use after two collections, so that pools are empty.
func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
