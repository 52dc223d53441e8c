package streamprotocol_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/internal/lab"
	"github.com/gridmux/gridmux/core/internal/wire"
)

// TestEndsStandBehindMessages holds a sender to W86: END, and the answer, follow
// all messages that were sent before, small and large, however slowly the link
// takes them.
func TestEndsStandBehindMessages(t *testing.T) {
	inRoles(t, "W86", shape{out: 200}, func(t *testing.T, b *bench) {
		e := b.open()
		b.p.AckByHand()
		b.p.Allow(0)
		var sizes []int
		sent := make(chan error, 1)
		go func() {
			for i := range 30 {
				size := 1 + i*1000%7000
				if i == 20 {
					size = 50_000
				}
				sizes = append(sizes, size)
				if err := e.Send(lab.Pattern(i, size)); err != nil {
					sent <- err
					return
				}
			}
			sent <- e.CloseSend()
		}()
		settle()
		b.p.Send(e.credit(0, 1<<20))
		b.p.Allow(lab.Unlimited)
		n, message, ended := 0, []byte(nil), false
		for !ended {
			f, ok := b.p.Next()
			if !ok {
				before := b.p.Paced()
				b.p.Ack()
				if f, ok = b.p.Next(); !ok {
					t.Fatalf("W86: nothing comes behind %d messages and %d bytes", n, before)
				}
			}
			switch f.Type {
			case wire.TypeData:
				d, err := wire.ParseData(&f)
				if err != nil || len(message) != 0 {
					t.Fatalf("W81: DATA amid a message, or %v", err)
				}
				message = append(message, d.Payload...)
			case wire.TypeFragment:
				message = append(message, f.Body...)
			case wire.TypeEnd:
				ended = true
				continue
			default:
				t.Fatalf("got %v", f.Type)
			}
			if len(message) == sizes[n] {
				if string(message) != string(lab.Pattern(n, sizes[n])) {
					t.Fatalf("W81: message %d is another one", n)
				}
				n, message = n+1, nil
			}
		}
		if n != 30 || len(message) != 0 {
			t.Errorf("W86: END came behind %d of 30 messages", n)
		}
		if err := lab.Wait(t, sent, "all is sent"); err != nil {
			t.Error(err)
		}
	})
	for name, result := range map[string]error{"RESPONSE": nil, "ERROR": errors.New("as asked")} {
		asCallee(t, "W86 "+name, shape{out: 200}, func(t *testing.T, b *bench) {
			e := b.open()
			b.p.AckByHand()
			b.p.Allow(0)
			for i := range 100 {
				if err := e.Send(lab.Pattern(i, 600)); err != nil {
					t.Fatal(err)
				}
			}
			e.result <- result
			settle()
			if err := e.Send([]byte("late")); err == nil {
				t.Error("a message is sent after the handler has returned")
			}
			b.p.Allow(lab.Unlimited)
			n := 0
			for {
				f, ok := b.p.Next()
				if !ok {
					b.p.Ack()
					if f, ok = b.p.Next(); !ok {
						t.Fatalf("W86: no answer comes behind %d messages", n)
					}
				}
				if f.Type == wire.TypeData {
					n++
					continue
				}
				if f.Type.String() != name || n != 100 {
					t.Errorf("W86: %v came behind %d of 100 messages, want %s behind all", f.Type, n, name)
				}
				break
			}
			b.p.WantIdle("W82: nothing follows the answer")
		})
	}
}

// TestNothingFollowsReset holds a caller to W86 and W27: RESET goes ahead of what
// is not written of the stream, and what it overtakes is dropped, CREDIT included.
func TestNothingFollowsReset(t *testing.T) {
	for name, size := range map[string]int{"small messages": 600, "a large one": 300_000} {
		asCaller(t, "W86 W27 "+name, shape{in: 100, out: 200}, func(t *testing.T, b *bench) {
			for how, end := range map[string]func(e *end, cancel context.CancelFunc){
				"Close":      func(e *end, _ context.CancelFunc) { e.Close() },
				"a context":  func(_ *end, cancel context.CancelFunc) { cancel() },
				"a time-out": func(*end, context.CancelFunc) { time.Sleep(2 * time.Second) },
			} {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				e := b.openSubject(ctx, "hold", core.WithTimeout(2*time.Second))
				for range 60 {
					b.p.Send(e.data([]byte("x")))
				}
				settle()
				b.p.Allow(0)
				go func() {
					for range 100 {
						if e.Send(make([]byte, size)) != nil {
							return
						}
					}
				}()
				settle()
				for range 60 {
					e.wantMessage("x", "messages arrive") // which owes credit
				}
				end(e, cancel)
				settle()
				b.p.Allow(lab.Unlimited)
				reset := 0
				for f, ok := b.p.Next(); ok; f, ok = b.p.Next() {
					switch {
					case f.ID != e.id:
						t.Fatalf("got %v of %v", f.Type, f.ID)
					case f.Type == wire.TypeReset:
						reset++
					case reset > 0:
						t.Errorf("W86: %v follows the RESET of %s", f.Type, how)
					}
				}
				if reset != 1 {
					t.Errorf("W27: after %s there are %d RESETs, want one", how, reset)
				}
			}
			b.wantLife("W86: streams were reset")
		})
	}
}

// TestStreamOutOfTime holds a callee to W24 and W33: when the time of a stream is
// over its context ends and nothing waits any more, also not a message that the
// caller never grants, and after part of a message there is no clean end.
func TestStreamOutOfTime(t *testing.T) {
	for name, size := range map[string]int{"no credit": 10, "no grant": 300_000, "no grant for what is whole": 100_000} {
		asCallee(t, "W24 W33 "+name, shape{out: 1}, func(t *testing.T, b *bench) {
			const slot = 3
			open := wire.AppendOpen(nil, b.p.ID(slot, 1), lab.HandlerHash("hold"), 2_000_000, 1, 0, nil)
			b.p.Send(open)
			e := b.taken(b.p.ID(slot, 1))
			if deadline, ok := e.ctx.Deadline(); !ok || time.Until(deadline) != 2*time.Second {
				t.Errorf("W24: the deadline is %v", deadline)
			}
			if size < 100_000 {
				if err := e.Send(nil); err != nil {
					t.Fatal(err)
				}
			}
			began := time.Now()
			sent := lab.Go(func() error { return e.Send(make([]byte, size)) })
			received := e.recv()
			settle()
			// A message that was sent whole needs nobody who waits.
			if size != 100_000 {
				if err := lab.Wait(t, sent, "the time is over"); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 2*time.Second {
					t.Errorf("W24: Send returned %v after %v, want the deadline after 2s", err, time.Since(began))
				}
			}
			if got := lab.Wait(t, received, "the time is over"); !errors.Is(got.Err, context.DeadlineExceeded) {
				t.Errorf("W24: Recv returned %q, %v, want the deadline", got.Resp, got.Err)
			}
			if e.ctx.Err() != context.DeadlineExceeded {
				t.Errorf("W24: the context's error is %v", e.ctx.Err())
			}
			if size > 10 {
				b.p.Send(wire.AppendGrant(nil, e.id))
				settle()
				if err := b.p.Ended(); err != nil {
					t.Fatalf("W45: a GRANT that comes late has ended the session: %v", err)
				}
			}
			e.result <- nil
			for f, ok := b.p.Next(); ok; f, ok = b.p.Next() {
				switch f.Type {
				case wire.TypeData, wire.TypeFragment, wire.TypePing:
					continue
				case wire.TypeResponse:
					if size == 300_000 {
						t.Error("W82: RESPONSE amid a message")
					}
				case wire.TypeError:
					if st, err := wire.ParseStatus(&f); err != nil || st.Code != wire.CodeDeadline {
						t.Errorf("W33: ERROR with code %d, %v", st.Code, err)
					}
				default:
					t.Errorf("got %v", f.Type)
				}
				b.p.WantIdle("W26: there is one answer")
				return
			}
			t.Error("W26: there is no answer")
		})
	}
}
