package streamprotocol_test

import (
	"context"
	"errors"
	"testing"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/internal/lab"
	"github.com/gridmux/gridmux/core/internal/wire"
)

// TestStreamsAndGoaway holds both ends to W43: OPEN is refused after GOAWAY and
// none is written after the PONG, what was not written is taken back, and streams
// in progress go on with all their frames.
func TestStreamsAndGoaway(t *testing.T) {
	asCallee(t, "W43 sent", shape{}, func(t *testing.T, b *bench) {
		e := b.open()
		done := lab.Go(func() error { return b.Subject.Shutdown(t.Context()) })
		b.p.WantStatus(wire.TypeGoaway, wire.CodeShutdown, "W43: the subject drains")
		b.p.Want(wire.TypePing, "W43: and pings behind it")
		for i, open := range [][]byte{b.p.Open(50, 1, "hold", 1, nil), b.p.OpenStart(51, 1, "hold", 1, 9, []byte("x")), b.p.Open(52, 1, "nobody", 1, nil)} {
			b.p.Send(open)
			b.p.WantStatus(wire.TypeRefused, wire.CodeDraining, "W43: OPEN after GOAWAY")
			if i == 1 {
				b.p.Send(b.p.Fragment(51, 1, []byte("y")))
			}
		}
		b.p.Send(wire.AppendPing(nil, wire.TypePong, 0))
		b.p.Send(e.data([]byte("x")), e.end())
		e.wantMessage("x", "W43: streams in progress go on")
		e.wantEOF("W43: with all their frames")
		if err := e.Send(make([]byte, 50_000)); err != nil {
			t.Error(err)
		}
		f, _ := b.skipCredit()
		if f.Type != wire.TypeData || len(b.p.Message(&f)) != 50_000 {
			t.Errorf("W43: got %v from a stream in progress", f.Type)
		}
		e.result <- nil
		b.p.Want(wire.TypeResponse, "W43: and are answered")
		_ = done
	})
	asCaller(t, "W43 received", shape{}, func(t *testing.T, b *bench) {
		e := b.open()
		b.p.Send(lab.RawStatus(wire.TypeGoaway, 0, wire.CodeShutdown), wire.AppendPing(nil, wire.TypePing, 5))
		b.p.Want(wire.TypePong, "W43: the fence")
		_, err := b.Conn().OpenStream(t.Context(), "hold", nil)
		if err == nil || core.OutcomeOf(err) != core.OutcomeNotSent {
			t.Errorf("W43: a stream after GOAWAY: %v", err)
		}
		b.p.WantIdle("W43: no OPEN after the PONG")
		if err := e.Send([]byte("x")); err != nil {
			t.Error(err)
		}
		b.p.Want(wire.TypeData, "W43: streams in progress go on")
		b.p.Send(e.data([]byte("y")), wire.AppendResponse(nil, e.id, nil))
		e.wantMessage("y", "W43: in both directions")
		e.wantEOF("W43: to their end")
	})
	for name, size := range map[string]int{"small": 10, "large": 300_000} {
		asCaller(t, "W43 taken back, "+name, shape{}, func(t *testing.T, b *bench) {
			catalogue := b.p.Said.Catalogue
			b.p.Conn.CloseWithError(0, "")
			settle()
			p := b.Dial()
			deafHandshake(p, catalogue)
			opened := make([]<-chan error, 40)
			for i := range opened {
				opened[i] = lab.Go(func() error {
					st, err := b.Conn().OpenStream(t.Context(), "hold", make([]byte, size))
					if err != nil {
						return err
					}
					_, err = st.Recv(nil)
					return err
				})
				settle()
			}
			p.Send(lab.RawStatus(wire.TypeGoaway, 0, wire.CodeShutdown), wire.AppendPing(nil, wire.TypePing, 5))
			settle()
			p.Allow(lab.Unlimited)
			written := make(map[wire.CallID]bool)
			ponged := false
			for f, ok := p.Next(); ok; f, ok = p.Next() {
				switch f.Type {
				case wire.TypePong:
					ponged = true
				case wire.TypeOpen:
					if ponged {
						t.Error("W43: OPEN behind the PONG")
					}
					written[f.ID] = true
				}
			}
			if !ponged {
				t.Fatal("W43: the PING is not answered")
			}
			for id := range written {
				p.Send(lab.RawStatus(wire.TypeRefused, id, wire.CodeDraining))
			}
			refused, unsent := 0, 0
			for _, got := range opened {
				switch err := lab.Wait(t, got, "every stream ends"); core.OutcomeOf(err) {
				case core.OutcomeRefused:
					refused++
				case core.OutcomeNotSent:
					unsent++
				default:
					t.Errorf("W43: a stream ended with %v", err)
				}
			}
			if refused != len(written) || refused+unsent != len(opened) {
				t.Errorf("W43: %d OPENs were written; %d streams were refused, and %d not sent", len(written), refused, unsent)
			}
		})
	}
}

// deafHandshake shakes hands for a peer that reads nothing after it.
func deafHandshake(p *lab.RawPeer, catalogue [wire.DigestSize]byte) {
	settle()
	p.Allow(2)
	p.Handshake(func(h *wire.Hello) { h.Catalogue = catalogue })
}

// TestOpeningStreams holds both ends to W28, W26 and W81 while an OPEN is not
// whole: RESET ends it, and nothing else of the stream is taken.
func TestOpeningStreams(t *testing.T) {
	for name, frame := range map[string]func(e *end) []byte{
		"DATA":   func(e *end) []byte { return e.data([]byte("x")) },
		"END":    func(e *end) []byte { return e.end() },
		"CREDIT": func(e *end) []byte { return e.credit(0, 1) },
	} {
		asCaller(t, "W81 "+name+" before the whole OPEN was sent", shape{}, func(t *testing.T, b *bench) {
			lab.Go(func() error {
				_, err := b.Conn().OpenStream(t.Context(), "hold", make([]byte, 300_000))
				return err
			})
			f := b.p.Want(wire.TypeOpen, "a stream begins")
			settle()
			b.p.Send(frame(&end{b: b, id: f.ID}))
			for f, ok := b.p.Next(); ok; f, ok = b.p.Next() {
				if f.Type != wire.TypeFragment {
					t.Fatalf("got %v", f.Type)
				}
			}
			b.p.WantClosed(wire.CodeProtocol, "W81: "+name+" ahead of the whole OPEN")
		})
	}
	asCaller(t, "W27 W86 RESET amid OPEN", shape{}, func(t *testing.T, b *bench) {
		ctx, cancel := context.WithCancel(t.Context())
		opened := lab.Go(func() error {
			_, err := b.Conn().OpenStream(ctx, "hold", make([]byte, 300_000))
			return err
		})
		f := b.p.Want(wire.TypeOpen, "a stream begins")
		for range 3 {
			b.p.Want(wire.TypeFragment, "and goes on")
		}
		cancel()
		if err := lab.Wait(t, opened, "it ends"); !errors.Is(err, context.Canceled) || core.OutcomeOf(err) != core.OutcomeMaybeRun {
			t.Errorf("W27: a stream that was given up amid its OPEN returned %v", err)
		}
		if r := b.p.Want(wire.TypeReset, "W27: RESET"); r.ID != f.ID {
			t.Errorf("RESET is for %v", r.ID)
		}
		b.p.WantIdle("W86: nothing follows it")
	})
	asCaller(t, "W26 REFUSED amid OPEN", shape{}, func(t *testing.T, b *bench) {
		opened := lab.Go(func() error {
			_, err := b.Conn().OpenStream(t.Context(), "hold", make([]byte, 300_000))
			return err
		})
		f := b.p.Want(wire.TypeOpen, "a stream begins")
		for range 3 {
			b.p.Want(wire.TypeFragment, "and goes on")
		}
		b.p.Send(lab.RawStatus(wire.TypeRefused, f.ID, wire.CodeOverloaded))
		err := lab.Wait(t, opened, "it ends")
		lab.WantFailure(t, "W26: a stream that was refused amid its OPEN", err, core.ErrOverloaded, core.OutcomeRefused)
		b.p.WantIdle("W26: nothing follows it")
		b.wantLife("W26: a stream was refused")
	})
	asCallee(t, "W27 RESET amid OPEN", shape{config: tight}, func(t *testing.T, b *bench) {
		for generation := range uint32(3) {
			b.p.Send(b.p.OpenStart(0, generation+1, "hold", 1, memory, []byte("x")))
			b.p.Send(lab.RawStatus(wire.TypeReset, b.p.ID(0, generation+1), wire.CodeCanceled))
			b.p.Send(b.p.Fragment(0, generation+1, make([]byte, 1000)))
		}
		b.p.WantIdle("W27: a stream that was given up amid its OPEN is not answered")
		if len(b.began) != 0 {
			t.Error("W27: its handler runs")
		}
		b.slots = 1
		b.open()
		b.wantLife("W27: its memory is back")
	})
}
