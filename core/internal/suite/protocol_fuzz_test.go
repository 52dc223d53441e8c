package suite_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"testing"
	"testing/synctest"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/internal/wire"
)

// Inputs of the fuzz tests are batches, each behind its length in two bytes, so
// that a mutation can cut a batch, join two, or drop one.

func packBatches(batches ...[]byte) (packed []byte) {
	for _, b := range batches {
		packed = binary.LittleEndian.AppendUint16(packed, uint16(len(b)))
		packed = append(packed, b...)
	}
	return packed
}

// unpackBatches cuts what a mutation has left of the batches.
func unpackBatches(packed []byte) (batches [][]byte) {
	for len(packed) >= 2 && len(batches) < 64 {
		n := min(int(binary.LittleEndian.Uint16(packed)), len(packed)-2)
		batches = append(batches, packed[2:2+n])
		packed = packed[2+n:]
	}
	return batches
}

// fuzzSetup is a subject with limits that an input of some hundred bytes can
// reach.
func fuzzSetup() rawSetup {
	return rawSetup{
		config: func(cfg *core.Config) {
			cfg.MaxMessage, cfg.MaxReassembly, cfg.MaxCalls, cfg.MaxHandlers, cfg.MaxOutput = 4096, 8192, 64, 4, 4096
		},
		handler: map[core.HandlerID]core.HandlerFunc{
			"wait":  func(ctx context.Context, _ []byte) ([]byte, error) { <-ctx.Done(); return nil, ctx.Err() },
			"panic": func(context.Context, []byte) ([]byte, error) { panic("as asked") },
		},
		inline: map[core.HandlerID]core.AppendFunc{
			"inline": func(_ context.Context, req, dst []byte) ([]byte, error) { return append(dst, req...), nil },
		},
	}
}

// FuzzProtocolSession sends anything into a session with calls in progress both
// ways. Whatever it is, nothing panics or hangs, every call ends, and the
// subject serves an honest node, and then the same peer in its next session.
func FuzzProtocolSession(f *testing.F) {
	p := &rawPeer{r: &rawCluster{}}
	theirs := func(slot uint32) wire.CallID { return wire.MakeCallID(1, slot, 1) }
	ping := wire.AppendPing(nil, wire.TypePing, 7)
	seeds := [][]byte{
		packBatches(ping, wire.AppendPing(nil, wire.TypePong, 7), rawFrame(wire.Frame{Type: 0x80}), rawFrame(wire.Frame{})),
		packBatches(p.request(0, 1, "echo", []byte("abc")), p.request(0, 2, "inline", []byte("abc")), p.request(0, 3, "panic", nil)),
		packBatches(append(p.request(0, 1, "wait", nil), p.request(1, 1, "wait", nil)...), rawStatus(wire.TypeReset, p.id(0, 1), 2), p.request(1, 2, "wait", nil)),
		packBatches(p.requestStart(3, 9, "echo", 9, []byte("abc")), ping, p.part(3, 9, []byte("def")), p.part(3, 9, []byte("ghi"))),
		packBatches(p.requestStart(3, 9, "inline", 9, []byte("abc")), rawStatus(wire.TypeReset, p.id(3, 9), 3), p.part(3, 9, []byte("def"))),
		packBatches(p.requestStart(3, 9, "echo", 4097, []byte("abc")), p.request(63, 1, "nobody", nil), p.request(64, 1, "echo", nil)),
		packBatches(wire.AppendResponse(nil, theirs(0), []byte("answer")), rawStatus(wire.TypeError, theirs(1), 1000), rawStatus(wire.TypeRefused, theirs(2), 11)),
		packBatches(wire.AppendResponseStart(nil, theirs(0), 6, []byte("abc")), wire.AppendFragment(nil, theirs(0), []byte("def"))),
		packBatches(wire.AppendResponseStart(nil, theirs(0), 6, []byte("abc")), wire.AppendResponse(nil, theirs(0), nil)),
		packBatches(wire.AppendResponseStart(nil, theirs(1), 1<<40, []byte("abc")), rawStatus(wire.TypeRefused, theirs(1), 13)),
		packBatches(rawStatus(wire.TypeGoaway, 0, 30), p.request(5, 5, "echo", bytes.Repeat([]byte{5}, 3000)), wire.AppendFragment(nil, theirs(0), []byte("x"))),
		packBatches(rawInit(1, 1)),
	}
	for i, b := range seeds {
		f.Add(uint8(i), b)
	}
	f.Fuzz(func(t *testing.T, mode uint8, packed []byte) {
		synctest.Test(t, func(t *testing.T) {
			r := newRawCluster(t, fuzzSetup())
			p := r.connect(func(h *wire.Hello) { h.Features = wire.Features(mode & 1) })
			ctx, cancel := context.WithCancel(t.Context())
			var replies []<-chan reply
			for range 3 {
				replies = append(replies, r.call(ctx, make([]byte, int(mode)<<4)))
			}
			synctest.Wait()
			for _, b := range unpackBatches(packed) {
				if p.ended() != nil {
					break
				}
				if mode&2 == 0 {
					p.send(b)
				} else {
					p.write(b)
				}
				synctest.Wait()
			}
			r.alive("during any session")
			cancel()
			for _, answer := range replies {
				wait(t, answer, "every call ends when its context does")
			}
			p.tc.CloseWithError(0, "")
			r.connect().wantLife(0, "in the session after any other")
		})
	})
}

// FuzzProtocolHandshake sends anything in place of the handshake, from its
// beginning or after INIT, to a subject that accepts or that dials.
func FuzzProtocolHandshake(f *testing.F) {
	p := &rawPeer{r: &rawCluster{raw: rawName(false)}}
	dialled := &rawPeer{r: &rawCluster{raw: rawName(true)}}
	seeds := [][]byte{
		packBatches(rawInit(1, 1), dialled.helloBytes(), wire.AppendResponse(nil, wire.MakeCallID(1, 0, 0), nil)),
		packBatches(rawInit(1, 1), p.helloBytes(), p.request(0, 1, "echo", nil)),
		packBatches(p.helloBytes(), p.request(0, 1, "echo", nil)),
		packBatches(rawInit(2, 3)),
		packBatches(rawStatus(wire.TypeReject, 0, 22)),
		packBatches(p.helloBytes(func(h *wire.Hello) { h.From = "mallory" })),
		packBatches(p.rawHello(oneMore("future", 0xc4, 1, 0))),
	}
	for _, b := range outOfPlace {
		seeds = append(seeds, packBatches(b.bytes))
	}
	for _, b := range badInits {
		seeds = append(seeds, packBatches(b))
	}
	for _, hello := range badHellos {
		seeds = append(seeds, packBatches(hello(p)))
	}
	for _, b := range seeds {
		for mode := range uint8(4) {
			f.Add(mode, b)
		}
	}
	f.Fuzz(func(t *testing.T, mode uint8, packed []byte) {
		synctest.Test(t, func(t *testing.T) {
			setup := fuzzSetup()
			setup.dials = mode&1 != 0
			r := newRawCluster(t, setup)
			var p *rawPeer
			if setup.dials {
				p = r.accept()
			} else {
				p = r.dial()
			}
			if mode&2 != 0 {
				p.write(rawInit(1, 1))
				p.takeInit()
			}
			for _, b := range unpackBatches(packed) {
				if p.ended() == nil {
					p.write(b)
					synctest.Wait()
				}
			}
			r.alive("during any handshake")
			p.tc.CloseWithError(0, "")
			r.again().wantLife(0, "after any handshake")
		})
	})
}
