package streams_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"testing"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/core/internal/lab"
)

// TestEverythingBeforeTheEnd has a handler send 1 000 messages and return at
// once, in every way, while its caller has not read any yet. The caller gets all
// of them, in order, and then the end or the error (D14, I5).
func TestEverythingBeforeTheEnd(t *testing.T) {
	many := lab.Scale(1000, 200, 1000)
	message := func(i int) string { return fmt.Sprintf("item %d", i) }
	overLinks(t, func(t *testing.T, l *lab.Link, f form) {
		returned := make(chan bool, 1)
		serve := func(_ context.Context, payload []byte, s end) error {
			defer func() { returned <- true }()
			for i := range many {
				if err := s.send([]byte(message(i))); err != nil {
					return err
				}
			}
			switch string(payload) {
			case "error":
				return errNoDisk
			case "panic":
				panic("behind the last message")
			case "goexit":
				runtime.Goexit()
			}
			return nil
		}
		c := l.Cluster(t, 2, f.serve("wide", serve, 0, 2*many), f.serve("narrow", serve, 0, 3))
		for _, how := range []string{"nil", "error", "panic", "goexit"} {
			for _, h := range []core.HandlerID{"wide", "narrow"} {
				what := string(h) + ", " + how
				st := f.mustOpen(t, c.Conn(0, 1), h, []byte(how))
				if h == "wide" {
					// All of it fits: the handler is gone before anything is read.
					lab.Wait(t, returned, "the handler returns although nobody reads")
				}
				for i := range many {
					wantMessages(t, what, st, message(i))
				}
				_, err := st.recv()
				if h == "narrow" {
					lab.Wait(t, returned, "the handler returns")
				}
				remote, _ := errors.AsType[*core.RemoteError](err)
				switch {
				case how == "nil" && err != io.EOF,
					how == "error" && !errors.Is(err, errNoDisk),
					how == "panic" && (remote == nil || remote.Code != core.CodePanic),
					how == "goexit" && (remote == nil || remote.Code != core.CodePanic):
					t.Errorf("%s: behind %d messages got %v", what, many, err)
				}
			}
		}
	})
}

// TestSlowReader reads a message a minute, of a handler that has long returned,
// and gets all of them (D14).
func TestSlowReader(t *testing.T) {
	inBubbles(t, func(t *testing.T, f form) {
		const many = 60
		c := lab.InmemLink().Cluster(t, 2, f.serve("fast", func(_ context.Context, _ []byte, s end) error {
			for i := range many {
				if err := s.send(lab.Pattern(i, i*3000)); err != nil {
					return err
				}
			}
			return errNoDisk
		}, 0, 5))
		st := f.mustOpen(t, c.Conn(0, 1), "fast", nil)
		for i := range many {
			time.Sleep(time.Minute)
			if msg, err := st.recv(); err != nil || string(msg) != string(lab.Pattern(i, i*3000)) {
				t.Fatalf("message %d has %d bytes, error %v", i, len(msg), err)
			}
		}
		time.Sleep(time.Minute)
		if _, err := st.recv(); !errors.Is(err, errNoDisk) {
			t.Errorf("behind the last message got %v", err)
		}
	})
}

// TestInputBeforeTheEnd has a caller send all its messages, end them and not look
// any more while the handler reads a message a minute: it gets all of them and then
// io.EOF.
func TestInputBeforeTheEnd(t *testing.T) {
	inBubbles(t, func(t *testing.T, f form) {
		const many = 60
		c := lab.InmemLink().Cluster(t, 2, f.serve("slow", func(ctx context.Context, _ []byte, s end) error {
			for i := range many {
				time.Sleep(time.Minute)
				if msg, err := s.recv(); err != nil || string(msg) != string(lab.Pattern(i, i*3000)) {
					return fmt.Errorf("message %d has %d bytes, %w", i, len(msg), err)
				}
			}
			if _, err := s.recv(); err != io.EOF {
				return err
			}
			return s.send([]byte("all"))
		}, 5, 1))
		st := f.mustOpen(t, c.Conn(0, 1), "slow", nil)
		for i := range many {
			if err := st.send(lab.Pattern(i, i*3000)); err != nil {
				t.Fatalf("sending failed: %v", err)
			}
		}
		st.closeSend()
		wantMessages(t, "after the input", st, "all")
		wantEnd(t, "after the input", st)
	})
}

// TestFirstMessageNeedsNoRoundTrip opens streams over a link with latency, where
// their handlers are known: payload and first message of the caller are there
// after one way, those of the handler after the second. A link that is new asks
// for the handlers first, once.
func TestFirstMessageNeedsNoRoundTrip(t *testing.T) {
	inBubbles(t, func(t *testing.T, f form) {
		const latency = 50 * time.Millisecond
		var began time.Time
		c := lab.InmemLink().Cluster(t, 2, f.serve("first", func(ctx context.Context, payload []byte, s end) error {
			if d := time.Since(began); d != latency || string(payload) != "payload" {
				t.Errorf("after %v the handler began with %q, want one way", d, payload)
			}
			wantMessages(t, "the caller's first", s, "hello")
			if d := time.Since(began); d != latency {
				t.Errorf("the caller's first message came after %v, want one way", d)
			}
			if err := s.send([]byte("hi")); err != nil {
				return err
			}
			return echo(ctx, nil, s)
		}, 1, 1))
		c.Memory().SetLatency(latency)
		for _, to := range []int{1, 1, 1} {
			began = time.Now()
			st := f.mustOpen(t, c.Conn(0, to), "first", []byte("payload"))
			if err := st.send([]byte("hello")); err != nil {
				t.Fatal(err)
			}
			if d := time.Since(began); d != 0 {
				t.Errorf("opening a stream and sending took %v", d)
			}
			st.closeSend()
			wantMessages(t, "the handler's first", st, "hi")
			if d := time.Since(began); d != 2*latency {
				t.Errorf("the handler's first message came after %v, want a round trip", d)
			}
			wantEnd(t, "the end", st)
			if d := time.Since(began); d != 2*latency {
				t.Errorf("the end came after %v, want it right behind the message", d)
			}
		}
	})
}

// TestCallerNeedsNoRegistration opens streams to handlers that only the other
// node has: capacities and all come from there.
func TestCallerNeedsNoRegistration(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		c := l.Cluster(t, 2, onlyNode(1, func(m *core.Manager) error {
			return errors.Join(
				rawForm.handle(m, "input", echo, 3, 2),
				rawForm.handle(m, "no input", func(_ context.Context, _ []byte, s end) error { return s.send([]byte("x")) }, 0, 2),
				rawForm.handle(m, "input", echo, 3, 2, core.WithRoute("r")))
		}))
		for _, on := range []core.Caller{c.Conn(0, 1), c.Conn(0, 1).Route("r")} {
			st := mustNew(t.Context(), t, on, "input")
			if cap(st.Requests) != 3 || cap(st.Responses) != 2 {
				t.Errorf("the channels hold %d and %d messages, want what the handler has: 3 and 2", cap(st.Requests), cap(st.Responses))
			}
			st.Requests <- []byte("x")
			close(st.Requests)
			if r := <-st.Responses; string(r.Msg) != "x" {
				t.Errorf("the echo is %q, %v", r.Msg, r.Err)
			}
			if r, ok := <-st.Responses; ok {
				t.Errorf("behind it comes %v", r)
			}
		}
		st := mustNew(t.Context(), t, c.Conn(0, 1), "no input")
		if st.Requests != nil {
			t.Error("a handler without input has a channel for it")
		}
		st.Close()
	})
}

// TestFirstStreamOfANewLink waits with a stream for a link, and opens it before
// anything is known of the handlers of the other side. That takes one round trip
// more, once.
func TestFirstStreamOfANewLink(t *testing.T) {
	inBubbles(t, func(t *testing.T, f form) {
		const latency = 50 * time.Millisecond
		c := lab.InmemLink().Cluster(t, 2, f.serve("back", echo, 1, 1), coretest.Unstarted())
		c.Memory().SetLatency(latency)
		c.Start(0)
		type opened struct {
			st  calling
			err error
		}
		opening := lab.Go(func() opened {
			st, err := f.open(t.Context(), c.Conn(0, 1), "back", nil, core.WaitForConnection())
			return opened{st, err}
		})
		time.Sleep(time.Hour)
		c.Start(1)
		if err := c.Conn(0, 1).WaitConnected(t.Context()); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		first := lab.Wait(t, opening, "the stream is opened")
		if first.err != nil {
			t.Fatalf("waiting for a connection with a stream: %v", first.err)
		}
		use := func(what string, st calling, most time.Duration) {
			if err := st.send([]byte("x")); err != nil {
				t.Fatal(err)
			}
			st.closeSend()
			wantMessages(t, what, st, "x")
			wantEnd(t, what, st)
			if d := time.Since(began); d > most {
				t.Errorf("%s took %v, want %v", what, d, most)
			}
		}
		use("the first stream", first.st, 4*latency)
		began = time.Now()
		use("the second stream", f.mustOpen(t, c.Conn(0, 1), "back", nil), 2*latency)
	})
}
