package streamload_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/core/internal/lab"
	"github.com/gridmux/gridmux/transport/inmem"
)

// largeSize is the size of the messages of a test that moves 64 of them.
func largeSize(l *lab.Link, inmemSize int) int {
	if lab.Heavy() || l.Name == "inmem" && !lab.RaceEnabled {
		return inmemSize
	}
	return inmemSize / 16
}

// tight has memory for one message of so many bytes at a time.
func tight(size int) coretest.Option {
	return lab.Configure(func(cfg *core.Config) { cfg.MaxMessage, cfg.MaxReassembly = size, size })
}

// ends8 are the first and the last bytes of a message: to compare the whole of
// many large ones takes longer than to send them.
func ends8(b []byte) []byte {
	if len(b) < 16 {
		return b
	}
	return append(bytes.Clone(b[:8]), b[len(b)-8:]...)
}

// TestLargeRequestsShareTheirMemory has 64 callers send 16 MiB each to a node that
// has memory for one such request, and whose handlers take their time: all are
// served, none is refused.
func TestLargeRequestsShareTheirMemory(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		size := largeSize(l, 16<<20)
		var running, most int
		var mu sync.Mutex
		c := l.Cluster(t, 2, tight(size), lab.Handle("slow", func(_ context.Context, req []byte) ([]byte, error) {
			mu.Lock()
			running++
			most = max(most, running)
			mu.Unlock()
			if l.Bubble {
				time.Sleep(time.Second)
			}
			mu.Lock()
			running--
			mu.Unlock()
			return ends8(req), nil
		}))
		req := lab.Pattern(1, size)
		var wg sync.WaitGroup
		for range 64 {
			wg.Go(func() {
				resp, err := c.Conn(0, 1).Request(t.Context(), "slow", req)
				if err != nil || !bytes.Equal(resp, ends8(req)) {
					t.Errorf("a request of %d bytes returned %x, %v", size, resp, err)
				}
			})
		}
		wg.Wait()
		mu.Lock()
		defer mu.Unlock()
		if most != 1 {
			t.Errorf("%d handlers ran at once with memory for one request", most)
		}
		wantNothingHeld(t, c)
	})
}

// TestLargeResponsesShareTheirMemory has 64 callers get a large response each at a
// node that has memory for one of them: all get it.
func TestLargeResponsesShareTheirMemory(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		size := largeSize(l, 2<<20)
		resp := lab.Pattern(2, size)
		c := l.Cluster(t, 2, tight(size), lab.Handle("give", func(context.Context, []byte) ([]byte, error) { return resp, nil }))
		var wg sync.WaitGroup
		for range 64 {
			wg.Go(func() {
				got, err := c.Conn(0, 1).Request(t.Context(), "give", nil)
				if err != nil || !bytes.Equal(got, resp) {
					t.Errorf("a response of %d bytes came with %d, %v", size, len(got), err)
				}
			})
		}
		wg.Wait()
		wantNothingHeld(t, c)
	})
}

// TestLargeMessagesShareTheirMemory has 64 streams carry messages, each as large
// as all the memory that the receiver has for those of this peer, in both
// directions at once: all arrive.
func TestLargeMessagesShareTheirMemory(t *testing.T) {
	const each = 3
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		size := largeSize(l, 2<<20)
		msg := lab.Pattern(3, size)
		send := func(s *core.RawStream) error {
			for range each {
				if err := s.Send(msg); err != nil {
					return err
				}
			}
			return nil
		}
		receive := func(s *core.RawStream) error {
			var buf []byte
			for i := range each {
				var err error
				if buf, err = s.Recv(buf[:0]); err != nil {
					return fmt.Errorf("after %d of %d messages: %w", i, each, err)
				}
				if !bytes.Equal(ends8(buf), ends8(msg)) || len(buf) != size {
					return fmt.Errorf("message %d has %d bytes, want %d", i, len(buf), size)
				}
			}
			return nil
		}
		c := l.Cluster(t, 2, tight(size), handleStream("large", func(_ context.Context, _ []byte, s *core.RawStream) error {
			sent := lab.Go(func() error { return send(s) })
			return errors.Join(receive(s), <-sent)
		}))
		var wg sync.WaitGroup
		for i := range 64 {
			wg.Go(func() {
				st := mustOpen(t, c.Conn(i%2, 1-i%2), "large", nil)
				sent := lab.Go(func() error { return send(st) })
				check(t, "receiving", receive(st))
				check(t, "sending", <-sent)
				if _, err := st.Recv(nil); err != io.EOF {
					t.Errorf("the stream ended with %v", err)
				}
			})
		}
		wg.Wait()
		wantNothingHeld(t, c)
	})
}

// TestStreamsHoldUpNoLargeCall has streams hold all the memory for large messages
// of theirs, with nobody reading them: requests and responses of the same size
// pass nevertheless, since each kind has memory of its own.
func TestStreamsHoldUpNoLargeCall(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		const size = 1 << 20
		c := l.Cluster(t, 2, tight(size), streams())
		for i := range 20 {
			st := mustOpen(t, c.Conn(i%2, 1-i%2), "endless", order(0, size))
			defer st.Close()
		}
		for range 3 {
			req := lab.Pattern(1, size)
			for from := range 2 {
				if !bytes.Equal(lab.MustCall(t, c.Conn(from, 1-from), "echo", req), req) {
					t.Error("a large echo is not what was sent")
				}
			}
		}
	})
}

// TestNestedLargeCalls has handlers call back with requests of which each needs
// all the memory there is, so that they wait for each other in a circle: the
// innermost call ends after five seconds as overloaded, all others with that, and
// the nodes are as before.
func TestNestedLargeCalls(t *testing.T) {
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		const size = 1 << 20
		req := lab.Pattern(1, size)
		var c *lab.Cluster
		inner := make(chan error, 64)
		// Node 0 calls outer of node 1, which calls back, which calls node 1 again.
		c = l.Cluster(t, 2, tight(size),
			coretest.WithHandlers(func(i int, m *core.Manager) error {
				peer := func() *core.Connection { return c.Conn(i, 1-i) }
				return errors.Join(
					m.Handle("outer", func(ctx context.Context, req []byte) ([]byte, error) { return peer().Request(ctx, "back", req) }),
					m.Handle("back", func(ctx context.Context, req []byte) ([]byte, error) {
						resp, err := peer().Request(ctx, "echo", req)
						inner <- err
						return resp, err
					}))
			}))
		for _, callers := range []int{1, 8} {
			began := time.Now()
			var wg sync.WaitGroup
			for range callers {
				wg.Go(func() {
					if _, err := c.Conn(0, 1).Request(t.Context(), "outer", req); err == nil {
						t.Error("calls that wait for each other succeeded")
					}
				})
			}
			err := lab.Wait(t, inner, "the innermost call ends")
			lab.WantFailure(t, "a call that waits for memory which its own callers hold", err, core.ErrOverloaded, core.OutcomeRefused)
			const patience = 5 * time.Second
			if d := time.Since(began); d < patience || d > patience+100*time.Millisecond {
				t.Errorf("it ended after %v, want %v", d, patience)
			}
			wg.Wait()
			for len(inner) > 0 {
				<-inner
			}
			for from := range 2 {
				lab.MustCall(t, c.Conn(from, 1-from), "echo", req)
			}
			wantNothingHeld(t, c)
		}
	})
}

// TestLargeRequestsOnASlowLink has 16 requests wait for memory behind one that a
// slow link takes half a minute to carry: they are not refused, since what they
// wait for goes on.
func TestLargeRequestsOnASlowLink(t *testing.T) {
	lab.Bubble(t, "inmem", func(t *testing.T) {
		const size = 4 << 20
		c := lab.InmemLink(inmem.WithBuffer(1<<20)).Cluster(t, 2, tight(size), forget())
		c.Memory().SetConditions(inmem.Conditions{Latency: latency, Bandwidth: size / 30, Split: true})
		req := lab.Pattern(1, size)
		var wg sync.WaitGroup
		for i := range 16 {
			wg.Go(func() {
				_, err := c.Conn(0, 1).Request(t.Context(), "forget", req)
				check(t, fmt.Sprintf("request %d", i), err)
			})
		}
		wg.Wait()
	})
}
