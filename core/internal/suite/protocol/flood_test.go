package protocol_test

import (
	"encoding/binary"
	"testing"
	"testing/synctest"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/internal/lab"
	"github.com/gridmux/gridmux/core/internal/wire"
)

// TestProtocolPings floods the subject with PINGs and reads nothing: it keeps
// the last one to answer and nothing else (W40) (T7, D2).
func TestProtocolPings(t *testing.T) {
	lab.RawTest(t, "W40", lab.RawSetup{Buffer: 1}, func(t *testing.T, r *lab.RawCluster) {
		p := r.Dial()
		p.DeafHandshake()
		const batches, perBatch = 100, 2000
		before := lab.HeapInUse()
		for i := range uint64(batches) {
			var b []byte
			for j := range uint64(perBatch) {
				b = wire.AppendPing(b, wire.TypePing, i*perBatch+j)
			}
			p.Send(b)
			synctest.Wait()
		}
		if grown := int64(lab.HeapInUse()) - int64(before); grown > 2<<20 {
			t.Errorf("W40: PINGs that nobody reads the answers to cost %d bytes, want a bounded few", grown)
		}
		p.Allow(lab.Unlimited)
		pongs, last := 0, uint64(0)
		for f, ok := p.Next(); ok; f, ok = p.Next() {
			pongs++
			value := binary.LittleEndian.Uint64(f.Body)
			if f.Type != wire.TypePong || value <= last {
				t.Fatalf("W40: got %v with %d after %d, want PONGs in order", f.Type, value, last)
			}
			last = value
		}
		if last != batches*perBatch-1 || pongs > 3 {
			t.Errorf("W40: %d PONGs, the last with %d; want those that were being written and the answer to the last PING", pongs, last)
		}
		p.WantLife(0, "W40: the flood is over")
	})
}

// TestProtocolOverflow floods the subject with what it has to answer and reads
// nothing: the session ends with code 35, at the limit on output, and no other
// suffers from it (T7, F6).
func TestProtocolOverflow(t *testing.T) {
	const limit = 256 << 10
	setup := lab.RawSetup{Config: func(cfg *core.Config) { cfg.MaxOutput = limit }}
	lab.RawTest(t, "W30 overflow", setup, func(t *testing.T, r *lab.RawCluster) {
		for name, request := range map[string]func(p *lab.RawPeer, slot uint32) []byte{
			"requests to nobody":   func(p *lab.RawPeer, slot uint32) []byte { return p.Request(slot, 1, "nobody", nil) },
			"requests over maxmsg": func(p *lab.RawPeer, slot uint32) []byte { return p.RequestStart(slot, 1, "echo", 1<<60, []byte{1}) },
			"requests with a codec": func(p *lab.RawPeer, slot uint32) []byte {
				return lab.Packed(p.Request(slot, 1, "echo", lab.PackedSize), 1, 0, 9)
			},
			"requests without limit": func(p *lab.RawPeer, slot uint32) []byte { return p.Request(slot, 1, "echo", make([]byte, 60)) },
		} {
			p := r.Dial()
			p.DeafHandshake()
			for slot := uint32(0); slot < 200_000 && p.Conn.WriteFrames(nil) == nil; {
				var b []byte
				for range 500 {
					b = append(b, request(p, slot)...)
					slot++
				}
				// When the session is over writing fails.
				if p.Conn.WriteFrames([][]byte{b}) != nil {
					break
				}
				synctest.Wait()
			}
			r.Alive("during " + name)
			p.Allow(lab.Unlimited)
			received := 0
			for f, ok := p.Next(); ok; f, ok = p.Next() {
				received += wire.HeaderSize + len(f.Body)
			}
			p.WantClosed(wire.CodeOverflow, name+" that nobody reads the answers to")
			if received > 3*limit {
				t.Errorf("%s: %d bytes of answers were kept for a peer that does not read, the limit is %d", name, received, limit)
			}
			p = r.Connect()
			p.WantLife(0, name+": the peer is back")
			p.Conn.CloseWithError(0, "")
		}
	})
}
