package streamprotocol_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/internal/lab"
	"github.com/gridmux/gridmux/core/internal/wire"
)

const window = wire.DefaultWindow

// wantData takes the DATA that have arrived, all of one stream and whole, and
// holds their lengths to want.
func (e *end) wantData(sentence string, want ...int) {
	e.b.t.Helper()
	got := []int{}
	for f, ok := e.b.p.Next(); ok; f, ok = e.b.p.Next() {
		if f.Type != wire.TypeData || f.ID != e.id {
			e.b.t.Fatalf("%s: got %v %v with %.60q, want DATA of %v", sentence, f.Type, f.ID, f.Body, e.id)
		}
		got = append(got, len(e.b.p.Message(&f)))
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		e.b.t.Fatalf("%s: messages of %v bytes arrived, want %v", sentence, got, want)
	}
}

// TestSenderKeepsToCredit holds a sender to W83: it begins with the capacity and
// with win, waits where either is short, and pays for a message over win with
// all of it and no more.
func TestSenderKeepsToCredit(t *testing.T) {
	inRoles(t, "W83 messages", shape{out: 3}, func(t *testing.T, b *bench) {
		e := b.open()
		sent := lab.Go(func() (err error) {
			for i := 1; i <= 7 && err == nil; i++ {
				err = e.Send(make([]byte, i))
			}
			return err
		})
		e.wantData("W83: the credit of messages begins with the capacity", 1, 2, 3)
		b.p.Send(e.credit(0, 1000))
		e.wantData("W83: bytes alone do not suffice")
		b.p.Send(e.credit(1, 0))
		e.wantData("W83: one more", 4)
		b.p.Send(e.credit(2, 1), e.credit(1, 0))
		e.wantData("W83: CREDITs add up", 5, 6, 7)
		if err := lab.Wait(t, sent, "all is sent"); err != nil {
			t.Errorf("W83: sending failed: %v", err)
		}
	})
	inRoles(t, "W83 bytes", shape{out: 100, win: 1000}, func(t *testing.T, b *bench) {
		e := b.open()
		sent := lab.Go(func() (err error) {
			for _, size := range []int{0, 400, 600, 1, 0, 1000, 1001, 5000} {
				if err == nil {
					err = e.Send(make([]byte, size))
				}
			}
			return err
		})
		e.wantData("W83: the credit of bytes begins with win", 0, 400, 600)
		b.p.Send(e.credit(2, 0))
		e.wantData("W83: messages alone do not suffice")
		b.p.Send(e.credit(0, 1))
		e.wantData("W83: one byte, and an empty message that costs none", 1, 0)
		b.p.Send(e.credit(0, 999))
		e.wantData("W83: a message of win bytes waits for all of them")
		b.p.Send(e.credit(0, 1))
		e.wantData("W83: now it goes", 1000)
		b.p.Send(e.credit(0, 999))
		e.wantData("W83: a larger one waits for win bytes")
		b.p.Send(e.credit(0, 1))
		e.wantData("W83: it costs no more than win", 1001)
		b.p.Send(e.credit(0, 1000))
		e.wantData("W83: however large it is", 5000)
		if err := lab.Wait(t, sent, "all is sent"); err != nil {
			t.Errorf("W83: sending failed: %v", err)
		}
		if err := e.CloseSend(); err != nil {
			t.Error(err)
		}
		b.p.Want(wire.TypeEnd, "CloseSend")
		b.p.Send(e.credit(1<<32-1, 1<<32-1), e.credit(1, 1))
		b.p.WantIdle("W83: CREDIT for a direction that has ended changes nothing")
		b.p.Send(e.data([]byte("x")))
		e.wantMessage("x", "W83: nor does it for the other direction")
	})
}

// TestReceiverGivesCredit holds a receiver to W83 in long runs of messages of
// random sizes: when its user waits with nothing held the sender may send half
// of the capacity and win bytes, it never has more than the capacity and 2^30,
// and while the user is quick the window grows.
func TestReceiverGivesCredit(t *testing.T) {
	for _, capacity := range []int{1, 2, 3, 5, 64} {
		inRoles(t, fmt.Sprintf("W83 capacity %d", capacity), shape{in: uint32(capacity)}, func(t *testing.T, b *bench) {
			random := rand.New(rand.NewPCG(uint64(capacity), 83))
			e := b.open()
			messages, room, most := capacity, window, window
			for round := range lab.Scale(40, 10, 1000) {
				count := 0
				for range random.IntN(2*capacity) + 1 {
					size := random.IntN(200)
					if random.IntN(3) == 0 {
						size = random.IntN(window + 1)
					}
					if messages == 0 || size > room {
						break
					}
					if size > 30_000 {
						msg := make([]byte, size)
						b.p.Send(e.dataStart(uint64(size), msg[:1]))
						b.p.Send(e.fragment(msg[1:]))
					} else {
						b.p.Send(e.data(make([]byte, size)))
					}
					messages--
					room -= size
					count++
				}
				if random.IntN(4) == 0 {
					time.Sleep(time.Second) // the user is slow now
				}
				for range count {
					if got := lab.Wait(t, e.recv(), "a message arrives"); got.Err != nil {
						t.Fatalf("W83: receiving failed: %v", got.Err)
					}
				}
				waits := e.recv()
				m, n := e.takeCreditOrPing()
				messages += m
				room += n
				most = max(most, room)
				switch {
				case messages < (capacity+1)/2 || room < window:
					t.Fatalf("W83: in round %d the user waits, and the credit is %d of %d messages and %d bytes, win is %d", round, messages, capacity, room, window)
				case messages > capacity || room > 1<<30:
					t.Fatalf("W83: the credit is %d of %d messages and %d bytes", messages, capacity, room)
				}
				b.p.Send(e.data(nil))
				messages--
				if got := lab.Wait(t, waits, "an empty message arrives"); got.Err != nil {
					t.Fatalf("W83: receiving failed: %v", got.Err)
				}
			}
			if capacity > 3 && most <= window {
				t.Errorf("W83: the window has not grown although the user was quick")
			}
		})
	}
}

// TestWaitingUserOwesNothing holds a receiver to W83 before its window has grown:
// what was taken is reported as soon as the user waits, however little it is.
func TestWaitingUserOwesNothing(t *testing.T) {
	inRoles(t, "W83", shape{in: 64}, func(t *testing.T, b *bench) {
		e := b.open()
		b.p.Send(e.data(make([]byte, 100)))
		e.wantMessage(string(make([]byte, 100)), "a small message")
		b.p.WantIdle("W83: nobody waits, and little is owed")
		waits := e.recv()
		if _, n := e.takeCredit(); n < 100 {
			t.Errorf("W83: the user waits, and %d of 100 bytes are given back: a message of win bytes could not be sent", n)
		}
		b.p.Send(e.dataStart(window, []byte("x")))
		b.p.Send(e.fragment(make([]byte, window-1)))
		if got := lab.Wait(t, waits, "a message of win bytes arrives"); len(got.Resp) != window {
			t.Errorf("W83: received %d bytes, %v", len(got.Resp), got.Err)
		}
	})
}

// takeCreditOrPing is takeCredit where time has passed: it answers pings.
func (e *end) takeCreditOrPing() (messages, bytes int) {
	e.b.t.Helper()
	for f, ok := e.b.p.Next(); ok; f, ok = e.b.p.Next() {
		if f.Type == wire.TypePing {
			e.b.p.Send(lab.RawFrame(wire.Frame{Type: wire.TypePong, Body: f.Body}))
			continue
		}
		m, n, err := wire.ParseCredit(&f)
		if f.Type != wire.TypeCredit || f.ID != e.id || err != nil {
			e.b.t.Fatalf("got %v %v with %.60q, want CREDIT of %v: %v", f.Type, f.ID, f.Body, e.id, err)
		}
		messages += int(m)
		bytes += int(n)
	}
	return messages, bytes
}

// TestFlowControlBreaches holds both ends to W84: more messages or bytes than
// there is credit for, a message over maxmsg, and a CREDIT over the bounds end
// the stream with code 5, at the first part, and no other (T8, T9, F26).
func TestFlowControlBreaches(t *testing.T) {
	limits := func(cfg *core.Config) { cfg.MaxMessage, cfg.MaxReassembly = 90_000, 90_000 }
	times := func(n int, frame []byte) (frames [][]byte) {
		for range n {
			frames = append(frames, frame)
		}
		return frames
	}
	for name, breach := range map[string]struct {
		before, frames func(e *end) [][]byte
	}{
		"a message beyond the credit of messages": {
			func(e *end) [][]byte { return times(5, e.data(nil)) },
			func(e *end) [][]byte { return times(1, e.data(nil)) },
		},
		"a first part beyond the credit of messages": {
			func(e *end) [][]byte { return times(5, e.data(nil)) },
			func(e *end) [][]byte { return times(1, e.dataStart(2, []byte("x"))) },
		},
		"a byte beyond the credit of bytes": {
			func(e *end) [][]byte {
				return append(times(2, e.data(make([]byte, 30_000))), e.data(make([]byte, window-60_000)))
			},
			func(e *end) [][]byte { return times(1, e.data([]byte("x"))) },
		},
		"a part of a message beyond the credit of bytes": {
			func(e *end) [][]byte { return times(2, e.data(make([]byte, 30_000))) },
			func(e *end) [][]byte { return times(1, e.dataStart(window-60_000+1, []byte("x"))) },
		},
		"a message over win beside another": {
			func(e *end) [][]byte { return times(1, e.data([]byte("x"))) },
			func(e *end) [][]byte { return times(1, e.dataStart(90_000, []byte("x"))) },
		},
		"a message over maxmsg": {
			nil,
			func(e *end) [][]byte { return times(1, e.dataStart(90_001, []byte("x"))) },
		},
		"an endless message": {
			nil,
			func(e *end) [][]byte { return times(1, e.dataStart(1<<64-1, []byte("x"))) },
		},
		"a frame over maxmsg": {
			nil,
			func(e *end) [][]byte { return times(1, e.data(make([]byte, 90_001))) },
		},
		"a message of credit too many": {
			nil,
			func(e *end) [][]byte { return times(1, e.credit(1, 0)) },
		},
		"messages of credit without end": {
			nil,
			func(e *end) [][]byte { return times(1, e.credit(1<<32-1, 0)) },
		},
		"a byte of credit too many": {
			func(e *end) [][]byte { return times(1, e.credit(0, 1<<30-window)) },
			func(e *end) [][]byte { return times(1, e.credit(0, 1)) },
		},
		"bytes of credit without end, twice": {
			nil,
			func(e *end) [][]byte { return times(2, e.credit(0, 1<<32-1)) },
		},
		"both, amid a message": {
			func(e *end) [][]byte { return times(1, e.dataStart(9, []byte("x"))) },
			func(e *end) [][]byte { return times(1, e.credit(1<<32-1, 1<<32-1)) },
		},
	} {
		inRoles(t, "W84 "+name, shape{in: 5, out: 5, config: limits}, func(t *testing.T, b *bench) {
			other, e := b.open(), b.open()
			if breach.before != nil {
				for _, frame := range breach.before(e) {
					b.p.Send(frame)
				}
			}
			b.p.WantIdle("W84: until then all is as it should be")
			frames := breach.frames(e)
			for _, frame := range frames {
				b.p.Send(frame)
			}
			e.wantEnded(wire.CodeFlowControl, "W84: "+name)
			for range 3 {
				b.p.Send(e.fragment([]byte("z")), frames[0], e.end(), e.credit(1<<31, 1<<31))
			}
			if b.serving {
				if e.ctx.Err() == nil {
					t.Error("W84: the context of the handler has not ended")
				}
				e.result <- nil
			}
			b.p.WantIdle("W84: there is one answer, and what follows is skipped")
			if err := e.Send([]byte("x")); err == nil {
				t.Error("W84: a message is sent on a stream that is over")
			}
			e.wantLost("W84: the stream has not ended cleanly")

			b.p.Send(other.data([]byte("y")))
			other.wantMessage("y", "W84: other streams are untouched")
			if err := other.Send([]byte("z")); err != nil {
				t.Error(err)
			}
			if f, ok := b.skipCredit(); !ok || f.Type != wire.TypeData || f.ID != other.id {
				t.Errorf("W84: other streams are untouched: got %v %v", f.Type, f.ID)
			}
			b.wantLife("W84: the session is untouched")
			b.Alive("W84")
		})
	}
}

// TestDataBeyondCreditIsNotKept sends a hundred mebibytes on streams that nobody
// reads, whatever the credit is: nothing of it stays, whether the stream's first
// breach was a message or came amid one, and other streams and calls go on (T9,
// F26).
func TestDataBeyondCreditIsNotKept(t *testing.T) {
	streams := lab.Scale(20, 8, 20)
	for name, begin := range map[string]func(e *end) []byte{
		"messages": func(e *end) []byte { return e.data(make([]byte, 60_000)) },
		"amid a message of 16 MiB": func(e *end) []byte {
			return append(e.dataStart(16<<20, []byte("x")), e.credit(1<<31, 1<<31)...)
		},
	} {
		inRoles(t, "W84 "+name, shape{in: 4}, func(t *testing.T, b *bench) {
			other := b.open()
			var ends []*end
			for range streams {
				ends = append(ends, b.open())
			}
			before := lab.HeapInUse()
			part := make([]byte, 60_000)
			for _, e := range ends {
				b.p.Send(begin(e))
				for range lab.Scale(5<<20, 1<<20, 16<<20) / len(part) {
					if name == "messages" {
						b.p.Send(e.data(part))
					} else {
						b.p.Send(e.fragment(part))
					}
				}
				settle()
				if err := b.p.Ended(); err != nil {
					t.Fatalf("W84: the session has ended: %v", err)
				}
			}
			if grown := int64(lab.HeapInUse()) - int64(before); grown > int64(streams)*window+4<<20 {
				t.Errorf("W84: what was sent beyond the credit of the streams has left %d bytes, want no more than their windows", grown)
			}
			for f, ok := b.p.Next(); ok; f, ok = b.p.Next() {
				if f.ID == other.id {
					t.Errorf("W84: got %v of another stream", f.Type)
				}
			}
			b.p.Send(other.data([]byte("y")))
			other.wantMessage("y", "W84: other streams are untouched")
			b.wantLife("W84: the session is untouched")
		})
	}
}
