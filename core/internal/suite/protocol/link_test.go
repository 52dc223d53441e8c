package protocol_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/internal/lab"
	"github.com/gridmux/gridmux/core/internal/wire"
	"github.com/gridmux/gridmux/transport"
)

// TestProtocolTimeoutOfCaller holds a caller to W24 while the link takes
// nothing: the time-out on the wire is what is left of it, and a request that
// has none left is not written.
func TestProtocolTimeoutOfCaller(t *testing.T) {
	lab.RawTest(t, "W24", lab.RawSetup{Buffer: 1}, func(t *testing.T, r *lab.RawCluster) {
		p := r.Dial()
		p.DeafHandshake()
		// The first fills the link, the second is being written: both are
		// sealed now. The others wait.
		timeouts := map[string]time.Duration{
			"a": time.Minute, "b": 1500 * time.Nanosecond, "left": 10 * time.Second, "odd": 4*time.Second + 1,
			"over": 4*time.Second - 1, "just over": 4 * time.Second,
		}
		replies := map[string]<-chan lab.Reply{}
		call := func(name string, size int) {
			req := append([]byte(name), make([]byte, size)...)
			replies[name] = r.Call(t.Context(), req, core.WithTimeout(timeouts[name]))
			synctest.Wait()
		}
		for _, name := range []string{"a", "b", "left", "odd", "over"} {
			call(name, 0)
		}
		call("just over", 50_000)
		none := r.Call(t.Context(), []byte("none"))
		time.Sleep(4 * time.Second)
		p.Allow(lab.Unlimited)
		want := map[string]uint64{"a": 60_000_000, "b": 2, "left": 6_000_000, "odd": 1, "none": 0}
		for f, ok := p.Next(); ok; f, ok = p.Next() {
			if f.Type == wire.TypeReset {
				continue
			}
			req, err := wire.ParseRequest(&f)
			if err != nil {
				t.Fatal(err)
			}
			name := string(bytes.TrimRight(req.Payload, "\x00"))
			if micros, ok := want[name]; !ok || micros != req.Timeout {
				t.Errorf("W24: request %q was written with a time-out of %d microseconds, want %d (%v)", name, req.Timeout, micros, ok)
			}
			delete(want, name)
			p.Send(wire.AppendResponse(nil, f.ID, nil))
		}
		if len(want) > 0 {
			t.Errorf("W24: requests %v were not written, though they had time left", want)
		}
		for _, name := range []string{"over", "just over"} {
			lab.WantFailure(t, "W24: a request that waited for all of its time", lab.Wait(t, replies[name], "it ends").Err, context.DeadlineExceeded, core.OutcomeNotSent)
		}
		for _, answer := range []<-chan lab.Reply{replies["a"], replies["left"], none} {
			if err := lab.Wait(t, answer, "it ends").Err; err != nil {
				t.Errorf("a call with time left failed: %v", err)
			}
		}
	})
}

// TestProtocolTimeoutOfCallee holds a callee to W24: the time begins when the
// batch was read, and 0 is none.
func TestProtocolTimeoutOfCallee(t *testing.T) {
	for micros, want := range map[uint64]time.Duration{1: time.Microsecond, 2_500_000: 2500 * time.Millisecond, 0: 0, math.MaxUint64: 0, math.MaxInt64 / 999: 0} {
		lab.Bubble(t, fmt.Sprintf("W24 %d", micros), func(t *testing.T) {
			g := lab.NewGate(t, 1)
			r := lab.NewRawCluster(t, lab.RawSetup{Handlers: map[core.HandlerID]core.HandlerFunc{"gate": g.HandleContext}})
			p := r.Connect()
			time.Sleep(time.Second)
			b := p.Request(0, 1, "gate", nil)
			wire.SetTimeout(b, micros)
			began := time.Now()
			p.Send(b)
			ctx := lab.Wait(t, g.Began, "the handler begins")
			deadline, ok := ctx.Deadline()
			switch {
			case want > 0 && (!ok || deadline.Sub(began) != want):
				t.Errorf("the handler's deadline is in %v, %v; want %v", deadline.Sub(began), ok, want)
			case want == 0 && ok && deadline.Sub(began) < 100*365*24*time.Hour:
				t.Errorf("the handler's deadline is in %v, want none", deadline.Sub(began))
			case want > 0:
				<-ctx.Done()
				if d := time.Since(began); d != want {
					t.Errorf("the handler's context ended after %v, want %v", d, want)
				}
				p.WantStatus(wire.TypeError, wire.CodeDeadline, "W33: the handler failed with its context")
			}
		})
	}
}

// TestProtocolKeepAlive holds both sides to W41: PING after silence, the end
// with code 32 after more of it, and anything that arrives counts.
func TestProtocolKeepAlive(t *testing.T) {
	const interval, timeout = 2 * time.Second, 3 * time.Second
	config := func(cfg *core.Config) { cfg.KeepAlive, cfg.KeepAliveTimeout = interval, timeout }
	lab.RawTest(t, "W41", lab.RawSetup{Config: config}, func(t *testing.T, r *lab.RawCluster) {
		p := r.Connect()
		began := time.Now()
		time.Sleep(interval - 1)
		p.WantIdle("W41: the interval is not over")
		time.Sleep(time.Nanosecond)
		p.Want(wire.TypePing, "W41: nothing arrived for an interval")
		time.Sleep(timeout - 1)
		p.WantIdle("W41: one PING is enough")
		time.Sleep(time.Nanosecond)
		if reason := p.WantClosed(wire.CodeTimeout, "W41: nothing arrived after the PING"); reason == "" {
			t.Error("W41: a silent peer was cut off without a word")
		}
		if d := p.EndTime().Sub(began); d != interval+timeout {
			t.Errorf("W41: a silent peer was cut off after %v, want %v", d, interval+timeout)
		}
		// Anything is a sign of life, be it empty.
		for name, b := range map[string][]byte{
			"PONG": wire.AppendPing(nil, wire.TypePong, 1), "an empty batch": nil, "PADDING": lab.RawFrame(wire.Frame{}), "type 0xee": lab.RawFrame(wire.Frame{Type: 0xee}),
		} {
			p := r.Connect()
			for range 5 {
				time.Sleep(timeout)
				p.Drain(wire.TypePing)
				p.Send(b)
			}
			time.Sleep(interval)
			p.Drain(wire.TypePing)
			p.WantIdle("W41: alive by " + name)
			p.Conn.CloseWithError(0, "")
		}
	})
}

// TestProtocolChecksum holds both sides to W42: checksums if either side
// announced them, both ways; and of a batch that fails nothing has an effect.
func TestProtocolChecksum(t *testing.T) {
	noIntegrity := func(info *transport.Info) { info.Integrity = false }
	announce := func(h *wire.Hello) { h.Features = wire.FeatureChecksum | 1<<63 }
	for name, test := range map[string]struct {
		info   func(info *transport.Info)
		change func(h *wire.Hello)
	}{
		"W42 announced by the subject": {noIntegrity, func(*wire.Hello) {}},
		"W42 announced by the peer":    {nil, announce},
		"W42 announced by both":        {noIntegrity, announce},
	} {
		lab.Bubble(t, name, func(t *testing.T) {
			ran := make(chan struct{}, 10)
			r := lab.NewRawCluster(t, lab.RawSetup{Info: test.info, Handlers: map[core.HandlerID]core.HandlerFunc{
				"note": func(context.Context, []byte) ([]byte, error) { ran <- struct{}{}; return nil, nil },
			}})
			p := r.Connect(test.change)
			if announced := p.Hello.Features&wire.FeatureChecksum != 0; !p.Sums || announced != (test.info != nil) {
				t.Fatalf("W53: the subject announced a checksum: %v; want that it does if its link has no integrity", announced)
			}
			for i := range uint32(3) {
				p.WantLife(i, "W42: batches with checksums")
			}
			large := lab.Pattern(1, 200_000)
			p.Send(p.RequestStart(9, 1, "echo", 200_000, large[:60_000]))
			p.Send(p.Fragment(9, 1, large[60_000:120_000]), p.Fragment(9, 1, large[120_000:130_000]))
			p.Send(p.Fragment(9, 1, large[130_000:]))
			p.Want(wire.TypeResponse, "W42: a large message")
			p.Drain(wire.TypeFragment)
			note := p.Request(0, 1<<31+1, "note", nil)
			for name, b := range map[string][]byte{
				"no checksum":          note,
				"a flipped bit":        func() []byte { b := append(make([]byte, 4), note...); wire.PutChecksum(b); b[9] ^= 1; return b }(),
				"a flipped bit in it":  func() []byte { b := append(make([]byte, 4), note...); wire.PutChecksum(b); b[0] ^= 1; return b }(),
				"no room":              {1, 2, 3},
				"no bytes":             nil,
				"two frames, one good": func() []byte { b := append(make([]byte, 4), note...); wire.PutChecksum(b); return append(b, note...) }(),
			} {
				p.Write(b)
				p.WantClosed(wire.CodeCorrupt, "W42: "+name)
				r.Alive("W42: " + name)
				p = r.Connect(test.change)
			}
			p.Send()
			p.WantLife(0, "W42: a batch with a checksum and no frame")
			if len(ran) > 0 {
				t.Error("W42: a request in a batch that fails its checksum has run")
			}
		})
	}
	lab.RawTest(t, "W42 announced by nobody", lab.RawSetup{}, func(t *testing.T, r *lab.RawCluster) {
		if p := r.Connect(); p.Sums {
			t.Error("W53: the subject announced a checksum on a link that needs none")
		}
	})
}

// countingHandler counts lines of a log.
type countingHandler struct {
	slog.Handler
	lines chan string
}

func (countingHandler) Enabled(context.Context, slog.Level) bool { return true }

func (h countingHandler) Handle(_ context.Context, rec slog.Record) error {
	h.lines <- rec.Message
	return nil
}

// TestProtocolGoaway holds both sides to W43.
func TestProtocolGoaway(t *testing.T) {
	lab.Bubble(t, "W43 received", func(t *testing.T) {
		log := make(chan string, 1000)
		r := lab.NewRawCluster(t, lab.RawSetup{Config: func(cfg *core.Config) {
			cfg.Logger = slog.New(countingHandler{slog.DiscardHandler, log})
		}})
		p := r.Connect()
		id, answer := p.Called()
		synctest.Wait()
		lines := len(log)
		for range 100 {
			p.Send(lab.RawStatus(wire.TypeGoaway, 0, wire.CodeShutdown))
		}
		p.WantIdle("W43: GOAWAY is not answered")
		if got := len(log) - lines; got > 1 {
			t.Errorf("W43: a further GOAWAY changes nothing; %d lines were logged about them", got)
		}
		_, err := r.Conn().Request(t.Context(), "storage.stat", nil)
		lab.WantFailure(t, "W43: a call after GOAWAY", err, core.ErrDraining, core.OutcomeNotSent)
		p.WantIdle("W43: the receiver opens no calls any more")
		p.WantLife(0, "W43: the sender may still open calls")
		p.Send(wire.AppendResponseStart(nil, id, 4, []byte("ab")), wire.AppendFragment(nil, id, []byte("cd")))
		if got := lab.Wait(t, answer, "the call in progress ends"); string(got.Resp) != "abcd" {
			t.Errorf("W43: the call in progress returned %q, %v; want its answer", got.Resp, got.Err)
		}
		// W62: the next session knows nothing of it.
		p.Conn.CloseWithError(0, "")
		p = r.Connect()
		id, answer = p.Called()
		p.Send(wire.AppendResponse(nil, id, nil))
		if got := lab.Wait(t, answer, "a call of the next session ends"); got.Err != nil {
			t.Errorf("W62: GOAWAY outlived its session: %v", got.Err)
		}
	})
	lab.Bubble(t, "W43 sent", func(t *testing.T) {
		g := lab.NewGate(t, 10)
		var r *lab.RawCluster
		r = lab.NewRawCluster(t, lab.RawSetup{Handlers: map[core.HandlerID]core.HandlerFunc{
			"relay": func(ctx context.Context, req []byte) ([]byte, error) {
				if _, err := g.Handle(ctx, nil); err != nil {
					return nil, err
				}
				return r.Conn().Request(ctx, "storage.stat", req)
			},
		}})
		p := r.Connect()
		p.Send(p.Request(0, 1, "relay", []byte("x")), p.RequestStart(1, 1, "echo", 2, []byte("1")))
		lab.Wait(t, g.Began, "a call begins")
		over := lab.Go(func() error { return r.Subject.Shutdown(t.Context()) })
		p.WantStatus(wire.TypeGoaway, wire.CodeShutdown, "W43: the subject shuts down")
		fence := p.Want(wire.TypePing, "W43: a ping behind GOAWAY")
		p.Send(p.Request(2, 1, "echo", nil), p.Request(3, 1, "nobody", nil), p.RequestStart(4, 1, "echo", 2, []byte("1")))
		for range 3 {
			p.WantStatus(wire.TypeRefused, wire.CodeDraining, "W43, W32: a request after GOAWAY")
		}
		p.WantIdle("W43: the call in progress goes on")
		g.Release()
		f := p.Want(wire.TypeRequest, "W43: the sender of GOAWAY may still open calls")
		p.Send(wire.AppendResponse(nil, f.ID, []byte("y")))
		if f := p.Want(wire.TypeResponse, "W43: the call in progress ends"); string(f.Body) != "y" {
			t.Errorf("W43: the call in progress returned %q", f.Body)
		}
		p.Send(p.Fragment(1, 1, []byte("2")))
		if f := p.Want(wire.TypeResponse, "W43: a request whose parts had begun"); string(f.Body) != "12" {
			t.Errorf("W43: the request whose parts had begun returned %q", f.Body)
		}
		p.WantIdle("W43: a call may still be on its way")
		p.Send(pong(fence))
		last := p.Want(wire.TypePing, "W43: a ping behind the last frame of a call")
		p.WantIdle("W43: that may still be on its way")
		p.Send(pong(last))
		p.WantClosed(wire.CodeShutdown, "nothing is in progress any more")
		if err := lab.Wait(t, over, "Shutdown returns"); err != nil {
			t.Errorf("Shutdown failed: %v", err)
		}
	})
}
