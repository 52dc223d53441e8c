package protocol_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"testing"
	"testing/synctest"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/internal/lab"
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
func fuzzSetup() lab.RawSetup {
	return lab.RawSetup{
		Config: func(cfg *core.Config) {
			cfg.MaxMessage, cfg.MaxReassembly, cfg.MaxCalls, cfg.MaxHandlers, cfg.MaxOutput = 4096, 8192, 64, 4, 4096
		},
		Handlers: map[core.HandlerID]core.HandlerFunc{
			"wait":  func(ctx context.Context, _ []byte) ([]byte, error) { <-ctx.Done(); return nil, ctx.Err() },
			"panic": func(context.Context, []byte) ([]byte, error) { panic("as asked") },
		},
		Inline: map[core.HandlerID]core.AppendFunc{
			"inline": func(_ context.Context, req, dst []byte) ([]byte, error) { return append(dst, req...), nil },
		},
	}
}

// FuzzProtocolSession sends anything into a session with calls in progress both
// ways. Whatever it is, nothing panics or hangs, every call ends, and the
// subject serves an honest node, and then the same peer in its next session.
func FuzzProtocolSession(f *testing.F) {
	p := &lab.RawPeer{Cluster: &lab.RawCluster{}}
	theirs := func(slot uint32) wire.CallID { return wire.MakeCallID(1, slot, 1) }
	ping := wire.AppendPing(nil, wire.TypePing, 7)
	seeds := [][]byte{
		packBatches(ping, wire.AppendPing(nil, wire.TypePong, 7), lab.RawFrame(wire.Frame{Type: 0x80}), lab.RawFrame(wire.Frame{})),
		packBatches(p.Request(0, 1, "echo", []byte("abc")), p.Request(0, 2, "inline", []byte("abc")), p.Request(0, 3, "panic", nil)),
		packBatches(append(p.Request(0, 1, "wait", nil), p.Request(1, 1, "wait", nil)...), lab.RawStatus(wire.TypeReset, p.ID(0, 1), 2), p.Request(1, 2, "wait", nil)),
		packBatches(p.RequestStart(3, 9, "echo", 9, []byte("abc")), ping, p.Fragment(3, 9, []byte("def")), p.Fragment(3, 9, []byte("ghi"))),
		packBatches(p.RequestStart(3, 9, "inline", 9, []byte("abc")), lab.RawStatus(wire.TypeReset, p.ID(3, 9), 3), p.Fragment(3, 9, []byte("def"))),
		packBatches(p.RequestStart(3, 9, "echo", 4097, []byte("abc")), p.Request(63, 1, "nobody", nil), p.Request(64, 1, "echo", nil)),
		packBatches(wire.AppendResponse(nil, theirs(0), []byte("answer")), lab.RawStatus(wire.TypeError, theirs(1), 1000), lab.RawStatus(wire.TypeRefused, theirs(2), 11)),
		packBatches(wire.AppendResponseStart(nil, theirs(0), 6, []byte("abc")), wire.AppendFragment(nil, theirs(0), []byte("def"))),
		packBatches(wire.AppendResponseStart(nil, theirs(0), 6, []byte("abc")), wire.AppendResponse(nil, theirs(0), nil)),
		packBatches(wire.AppendResponseStart(nil, theirs(1), 1<<40, []byte("abc")), lab.RawStatus(wire.TypeRefused, theirs(1), 13)),
		packBatches(lab.RawStatus(wire.TypeGoaway, 0, 30), p.Request(5, 5, "echo", bytes.Repeat([]byte{5}, 3000)), wire.AppendFragment(nil, theirs(0), []byte("x"))),
		packBatches(lab.RawInit(1, 1)),
	}
	for i, b := range seeds {
		f.Add(uint8(i), b)
	}
	f.Fuzz(func(t *testing.T, mode uint8, packed []byte) {
		synctest.Test(t, func(t *testing.T) {
			r := lab.NewRawCluster(t, fuzzSetup())
			p := r.Connect(func(h *wire.Hello) { h.Features = wire.Features(mode & 1) })
			ctx, cancel := context.WithCancel(t.Context())
			var replies []<-chan lab.Reply
			for range 3 {
				replies = append(replies, r.Call(ctx, make([]byte, int(mode)<<4)))
			}
			synctest.Wait()
			for _, b := range unpackBatches(packed) {
				if p.Ended() != nil {
					break
				}
				if mode&2 == 0 {
					p.Send(b)
				} else {
					p.Write(b)
				}
				synctest.Wait()
			}
			r.Alive("during any session")
			cancel()
			for _, answer := range replies {
				lab.Wait(t, answer, "every call ends when its context does")
			}
			p.Conn.CloseWithError(0, "")
			r.Connect().WantLife(0, "in the session after any other")
		})
	})
}

// FuzzProtocolHandshake sends anything in place of the handshake, from its
// beginning or after INIT, to a subject that accepts or that dials.
func FuzzProtocolHandshake(f *testing.F) {
	p := &lab.RawPeer{Cluster: &lab.RawCluster{Name: lab.RawName(false)}}
	dialled := &lab.RawPeer{Cluster: &lab.RawCluster{Name: lab.RawName(true)}}
	seeds := [][]byte{
		packBatches(lab.RawInit(1, 1), dialled.HelloBytes(), wire.AppendResponse(nil, wire.MakeCallID(1, 0, 0), nil)),
		packBatches(lab.RawInit(1, 1), p.HelloBytes(), p.Request(0, 1, "echo", nil)),
		packBatches(p.HelloBytes(), p.Request(0, 1, "echo", nil)),
		packBatches(lab.RawInit(2, 3)),
		packBatches(lab.RawStatus(wire.TypeReject, 0, 22)),
		packBatches(p.HelloBytes(func(h *wire.Hello) { h.From = "mallory" })),
		packBatches(p.HelloWith(lab.HelloField("future", 0xc4, 1, 0))),
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
			setup.Dials = mode&1 != 0
			r := lab.NewRawCluster(t, setup)
			var p *lab.RawPeer
			if setup.Dials {
				p = r.Accept()
			} else {
				p = r.Dial()
			}
			if mode&2 != 0 {
				p.Write(lab.RawInit(1, 1))
				p.TakeInit()
			}
			for _, b := range unpackBatches(packed) {
				if p.Ended() == nil {
					p.Write(b)
					synctest.Wait()
				}
			}
			r.Alive("during any handshake")
			p.Conn.CloseWithError(0, "")
			r.Reconnect().WantLife(0, "after any handshake")
		})
	})
}
