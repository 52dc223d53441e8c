package streamload_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/internal/lab"
	"github.com/gridmux/gridmux/internal/memnet"
	"github.com/gridmux/gridmux/transport/inmem"
)

// tiny are links whose buffers hold hardly anything.
var tiny = []*lab.Link{lab.InmemLink(inmem.WithBuffer(4 << 10)), lab.MemnetLink(memnet.WithBuffer(4 << 10))}

// TestBothSidesEchoLargeMessages has both nodes make 64 echoes of 1 MiB at once
// over links that hold 4 KiB, and echo as much on streams: neither waits for the
// other to read before it reads itself (F7).
func TestBothSidesEchoLargeMessages(t *testing.T) {
	for _, l := range tiny {
		lab.Bubble(t, l.Name, func(t *testing.T) {
			c := l.Cluster(t, 2, streams())
			size := lab.Scale(1<<20, 1<<17, 1<<20)
			n := lab.Scale(64, 16, 64)
			var wg sync.WaitGroup
			for from := range 2 {
				for i := range n {
					wg.Go(func() {
						req := lab.Pattern(i, size)
						resp, err := c.Conn(from, 1-from).Request(t.Context(), "echo", req)
						if err != nil || !bytes.Equal(resp, req) {
							t.Errorf("an echo of %d bytes returned %d, %v", size, len(resp), err)
						}
					})
					wg.Go(func() { check(t, "a stream", echoOver(t, c.Conn(from, 1-from), 16, size/16)) })
				}
			}
			wg.Wait()
			wantNothingHeld(t, c)
		})
	}
}

// echoOver sends messages to an echo and gets them back.
func echoOver(t *testing.T, c *core.Connection, messages, size int) error {
	st := mustOpen(t, c, "stream.echo", nil)
	sent := lab.Go(func() error { return errors.Join(sendMessages(st, messages, size), st.CloseSend()) })
	return errors.Join(receiveMessages(st, messages), <-sent)
}

// TestBothEndsOnlyWrite has both ends of many streams send as long as they can,
// and receive nothing: they wait for each other for ever, but calls and other
// streams over the same connection do not wait for them. When the ends begin to
// receive, everything arrives.
func TestBothEndsOnlyWrite(t *testing.T) {
	run := func(t *testing.T, l *lab.Link) {
		n, messages := lab.Scale(20, 4, 40), lab.Scale(120, 25, 300)
		for _, size := range []int{100, 40_000, 100_000} {
			read := make(chan struct{})
			end := func(s *core.RawStream) error {
				sent := lab.Go(func() error { return errors.Join(sendMessages(s, messages, size), s.CloseSend()) })
				<-read
				return errors.Join(receiveMessages(s, messages), <-sent)
			}
			c := l.Cluster(t, 2, streams(), handleStream("write", func(_ context.Context, _ []byte, s *core.RawStream) error { return end(s) }))
			var wg sync.WaitGroup
			for i := range n {
				wg.Go(func() {
					st := mustOpen(t, c.Conn(i%2, 1-i%2), "write", nil)
					check(t, fmt.Sprintf("a stream of messages of %d bytes", size), end(st))
				})
			}
			if l.Bubble {
				time.Sleep(time.Second)
			}
			for from := range 2 {
				lab.MustCall(t, c.Conn(from, 1-from), "echo", lab.Pattern(1, 100))
				lab.MustCall(t, c.Conn(from, 1-from), "echo", lab.Pattern(1, 1<<20))
				check(t, "a stream beside them", echoOver(t, c.Conn(from, 1-from), 100, 1000))
			}
			close(read)
			wg.Wait()
			wantNothingHeld(t, c)
		}
	}
	for _, l := range tiny {
		lab.Bubble(t, l.Name+" of 4 KiB", func(t *testing.T) { run(t, l) })
	}
	lab.OverLinks(t, run)
}
