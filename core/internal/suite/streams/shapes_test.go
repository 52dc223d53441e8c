package streams_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/core/internal/lab"
)

// TestShapes opens streams with input, output, both and neither, and has every
// message arrive in its order, and the end behind the last one.
func TestShapes(t *testing.T) {
	overLinks(t, func(t *testing.T, l *lab.Link, f form) {
		const many = 200
		message := func(i int) string { return fmt.Sprintf("message %d", i) }
		serve := func(ctx context.Context, payload []byte, s end) error {
			if payload[0] == 'i' {
				for i := range many {
					if msg, err := s.recv(); err != nil || string(msg) != message(i) {
						return fmt.Errorf("input %d is %q, %w", i, msg, err)
					}
				}
				if _, err := s.recv(); err != io.EOF || ctx.Err() != nil {
					return fmt.Errorf("behind the last input: %w, %w", err, ctx.Err())
				}
			}
			if payload[1] == 'o' {
				for i := range many {
					if err := s.send([]byte(message(i))); err != nil {
						return err
					}
				}
			}
			return nil
		}
		c := l.Cluster(t, 2, f.serve("both", serve, 7, 5), f.serve("no input", serve, 0, 5))
		for _, shape := range []string{"io", "i-", "-o", "--"} {
			for _, h := range []core.HandlerID{"both", "no input"} {
				if h == "no input" && shape[0] == 'i' {
					continue
				}
				for _, to := range []int{1, 0} { // 0 is the loopback
					what := fmt.Sprintf("%s, shape %s, to node %d", h, shape, to)
					st := f.mustOpen(t, c.Conn(0, to), h, []byte(shape))
					if shape[0] == 'i' {
						for i := range many {
							if err := st.send([]byte(message(i))); err != nil {
								t.Fatalf("%s: sending failed: %v", what, err)
							}
						}
						st.closeSend()
					}
					if shape[1] == 'o' {
						for i := range many {
							wantMessages(t, what, st, message(i))
						}
					}
					wantEnd(t, what, st)
					lab.Wait(t, st.done(), what+": Done is closed after the end")
					wantEnd(t, what+", once more", st)
					if st.err() != nil {
						t.Errorf("%s: Err returned %v after a clean end", what, st.err())
					}
					if h == "no input" {
						// Not the end is the reason.
						wantText(t, what, st.send([]byte("x")))
					}
				}
			}
		}
		st := f.mustOpen(t, c.Conn(0, 1), "no input", []byte("-o"))
		lab.WantText(t, "sending to a handler that takes no input", st.send([]byte("x")), "input capacity is 0")
		wantMessages(t, "a stream whose Send was refused", st, message(0))
		st.close()
	})
}

func wantText(t *testing.T, what string, err error) {
	t.Helper()
	if err == nil {
		t.Errorf("%s: Send returned no error after the end", what)
	}
}

// sizes are those around which something changes: where messages are cut, the
// window of a stream, the limit.
var sizes = []int{0, 1, lab.PartSize, lab.PartSize + 1, 64 << 10, 64<<10 + 1, 1 << 20, largest}

const largest = 2 << 20

func limited(cfg *core.Config) { cfg.MaxMessage = largest }

// TestPayloadSizes gives streams payloads of every size. The handler gets them
// as they were, and one over the limit is refused before anything was sent.
func TestPayloadSizes(t *testing.T) {
	overLinks(t, func(t *testing.T, l *lab.Link, f form) {
		type got struct {
			payload []byte
			isNil   bool
		}
		arrived := make(chan got, 1)
		c := l.Cluster(t, 2, lab.Configure(limited), f.serve("payload", func(_ context.Context, payload []byte, s end) error {
			arrived <- got{bytes.Clone(payload), payload == nil}
			return s.send([]byte("thanks"))
		}, 0, 1))
		for _, to := range []int{1, 0} {
			for i, size := range append([]int{-1}, sizes...) {
				var payload []byte
				if size >= 0 {
					payload = lab.Pattern(i, size)
				}
				st := f.mustOpen(t, c.Conn(0, to), "payload", payload)
				clear(payload) // it was the caller's again
				g := lab.Wait(t, arrived, "the handler begins")
				if want := lab.Pattern(i, max(size, 0)); !bytes.Equal(g.payload, want) || g.isNil != (size < 0) {
					t.Errorf("a payload of %d bytes arrived with %d, nil: %v, or damaged", size, len(g.payload), g.isNil)
				}
				wantMessages(t, "the answer", st, "thanks")
				wantEnd(t, "the answer", st)
			}
			_, err := f.open(t.Context(), c.Conn(0, to), "payload", make([]byte, largest+1))
			lab.WantFailure(t, "a payload over the limit", err, core.ErrMessageTooLarge, core.OutcomeNotSent)
		}
	})
}

// TestMessageSizes sends messages of every size there and back, one at a time
// and many at once. One over the limit fails alone: the stream goes on.
func TestMessageSizes(t *testing.T) {
	overLinks(t, func(t *testing.T, l *lab.Link, f form) {
		c := l.Cluster(t, 2, lab.Configure(limited), f.serve("back", echo, 4, 4))
		for _, to := range []int{1, 0} {
			st := f.mustOpen(t, c.Conn(0, to), "back", nil)
			for i, size := range sizes {
				msg := lab.Pattern(i, size)
				if err := st.send(msg); err != nil {
					t.Fatalf("sending %d bytes failed: %v", size, err)
				}
				clear(msg) // Send is through with it
				back, err := st.recv()
				if err != nil || back == nil || !bytes.Equal(back, lab.Pattern(i, size)) {
					t.Fatalf("a message of %d bytes came back with %d, error %v, or damaged", size, len(back), err)
				}
			}
			sent := lab.Go(func() error {
				defer st.closeSend()
				for range 2 {
					for i, size := range sizes {
						if err := st.send(lab.Pattern(i, size)); err != nil {
							return err
						}
					}
				}
				return nil
			})
			for range 2 {
				for i, size := range sizes {
					if back, err := st.recv(); err != nil || !bytes.Equal(back, lab.Pattern(i, size)) {
						t.Fatalf("among others, a message of %d bytes came back with %d, error %v, or damaged", size, len(back), err)
					}
				}
			}
			wantEnd(t, "behind the last message", st)
			if err := lab.Wait(t, sent, "all is sent"); err != nil {
				t.Errorf("sending failed: %v", err)
			}
		}
	})
}

// TestMessageOverTheLimit holds that a message over the limit fails where it is
// sent, on either side, and that the stream goes on.
func TestMessageOverTheLimit(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		refused := make(chan error, 1)
		c := l.Cluster(t, 2, lab.Configure(limited), rawForm.serve("large", func(ctx context.Context, _ []byte, s end) error {
			refused <- s.send(make([]byte, largest+1))
			return echo(ctx, nil, s)
		}, 4, 4))
		st := rawForm.mustOpen(t, c.Conn(0, 1), "large", nil)
		for what, err := range map[string]error{
			"of the caller": st.send(make([]byte, largest+1)), "of the handler": lab.Wait(t, refused, "the handler has sent"),
		} {
			if _, ok := errors.AsType[*core.CallError](err); !ok || !errors.Is(err, core.ErrMessageTooLarge) {
				t.Errorf("a message over the limit %s: got %v, want ErrMessageTooLarge in a CallError", what, err)
			}
		}
		if err := st.send([]byte("still here")); err != nil {
			t.Errorf("sending after it failed: %v", err)
		}
		wantMessages(t, "after a message over the limit", st, "still here")
		st.closeSend()
		wantEnd(t, "after a message over the limit", st)

		// In the form of channels the stream has no other way to tell.
		ch, err := c.Conn(0, 1).NewStream(t.Context(), "large", nil)
		if err != nil {
			t.Fatal(err)
		}
		<-refused
		if err := ch.Send(make([]byte, largest+1)); !errors.Is(err, core.ErrMessageTooLarge) {
			t.Errorf("channels, a message over the limit: got %v, want ErrMessageTooLarge", err)
		}
		ch.Close()
	})
}

// TestHalfClose ends one direction of a stream while the other goes on, on either
// side: the other side gets io.EOF behind the last message, whose context has not
// ended.
func TestHalfClose(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		c := l.Cluster(t, 2, coretest.WithHandlers(func(_ int, m *core.Manager) error {
			return errors.Join(
				m.HandleStreamFunc("caller first", func(ctx context.Context, _ []byte, s *core.RawStream) error {
					wantMessages(t, "the caller's", rawEnd{s}, "1", "2")
					for range 3 {
						wantEnd(t, "behind the caller's last", rawEnd{s})
					}
					for i := range 100 {
						if err := s.Send(fmt.Append(nil, i)); err != nil || ctx.Err() != nil {
							return fmt.Errorf("sending after the end of the input: %w, %w", err, ctx.Err())
						}
					}
					return nil
				}, core.WithCapacity(2, 2)),
				m.HandleStreamFunc("handler first", func(ctx context.Context, _ []byte, s *core.RawStream) error {
					err := errors.Join(s.Send([]byte("1")), s.Send([]byte("2")), s.CloseSend(), s.CloseSend())
					if err != nil {
						return err
					}
					if err := s.Send([]byte("3")); !errors.Is(err, net.ErrClosed) {
						return fmt.Errorf("Send after CloseSend returned %w", err)
					}
					for i := range 100 {
						wantMessages(t, "after the handler's CloseSend", rawEnd{s}, fmt.Sprint(i))
					}
					wantEnd(t, "after the handler's CloseSend", rawEnd{s})
					return ctx.Err()
				}, core.WithCapacity(2, 2)),
				m.HandleStreamFunc("handler fails", func(_ context.Context, _ []byte, s *core.RawStream) error {
					s.CloseSend()
					if _, err := s.Recv(nil); err != io.EOF {
						return err
					}
					return errNoDisk
				}))
		}))
		st := rawForm.mustOpen(t, c.Conn(0, 1), "caller first", nil).(rawEnd)
		if err := errors.Join(st.Send([]byte("1")), st.Send([]byte("2")), st.CloseSend(), st.CloseSend()); err != nil {
			t.Errorf("sending and ending failed: %v", err)
		}
		if err := st.Send([]byte("3")); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Send after CloseSend returned %v", err)
		}
		for i := range 100 {
			wantMessages(t, "after the caller's CloseSend", st, fmt.Sprint(i))
		}
		wantEnd(t, "after the handler has returned", st)

		st = rawForm.mustOpen(t, c.Conn(0, 1), "handler first", nil).(rawEnd)
		wantMessages(t, "the handler's", st, "1", "2")
		wantEnd(t, "behind the handler's last", st)
		if st.Err() != nil {
			t.Errorf("Err returned %v before the end", st.Err())
		}
		for i := range 100 {
			if err := st.Send(fmt.Append(nil, i)); err != nil {
				t.Fatalf("sending after the handler's CloseSend failed: %v", err)
			}
		}
		select {
		case <-st.Done():
			t.Error("a stream of which one direction has ended says that it has ended")
		default:
		}
		st.CloseSend()
		lab.Wait(t, st.Done(), "the stream ends")
		if st.Err() != nil {
			t.Errorf("the stream ended with %v", st.Err())
		}

		// The end of the messages is not the end of the stream: its error comes later.
		st = rawForm.mustOpen(t, c.Conn(0, 1), "handler fails", nil).(rawEnd)
		wantEnd(t, "the handler's messages", st)
		st.CloseSend()
		lab.Wait(t, st.Done(), "the stream ends")
		if _, err := st.Recv(nil); !errors.Is(err, errNoDisk) || !errors.Is(st.Err(), errNoDisk) {
			t.Errorf("a handler that ended its messages and failed: Recv returned %v, Err %v, want its error", err, st.Err())
		}
		ch, err := c.Conn(0, 1).NewStream(t.Context(), "handler fails", nil)
		if err != nil {
			t.Fatal(err)
		}
		close(ch.Requests)
		if err := ch.Results(func([]byte) error { return nil }); !errors.Is(err, errNoDisk) {
			t.Errorf("channels, a handler that ended its messages and failed: got %v, want its error", err)
		}
	})
}
