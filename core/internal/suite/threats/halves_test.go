package threats_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tinylib/msgp/msgp"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/internal/lab"
	"github.com/gridmux/gridmux/core/internal/wire"
)

const (
	halfMemory = 1 << 20
	ungranted  = 16              // messages that a peer may begin before there is memory for them
	patience   = 5 * time.Second // of requests that wait for memory
)

var halfSetup = lab.RawSetup{
	Config: func(cfg *core.Config) {
		cfg.MaxMessage, cfg.MaxReassembly, cfg.KeepAlive = halfMemory, halfMemory, time.Hour
	},
	Register: func(m *core.Manager) error { return m.HandleStreamFunc("stream", lab.EchoStream) },
}

// TestHalfRequestsAreBounded has a peer begin requests and streams of two bytes with all
// the metadata that there may be, and send the first byte. What they take counts in
// Config.MaxReassembly. Those beyond it wait, and are refused. There used to be no bound
// but MaxCalls, which by default let a peer have a gibibyte of metadata held (T2).
func TestHalfRequestsAreBounded(t *testing.T) {
	meta := msgp.AppendString(msgp.AppendMapHeader(nil, 1), "key")
	meta = msgp.AppendString(meta, strings.Repeat("x", wire.MaxMetadata-len(meta)-3))
	for name, start := range map[string]func(p *lab.RawPeer, slot uint32) []byte{
		"REQUEST": func(p *lab.RawPeer, slot uint32) []byte { return p.RequestStart(slot, 1, "echo", 2, []byte("x")) },
		"OPEN":    func(p *lab.RawPeer, slot uint32) []byte { return p.OpenStart(slot, 1, "stream", 8, 2, []byte("x")) },
	} {
		lab.RawTest(t, name, halfSetup, func(t *testing.T, r *lab.RawCluster) {
			p := r.Connect()
			p.Flow = true
			before := lab.HeapInUse()
			const most = halfMemory / wire.MaxMetadata
			slot, granted := uint32(0), uint32(0)
			for ; slot < granted+ungranted && granted <= most; slot++ {
				p.Send(wire.InsertMetadata(start(p, slot), 0, meta))
				granted += uint32(p.Drain(wire.TypeGrant))
			}
			if granted == 0 || granted >= most {
				t.Errorf("memory was granted for %d of %d with %d bytes of metadata each, limit %d bytes", granted, slot, len(meta), halfMemory)
			}
			if grew := int64(lab.HeapInUse()) - int64(before); grew > 2*halfMemory {
				t.Errorf("%d of which a byte has arrived take %d KiB, limit %d", slot, grew>>10, halfMemory>>10)
			}
			time.Sleep(patience)
			for range slot - granted {
				p.WantStatus(wire.TypeRefused, wire.CodeOverloaded, "what waits for memory is refused")
			}
			for i := range granted {
				p.Send(lab.RawStatus(wire.TypeReset, p.ID(i, 1), wire.CodeCanceled))
			}
			p.WantLife(slot, "halves were given up")
			if held := heldFor(r); held != 0 {
				t.Errorf("%d bytes are reserved for what was given up", held)
			}
			r.Alive("after halves of requests")
		})
	}
}

// TestRefusedHalvesAreForgotten has a peer begin requests while there is no memory for
// them, again and again, and go on with none that is refused. What has arrived of those
// used to be held until their slots were used again, beyond any limit (T2).
func TestRefusedHalvesAreForgotten(t *testing.T) {
	lab.RawTest(t, "", halfSetup, func(t *testing.T, r *lab.RawCluster) {
		p := r.Connect()
		p.Flow = true
		p.Send(p.RequestStart(0, 1, "echo", halfMemory, []byte("x"))) // has it all
		p.Want(wire.TypeGrant, "there is memory for one")
		before := lab.HeapInUse()
		slot := uint32(1)
		for range 20 {
			for range ungranted {
				p.Send(p.RequestStart(slot, 1, "echo", 100_000, make([]byte, 50_000)))
				slot++
			}
			time.Sleep(patience)
			for range ungranted {
				p.WantStatus(wire.TypeRefused, wire.CodeOverloaded, "what waits for memory is refused")
			}
		}
		if grew := int64(lab.HeapInUse()) - int64(before); grew > ungranted*128<<10 {
			t.Errorf("after %d requests that were refused half way there are %d KiB more", slot-1, grew>>10)
		}
		p.Send(p.Fragment(1, 1, []byte("late"))) // sent before the refusal was read
		p.WantLife(slot, "a part of what was refused is skipped")
	})
}

// heldFor is what the subject has reserved for messages of the raw peer.
func heldFor(r *lab.RawCluster) int64 {
	synctest.Wait()
	for _, peer := range r.Subject.Stats().Peers {
		if peer.Peer == r.Name {
			return peer.Held
		}
	}
	return 0
}
