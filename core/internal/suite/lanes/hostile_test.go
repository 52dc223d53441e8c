package lanes_test

import (
	"testing"
	"testing/synctest"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/internal/lab"
	"github.com/gridmux/gridmux/core/internal/wire"
	"github.com/gridmux/gridmux/transport"
)

// TestProtocolLanes plays a peer with lanes by hand: W90 what lanes are for, W91
// LANES in the wrong place or beyond bounds, W92 calls on the wrong lane, W93 what
// belongs to the first one.
func TestProtocolLanes(t *testing.T) {
	withLanes := func(h *wire.Hello) { h.Lanes = 8 }
	setup := lab.RawSetup{Lanes: true}
	open := func(t *testing.T, p *lab.RawPeer) transport.Conn {
		t.Helper()
		tc, err := p.Conn.(transport.LaneConn).OpenLane(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return tc
	}
	write := func(t *testing.T, tc transport.Conn, frames ...[]byte) {
		t.Helper()
		var batch []byte
		for _, f := range frames {
			batch = append(batch, f...)
		}
		if err := tc.WriteFrames([][]byte{batch}); err != nil {
			t.Fatal(err)
		}
	}
	read := func(t *testing.T, tc transport.Conn) wire.Frame {
		t.Helper()
		b, err := tc.ReadFrame(1 << 20)
		if err != nil {
			t.Fatal(err)
		}
		f, _, err := wire.Next(b)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}

	lab.RawTest(t, "a call on a lane", setup, func(t *testing.T, r *lab.RawCluster) {
		p := r.Connect(withLanes)
		if p.Hello.Lanes != 64 {
			t.Errorf("W90: the subject takes %d lanes, want 64", p.Hello.Lanes)
		}
		for n := range uint64(3) {
			p.Send(wire.AppendLanes(nil, n+1))
			tc := open(t, p)
			// The same id as on the other lanes: each has its own.
			write(t, tc, p.Request(0, 1, "echo", []byte("over a lane")))
			if f := read(t, tc); f.Type != wire.TypeResponse || string(f.Body) != "over a lane" {
				t.Errorf("W92: the answer to a call on a lane is %v %q there", f.Type, f.Body)
			}
		}
		p.Once(0, 1) // and the first lane works
	})
	lab.RawTest(t, "a lane before its LANES", setup, func(t *testing.T, r *lab.RawCluster) {
		p := r.Connect(withLanes)
		tc := open(t, p)
		write(t, tc, p.Request(0, 1, "echo", []byte("early")))
		synctest.Wait()
		p.Send(wire.AppendLanes(nil, 1))
		if f := read(t, tc); f.Type != wire.TypeResponse {
			t.Errorf("W91: a lane that is announced after it was opened: %v", f.Type)
		}
	})
	lab.RawTest(t, "LANES that was taken back", setup, func(t *testing.T, r *lab.RawCluster) {
		p := r.Connect(withLanes)
		p.Send(wire.AppendLanes(nil, 5), wire.AppendLanes(nil, 0))
		p.Once(0, 1)
		r.Subject.Close()
		p.WantClosed(wire.CodeShutdown, "W91: lanes that were taken back hold up nothing")
	})
	for name, frames := range map[string][]byte{
		"far more lanes than allowed": wire.AppendLanes(nil, 1000),
		"as many lanes as there are":  wire.AppendLanes(nil, 1<<64-1),
	} {
		lab.RawTest(t, name, setup, func(t *testing.T, r *lab.RawCluster) {
			p := r.Connect(withLanes)
			p.Send(frames)
			p.WantClosed(wire.CodeProtocol, "W91: LANES beyond bounds")
			r.Alive("after it")
		})
	}
	lab.RawTest(t, "LANES on a link without lanes", lab.RawSetup{}, func(t *testing.T, r *lab.RawCluster) {
		p := r.Connect(withLanes)
		if p.Hello.Lanes != 0 {
			t.Errorf("W90: a subject whose link has no lanes takes %d", p.Hello.Lanes)
		}
		p.Send(wire.AppendLanes(nil, 1))
		p.WantClosed(wire.CodeProtocol, "W91: LANES without lanes in the HELLO")
	})
	for name, frame := range map[string]func(p *lab.RawPeer) []byte{
		"LANES on another lane":   func(*lab.RawPeer) []byte { return wire.AppendLanes(nil, 1) },
		"CODECS on another lane":  func(*lab.RawPeer) []byte { return wire.AppendCodecs(nil, []string{"s2"}, nil) },
		"a handshake on a lane":   func(*lab.RawPeer) []byte { return lab.RawInit(1, 1) },
		"nonsense on a lane":      func(*lab.RawPeer) []byte { return []byte("nonsense, and more of it") },
		"a wrong side on a lane":  func(p *lab.RawPeer) []byte { return wire.AppendRequest(nil, p.TheirID(0), 1, 0, 0, nil) },
		"half a frame on a lane":  func(p *lab.RawPeer) []byte { return p.Request(0, 1, "echo", []byte("x"))[:20] },
		"too high a slot on lane": func(p *lab.RawPeer) []byte { return p.Request(32, 1, "echo", nil) },
	} {
		lab.RawTest(t, name, setup, func(t *testing.T, r *lab.RawCluster) {
			p := r.Connect(withLanes)
			p.Send(wire.AppendLanes(nil, 1))
			write(t, open(t, p), frame(p))
			p.WantClosed(wire.CodeProtocol, "W93: "+name+" ends the session")
			r.Alive("after it")
		})
	}
	lab.RawTest(t, "a call on the other side's lane", setup, func(t *testing.T, r *lab.RawCluster) {
		p := r.ConnectServing(lab.RawCatalogue(lab.RawEntry{ID: "raw.stream", Kind: 2, In: 4, Out: 4}), withLanes)
		st := lab.Go(func() error {
			_, err := r.Conn().OpenStream(t.Context(), "raw.stream", nil)
			return err
		})
		tc, err := p.Conn.(transport.LaneConn).AcceptLane(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if f := read(t, tc); f.Type != wire.TypeOpen {
			t.Errorf("W92: a lane begins with %v", f.Type)
		}
		if err := lab.Wait(t, st, "OpenStream returns"); err != nil {
			t.Fatal(err)
		}
		p.Want(wire.TypeLanes, "W91: LANES tells of it")
		write(t, tc, p.Request(0, 1, "echo", nil))
		p.WantClosed(wire.CodeProtocol, "W92: a REQUEST on a lane that the subject has opened")
	})
}

// TestGoawayOnALaneAlone has a peer say GOAWAY on a lane, and not on the first one:
// that lane takes no more calls, and calls go on over others, without a loop.
func TestGoawayOnALaneAlone(t *testing.T) {
	lab.RawTest(t, "peer", lab.RawSetup{Lanes: true}, func(t *testing.T, r *lab.RawCluster) {
		p := r.ConnectServing(lab.RawCatalogue(lab.RawEntry{ID: "raw.stream", Kind: 2, In: 4, Out: 4}), func(h *wire.Hello) { h.Lanes = 8 })
		for range 3 {
			opened := lab.Go(func() error {
				_, err := r.Conn().OpenStream(t.Context(), "raw.stream", nil, core.WaitForConnection())
				return err
			})
			tc, err := p.Conn.(transport.LaneConn).AcceptLane(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			b, err := tc.ReadFrame(1 << 20)
			if err != nil {
				t.Fatal(err)
			}
			f, _, err := wire.Next(b)
			if err != nil || f.Type != wire.TypeOpen {
				t.Fatalf("a lane begins with %v, %v", f.Type, err)
			}
			if err := lab.Wait(t, opened, "OpenStream returns"); err != nil {
				t.Fatalf("a stream after GOAWAY on a lane of another one: %v", err)
			}
			for _, frame := range [][]byte{
				wire.AppendResponse(nil, f.ID, nil),
				wire.AppendStatus(nil, wire.TypeGoaway, 0, wire.Status{Code: wire.CodeShutdown}),
			} {
				if err := tc.WriteFrames([][]byte{frame}); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
			}
		}
	})
}

// TestLanesOfAPeerAreBounded has a peer open lane after lane, each of which it
// announces and uses: W90 beyond twice as many as it may have the session ends.
func TestLanesOfAPeerAreBounded(t *testing.T) {
	lab.RawTest(t, "peer", lab.RawSetup{Lanes: true}, func(t *testing.T, r *lab.RawCluster) {
		p := r.Connect(func(h *wire.Hello) { h.Lanes = 8 })
		for n := range uint64(129) {
			p.Send(wire.AppendLanes(nil, n+1))
			if _, err := p.Conn.(transport.LaneConn).OpenLane(t.Context()); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		p.WantClosed(wire.CodeProtocol, "W90: more lanes than HELLO allows")
		r.Alive("after it")
	})
}

// TestUngrantedOnLanesAreCounted has a peer begin large requests on lane after lane, as
// many on each as it may begin on a link without lanes, while there is no memory for
// them. They count for all lanes together: 120 lanes could hold a GiB.
func TestUngrantedOnLanesAreCounted(t *testing.T) {
	const most = 64 + 2*64
	gate := lab.NewGate(t, 1)
	setup := lab.RawSetup{
		Lanes:    true,
		Config:   func(cfg *core.Config) { cfg.MaxMessage, cfg.MaxReassembly = 1<<20, 1<<20 },
		Handlers: map[core.HandlerID]core.HandlerFunc{"hold": gate.Handle},
	}
	lab.RawTest(t, "peer", setup, func(t *testing.T, r *lab.RawCluster) {
		p := r.Connect(func(h *wire.Hello) { h.Lanes = 8 })
		part := make([]byte, 32<<10)
		begun := 0
		for n := range uint64(7) {
			p.Send(wire.AppendLanes(nil, n+1))
			lane, err := p.Conn.(transport.LaneConn).OpenLane(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for slot := range uint32(32) {
				batch := p.RequestStart(slot, 1, "hold", 1<<20, part)
				if err := lane.WriteFrames([][]byte{batch}); err != nil {
					break // the session has ended
				}
				synctest.Wait()
				// The first one has all the memory.
				if begun++; begun == 1+most && p.Ended() != nil {
					t.Fatalf("the session ended with %d requests that wait", begun-1)
				}
			}
		}
		p.WantClosed(wire.CodeOverflow, "more requests than wait for memory on all lanes together")
		r.Alive("after it")
	})
}

// TestUnreadAnswersOnALane has a peer provoke answer after answer on a lane, of which
// it reads nothing: they are bounded by what one call at a time can need.
func TestUnreadAnswersOnALane(t *testing.T) {
	lab.RawTest(t, "peer", lab.RawSetup{Lanes: true}, func(t *testing.T, r *lab.RawCluster) {
		p := r.Connect(func(h *wire.Hello) { h.Lanes = 8 })
		p.Send(wire.AppendLanes(nil, 1))
		lane, err := p.Conn.(transport.LaneConn).OpenLane(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		provoked := 0
		for generation := uint32(1); provoked < 100_000; {
			var batch []byte
			for range 500 {
				batch = append(batch, p.Request(0, generation, "nobody", nil)...)
				generation++
			}
			if lane.WriteFrames([][]byte{batch}) != nil {
				break // the session has ended
			}
			provoked += 500
			synctest.Wait()
		}
		p.WantClosed(wire.CodeOverflow, "answers on a lane that nobody reads")
		if provoked > 20_000 {
			t.Errorf("%d answers were kept for a peer that does not read", provoked)
		}
		r.Alive("after it")
	})
}
