package streamprotocol_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/core/internal/lab"
	"github.com/gridmux/gridmux/core/internal/wire"
)

// crowd counts the handlers of streams that run at once, and holds them up
// whatever becomes of their contexts.
type crowd struct {
	running, most, all atomic.Int64
	open               chan struct{}
}

func (c *crowd) handle(context.Context, []byte, *core.RawStream) error {
	n := c.running.Add(1)
	defer c.running.Add(-1)
	c.all.Add(1)
	for most := c.most.Load(); n > most && !c.most.CompareAndSwap(most, n); most = c.most.Load() {
	}
	<-c.open
	return nil
}

// TestRapidReset opens streams and resets them at once, a hundred thousand times,
// where the handler does not look at its context: no more of them run than the
// limit allows, each is counted until it has returned, and the others are refused
// at no cost (T6, F26).
func TestRapidReset(t *testing.T) {
	const limit = 10
	lab.Bubble(t, "W27 W32 raw", func(t *testing.T) {
		c := &crowd{open: make(chan struct{})}
		r := lab.NewRawCluster(t, lab.RawSetup{
			Config:   func(cfg *core.Config) { cfg.MaxHandlers = limit },
			Register: func(m *core.Manager) error { return m.HandleStreamFunc("crowd", c.handle) },
		})
		p := r.Connect()
		heap, goroutines := lab.HeapInUse(), lab.Goroutines()
		const slots = 50
		rounds := lab.Scale(100_000, 20_000, 1_000_000) / slots
		for g := range uint32(rounds) {
			var opens, resets []byte
			for slot := range uint32(slots) {
				opens = append(opens, p.Open(slot, g+1, "crowd", 1, nil)...)
				opens = append(opens, wire.AppendData(nil, p.ID(slot, g+1), []byte("x"))...)
				resets = append(resets, lab.RawStatus(wire.TypeReset, p.ID(slot, g+1), wire.CodeCanceled)...)
			}
			if g%2 == 0 {
				p.Send(opens) // the handlers begin, as many as may
				settle()
				p.Send(resets)
			} else {
				p.Send(opens, resets)
			}
			if p.Drain(wire.TypeRefused); g%100 == 0 {
				r.Alive("during the flood")
			}
		}
		if most := c.most.Load(); most > limit || most == 0 {
			t.Errorf("T6: %d handlers ran at once, the limit is %d", most, limit)
		}
		if n := c.running.Load(); n != c.all.Load() {
			t.Errorf("T6: %d handlers run of %d that began: none has returned", n, c.all.Load())
		}
		p.Drain(wire.TypeRefused)
		p.Send(p.Request(slots, 1, "echo", nil))
		p.WantStatus(wire.TypeRefused, wire.CodeOverloaded, "W32: they hold their places until they return")
		if grown := int64(lab.HeapInUse()) - int64(heap); grown > 1<<20 || lab.Goroutines() > goroutines+2*limit {
			t.Errorf("T6: the flood has left %d bytes and %d goroutines", grown, lab.Goroutines()-goroutines)
		}
		close(c.open)
		settle()
		p.WantIdle("W27: what was reset is not answered")
		p.WantLife(slots+1, "T6: the places are free again")
	})
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		c := &crowd{open: make(chan struct{})}
		cl := l.Cluster(t, 2, lab.Configure(func(cfg *core.Config) { cfg.MaxHandlers = limit }),
			coretest.WithHandlers(func(_ int, m *core.Manager) error {
				return errors.Join(m.HandleStreamFunc("crowd", c.handle), m.HandleStreamFunc("done", func(context.Context, []byte, *core.RawStream) error { return nil }))
			}))
		for i := range int64(lab.Scale(2000, 500, 20_000)) {
			st, err := cl.Conn(0, 1).OpenStream(t.Context(), "crowd", nil)
			if err != nil {
				t.Fatalf("a stream cannot be opened: %v", err)
			}
			_ = st.Send([]byte("x"))
			if i < limit {
				lab.Until(t, "a handler begins", func() bool { return c.running.Load() > i })
			}
			st.Close()
		}
		lab.Until(t, "as many handlers run as may", func() bool {
			st, err := cl.Conn(0, 1).OpenStream(t.Context(), "done", nil)
			if err != nil {
				t.Fatal(err)
			}
			_, err = st.Recv(nil)
			return errors.Is(err, core.ErrOverloaded)
		})
		if most := c.most.Load(); most > limit {
			t.Errorf("T6: %d handlers ran at once, the limit is %d", most, limit)
		}
		close(c.open)
		lab.Until(t, "the places are free again", func() bool {
			_, err := cl.Conn(0, 1).Request(t.Context(), "echo", nil)
			return err == nil
		})
	})
}

// TestRepliesThatNobodyReads provokes every kind of reply that streams have, and
// reads nothing: what is kept for the peer has a bound, where more than that is
// provoked the session ends with code 35, and no other suffers (T7, F26).
func TestRepliesThatNobodyReads(t *testing.T) {
	const limit, slots = 64 << 10, 40
	setup := lab.RawSetup{
		Config: func(cfg *core.Config) { cfg.MaxOutput, cfg.MaxHandlers, cfg.MaxCalls = limit, 100, 1<<20 },
		Register: func(m *core.Manager) error {
			return errors.Join(
				m.HandleStreamFunc("done", func(context.Context, []byte, *core.RawStream) error { return nil }),
				m.HandleStreamFunc("closed", func(ctx context.Context, _ []byte, s *core.RawStream) error {
					s.Close()
					<-ctx.Done()
					return nil
				}),
				m.HandleStreamFunc("reader", func(_ context.Context, _ []byte, s *core.RawStream) error {
					for range s.All() {
					}
					return nil
				}),
			)
		},
	}
	reset := func(p *lab.RawPeer, slot, g uint32) []byte {
		return lab.RawStatus(wire.TypeReset, p.ID(slot, g), wire.CodeCanceled)
	}
	for name, flood := range map[string]struct {
		frames func(p *lab.RawPeer, slot, g uint32) []byte
		closed bool // it ends the session, as a bound is in the way
	}{
		"REFUSED": {func(p *lab.RawPeer, slot, g uint32) []byte { return p.Open(slot, g, "nobody", 1, nil) }, true},
		"GRANT": {func(p *lab.RawPeer, slot, g uint32) []byte {
			return append(p.OpenStart(slot, g, "done", 1, 1000, []byte("x")), reset(p, slot, g)...)
		}, true},
		"RESPONSE, slots taken again": {func(p *lab.RawPeer, slot, g uint32) []byte { return p.Open(slot, g, "done", 1, nil) }, false},
		"RESPONSE, reset": {func(p *lab.RawPeer, slot, g uint32) []byte {
			return append(p.Open(slot, g, "done", 1, nil), reset(p, slot, g-1)...)
		}, false},
		"ERROR for a breach, slots taken again": {func(p *lab.RawPeer, slot, g uint32) []byte {
			return append(p.Open(slot, g, "closed", 1, nil), wire.AppendCredit(nil, p.ID(slot, g), 1<<31, 1<<31)...)
		}, false},
		"RESPONSE": {func(p *lab.RawPeer, slot, g uint32) []byte { return p.Open(g*slots+slot, 1, "done", 1, nil) }, true},
		"CREDIT": {func(p *lab.RawPeer, slot, g uint32) []byte {
			b := p.Open(slot, g, "reader", 1, nil)
			for range 40 {
				b = append(b, wire.AppendData(nil, p.ID(slot, g), []byte("x"))...)
			}
			return append(b, reset(p, slot, g-1)...)
		}, false},
		"CREDIT for what is dropped": {func(p *lab.RawPeer, slot, g uint32) []byte {
			return append(append(p.Open(slot, g, "closed", 1, nil), wire.AppendData(nil, p.ID(slot, g), []byte("x"))...), reset(p, slot, g-1)...)
		}, false},
		"ACK": {func(p *lab.RawPeer, slot, g uint32) []byte {
			return wire.AppendFragment(nil, p.ID(slot, g), make([]byte, 1000))
		}, false},
		"PONG and skipped frames": {func(p *lab.RawPeer, slot, g uint32) []byte {
			b := wire.AppendPing(nil, wire.TypePing, uint64(g))
			return append(b, reset(p, slot, g)...)
		}, false},
	} {
		setup.Buffer = 1
		lab.RawTest(t, "W30 W44 W83 "+name, setup, func(t *testing.T, r *lab.RawCluster) {
			p := r.Dial()
			p.DeafHandshake()
			heap := lab.HeapInUse()
			for g := uint32(2); g < uint32(lab.Scale(1000, 300, 25_000)); g++ {
				var batch []byte
				for slot := range uint32(slots) {
					batch = append(batch, flood.frames(p, slot, g)...)
				}
				// When the session is over writing fails.
				if p.Conn.WriteFrames([][]byte{batch}) != nil {
					break
				}
				settle()
			}
			if grown := int64(lab.HeapInUse()) - int64(heap); grown > 4*limit+2<<20 {
				t.Errorf("T7: what is kept for a peer that does not read has grown by %d bytes, the limit on output is %d", grown, limit)
			}
			r.Alive("T7: during " + name)
			p.Allow(lab.Unlimited)
			received := 0
			for f, ok := p.Next(); ok; f, ok = p.Next() {
				received += wire.HeaderSize + len(f.Body)
			}
			if received > 3*limit {
				t.Errorf("T7: %d bytes were kept for a peer that does not read, the limit is %d", received, limit)
			}
			if flood.closed {
				p.WantClosed(wire.CodeOverflow, "T7: "+name+" that nobody reads")
				r.Connect().WantLife(0, "T7: the peer is back")
				return
			}
			p.WantLife(1<<20-1, "T7: what is bounded by itself ends no session")
		})
	}
}

// TestHonestLoadIsNotCutOff is the twin: a peer that reads is never taken for one
// that does not, however many replies it provokes (T7).
func TestHonestLoadIsNotCutOff(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		c := l.Cluster(t, 2, lab.Configure(func(cfg *core.Config) { cfg.MaxOutput = 64 << 10 }),
			coretest.WithHandlers(func(_ int, m *core.Manager) error {
				return m.HandleStreamFunc("echo.stream", func(_ context.Context, payload []byte, s *core.RawStream) error {
					for msg, err := range s.All() {
						if err != nil {
							return err
						}
						if err := s.Send(msg); err != nil {
							return err
						}
					}
					return nil
				})
			}))
		const callers = 32
		rounds := lab.Scale(30, 8, 100) // as many sizes of a payload
		done := make(chan error, callers*(rounds+1))
		for range callers {
			go func() {
				done <- func() error {
					for i := range rounds {
						st, err := c.Conn(0, 1).OpenStream(t.Context(), "echo.stream", make([]byte, i%100*5000))
						if err != nil {
							return err
						}
						for j := range 20 {
							if err := st.Send(make([]byte, j*300)); err != nil {
								return err
							}
							if _, err := st.Recv(nil); err != nil {
								return err
							}
						}
						if i%3 == 0 {
							st.Close()
						} else if err := st.CloseSend(); err != nil {
							return err
						} else if msg, err := st.Recv(nil); err == nil {
							return errors.New("got " + string(msg) + " behind the end")
						}
						done <- nil
					}
					_, err := c.Conn(0, 1).Request(t.Context(), "nobody", nil)
					if !errors.Is(err, core.ErrUnknownHandler) {
						return err
					}
					return nil
				}()
			}()
		}
		for range cap(done) {
			if err := lab.Wait(t, done, "a stream is served"); err != nil {
				t.Fatalf("T7: honest load failed: %v", err)
			}
		}
	})
}
