package websocket

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"

	"github.com/gridmux/gridmux/internal/memnet"
	"github.com/gridmux/gridmux/transport"
)

// wireFrames returns a hundred messages of many sizes, some in fragments, with
// pings between them, as the peer of a client or a server writes them, and a
// close frame behind.
func wireFrames(toClient bool) (wire []byte, messages []string) {
	encode := masked
	if toClient {
		encode = plain
	}
	rng := rand.New(rand.NewPCG(1, 2))
	sizes := []int{0, 1, 125, 126, 127, 1000, 2047}
	for n := range 100 {
		size := sizes[n%len(sizes)]
		if n == 30 {
			size = 66_000
		}
		p := make([]byte, size)
		for i := range p {
			p[i] = byte(rng.Uint32())
		}
		messages = append(messages, string(p))
		if n%3 == 0 {
			wire = append(wire, encode(ws.NewPingFrame(fmt.Append(nil, n)))...)
		}
		if n%4 == 1 && size > 2 {
			wire = append(wire, encode(ws.NewFrame(ws.OpBinary, false, p[:size/2]))...)
			wire = append(wire, encode(ws.NewFrame(ws.OpContinuation, false, nil))...)
			wire = append(wire, encode(ws.NewFrame(ws.OpContinuation, true, p[size/2:]))...)
		} else {
			wire = append(wire, encode(ws.NewBinaryFrame(p))...)
		}
	}
	return append(wire, encode(closeFrame(4007, "the end"))...), messages
}

// readAll checks what wireFrames has written.
func readAll(t *testing.T, c *conn, messages []string) {
	t.Helper()
	for n, want := range messages {
		if p, err := c.ReadFrame(70_000); err != nil || string(p) != want {
			t.Fatalf("message %d of %d bytes: %d bytes, %v", n, len(want), len(p), err)
		}
	}
	_, err := c.ReadFrame(1)
	if ce, ok := errors.AsType[*transport.CloseError](err); !ok || ce.Code != 7 || ce.Reason != "the end" {
		t.Fatalf("behind the messages: %v, want code 7", err)
	}
}

// pieces are ways to cut a stream of bytes.
var pieces = map[string]func(rng *rand.Rand) int{
	"single bytes":   func(*rand.Rand) int { return 1 },
	"few bytes":      func(rng *rand.Rand) int { return 1 + rng.IntN(20) },
	"segments":       func(*rand.Rand) int { return 1460 },
	"any":            func(rng *rand.Rand) int { return 1 + rng.IntN(20_000) },
	"all in one":     func(*rand.Rand) int { return 1 << 30 },
	"one byte short": func(*rand.Rand) int { return chunkSize - 1 },
}

// TestSplitAndMergedWrites expects the same messages, whether the bytes of the
// peer arrive one at a time or those of a hundred messages at once (F37).
func TestSplitAndMergedWrites(t *testing.T) {
	for name, size := range pieces {
		for _, client := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s client=%v", name, client), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					wire, messages := wireFrames(client)
					c, far := rawPair(t, client, memnet.WithBuffer(1<<20))
					var wg sync.WaitGroup
					defer wg.Wait()
					wg.Go(func() {
						rng := rand.New(rand.NewPCG(3, 4))
						for rest := wire; len(rest) > 0; {
							n := min(size(rng), len(rest))
							far.Write(rest[:n])
							rest = rest[n:]
							synctest.Wait() // all of it is read before more arrives
						}
					})
					readAll(t, c, messages)
				})
			})
		}
	}
}

// TestSplitAndMergedWritesOverTCP is the same over a socket, which is read in a
// way of its own. The kernel may merge what was written (F37).
func TestSplitAndMergedWritesOverTCP(t *testing.T) {
	for name, size := range pieces {
		for _, client := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s client=%v", name, client), func(t *testing.T) {
				wire, messages := wireFrames(client)
				a, b := tcpPair(t)
				if !client {
					a, b = b, a
				}
				var wg sync.WaitGroup
				defer wg.Wait()
				wg.Go(func() {
					rng := rand.New(rand.NewPCG(3, 4))
					for rest := wire; len(rest) > 0; {
						n := min(size(rng), len(rest))
						if _, err := b.raw.Write(rest[:n]); err != nil {
							t.Errorf("writing as the peer: %v", err)
							return
						}
						rest = rest[n:]
					}
				})
				readAll(t, a, messages)
			})
		}
	}
}

// TestSplitLink expects WriteFrames to get its frames over a link that takes a
// byte at a time, beside the answers to pings (F37).
func TestSplitLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := connPair(t, memnet.WithBuffer(1))
		want := []string{"", "x", strings.Repeat("y", 126), strings.Repeat("z", 3000)}
		for _, ends := range [][2]*conn{{client, server}, {server, client}} {
			var wg sync.WaitGroup
			wg.Go(func() {
				var batch [][]byte
				for _, p := range want {
					batch = append(batch, frame(p))
				}
				if err := ends[0].WriteFrames(batch); err != nil {
					t.Errorf("WriteFrames: %v", err)
				}
			})
			for _, p := range want {
				if got, err := ends[1].ReadFrame(3000); err != nil || string(got) != p {
					t.Errorf("%d bytes, %v; want %d", len(got), err, len(p))
				}
			}
			wg.Wait()
		}
	})
}

// TestPeerStopsInTheMiddle has the peer stop at every byte of a message and hold
// the connection. The transport waits, for a day if need be, without returning a
// part of the message; what ends such a link is the keep-alive of the core,
// which counts frames and not bytes. The other direction works meanwhile, and
// CloseWithError ends the wait at once (F38).
func TestPeerStopsInTheMiddle(t *testing.T) {
	long := bytes.Repeat([]byte("long"), 20_000)
	for name, wire := range map[string][]byte{
		"message":           masked(ws.NewBinaryFrame([]byte("0123456789"))),
		"fragments":         join(fragment(ws.OpBinary, false, "01"), fragment(ws.OpContinuation, false, "23"), fragment(ws.OpContinuation, true, "4")),
		"ping":              masked(ws.NewPingFrame([]byte("ping"))),
		"close":             masked(closeFrame(1000, "bye")),
		"long message":      masked(ws.NewBinaryFrame(long))[:14+1000],
		"long fragment":     masked(ws.NewFrame(ws.OpBinary, false, long))[:14+1000],
		"ping in the midst": join(fragment(ws.OpBinary, false, "01"), masked(ws.NewPingFrame([]byte("ping")))),
	} {
		t.Run(name, func(t *testing.T) {
			step := max(len(wire)/60, 1)
			for cut := 1; cut < len(wire); cut += step {
				synctest.Test(t, func(t *testing.T) {
					c, far := rawPair(t, false)
					far.Write(wire[:cut])
					read := make(chan error, 1)
					go func() {
						p, err := c.ReadFrame(len(long))
						if p != nil {
							t.Errorf("cut after %d bytes: %d bytes of a message", cut, len(p))
						}
						read <- err
					}()
					time.Sleep(24 * time.Hour)
					select {
					case err := <-read:
						t.Errorf("cut after %d bytes: ReadFrame returned %v while the peer holds the link", cut, err)
						return
					default:
					}
					if err := c.WriteFrames([][]byte{frame("still")}); err != nil {
						t.Errorf("cut after %d bytes: WriteFrames: %v", cut, err)
					}
					start := time.Now()
					c.CloseWithError(3, "enough")
					if err := <-read; !errors.Is(err, net.ErrClosed) || time.Since(start) != 0 {
						t.Errorf("cut after %d bytes: CloseWithError unblocked ReadFrame after %v with %v", cut, time.Since(start), err)
					}
					wantCloseFrame(t, far, 4003)
				})
			}
		})
	}
}
