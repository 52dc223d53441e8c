package streamprotocol_test

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/internal/lab"
	"github.com/gridmux/gridmux/core/internal/wire"
)

const (
	// head is how much of a message is sent before its GRANT (W45).
	head = 128 << 10
	// places is how many messages of a kind wait for one (W46).
	places = 16
	// memory is what a node of these tests has for large messages of each kind.
	memory = 200_000
)

// tight gives the subject memory for one large message.
func tight(cfg *core.Config) { cfg.MaxMessage, cfg.MaxReassembly = memory, memory }

// fill takes the subject's memory for messages of streams until its user takes
// the message.
func (e *end) fill() {
	e.b.t.Helper()
	e.b.p.Flow = true
	e.sendLarge(memory)
	e.b.wantGrants("W45: there is memory", e.id)
}

// sendLarge has the raw peer send a message in parts, as much of it as may be
// sent without a GRANT.
func (e *end) sendLarge(size int) {
	e.b.t.Helper()
	msg := lab.Pattern(size, size)
	e.b.p.Send(e.dataStart(uint64(size), msg[:1]))
	for at := 1; at < min(size, head); at += 40_000 {
		e.b.p.Send(e.fragment(msg[at:min(at+40_000, size, head)]))
	}
}

// wantGrants holds that these GRANTs arrive, in that order, and nothing but ACK
// and CREDIT besides.
func (b *bench) wantGrants(sentence string, ids ...wire.CallID) {
	b.t.Helper()
	var got []wire.CallID
	for f, ok := b.p.Next(); ok; f, ok = b.p.Next() {
		switch f.Type {
		case wire.TypeAck, wire.TypeCredit:
		case wire.TypeGrant:
			got = append(got, f.ID)
		default:
			b.t.Fatalf("%s: got %v %v with %.60q, want nothing but GRANT", sentence, f.Type, f.ID, f.Body)
		}
	}
	if !slices.Equal(got, ids) {
		b.t.Fatalf("%s: got GRANTs for %v, want %v; the connection's end: %v", sentence, got, ids, b.p.Ended())
	}
}

// TestGrants holds a receiver to W45: every message of a stream over the window
// gets one GRANT when there is memory for it, the oldest first, also when it is
// there already, and none below.
func TestGrants(t *testing.T) {
	inRoles(t, "W45", shape{in: 8, config: tight}, func(t *testing.T, b *bench) {
		a, c, d := b.open(), b.open(), b.open()
		b.p.Flow = true
		const win = wire.DefaultWindow
		a.sendLarge(win)
		b.wantGrants("W45: a message that is no larger than the window has its memory")
		if got := lab.Wait(t, a.recv(), "it arrives"); !bytes.Equal(got.Resp, lab.Pattern(win, win)) || got.Err != nil {
			t.Errorf("W45: a message of %d bytes arrived as %d, %v", win, len(got.Resp), got.Err)
		}
		a.fill()
		c.sendLarge(win + 1)
		d.sendLarge(memory)
		b.wantGrants("W45: there is no memory for more")
		other := b.open()
		b.p.Send(other.data([]byte("small")))
		other.wantMessage("small", "W45: what needs no memory goes on")
		b.p.Send(a.fragment(lab.Pattern(memory, memory)[head:]))
		if got := lab.Wait(t, a.recv(), "the first arrives"); !bytes.Equal(got.Resp, lab.Pattern(memory, memory)) {
			t.Errorf("W45: the first message arrived with %d bytes, %v", len(got.Resp), got.Err)
		}
		b.wantGrants("W45: the oldest is next, though it is there already", c.id)
		if got := lab.Wait(t, c.recv(), "the second arrives"); !bytes.Equal(got.Resp, lab.Pattern(win+1, win+1)) {
			t.Errorf("W45: the second message arrived with %d bytes, %v", len(got.Resp), got.Err)
		}
		b.wantGrants("W45: then the youngest", d.id)
		b.p.Send(d.fragment(lab.Pattern(memory, memory)[head:]))
		if got := lab.Wait(t, d.recv(), "the third arrives"); !bytes.Equal(got.Resp, lab.Pattern(memory, memory)) {
			t.Errorf("W45: the third message arrived with %d bytes, %v", len(got.Resp), got.Err)
		}
		b.wantGrants("W45: one GRANT for each")
		b.p.Flow = false
		b.wantLife("W45: all messages have arrived")
	})
}

// TestTooMuchUngranted holds a receiver to W45: whoever sends more than 131072
// bytes of a message that it has sent no GRANT for is cut off, at the byte.
func TestTooMuchUngranted(t *testing.T) {
	inRoles(t, "W45", shape{config: tight}, func(_ *testing.T, b *bench) {
		a, c := b.open(), b.open()
		a.fill()
		c.sendLarge(memory)
		b.wantGrants("W45: 131072 bytes may be sent without a GRANT")
		b.p.Send(c.fragment([]byte("x")))
		for f, ok := b.p.Next(); ok; f, ok = b.p.Next() {
			if f.Type != wire.TypeAck {
				b.t.Fatalf("W45: got %v", f.Type)
			}
		}
		b.p.WantClosed(wire.CodeProtocol, "W45: no byte more may be sent")
	})
	asCallee(t, "W45 OPEN and REQUEST", shape{config: tight}, func(t *testing.T, b *bench) {
		for name, start := range map[string]func(slot uint32) []byte{
			"OPEN":    func(slot uint32) []byte { return b.p.OpenStart(slot, 1, "hold", 1, memory, []byte("x")) },
			"REQUEST": func(slot uint32) []byte { return b.p.RequestStart(slot, 1, "echo", memory, []byte("x")) },
		} {
			b.p.Send(start(1), start(2), b.p.Fragment(2, 1, make([]byte, 60_000)))
			b.p.Send(b.p.Fragment(2, 1, make([]byte, head-60_001)))
			b.p.WantIdle("W45: 131072 bytes of " + name + " may be sent without a GRANT")
			b.p.Send(b.p.Fragment(2, 1, []byte("x")))
			b.p.WantClosed(wire.CodeProtocol, "W45: no byte more of "+name+" may be sent")
			b.p = b.Connect()
		}
	})
}

// TestBegunWithoutGrant holds a sender to W45 and W46: it sends 131072 bytes of
// a message and then waits for GRANT, and has begun at most 16 such messages of
// streams. Places come back by GRANT, by the answer and by RESET, also those of
// messages that were sent whole.
func TestBegunWithoutGrant(t *testing.T) {
	for name, give := range map[string]func(b *bench, e *end){
		"GRANT": func(b *bench, e *end) { b.p.Send(wire.AppendGrant(nil, e.id)) },
		"the answer": func(b *bench, e *end) {
			if !b.serving {
				b.p.Send(wire.AppendResponse(nil, e.id, nil))
				return
			}
			// What the callee has sent whole is not dropped by its answer: RESET is
			// the caller's word that it has been.
			e.result <- nil
			settle()
			b.p.Send(lab.RawStatus(wire.TypeReset, e.id, wire.CodeCanceled))
		},
		"RESET": func(b *bench, e *end) {
			if b.serving {
				b.p.Send(lab.RawStatus(wire.TypeReset, e.id, wire.CodeCanceled))
			} else {
				e.Close()
			}
		},
	} {
		for what, size := range map[string]int{"whole messages": 100_000, "halves": 300_000} {
			inRoles(t, "W45 W46 places of "+what+" come back by "+name, shape{out: 8}, func(t *testing.T, b *bench) {
				const streams = 3 * places
				ends := make([]*end, streams)
				byID := make(map[wire.CallID]*end)
				sent := make([]int, streams)
				for i := range ends {
					ends[i] = b.open()
					byID[ends[i].id] = ends[i]
				}
				for i := range ends {
					go func() { _ = ends[i].Send(lab.Pattern(i, size)) }()
					settle()
				}
				var begun []*end
				take := func() {
					for f, ok := b.p.Next(); ok; f, ok = b.p.Next() {
						e := byID[f.ID]
						i := slices.Index(ends, e)
						switch f.Type {
						case wire.TypeData:
							d, err := wire.ParseData(&f)
							if err != nil || d.Size != uint64(size) {
								t.Fatalf("W81: DATA of %d bytes, %v", d.Size, err)
							}
							begun = append(begun, e)
							sent[i] += len(d.Payload)
						case wire.TypeFragment:
							sent[i] += len(f.Body)
						case wire.TypeReset, wire.TypeResponse, wire.TypeError:
						default:
							t.Fatalf("got %v", f.Type)
						}
					}
				}
				take()
				for released := range streams {
					if want := min(streams, places+released); len(begun) != want {
						t.Fatalf("W46: %d messages are begun after %d places came back, want %d", len(begun), released, want)
					}
					e := begun[released]
					if got := sent[slices.Index(ends, e)]; got != min(size, head) {
						t.Fatalf("W45: %d bytes of a message were sent without GRANT, want %d", got, min(size, head))
					}
					give(b, e)
					take()
					if got := sent[slices.Index(ends, e)]; name == "GRANT" && got != size {
						t.Fatalf("W45: %d bytes of a message were sent after GRANT, want %d", got, size)
					}
				}
				b.wantLife("W46: all places have come back")
			})
		}
	}
}

// TestGrantForNothing holds a sender to W45: a GRANT that nothing waits for is a
// protocol error in an open call, also a second one.
func TestGrantForNothing(t *testing.T) {
	inRoles(t, "W45 nothing was sent", shape{}, func(_ *testing.T, b *bench) {
		e := b.open()
		b.p.Send(wire.AppendGrant(nil, e.id))
		b.p.WantClosed(wire.CodeProtocol, "W45: GRANT for a stream on which nothing was sent")
	})
	inRoles(t, "W45 a message of one frame", shape{}, func(t *testing.T, b *bench) {
		e := b.open()
		if err := e.Send(make([]byte, 30_000)); err != nil {
			t.Fatal(err)
		}
		b.p.Want(wire.TypeData, "a message in one frame")
		b.p.Send(wire.AppendGrant(nil, e.id))
		b.p.WantClosed(wire.CodeProtocol, "W45: GRANT for a message in one frame")
	})
	inRoles(t, "W45 twice", shape{}, func(_ *testing.T, b *bench) {
		e := b.open()
		lab.Go(func() error { return e.Send(make([]byte, 100_000)) })
		f := b.p.Want(wire.TypeData, "a message over the window")
		b.p.Message(&f) // which it grants
		b.p.WantIdle("W45: it was granted")
		b.p.Send(wire.AppendGrant(nil, e.id))
		b.p.WantClosed(wire.CodeProtocol, "W45: a second GRANT for one message")
	})
	inRoles(t, "W45 not begun", shape{}, func(t *testing.T, b *bench) {
		e := b.open()
		// The window of the pace is used up before the message can begin.
		b.p.AckByHand()
		busy := b.open()
		lab.Go(func() error { return busy.Send(make([]byte, head)) })
		settle()
		lab.Go(func() error { return e.Send(make([]byte, 100_000)) })
		settle()
		for f, ok := b.p.Next(); ok; f, ok = b.p.Next() {
			if f.ID == e.id {
				t.Fatalf("the message has begun with %v: the test does not hold what it should", f.Type)
			}
		}
		b.p.Send(wire.AppendGrant(nil, e.id))
		b.p.WantClosed(wire.CodeProtocol, "W45: GRANT for a message of which nothing was sent")
	})
}

// TestMemoryOfEndedStreams holds the subject to W46 where messages that wait for
// memory are given up: nothing of them stays, on either side.
func TestMemoryOfEndedStreams(t *testing.T) {
	asCaller(t, "W46 the caller owes a GRANT or RESET", shape{config: tight}, func(t *testing.T, b *bench) {
		a, c := b.open(), b.open()
		a.fill()
		c.sendLarge(100_000)
		b.p.Send(wire.AppendResponse(nil, c.id, nil))
		b.wantGrants("W46: the message that was sent whole still waits")
		c.Close()
		for f, ok := b.p.Next(); ; f, ok = b.p.Next() {
			if !ok {
				t.Fatal("W46: a stream whose message has waited for memory was closed, and the callee is not told that its place is free")
			}
			if f.Type == wire.TypeReset || f.Type == wire.TypeGrant {
				if f.ID != c.id {
					t.Errorf("W46: %v is for %v, want %v", f.Type, f.ID, c.id)
				}
				break
			}
		}
	})
	asCallee(t, "W46 streams whose handlers have closed them", shape{config: tight}, func(t *testing.T, b *bench) {
		a := b.open()
		a.fill()
		for range 5 * places {
			e := b.open()
			e.sendLarge(100_000)
			settle()
			e.Close()
			e.result <- nil
			settle()
			if err := b.p.Ended(); err != nil {
				t.Fatalf("W46: the session has ended although answers have dropped all messages: %v", err)
			}
		}
	})
	asCallee(t, "W46 whole requests that are reset", shape{config: tight}, func(t *testing.T, b *bench) {
		b.p.Flow = true
		b.p.Send(b.p.RequestStart(0, 1, "echo", memory, []byte("x")))
		b.wantGrants("W45: there is memory", b.p.ID(0, 1))
		for slot := range uint32(5 * places) {
			start := b.p.RequestStart(slot+1, 1, "echo", 2, []byte("a"))
			if slot%2 == 0 {
				start = b.p.OpenStart(slot+1, 1, "hold", 1, 2, []byte("a"))
			}
			b.p.Send(start, b.p.Fragment(slot+1, 1, []byte("b")))
			settle()
			b.p.Send(lab.RawStatus(wire.TypeReset, b.p.ID(slot+1, 1), wire.CodeCanceled))
		}
		b.wantGrants("W46: RESET has dropped what had waited")
		b.p.Send(lab.RawStatus(wire.TypeReset, b.p.ID(0, 1), wire.CodeCanceled))
		b.wantGrants("W46: what was dropped gets no GRANT")
		b.p.Send(b.p.RequestStart(0, 2, "echo", memory, []byte("x")))
		b.wantGrants("W46: all the memory is back", b.p.ID(0, 2))
		if len(b.began) != 0 {
			t.Error("W27: the handler of a stream runs that was reset while it had waited for memory")
		}
	})
	asCallee(t, "W29 a stream that was refused", shape{config: tight}, func(_ *testing.T, b *bench) {
		b.p.Flow = true
		b.p.Send(b.p.RequestStart(0, 1, "echo", memory, []byte("x")))
		b.wantGrants("W45: there is memory", b.p.ID(0, 1))
		e := &end{b: b, id: b.p.ID(1, 1)}
		b.p.Send(b.p.OpenStart(1, 1, "hold", 1, 2, []byte("a")), b.p.Fragment(1, 1, []byte("b")))
		b.wantGrants("W45: the stream waits")
		e.sendLarge(memory)
		b.wantGrants("W81: after the whole OPEN there is DATA, which has memory of its own", e.id)
		b.p.Send(e.fragment(make([]byte, memory-head)))
		time.Sleep(5 * time.Second)
		b.p.Flow = false
		b.p.WantStatus(wire.TypeRefused, wire.CodeOverloaded, "W29: the stream has waited too long")
		b.p.Flow = true
		b.slots = 2
		b.open().fill() // The memory of the message is back.
	})
	asCallee(t, "W84 W26 a stream that was ended while it had waited", shape{config: tight}, func(t *testing.T, b *bench) {
		b.p.Send(b.p.RequestStart(0, 1, "echo", memory, []byte("x")))
		e := &end{b: b, id: b.p.ID(1, 1)}
		b.p.Send(b.p.OpenStart(1, 1, "hold", 1, 2, []byte("a")), b.p.Fragment(1, 1, []byte("b")))
		for range b.in + 1 {
			b.p.Send(e.data(nil))
		}
		e.wantEnded(wire.CodeFlowControl, "W84: a message beyond the credit")
		time.Sleep(6 * time.Second)
		for f, ok := b.p.Next(); ok; f, ok = b.p.Next() {
			if f.Type != wire.TypePing {
				t.Errorf("W26: got %v %v after the one answer", f.Type, f.ID)
			}
		}
		b.p.Send(wire.AppendPing(nil, wire.TypePong, 0), lab.RawStatus(wire.TypeReset, b.p.ID(0, 1), wire.CodeCanceled))
		settle()
		if len(b.began) != 0 {
			t.Error("W84: the handler of a stream runs that has its answer")
		}
	})
}

// TestTooManyUngranted holds a receiver to W46: with more than 64 messages of a
// kind that wait for memory the session ends with code 35.
func TestTooManyUngranted(t *testing.T) {
	asCallee(t, "W46 OPEN", shape{config: tight}, func(_ *testing.T, b *bench) {
		b.p.Send(b.p.RequestStart(0, 1, "echo", memory, []byte("x")))
		for slot := range uint32(4 * places) {
			b.p.Send(b.p.OpenStart(slot+1, 1, "hold", 1, 1000, []byte("x")))
		}
		b.p.WantIdle("W46: 64 are put up with")
		b.p.Send(b.p.OpenStart(100, 1, "hold", 1, 1000, []byte("x")))
		b.p.WantClosed(wire.CodeOverflow, "W46: one more is not")
	})
	inRoles(t, "W46 DATA", shape{config: tight}, func(_ *testing.T, b *bench) {
		a := b.open()
		var ends []*end
		for range 4*places + 1 {
			ends = append(ends, b.open())
		}
		b.p.Send(a.dataStart(memory, []byte("x")))
		for _, e := range ends[1:] {
			b.p.Send(e.dataStart(memory, []byte("x")))
		}
		b.p.WantIdle("W46: 64 are put up with")
		b.p.Send(ends[0].dataStart(memory, []byte("x")))
		b.p.WantClosed(wire.CodeOverflow, "W46: one more is not")
	})
}
