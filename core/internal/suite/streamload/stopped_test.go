package streamload_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/internal/lab"
	"github.com/gridmux/gridmux/transport/inmem"
)

// TestOneReaderStops runs a thousand streams over a narrow link, once with all of
// them read and once with one whose reader has stopped: the others take hardly
// longer, in either direction. So a stopped reader holds nothing that others need
// (T23).
func TestOneReaderStops(t *testing.T) {
	const size = 1 << 10
	n := lab.Scale(1000, 400, 1000)
	messages := lab.Scale(120, 30, 500)
	for _, towards := range []string{"the caller", "the handlers"} {
		t.Run(towards, func(t *testing.T) {
			var took [2]time.Duration
			for stopped := range 2 {
				synctest.Test(t, func(t *testing.T) {
					if towards == "the caller" {
						took[stopped] = readAllBut(t, stopped, n, messages, size)
					} else {
						took[stopped] = sendAllBut(t, stopped, n, messages, size)
					}
				})
			}
			t.Logf("%d streams take %v, and %v beside one that is not read", n-1, took[0], took[1])
			if float64(took[0]) < 0.9*float64(took[1]) {
				t.Errorf("%d streams take %v beside one that is not read, want at most a tenth more than %v", n-1, took[1], took[0])
			}
		})
	}
}

// narrowCluster is two nodes with a link of 100 Mbit/s between them.
func narrowCluster(t *testing.T, n int, opts ...core.HandlerOption) *lab.Cluster {
	c := lab.InmemLink(inmem.WithBuffer(1<<20)).Cluster(t, 2, many(n), streams(opts...),
		handleStream("stopped", func(ctx context.Context, _ []byte, _ *core.RawStream) error {
			<-ctx.Done()
			return ctx.Err()
		}))
	c.Memory().SetConditions(inmem.Conditions{Latency: latency, Bandwidth: bandwidth, Split: true})
	return c
}

// readAllBut has a thousand handlers send, reads all streams but the first few,
// and returns how long those took that both runs read.
func readAllBut(t *testing.T, stopped, n, messages, size int) time.Duration {
	c := narrowCluster(t, n)
	began := time.Now()
	var wg sync.WaitGroup
	for i := range n {
		st := mustOpen(t, c.Conn(0, 1), "source", order(messages, size))
		if i > 0 {
			wg.Go(func() { check(t, "a stream that is read", receiveMessages(st, messages)) })
		} else if stopped == 0 {
			go func() { check(t, "the first stream", receiveMessages(st, messages)) }()
		} else {
			defer st.Close()
		}
	}
	wg.Wait()
	return time.Since(began)
}

// sendAllBut is the same towards handlers.
func sendAllBut(t *testing.T, stopped, n, messages, size int) time.Duration {
	c := narrowCluster(t, n)
	began := time.Now()
	var wg sync.WaitGroup
	for i := range n {
		h := core.HandlerID("sink")
		if i < stopped {
			h = "stopped"
		}
		st := mustOpen(t, c.Conn(0, 1), h, order(messages, size))
		if i < stopped {
			go func() { _ = sendMessages(st, messages, size) }()
			defer st.Close()
			continue
		}
		done := func() {
			check(t, "a stream that is read", sendMessages(st, messages, size))
			check(t, "CloseSend", st.CloseSend())
			check(t, "the handler", receiveMessages(st, 0))
		}
		if i == 0 {
			go done()
		} else {
			wg.Go(done)
		}
	}
	wg.Wait()
	return time.Since(began)
}

// TestSlowReader has small calls beside a stream that is sent as fast as it can
// be and read slowly: the sender waits, and can be cancelled while it does; 99 of
// 100 calls take at most twice as long as without it (F5, T23).
func TestSlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// The sender would be 100 times as fast as the reader.
		const size, pause = 1 << 10, time.Millisecond
		sending := make(chan error, 1)
		var sent int
		c := lab.InmemLink(inmem.WithBuffer(1<<20)).Cluster(t, 2, handleStream("fast", func(_ context.Context, _ []byte, s *core.RawStream) error {
			msg := make([]byte, size)
			for {
				if err := s.Send(msg); err != nil {
					sending <- err
					return err
				}
				sent++
			}
		}))
		c.Memory().SetConditions(inmem.Conditions{Latency: latency, Bandwidth: 10 * bandwidth, Split: true})
		alone := percentile(t, c, 99)
		ctx, cancel := context.WithCancel(t.Context())
		st, err := c.Conn(0, 1).OpenStream(ctx, "fast", nil)
		if err != nil {
			t.Fatal(err)
		}
		read := lab.Go(func() (n int) {
			for {
				if _, err := st.Recv(nil); err != nil {
					return n
				}
				n++
				time.Sleep(pause)
			}
		})
		beside := percentile(t, c, 99)
		if beside > 2*alone {
			t.Errorf("99 of 100 small calls take up to %v beside a stream that is read slowly, %v without it", beside, alone)
		}
		cancel()
		n := lab.Wait(t, read, "the reader ends")
		err = lab.Wait(t, sending, "a sender that waits for its reader is told of the end")
		lab.WantText(t, "a sender whose stream was cancelled", err, context.Canceled.Error())
		if n < 500 || sent > n+2*64+1 {
			t.Errorf("%d messages were sent and %d received, want the sender to wait for its reader", sent, n)
		}
	})
}

// percentile makes a small call every millisecond, one beside the other, and
// returns how long so many of a hundred of them take at most.
func percentile(t *testing.T, c *lab.Cluster, percent int) time.Duration {
	const n = 1000
	took := make([]time.Duration, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			began := time.Now()
			_, err := c.Conn(0, 1).Request(t.Context(), "echo", make([]byte, 512))
			check(t, fmt.Sprintf("call %d", i), err)
			took[i] = time.Since(began)
		})
		time.Sleep(time.Millisecond)
	}
	wg.Wait()
	slices.Sort(took)
	return took[n*percent/100-1]
}
