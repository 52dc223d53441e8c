package streams_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/core/internal/lab"
)

// mustNew opens a stream in the form of channels.
func mustNew(ctx context.Context, t testing.TB, on core.Caller, h core.HandlerID, opts ...core.CallOption) *core.Stream {
	t.Helper()
	st, err := on.NewStream(ctx, h, nil, opts...)
	if err != nil {
		t.Fatalf("NewStream to %s failed: %v", h, err)
	}
	return st
}

// channels registers a handler in the form of channels on all nodes.
func channels(h core.HandlerID, in, out int, fn func(ctx context.Context, payload []byte, in <-chan []byte, out chan<- []byte) error, opts ...core.HandlerOption) coretest.Option {
	return coretest.WithHandlers(func(_ int, m *core.Manager) error {
		return m.HandleStream(h, core.StreamHandler{Handle: fn, InCapacity: in, OutCapacity: out}, opts...)
	})
}

// TestInputChannelIsClosed holds that in is closed at the end of the input, with
// a context that has not ended, and when the context ends, with the cause that
// tells the two apart.
func TestInputChannelIsClosed(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		type closed struct {
			messages   int
			cause, err error
		}
		began, seen := make(chan bool, 1), make(chan closed, 1)
		c := l.Cluster(t, 2, lab.Impatient(), channels("in", 8, 1, func(ctx context.Context, _ []byte, in <-chan []byte, _ chan<- []byte) error {
			var got closed
			for range in {
				if got.messages++; got.messages == 3 {
					began <- true
				}
			}
			got.cause, got.err = context.Cause(ctx), ctx.Err()
			seen <- got
			return nil
		}))
		ended, cancel := context.WithCancel(t.Context())
		defer cancel()
		for _, test := range []struct {
			name  string
			ctx   context.Context
			end   func(st *core.Stream)
			cause error
		}{
			{"the end of the input", t.Context(), func(st *core.Stream) { close(st.Requests) }, nil},
			{"Close", t.Context(), func(st *core.Stream) { st.Close() }, context.Canceled},
			{"the end of the context", ended, func(*core.Stream) { cancel() }, context.Canceled},
			{"a cut link", t.Context(), func(*core.Stream) { c.Cut(0, 1) }, core.ErrDisconnected},
		} {
			st := mustNew(test.ctx, t, c.Conn(0, 1), "in", core.WaitForConnection())
			for range 3 {
				st.Requests <- []byte("x")
			}
			lab.Wait(t, began, "the handler has three messages")
			test.end(st)
			got := lab.Wait(t, seen, test.name+": in is closed")
			if got.messages != 3 || !errors.Is(got.cause, test.cause) || (got.err == nil) != (test.cause == nil) {
				t.Errorf("%s: in was closed after %d messages, with cause %v and error %v, want 3 and %v", test.name, got.messages, got.cause, got.err, test.cause)
			}
			lab.Wait(t, st.Done(), test.name+": the stream ends")
			if (st.Err() == nil) != (test.cause == nil) {
				t.Errorf("%s: the caller got %v", test.name, st.Err())
			}
			st.Close()
		}
	})
}

// TestInputChannelIsNil holds that a handler that takes no input has no channel
// for it, nor does its caller, and that the channels are there where it does.
func TestInputChannelIsNil(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		check := func(none bool) func(context.Context, []byte, <-chan []byte, chan<- []byte) error {
			return func(_ context.Context, _ []byte, in <-chan []byte, out chan<- []byte) error {
				if (in == nil) != none || out == nil {
					return fmt.Errorf("in is nil: %v, out is nil: %v", in == nil, out == nil)
				}
				return nil
			}
		}
		c := l.Cluster(t, 2, channels("none", 0, 0, check(true)), channels("some", 1, 0, check(false)))
		for h, none := range map[core.HandlerID]bool{"none": true, "some": false} {
			st := mustNew(t.Context(), t, c.Conn(0, 1), h)
			if (st.Requests == nil) != none {
				t.Errorf("%s: Requests is nil: %v, want %v", h, st.Requests == nil, none)
			}
			if err := st.Results(func([]byte) error { return nil }); err != nil {
				t.Errorf("%s: %v", h, err)
			}
		}
	})
}

// TestOutputChannelIsDrained holds that a plain send on out never blocks for
// ever, whatever has become of the caller, as long as the handler runs.
func TestOutputChannelIsDrained(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		for name, test := range map[string]struct {
			end  func(c *lab.Cluster, st *core.Stream)
			opts []core.HandlerOption
		}{
			"Close":    {end: func(_ *lab.Cluster, st *core.Stream) { st.Close() }},
			"a cut":    {end: func(c *lab.Cluster, _ *core.Stream) { c.Cut(0, 1) }},
			"deadline": {end: func(*lab.Cluster, *core.Stream) {}, opts: []core.HandlerOption{core.WithTimeout(20 * time.Millisecond)}},
		} {
			returned := make(chan bool, 1)
			c := l.Cluster(t, 2, channels("out", 0, 2, func(ctx context.Context, _ []byte, _ <-chan []byte, out chan<- []byte) error {
				defer func() { returned <- true }()
				out <- []byte("first")
				for ctx.Err() == nil { // nobody reads: it waits in here
					out <- make([]byte, 100)
				}
				for range 1000 { // and goes on regardless
					out <- make([]byte, 100)
				}
				return nil
			}, test.opts...))
			st := mustNew(t.Context(), t, c.Conn(0, 1), "out")
			if r := <-st.Responses; string(r.Msg) != "first" {
				t.Fatalf("the first message is %q, %v", r.Msg, r.Err)
			}
			test.end(c, st)
			lab.Wait(t, returned, name+": the handler gets to its end")
			st.Close()
			if l.Bubble {
				synctest.Wait()
			}
		}
	})
}

// TestOutputBeforeTheReturn holds that what a handler sent on out before it
// returned arrives before its end, its error or its panic, also what was still in
// the channel (D14).
func TestOutputBeforeTheReturn(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		const many = 500
		for how, check := range map[string]func(err error) bool{
			"nil":   func(err error) bool { return err == nil },
			"error": func(err error) bool { return errors.Is(err, errNoDisk) },
			"panic": func(err error) bool { return core.OutcomeOf(err) == core.OutcomeRemote },
		} {
			c := l.Cluster(t, 2, channels("out", 0, many, func(_ context.Context, _ []byte, _ <-chan []byte, out chan<- []byte) error {
				for i := range many {
					out <- fmt.Append(nil, i)
				}
				switch how {
				case "error":
					return errNoDisk
				case "panic":
					panic("after the last message")
				}
				return nil
			}))
			st := mustNew(t.Context(), t, c.Conn(0, 1), "out")
			n := 0
			err := st.Results(func(msg []byte) error {
				if string(msg) != fmt.Sprint(n) {
					t.Fatalf("message %d is %q", n, msg)
				}
				n++
				return nil
			})
			if n != many || !check(err) {
				t.Errorf("a handler that ended with %s: got %d messages of %d, then %v", how, n, many, err)
			}
		}
	})
}

// TestMessagesBelongToTheReceiver keeps every slice from in and from Responses,
// and writes into those that came before: nothing else changes.
func TestMessagesBelongToTheReceiver(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		const many = 60
		message := func(i int) []byte { return lab.Pattern(i, 1+i*40) }
		keep := func(all [][]byte, msg []byte) [][]byte {
			if !bytes.Equal(msg, message(len(all))) {
				t.Errorf("message %d is damaged", len(all))
			}
			for i, earlier := range all {
				for j := range earlier {
					earlier[j] = byte(i)
				}
				_ = append(earlier, 0xff, 0xff, 0xff, 0xff) // its capacity is the receiver's too
			}
			return append(all, msg)
		}
		c := l.Cluster(t, 2, channels("keep", 4, 4, func(_ context.Context, _ []byte, in <-chan []byte, out chan<- []byte) error {
			var all [][]byte
			for msg := range in {
				out <- bytes.Clone(msg)
				all = keep(all, msg)
			}
			return nil
		}))
		st := mustNew(t.Context(), t, c.Conn(0, 1), "keep")
		go func() {
			for i := range many {
				st.Requests <- message(i)
			}
			close(st.Requests)
		}()
		var all [][]byte
		for r := range st.Responses {
			if r.Err != nil {
				t.Fatal(r.Err)
			}
			all = keep(all, r.Msg)
		}
		if len(all) != many {
			t.Errorf("%d messages came back, want %d", len(all), many)
		}
	})
}

// TestSendAfterTheEnd holds that after the end of a stream Send returns its error
// at once, however full Requests is, also one that was waiting, and that Done
// tells who sends on Requests.
func TestSendAfterTheEnd(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		g := lab.NewGate(t, 1)
		c := l.Cluster(t, 2, channels("deaf", 2, 1, func(ctx context.Context, _ []byte, _ <-chan []byte, _ chan<- []byte) error {
			_, err := g.HandleContext(ctx, nil)
			return cmpErr(err, errNoDisk)
		}))
		for name, test := range map[string]struct {
			end func(st *core.Stream)
			is  error
		}{
			"the handler returns": {func(*core.Stream) { g.Open <- struct{}{} }, errNoDisk},
			"Close":               {func(st *core.Stream) { st.Close() }, net.ErrClosed},
		} {
			st := mustNew(t.Context(), t, c.Conn(0, 1), "deaf")
			lab.Wait(t, g.Began, "the handler begins")
			waiting := lab.Go(func() error {
				for {
					if err := st.Send([]byte("x")); err != nil {
						return err
					}
				}
			})
			plain := lab.Go(func() error {
				for {
					select {
					case st.Requests <- []byte("y"):
					case <-st.Done():
						return st.Err()
					}
				}
			})
			if l.Bubble {
				synctest.Wait() // both wait for room
			}
			test.end(st)
			for what, err := range map[string]error{
				"a Send that waited": lab.Wait(t, waiting, "Send returns"), "Done": lab.Wait(t, plain, "Done tells"), "a further Send": st.Send(nil),
			} {
				wantKinds(t, name+", "+what, err, test.is)
			}
		}
	})
}

func cmpErr(err, otherwise error) error {
	if err != nil {
		return err
	}
	return otherwise
}

// TestCloseWithOpenRequests holds that Close ends a stream whether or not its
// Requests was closed, and that to close Requests later does no harm.
func TestCloseWithOpenRequests(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		began, ended := make(chan bool, 1), make(chan error, 1)
		c := l.Cluster(t, 2, channels("waits", 1, 1, func(ctx context.Context, _ []byte, _ <-chan []byte, _ chan<- []byte) error {
			began <- true
			<-ctx.Done()
			ended <- ctx.Err()
			return nil
		}))
		for _, first := range []bool{true, false} {
			st := mustNew(t.Context(), t, c.Conn(0, 1), "waits")
			lab.Wait(t, began, "the handler begins")
			if first {
				close(st.Requests)
			}
			if err := st.Close(); err != nil {
				t.Errorf("Close returned %v", err)
			}
			lab.Wait(t, st.Done(), "the stream ends")
			if r, ok := <-st.Responses; !ok || !errors.Is(r.Err, net.ErrClosed) {
				t.Errorf("after Close Responses brought %v, %v, want the error", r, ok)
			}
			if r, ok := <-st.Responses; ok {
				t.Errorf("Responses brought %v behind its error", r)
			}
			if err := lab.Wait(t, ended, "the handler's context ends"); err != context.Canceled {
				t.Errorf("the handler's context ended with %v", err)
			}
			if !first {
				close(st.Requests)
			}
		}
	})
}

// TestOutCapacityOfNothing holds that an OutCapacity of 0 or less means 1: one
// message is in flight before the handler waits for the reader.
func TestOutCapacityOfNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sent := 0
		handle := func(_ context.Context, _ []byte, s *core.RawStream) error {
			for range 5 {
				if err := s.Send([]byte("x")); err != nil {
					return err
				}
				sent++
			}
			return nil
		}
		c := lab.InmemLink().Cluster(t, 2, coretest.WithHandlers(func(_ int, m *core.Manager) error {
			return m.HandleStreamFunc("raw", handle, core.WithCapacity(0, -1))
		}), channels("channels", 0, -1, func(_ context.Context, _ []byte, _ <-chan []byte, out chan<- []byte) error {
			if cap(out) != 1 {
				return fmt.Errorf("out has room for %d messages", cap(out))
			}
			return nil
		}))
		st := rawForm.mustOpen(t, c.Conn(0, 1), "raw", nil)
		for taken := range 5 {
			synctest.Wait()
			if sent != taken+1 {
				t.Errorf("after %d messages were taken %d are sent, want one in flight", taken, sent)
			}
			wantMessages(t, "one at a time", st, "x")
		}
		wantEnd(t, "one at a time", st)
		wantEnd(t, "channels", channelForm.mustOpen(t, c.Conn(0, 1), "channels", nil))
	})
}

// TestMessageOverTheLimitOnAChannel sends a message over the limit on Requests and
// on out. It cannot be refused there, so it ends the stream with an error on both
// sides: what comes behind it does not arrive without it, and there is no clean
// end.
func TestMessageOverTheLimitOnAChannel(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		began, ended := make(chan bool, 1), make(chan error, 1)
		c := l.Cluster(t, 2, lab.Configure(limited), channels("in", 4, 1, func(ctx context.Context, _ []byte, in <-chan []byte, _ chan<- []byte) error {
			for msg := range in {
				if string(msg) != "before" {
					t.Errorf("%d bytes arrived behind a message over the limit", len(msg))
				}
				began <- true
			}
			ended <- context.Cause(ctx)
			return nil
		}), channels("out", 0, 4, func(_ context.Context, _ []byte, _ <-chan []byte, out chan<- []byte) error {
			out <- []byte("before")
			out <- make([]byte, largest+1)
			out <- []byte("behind")
			return nil
		}))
		st := mustNew(t.Context(), t, c.Conn(0, 1), "in")
		st.Requests <- []byte("before")
		lab.Wait(t, began, "the message before it arrives")
		st.Requests <- make([]byte, largest+1)
		st.Requests <- []byte("behind")
		close(st.Requests)
		lab.Wait(t, st.Done(), "a message over the limit ends the stream")
		wantKinds(t, "a message over the limit on Requests", st.Err(), core.ErrMessageTooLarge)
		wantCallError(t, "a message over the limit on Requests", st.Err(), "in", core.OutcomeMaybeRun)
		if err := lab.Wait(t, ended, "the handler's input ends"); err != context.Canceled {
			t.Errorf("the handler's context ended with %v, want context.Canceled: it is no end of the input", err)
		}

		st = mustNew(t.Context(), t, c.Conn(0, 1), "out")
		var got []string
		err := st.Results(func(msg []byte) error { got = append(got, string(msg)); return nil })
		wantKinds(t, "a message over the limit on out", err, core.ErrMessageTooLarge)
		wantCallError(t, "a message over the limit on out", err, "out", core.OutcomeRemote)
		if fmt.Sprint(got) != "[before]" {
			t.Errorf("beside a message over the limit %q arrived, want what was sent before it", got)
		}
	})
}

// TestHandlerClosesOut has a handler close its channel, which it should not: the
// caller gets what was sent, and the end. It used to get empty messages for ever.
func TestHandlerClosesOut(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		c := l.Cluster(t, 2, coretest.WithHandlers(func(_ int, m *core.Manager) error {
			return m.HandleStream("closes", core.StreamHandler{
				OutCapacity: 4,
				Handle: func(_ context.Context, _ []byte, _ <-chan []byte, out chan<- []byte) error {
					out <- []byte("one")
					close(out)
					return nil
				},
			})
		}))
		st, err := c.Conn(0, 1).OpenStream(t.Context(), "closes", nil)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for msg, err := range st.All() {
			if err != nil {
				t.Fatalf("the stream failed: %v", err)
			}
			if got = append(got, string(msg)); len(got) > 1 {
				break
			}
		}
		if len(got) != 1 || got[0] != "one" {
			t.Errorf("the caller got %q, want one message", got)
		}
	})
}
