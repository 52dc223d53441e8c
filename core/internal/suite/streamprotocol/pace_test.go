package streamprotocol_test

import (
	"encoding/binary"
	"slices"
	"testing"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/internal/lab"
	"github.com/gridmux/gridmux/core/internal/wire"
)

// acks takes what has arrived, and returns the last total of ACK, if there was
// one.
func (b *bench) acks() (total uint64, ok bool) {
	b.t.Helper()
	for f, more := b.p.Next(); more; f, more = b.p.Next() {
		if f.Type == wire.TypeAck {
			total, ok = binary.LittleEndian.Uint64(f.Body), true
		}
	}
	return total, ok
}

// TestAcknowledgements holds a receiver to W44: it counts the bodies of what is
// paced, whether it is for anybody or not, and of nothing else, and tells the
// total behind every MARK, and without one not even beside much.
func TestAcknowledgements(t *testing.T) {
	asCallee(t, "W44", shape{}, func(t *testing.T, b *bench) {
		e := b.open()
		b.p.Flow = true
		gone := b.p.ID(90, 1)
		b.p.Send(b.p.Request(90, 1, "echo", nil))
		sent, body := uint64(0), make([]byte, 5000)
		for _, f := range []struct {
			name   string
			frame  []byte
			counts bool
		}{
			{"nothing", nil, false},
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
			{"MARK", wire.AppendMark(nil), false},
		} {
			// In one batch, and alone.
			for _, frames := range [][][]byte{{append(slices.Clone(f.frame), wire.AppendMark(nil)...)}, {wire.AppendMark(nil)}} {
				if f.counts && len(frames[0]) > wire.HeaderSize {
					sent += uint64(len(f.frame))
				}
				b.p.Send(frames...)
				settle()
				if total, ok := b.acks(); !ok || total != sent {
					t.Fatalf("W44: behind %s ACK says %d bytes (there is one: %v), %d were sent", f.name, total, ok, sent)
				}
			}
		}
		for range 100 {
			b.p.Send(wire.AppendFragment(nil, gone, body))
			sent += uint64(wire.HeaderSize + len(body))
		}
		b.p.Send(wire.AppendMark(nil), wire.AppendMark(nil))
		settle()
		if total, ok := b.acks(); !ok || total != sent {
			t.Fatalf("W44: behind several frames ACK says %d bytes (there is one: %v), %d were sent", total, ok, sent)
		}
	})
}

// TestSenderWaitsForNoMoreThanAcks holds a sender to W44: it goes on when what it
// has marked is acknowledged, and waits for no ACK that it has not asked for; it
// stops where nothing is acknowledged.
func TestSenderWaitsForNoMoreThanAcks(t *testing.T) {
	inRoles(t, "W44", shape{}, func(t *testing.T, b *bench) {
		const size = 12 << 20
		e := b.open()
		b.p.AckByHand()
		b.p.Flow = true
		total := b.p.Paced()
		sent := lab.Go(func() error { return e.Send(lab.Pattern(7, size)) })
		f := b.p.Want(wire.TypeData, "a large message begins")
		d, err := wire.ParseData(&f)
		if err != nil || d.Size != size {
			t.Fatalf("W81: %+v, %v", d, err)
		}
		b.p.Send(wire.AppendGrant(nil, e.id))
		got, most := len(d.Payload), 0
		total += wire.HeaderSize + uint64(len(f.Body))
		for got < size {
			before, marked := got, false
			upTo := total // the last MARK
			for f, ok := b.p.Next(); ok; f, ok = b.p.Next() {
				switch f.Type {
				case wire.TypeFragment:
					got += len(f.Body)
					total += wire.HeaderSize + uint64(len(f.Body))
				case wire.TypeMark:
					marked, upTo = true, total
				}
			}
			if most = max(most, got-before); got < size && !marked {
				t.Fatalf("W44: nothing more is sent after %d bytes, and no ACK is asked for", got)
			}
			b.p.Send(wire.AppendAck(nil, upTo))
			settle()
		}
		if err := lab.Wait(t, sent, "all is sent"); err != nil {
			t.Errorf("W44: sending failed: %v", err)
		}
		if most > 4<<20 {
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
