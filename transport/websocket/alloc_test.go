//go:build !race

package websocket

import (
	"bytes"
	"runtime"
	"testing"

	"github.com/gridmux/gridmux/internal/memnet"
)

// TestNoAllocations: writing and reading are free of allocations once the
// buffers are in their pools, on sockets and on other links, alone and in
// batches.
func TestNoAllocations(t *testing.T) {
	links := map[string]func() (client, server *conn){
		"socket": func() (client, server *conn) { return tcpPair(t) },
		"other":  func() (client, server *conn) { return connPair(t, memnet.WithBuffer(1<<20)) },
	}
	for name, link := range links {
		t.Run(name, func(t *testing.T) {
			client, server := link()
			for _, sizes := range [][]int{{512}, {0}, {512, 60_000, 0, 126}, {100_000}} {
				batch := make([][]byte, len(sizes))
				backing := make([][]byte, len(sizes))
				for i, size := range sizes {
					backing[i] = make([]byte, headroom+size)
				}
				for _, ends := range [][2]*conn{{client, server}, {server, client}} {
					exchange := func() {
						copy(batch, backing)
						if err := ends[0].WriteFrames(batch); err != nil {
							t.Fatal(err)
						}
						for _, size := range sizes {
							if p, err := ends[1].ReadFrame(size + 1); err != nil || len(p) != size {
								t.Fatalf("%d bytes, %v; want %d", len(p), err, size)
							}
						}
					}
					exchange()
					if n := testing.AllocsPerRun(200, exchange); n >= 1 {
						t.Errorf("sizes %v from client %v: %v allocations per round", sizes, ends[0].client, n)
					}
				}
			}
		})
	}
}

// TestIdleConnectionHoldsNoBuffer compares many idle readers with none. One
// read buffer each would be 128 KiB.
func TestIdleConnectionHoldsNoBuffer(t *testing.T) {
	links := map[string]func() (client, server *conn){
		"socket": func() (client, server *conn) { return tcpPair(t) },
		"other":  func() (client, server *conn) { return connPair(t, memnet.WithBuffer(1024)) },
	}
	for name, link := range links {
		t.Run(name, func(t *testing.T) {
			const pairs = 60
			before := inUse()
			var conns []*conn
			for range pairs {
				client, server := link()
				conns = append(conns, client, server)
			}
			first := make(chan bool)
			for _, c := range conns {
				go func() {
					for {
						p, err := c.ReadFrame(1 << 20)
						if err != nil {
							return
						}
						if bytes.Equal(p, []byte("first")) {
							first <- true
						}
					}
				}()
			}
			// Each has read something before, also over the size of a chunk.
			for i := range conns {
				go conns[i].WriteFrames([][]byte{frame(string(make([]byte, 100_000))), frame("first")})
			}
			for range conns {
				<-first
			}
			const most = 12 << 10
			var perConn int64
			// The readers wait soon, and nothing tells when they do.
			for range 100 {
				perConn = (int64(inUse()) - int64(before)) / int64(len(conns))
				if perConn <= most {
					break
				}
			}
			t.Logf("%d bytes per end of a connection", perConn)
			if perConn > most {
				t.Errorf("an idle end of a connection holds %d bytes", perConn)
			}
			for _, c := range conns {
				c.CloseWithError(0, "")
			}
		})
	}
}

// inUse is what is left after the pools have been emptied, which takes two
// collections.
func inUse() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}

func BenchmarkRoundTrip(b *testing.B) {
	client, server := tcpPair(b)
	go func() {
		buf := make([]byte, headroom+512)
		batch := make([][]byte, 1)
		for {
			p, err := server.ReadFrame(1024)
			if err != nil {
				return
			}
			batch[0] = buf[:headroom+copy(buf[headroom:], p)]
			if server.WriteFrames(batch) != nil {
				return
			}
		}
	}()
	buf := make([]byte, headroom+512)
	batch := make([][]byte, 1)
	b.ReportAllocs()
	for b.Loop() {
		batch[0] = buf
		if err := client.WriteFrames(batch); err != nil {
			b.Fatal(err)
		}
		if _, err := client.ReadFrame(1024); err != nil {
			b.Fatal(err)
		}
	}
}
