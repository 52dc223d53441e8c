package streamprotocol_test

import (
	"encoding/binary"
	"testing"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/internal/lab"
	"github.com/gridmux/gridmux/core/internal/wire"
)

// ackDue is how many paced bytes a receiver may leave without ACK, and one more
// (W44).
const ackDue = 32 << 10

// acks takes what has arrived, and returns the last total of ACK, or before if
// there was none. Totals must not fall.
func (b *bench) acks(before uint64) uint64 {
	b.t.Helper()
	for f, ok := b.p.Next(); ok; f, ok = b.p.Next() {
		if f.Type != wire.TypeAck {
			continue
		}
		total := binary.LittleEndian.Uint64(f.Body)
		if total < before {
			b.t.Fatalf("W44: ACK of %d bytes after %d", total, before)
		}
		before = total
	}
	return before
}

// TestAcknowledgements holds a receiver to W44: it counts the bodies of what is
// paced, whether it is for anybody or not, and of nothing else, and lets no more
// than 32767 of them wait.
func TestAcknowledgements(t *testing.T) {
	asCallee(t, "W44", shape{}, func(t *testing.T, b *bench) {
		e := b.open()
		b.p.Flow = true
		gone := b.p.ID(90, 1)
		b.p.Send(b.p.Request(90, 1, "echo", nil))
		sent, acked, body := uint64(0), uint64(0), make([]byte, 5000)
		for i, f := range []struct {
			name   string
			frame  []byte
			counts bool
		}{
			{"DATA of a stream", e.data(body), true},
			{"DATA that is skipped", wire.AppendData(nil, gone, body), true},
			{"FRAGMENT that is skipped", wire.AppendFragment(nil, gone, body), true},
			{"FRAGMENT of what was never asked for", wire.AppendFragment(nil, b.p.TheirID(80), body), true},
			{"RESPONSE in parts that is skipped", wire.AppendResponseStart(nil, b.p.TheirID(0), 1<<30, body), true},
			{"OPEN in parts", b.p.OpenStart(91, 1, "nobody", 1, 1<<20, body), true},
			{"REQUEST in parts", b.p.RequestStart(92, 1, "nobody", 1<<20, body), true},
			{"PADDING", lab.RawFrame(wire.Frame{Body: body}), false},
			{"a type of tomorrow", lab.RawFrame(wire.Frame{Type: 0x90, Body: body}), false},
			{"PADDING with the flag of parts", lab.RawFrame(wire.Frame{Flags: wire.FlagFragmented, Body: body}), false},
			{"REQUEST", b.p.Request(93, 1, "nobody", body), false},
			{"OPEN", b.p.Open(94, 1, "nobody", 1, body), false},
			{"RESPONSE", wire.AppendResponse(nil, b.p.TheirID(0), body), false},
			{"CREDIT", e.credit(0, 1), false},
		} {
			b.p.Send(f.frame)
			if f.counts {
				sent += uint64(len(f.frame) - wire.HeaderSize)
			}
			// Fill up to one byte below what is due, and then to what is due: the
			// ACK tells how the frame was counted.
			for b.acks(acked) == acked {
				if sent-acked > ackDue {
					t.Fatalf("W44: %s: %d paced bytes wait for ACK, %d may", f.name, sent-acked, ackDue-1)
				}
				part := wire.AppendFragment(nil, gone, make([]byte, 1+i))
				b.p.Send(part)
				sent += uint64(len(part) - wire.HeaderSize)
				if sent-acked < ackDue/2 {
					b.p.Send(wire.AppendFragment(nil, gone, body))
					sent += uint64(len(body))
				}
				settle()
				if total := b.acks(acked); total != acked {
					if total != sent {
						t.Fatalf("W44: with %s: ACK says %d bytes, %d were sent", f.name, total, sent)
					}
					acked = total
					break
				}
			}
		}
	})
}

// TestSenderWaitsForNoMoreThanAcks holds a sender to W44: it goes on with 32767
// bytes missing, and stops where nothing is acknowledged.
func TestSenderWaitsForNoMoreThanAcks(t *testing.T) {
	inRoles(t, "W44", shape{}, func(t *testing.T, b *bench) {
		const size = 3 << 20
		e := b.open()
		b.p.AckByHand()
		b.p.Flow = true
		base := b.p.Paced()
		sent := lab.Go(func() error { return e.Send(lab.Pattern(7, size)) })
		f := b.p.Want(wire.TypeData, "a large message begins")
		d, err := wire.ParseData(&f)
		if err != nil || d.Size != size {
			t.Fatalf("W81: %+v, %v", d, err)
		}
		b.p.Send(wire.AppendGrant(nil, e.id))
		got := len(d.Payload)
		most := 0
		for got < size {
			before := got
			if paced := b.p.Paced(); paced-base >= ackDue {
				b.p.Send(wire.AppendAck(nil, paced-(ackDue-1)))
			}
			for f, ok := b.p.Next(); ok; f, ok = b.p.Next() {
				if f.Type == wire.TypeFragment {
					got += len(f.Body)
				}
			}
			if most = max(most, got-before); got == before {
				t.Fatalf("W44: nothing more is sent after %d bytes, although no more than %d are missing", got, ackDue-1)
			}
		}
		if err := lab.Wait(t, sent, "all is sent"); err != nil {
			t.Errorf("W44: sending failed: %v", err)
		}
		if most > 1<<20 {
			t.Errorf("W44: %d bytes were sent without an acknowledgement", most)
		}
		b.p.Ack()
		b.p.Ack() // it repeats the total
		b.p.Flow = false
		b.wantLife("W44: an ACK that repeats the total changes nothing")
	})
	for name, totals := range map[string]func(sent uint64) []uint64{
		"too much": func(sent uint64) []uint64 { return []uint64{sent + 1} },
		"endless":  func(uint64) []uint64 { return []uint64{1<<64 - 1} },
		"falling":  func(sent uint64) []uint64 { return []uint64{sent, sent - 1} },
		"to 0":     func(sent uint64) []uint64 { return []uint64{sent, 0} },
	} {
		inRoles(t, "W44 "+name, shape{}, func(t *testing.T, b *bench) {
			e := b.open()
			b.p.AckByHand()
			if err := e.Send(make([]byte, 1000)); err != nil {
				t.Fatal(err)
			}
			b.p.Want(wire.TypeData, "a message")
			all := totals(b.p.Paced())
			for i, total := range all {
				if i == len(all)-1 {
					b.p.WantIdle("W44: until now all is as it should be")
				}
				b.p.Send(wire.AppendAck(nil, total))
			}
			b.p.WantClosed(wire.CodeProtocol, "W44: an ACK that is "+name)
		})
	}
}

// TestBulkWaitsForNobody holds that a peer which acknowledges nothing holds up
// its own bulk alone: small calls go on (W44).
func TestBulkWaitsForNobody(t *testing.T) {
	big := func(cfg *core.Config) { cfg.MaxOutput = 1 << 20 }
	inRoles(t, "W44", shape{config: big}, func(_ *testing.T, b *bench) {
		e := b.open()
		b.p.AckByHand()
		lab.Go(func() error { return e.Send(make([]byte, 1<<20)) })
		settle()
		for f, ok := b.p.Next(); ok; f, ok = b.p.Next() {
			if f.Type == wire.TypeResponse {
				b.t.Fatal("got RESPONSE")
			}
		}
		b.wantLife("W44: small calls beside bulk that is not acknowledged")
		b.Alive("W44")
	})
}
