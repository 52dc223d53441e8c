package streamload_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/internal/lab"
)

// ends is a handler that tells when, and why, its context has ended.
func ends(told chan<- error, fn core.StreamFunc) core.StreamFunc {
	return func(ctx context.Context, payload []byte, s *core.RawStream) error {
		go func() {
			<-ctx.Done()
			told <- context.Cause(ctx)
		}()
		return fn(ctx, payload, s)
	}
}

// TestBlockedConsumer takes one message of a stream that has no end, stops
// reading and gives the stream up: its handler is told, in no more than a second,
// other traffic goes on, and when the link is lost the nodes find each other
// again. In both forms, by Close and by the context (D3).
func TestBlockedConsumer(t *testing.T) {
	for _, test := range []struct {
		name   string
		useRaw bool
		close  bool
	}{
		{"Send and Recv, cancelled", true, false},
		{"Send and Recv, closed", true, true},
		{"channels, cancelled", false, false},
		{"channels, closed", false, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
				told := make(chan error, 2)
				c := l.Cluster(t, 2, lab.Impatient(), handleStream("told", ends(told, endless)), streams())
				giveUp, _ := blockedStream(t, c, test.useRaw, test.close)
				lab.MustCall(t, c.Conn(0, 1), "echo", []byte("beside a blocked stream"))
				began := time.Now()
				giveUp()
				if why := lab.Wait(t, told, "the handler of a stream that is given up is told"); !errors.Is(why, context.Canceled) {
					t.Errorf("the handler's context ended because of %v", why)
				}
				if d := time.Since(began); l.Bubble && d > 0 {
					t.Errorf("the handler was told after %v", d)
				}
				lab.MustCall(t, c.Conn(0, 1), "echo", []byte("after it"))
				lab.MustCall(t, c.Conn(1, 0), "echo", []byte("after it"))

				// A link that is lost ends the next one.
				giveUp, ended := blockedStream(t, c, test.useRaw, test.close)
				defer giveUp()
				c.Cut(0, 1)
				lab.Wait(t, ended, "the caller of a stream whose link is lost is told")
				if why := lab.Wait(t, told, "the handler of a stream whose link is lost is told"); !errors.Is(why, core.ErrDisconnected) {
					t.Errorf("the handler's context ended because of %v, want ErrDisconnected", why)
				}
				lab.MustCall(t, c.Conn(0, 1), "echo", []byte("after the link"), core.WaitForConnection())
				st := mustOpen(t, c.Conn(0, 1), "source", order(100, 100), core.WaitForConnection())
				check(t, "a stream over the new link", receiveMessages(st, 100))
			})
		})
	}
}

// blockedStream opens a stream, takes one message, and leaves it until the sender
// waits for credit. It returns how to give the stream up, and what tells of its
// end.
func blockedStream(t *testing.T, c *lab.Cluster, useRaw, closes bool) (giveUp func(), ended <-chan struct{}) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	if useRaw {
		st, err := c.Conn(0, 1).OpenStream(ctx, "told", order(0, 1000))
		if err == nil {
			_, err = st.Recv(nil)
		}
		if err != nil {
			t.Fatalf("a stream failed: %v", err)
		}
		if closes {
			return func() { _ = st.Close(); cancel() }, st.Done()
		}
		return cancel, st.Done()
	}
	st, err := c.Conn(0, 1).NewStream(ctx, "told", order(0, 1000))
	if err != nil {
		t.Fatalf("a stream failed: %v", err)
	}
	if r := lab.Wait(t, st.Responses, "a first message"); r.Err != nil {
		t.Fatalf("a stream failed: %v", r.Err)
	}
	if closes {
		return func() { _ = st.Close(); cancel() }, st.Done()
	}
	return cancel, st.Done()
}

// TestBlockedForLong blocks producers and consumers of streams for five times as
// long as a dead peer takes to be noticed, one way and both ways: the streams
// live and go on afterwards. Then it does the same and the peer dies: both ends
// learn it in time (D10).
func TestBlockedForLong(t *testing.T) {
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		const keepAlive, timeout = 2 * time.Second, time.Second
		const notice = 2*keepAlive + timeout
		told, open := make(chan error, 2), make(chan struct{}, 1)
		book, note := lab.Books(2)
		c := l.Cluster(t, 2, note, streams(), lab.Configure(func(cfg *core.Config) { cfg.KeepAlive, cfg.KeepAliveTimeout = keepAlive, timeout }),
			handleStream("both", ends(told, func(ctx context.Context, payload []byte, s *core.RawStream) error {
				sent := lab.Go(func() error { return source(ctx, payload, s) })
				select {
				case <-open:
				case <-ctx.Done():
				}
				if err := receiveMessages(s, 1000); err != nil {
					return err
				}
				return <-sent
			})))
		start := func() (st *core.RawStream, sent <-chan error) {
			st = mustOpen(t, c.Conn(0, 1), "both", order(1000, 1000))
			return st, lab.Go(func() error { return errors.Join(sendMessages(st, 1000, 1000), st.CloseSend()) })
		}
		st, sent := start()
		oneWay := mustOpen(t, c.Conn(0, 1), "source", order(1000, 1000))
		time.Sleep(5 * notice)
		if len(book[0].Of(c.Node(1).Name)) != len(book[1].Of(c.Node(0).Name)) || st.Err() != nil || oneWay.Err() != nil {
			t.Fatalf("a stream that nobody reads ended: %v, %v", st.Err(), oneWay.Err())
		}
		open <- struct{}{}
		check(t, "a stream that was blocked", receiveMessages(st, 1000))
		check(t, "its other direction", lab.Wait(t, sent, "everything is sent"))
		check(t, "a stream that was blocked one way", receiveMessages(oneWay, 1000))
		<-told // of a stream that has ended well

		st, sent = start()
		oneWay = mustOpen(t, c.Conn(0, 1), "source", order(1000, 1000))
		time.Sleep(notice)
		began := time.Now()
		c.Silence(0, 1)
		for _, ended := range []<-chan struct{}{st.Done(), oneWay.Done()} {
			lab.Wait(t, ended, "the caller notices that its peer is dead")
			if d := time.Since(began); d > notice {
				t.Errorf("the caller noticed after %v that its peer is dead, want at most %v", d, notice)
			}
		}
		lab.WantFailure(t, "a stream to a dead peer", st.Err(), core.ErrDisconnected, core.OutcomeMaybeRun)
		if err := lab.Wait(t, sent, "a sender that waits is told"); !errors.Is(err, core.ErrDisconnected) {
			t.Errorf("Send to a dead peer returned %v", err)
		}
		if why := lab.Wait(t, told, "the handler is told"); !errors.Is(why, core.ErrDisconnected) || time.Since(began) > notice {
			t.Errorf("after %v the handler learned of a dead peer: %v, want at most %v", time.Since(began), why, notice)
		}
	})
}
