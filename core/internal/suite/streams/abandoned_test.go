package streams_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/internal/lab"
)

// someGoroutines is how many may be there now and not then: writers and workers,
// which come and go.
const someGoroutines = 4

// goroutinesAtRest is how many there are in a bubble when what is idle has ended,
// at a moment in which no keep-alive is at work.
func goroutinesAtRest() int {
	least := math.MaxInt
	for range 5 {
		time.Sleep(7300 * time.Millisecond)
		synctest.Wait()
		least = min(least, lab.Goroutines())
	}
	return least
}

// flood sends until it cannot, and says why.
func flood(ended chan<- error) serveFunc {
	return func(ctx context.Context, _ []byte, s end) error {
		for i := 0; ; i++ {
			if err := s.send(lab.Pattern(i, 1000+i%3*20_000)); err != nil {
				ended <- context.Cause(ctx)
				return err
			}
		}
	}
}

// TestAbandonedReader has a caller read one message of a flood and stop. Calls and
// other streams on the link go on meanwhile, both ways; the handler learns of the
// cancellation; the link can be cut and comes back (D3, T23).
func TestAbandonedReader(t *testing.T) {
	overLinks(t, func(t *testing.T, l *lab.Link, f form) {
		const abandoned = 10
		begun, ended := make(chan struct{}, abandoned+2), make(chan error, abandoned+2)
		c := l.Cluster(t, 2, lab.Impatient(), f.serve("floods", func(ctx context.Context, p []byte, s end) error {
			begun <- struct{}{}
			return flood(ended)(ctx, p, s)
		}, 0, 10), f.serve("back", echo, 4, 4))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		for range abandoned {
			st := f.mustOpenWith(ctx, t, c.Conn(0, 1), "floods", nil)
			if msg, err := st.recv(); err != nil || len(msg) != 1000 {
				t.Fatalf("the first message has %d bytes, error %v", len(msg), err)
			}
		}
		live := func(when string) {
			t.Helper()
			for _, on := range []*core.Connection{c.Conn(0, 1), c.Conn(1, 0)} {
				lab.MustCall(t, on, "echo", []byte(when), core.WaitForConnection())
				st := f.mustOpen(t, on, "back", nil)
				for i := range 15 {
					msg := string(lab.Pattern(i, i*3000))
					if err := st.send([]byte(msg)); err != nil {
						t.Fatalf("%s: another stream: %v", when, err)
					}
					wantMessages(t, when+", another stream", st, msg)
				}
				st.closeSend()
				wantEnd(t, when+", another stream", st)
			}
		}
		live("beside readers that stopped")
		cancel()
		for range abandoned {
			if err := lab.Wait(t, ended, "the handler learns of the cancellation"); !errors.Is(err, context.Canceled) {
				t.Errorf("the handler's context ended with %v", err)
			}
		}
		live("after the cancellation")
		f.mustOpen(t, c.Conn(0, 1), "floods", nil)
		f.mustOpen(t, c.Conn(1, 0), "floods", nil)
		live("beside readers that never began")
		for range abandoned + 2 {
			lab.Wait(t, begun, "the handler begins") // one that has not is none that learns of anything
		}
		c.Cut(0, 1)
		for range 2 {
			if err := lab.Wait(t, ended, "the handler learns of the cut"); !errors.Is(err, core.ErrDisconnected) {
				t.Errorf("the handler's context ended with %v", err)
			}
		}
		live("after the link came back")
	})
}

// TestAbandonedHandler has handlers that never read. Their callers wait in Send,
// everything else goes on, and the callers return when their streams end.
func TestAbandonedHandler(t *testing.T) {
	overLinks(t, func(t *testing.T, l *lab.Link, f form) {
		c := l.Cluster(t, 2, f.serve("deaf", func(ctx context.Context, _ []byte, _ end) error {
			<-ctx.Done()
			return ctx.Err()
		}, 10, 1), f.serve("back", echo, 1, 1))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		const abandoned = 10
		failed := make(chan error, abandoned)
		for n := range abandoned {
			st := f.mustOpenWith(ctx, t, c.Conn(0, 1), "deaf", nil)
			go func() {
				for i := 0; ; i++ {
					if err := st.send(make([]byte, 1000*n)); err != nil {
						failed <- err
						return
					}
				}
			}()
		}
		if l.Bubble {
			synctest.Wait()
			if len(failed) > 0 {
				t.Errorf("sending to a handler that does not read failed: %v", <-failed)
			}
		}
		lab.MustCall(t, c.Conn(0, 1), "echo", nil)
		st := f.mustOpen(t, c.Conn(0, 1), "back", nil)
		if err := st.send([]byte("x")); err != nil {
			t.Errorf("another stream: %v", err)
		}
		wantMessages(t, "another stream", st, "x")
		cancel()
		for range abandoned {
			wantKinds(t, "a Send that waited", lab.Wait(t, failed, "Send returns with the stream"), context.Canceled)
		}
	})
}

// TestBothSidesOnlySend has both ends of streams send and never receive. They wait
// for credit; nothing else does.
func TestBothSidesOnlySend(t *testing.T) {
	overLinks(t, func(t *testing.T, l *lab.Link, f form) {
		ended := make(chan error, 1)
		c := l.Cluster(t, 2, f.serve("floods", flood(ended), 5, 5))
		st := f.mustOpen(t, c.Conn(0, 1), "floods", nil)
		sent := lab.Go(func() error {
			for {
				if err := st.send(make([]byte, 10_000)); err != nil {
					return err
				}
			}
		})
		for range 20 {
			lab.MustCall(t, c.Conn(0, 1), "echo", make([]byte, 50_000))
			lab.MustCall(t, c.Conn(1, 0), "echo", make([]byte, 50_000))
		}
		st.close()
		wantKinds(t, "a Send that waited", lab.Wait(t, sent, "Send returns"), net.ErrClosed)
		lab.Wait(t, ended, "the handler ends")
	})
}

// TestAbandonedStreamsLeaveNothing opens streams in every state, cancels their
// context and never touches them again: no goroutine stays, and no place, window
// or memory is taken.
func TestAbandonedStreamsLeaveNothing(t *testing.T) {
	inBubbles(t, func(t *testing.T, f form) {
		const window, most, whole = 64 << 10, 4, 300 << 10
		ended := make(chan error, 100*most)
		c := lab.InmemLink().Cluster(t, 2, f.serve("floods", flood(ended), 5, 20), f.serve("large", func(ctx context.Context, _ []byte, s end) error {
			for s.send(make([]byte, whole)) == nil {
			}
			ended <- context.Cause(ctx)
			return ctx.Err()
		}, 5, 3), f.serve("waits", func(ctx context.Context, _ []byte, _ end) error {
			<-ctx.Done()
			return ctx.Err()
		}, 5, 5), lab.Configure(func(cfg *core.Config) {
			cfg.MaxMessage = whole
			// A window that has grown leaves half of the memory to others.
			cfg.MaxReassembly, cfg.MaxStreamBuffers, cfg.MaxCalls, cfg.MaxHandlers = whole, 2*most*window, 2*most, 2*most
		}))
		// Once, for what stays with the connection.
		lab.MustCall(t, c.Conn(0, 1), "echo", nil)
		before := goroutinesAtRest()
		for round := range lab.Scale(20, 8, 200) {
			ctx, cancel := context.WithCancel(t.Context())
			for i := range most {
				h := core.HandlerID("floods")
				if (i+round)%2 == 0 {
					h = "large"
				}
				st := f.mustOpenWith(ctx, t, c.Conn(0, 1), h, nil)
				for range i {
					if h == "floods" {
						if _, err := st.recv(); err != nil {
							t.Fatal(err)
						}
					}
				}
				go st.send(make([]byte, whole)) // nobody takes it
			}
			if round%2 == 0 {
				synctest.Wait() // everything waits for credit, or for memory
			}
			cancel()
			synctest.Wait()
			if round%2 == 0 {
				for range most {
					if err := lab.Wait(t, ended, "the handler ends"); !errors.Is(err, context.Canceled) {
						t.Errorf("the handler's context ended with %v", err)
					}
				}
			}
		}
		if after := goroutinesAtRest(); after > before+someGoroutines {
			t.Errorf("after streams that were abandoned there are %d goroutines, before there were %d", after, before)
		}
		// All of the memory, all windows and all slots are there.
		var open []calling
		for range 2 * most {
			open = append(open, f.mustOpen(t, c.Conn(0, 1), "waits", nil))
		}
		synctest.Wait()
		for _, st := range open {
			if st.err() != nil {
				t.Errorf("a stream for which there is room ended with %v", st.err())
			}
			st.close()
		}
		synctest.Wait()
		var read []<-chan error
		for range most {
			st := f.mustOpen(t, c.Conn(0, 1), "large", nil)
			read = append(read, lab.Go(func() error {
				defer st.close()
				msg, err := st.recv()
				return errors.Join(err, lengthError(msg, whole))
			}))
		}
		for _, done := range read {
			if err := lab.Wait(t, done, "a message of all the memory there is arrives"); err != nil {
				t.Error(err)
			}
		}
	})
}

// TestManyStreams opens 100 000 streams one after the other, of every end, under
// one context, where only one fits: slots, places of handlers, windows and
// memory are given back by each before the next begins, and heap and goroutines
// are where they were (D21, F15).
func TestManyStreams(t *testing.T) {
	for _, f := range []form{rawForm, channelForm} {
		t.Run(f.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := lab.InmemLink().Cluster(t, 2, f.serve("back", echo, 2, 2), f.serve("fails", func(context.Context, []byte, end) error { return errNoDisk }, 1, 1),
					lab.Configure(func(cfg *core.Config) {
						cfg.MaxCalls, cfg.MaxHandlers, cfg.StreamWindow, cfg.MaxStreamBuffers = 1, 1, 1000, 1000
					}))
				on := []core.Caller{c.Conn(0, 1), c.Conn(0, 0)}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				open := func(i int) {
					h := core.HandlerID("back")
					if i%4 == 3 {
						h = "fails"
					}
					st := f.mustOpenWith(ctx, t, on[i%len(on)], h, nil)
					switch i % 4 {
					case 0, 1:
						if err := st.send([]byte("x")); err != nil {
							t.Fatal(err)
						}
						st.closeSend()
						wantMessages(t, "one of many", st, "x")
						wantEnd(t, "one of many", st)
					case 2:
						st.close()
						synctest.Wait() // its handler has to return
					case 3:
						if _, err := st.recv(); !errors.Is(err, errNoDisk) {
							t.Fatalf("stream %d failed with %v", i, err)
						}
					}
				}
				round := func(n int) {
					for i := range n {
						open(i)
					}
				}
				round(1000)
				goroutines, heap := goroutinesAtRest(), lab.HeapInUse()
				round(lab.Scale(50_000, 5000, 500_000)) // in both forms together 100 000
				if after := goroutinesAtRest(); after > goroutines+someGoroutines {
					t.Errorf("there are %d goroutines, before there were %d", after, goroutines)
				}
				if after := lab.HeapInUse(); after > heap+1<<20 {
					t.Errorf("the heap has %d KiB, before it had %d", after>>10, heap>>10)
				}
			})
		})
	}
}

// TestUnreadMessagesAtTheEnd holds that messages that nobody has taken when their
// stream ends with an answer stay until they are taken, or until the context ends.
func TestUnreadMessagesAtTheEnd(t *testing.T) {
	inBubbles(t, func(t *testing.T, f form) {
		c := lab.InmemLink().Cluster(t, 2, f.serve("large", func(_ context.Context, _ []byte, s end) error {
			return s.send(make([]byte, largest))
		}, 0, 1), lab.Configure(func(cfg *core.Config) {
			limited(cfg)
			cfg.MaxReassembly = largest
		}))
		ctx, cancel := context.WithCancel(t.Context())
		first := f.mustOpenWith(ctx, t, c.Conn(0, 1), "large", nil)
		synctest.Wait()
		select {
		case <-first.done():
		default:
			t.Fatal("a stream whose handler has returned has not ended")
		}
		second := f.mustOpen(t, c.Conn(0, 1), "large", nil)
		synctest.Wait()
		got := lab.Go(func() error {
			msg, err := second.recv()
			return errors.Join(err, lengthError(msg, largest))
		})
		cancel() // which gives back what the first one holds, to the second
		if err := lab.Wait(t, got, "the second stream gets the memory of the first"); err != nil {
			t.Error(err)
		}
		if _, err := second.recv(); err != io.EOF {
			t.Errorf("the second stream ended with %v", err)
		}
	})
}

func lengthError(msg []byte, want int) error {
	if len(msg) != want {
		return fmt.Errorf("the message has %d bytes, want %d", len(msg), want)
	}
	return nil
}

// TestOwnTimeoutDropsMessages holds that a stream whose WithTimeout is over drops
// what has arrived, as with the end of its context, and gives its memory to others.
func TestOwnTimeoutDropsMessages(t *testing.T) {
	inBubbles(t, func(t *testing.T, f form) {
		c := lab.InmemLink().Cluster(t, 2, f.serve("large", func(ctx context.Context, _ []byte, s end) error {
			err := s.send(make([]byte, largest))
			time.Sleep(2 * time.Minute) // so that the caller's time is over first
			return errors.Join(err, ctx.Err())
		}, 0, 1), lab.Configure(func(cfg *core.Config) {
			limited(cfg)
			cfg.MaxReassembly = largest
		}))
		first := f.mustOpen(t, c.Conn(0, 1), "large", nil, core.WithTimeout(time.Minute))
		synctest.Wait()
		<-first.done()
		synctest.Wait()
		if msg, err := first.recv(); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("after its time-out the stream brought %d bytes, error %v", len(msg), err)
		}
		msg, err := f.mustOpen(t, c.Conn(0, 1), "large", nil, core.WithTimeout(time.Minute)).recv()
		if err := errors.Join(err, lengthError(msg, largest)); err != nil {
			t.Errorf("the next stream: %v", err)
		}
		time.Sleep(5 * time.Minute) // the handlers return
	})
}
