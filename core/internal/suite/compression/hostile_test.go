package compression_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/klauspost/compress/s2"

	"github.com/gridmux/gridmux/compress"
	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/internal/lab"
	"github.com/gridmux/gridmux/core/internal/wire"
)

const (
	messageLimit = 1 << 20
	s2Number     = 1 // the names are announced in their order
	zstdNumber   = 2
)

// subject is a node whose handlers compress, and a peer that can decode.
func subject(t *testing.T, config func(cfg *core.Config), more func(m *core.Manager) error) (*lab.RawCluster, *lab.RawPeer) {
	t.Helper()
	r := lab.NewRawCluster(t, lab.RawSetup{
		Config: func(cfg *core.Config) {
			cfg.MaxMessage, cfg.Compressors = messageLimit, []core.Compressor{compress.S2(), compress.Zstd()}
			if config != nil {
				config(cfg)
			}
		},
		Register: func(m *core.Manager) error {
			err := register(m)
			if more != nil {
				err = errors.Join(err, more(m))
			}
			return err
		},
	})
	p := r.ConnectServing(lab.RawCatalogue(lab.RawEntry{ID: "sends", Kind: 2, In: 4, Out: 4}), announcing)
	return r, p
}

func announcing(h *wire.Hello) { h.Codecs = []string{"zstd", "s2"} }

// bad is a message that must not be decoded.
type bad struct {
	name    string
	codec   uint8
	dict    uint8
	decoded uint64
	bytes   []byte
	code    wire.Code // that a request with it is refused with
}

func zstdFrame(size uint64, blocks ...byte) []byte {
	return append(binary.LittleEndian.AppendUint64([]byte("\x28\xb5\x2f\xfd\xe0"), size), blocks...)
}

// bads are bombs and other messages that no honest peer sends: what they announce to
// the receiver may differ from what they announce to the codec.
func bads() []bad {
	honest := text(1, 20_000)
	zs, ss := compress.Zstd(), compress.S2()
	zHonest, sHonest := zs.Append(nil, honest), ss.Append(nil, honest)
	zeros := make([]byte, 64<<20)
	zBomb, sBomb := zs.Append(nil, zeros), s2.Encode(nil, zeros)
	cut := func(b []byte) []byte { return b[:len(b)/2] }
	spoilt := bytes.Clone(zHonest)
	spoilt[7] |= 6                                           // a block of the reserved type
	repeated := bytes.Repeat([]byte{0x02, 0, 0x10, 0}, 2000) // blocks of 128 KiB of zeros
	return []bad{
		{"over the limit", zstdNumber, 0, 64 << 20, zBomb, 13},
		{"over the limit", s2Number, 0, 64 << 20, sBomb, 13},
		{"the limit and one", zstdNumber, 0, messageLimit + 1, zHonest, 13},
		{"gigabytes", s2Number, 0, 1<<32 - 1, sHonest, 13},
		{"a bomb that looks small", zstdNumber, 0, 100_000, zBomb, 15},
		{"a bomb that looks small", s2Number, 0, messageLimit, sBomb, 15},
		{"4 EiB inside", zstdNumber, 0, 20_000, zstdFrame(1<<62, 1, 0, 0, 'x'), 15},
		{"16 EiB inside", s2Number, 0, 20_000, append(binary.AppendUvarint(nil, 1<<64-1), sHonest...), 15},
		{"1000 : 1 behind one byte", zstdNumber, 0, 9_000, zstdFrame(1, append(repeated, 1, 0, 0)...), 15},
		{"a window of 128 MiB", zstdNumber, 0, 20_000, append([]byte{0x28, 0xb5, 0x2f, 0xfd, 0x80, (27 - 10) << 3, 0x20, 0x4e, 0, 0}, zHonest[6:]...), 15},
		{"two frames", zstdNumber, 0, 40_000, append(bytes.Clone(zHonest), zHonest...), 15},
		{"a frame to be skipped before it", zstdNumber, 0, 20_000, append([]byte("\x50\x2a\x4d\x18\x04\x00\x00\x00skip"), zHonest...), 15},
		{"one within the other", zstdNumber, 0, 20_000, zs.Append(nil, append(zHonest, make([]byte, 100)...)), 15},
		{"less than announced", zstdNumber, 0, 20_001, zHonest, 15},
		{"more than announced", zstdNumber, 0, 19_999, zHonest, 15},
		{"less than announced", s2Number, 0, 20_001, sHonest, 15},
		{"more than announced", s2Number, 0, 19_999, sHonest, 15},
		{"cut", zstdNumber, 0, 20_000, cut(zHonest), 15},
		{"cut", s2Number, 0, 20_000, cut(sHonest), 15},
		{"spoilt", zstdNumber, 0, 20_000, spoilt, 15},
		{"spoilt", s2Number, 0, 20_000, append(sHonest[:3:3], 0xff, 0xff, 0xff), 15},
		{"of the other codec", s2Number, 0, 20_000, zHonest, 15},
		{"of the other codec", zstdNumber, 0, 20_000, sHonest, 15},
		{"nothing", s2Number, 0, 20_000, nil, 15},
		{"gibberish", zstdNumber, 0, 20_000, []byte("gibberish"), 15},
		{"a codec that was not announced", 4, 0, 20_000, zHonest, 14},
		{"the last codec there can be", 255, 0, 20_000, zHonest, 14},
		{"a dictionary that was not announced", zstdNumber, 1, 20_000, zHonest, 14},
		{"the last dictionary there can be", s2Number, 255, 20_000, sHonest, 14},
	}
}

// whole returns the message of a frame without FRAGMENTED.
func (b *bad) whole() []byte { return append(bytes.Clone(lab.PackedSize), b.bytes...) }

// isDecoded reports whether the message is decoded where it is one of a stream: one
// over the window in one frame is not.
func (b *bad) isDecoded(parts bool) bool { return b.code >= 14 && (parts || b.decoded <= 64<<10) }

func (b *bad) String() string { return fmt.Sprintf("%s, codec %d", b.name, b.codec) }

// TestHostileRequests holds that a request, or an initial payload, that cannot be
// decoded, in one frame or in parts, is refused, costs little memory, and is all that
// is lost: W15 W29 W96 (T1, T5, F25).
func TestHostileRequests(t *testing.T) {
	all := bads()
	lab.Bubble(t, "W15 W29 W96", func(t *testing.T) {
		r, p := subject(t, nil, nil)
		for i, b := range all {
			g := uint32(i + 1)
			for slot, h := range []string{"plain", "append", "inline"} {
				p.Send(lab.Packed(p.Request(uint32(slot), g, h, b.whole()), b.codec, b.dict, b.decoded))
				p.WantStatus(wire.TypeRefused, b.code, fmt.Sprintf("W96: a request, %v, to %s", &b, h))
			}
			p.Send(lab.Packed(p.Open(8, g, "stream", 1, b.whole()), b.codec, b.dict, b.decoded))
			p.WantStatus(wire.TypeRefused, b.code, fmt.Sprintf("W96: an OPEN, %v", &b))
			if len(b.bytes) > 1 && uint64(len(b.bytes)) < b.decoded {
				p.Send(lab.Packed(p.RequestStart(9, g, "plain", uint64(len(b.bytes)), b.bytes[:1]), b.codec, b.dict, b.decoded),
					p.Fragment(9, g, b.bytes[1:]))
				p.WantStatus(wire.TypeRefused, b.code, fmt.Sprintf("W96: a request in parts, %v", &b))
			}
			p.WantIdle("W96: that is all")
		}
		honest := text(2, 20_000)
		p.Send(lab.Packed(p.Request(9, 1000, "plain", append(bytes.Clone(lab.PackedSize), compress.Zstd().Append(nil, honest)...)), zstdNumber, 0, 20_000))
		if f := p.Want(wire.TypeResponse, "W15: an honest request"); !bytes.Equal(p.Message(&f), honest) {
			t.Error("the answer to an honest request is another one")
		}
		if got := held(r.Subject, r.Name); got != 0 {
			t.Errorf("%d bytes are still reserved", got)
		}
		r.Alive("after all that")
	})
}

func held(m *core.Manager, peer string) int64 {
	for _, s := range m.Stats().Peers {
		if s.Peer == peer {
			return s.Held
		}
	}
	return -1
}

// TestHostileResponses holds that a response that cannot be decoded ends its call,
// with an error that says what it is, and nothing else: W29 W96 (T5, F25).
func TestHostileResponses(t *testing.T) {
	all := bads()
	lab.Bubble(t, "W29 W96", func(t *testing.T) {
		r, p := subject(t, nil, nil)
		for _, b := range all {
			for _, parts := range []bool{false, true} {
				id, reply := p.Called()
				switch {
				case !parts:
					p.Send(lab.Packed(wire.AppendResponse(nil, id, b.whole()), b.codec, b.dict, b.decoded))
				case len(b.bytes) < 2 || uint64(len(b.bytes)) >= b.decoded:
					p.Send(wire.AppendResponse(nil, id, nil))
					lab.Wait(t, reply, "the call returns")
					continue
				default:
					p.Send(lab.Packed(wire.AppendResponseStart(nil, id, uint64(len(b.bytes)), b.bytes[:1]), b.codec, b.dict, b.decoded),
						wire.AppendFragment(nil, id, b.bytes[1:]))
				}
				got := lab.Wait(t, reply, "the call returns")
				want := core.ErrMalformedMessage
				if b.code == 13 {
					want = core.ErrMessageTooLarge
					p.WantStatus(wire.TypeReset, wire.CodeCanceled, "W29: the caller gives up")
				}
				if !errors.Is(got.Err, want) || core.OutcomeOf(got.Err) != core.OutcomeMaybeRun || got.Resp != nil {
					t.Errorf("%v, in parts %v: the call returned %d bytes, %v", &b, parts, len(got.Resp), got.Err)
				}
				p.WantIdle("W96: that is all")
			}
		}
		if got := held(r.Subject, r.Name); got != 0 {
			t.Errorf("%d bytes are still reserved", got)
		}
		p.WantLife(0, "W96: the session goes on")
		r.Alive("after all that")
	})
}

// TestHostileMessages holds that a message of a stream that cannot be decoded ends
// the stream, at either end, however it is received, and nothing else: W84 W96 (T5,
// T9, F25).
func TestHostileMessages(t *testing.T) {
	all := bads()
	ended := make(chan error, 1)
	ways := map[core.HandlerID]func(s *core.RawStream) error{
		"recv": func(s *core.RawStream) error {
			_, err := s.Recv(nil)
			return err
		},
		"conn": func(s *core.RawStream) error {
			_, err := io.ReadFull(s.Conn(), make([]byte, 1))
			return err
		},
	}
	lab.Bubble(t, "W84 W96", func(t *testing.T) {
		r, p := subject(t, nil, func(m *core.Manager) (err error) {
			for id, way := range ways {
				err = errors.Join(err, m.HandleStreamFunc(id, func(ctx context.Context, _ []byte, s *core.RawStream) error {
					err := way(s)
					ended <- err
					<-ctx.Done()
					return nil
				}))
			}
			return errors.Join(err, core.NewBidi[blob, blob, blob]("typed.stream").Handle(m,
				func(ctx context.Context, _ *blob, s *core.TypedStream[blob, blob]) error {
					_, err := s.Recv()
					ended <- err
					<-ctx.Done()
					return err
				}))
		})
		generation := uint32(0)
		for _, b := range all {
			for _, h := range []string{"recv", "conn", "typed.stream"} {
				for _, parts := range []bool{false, true} {
					if parts && (len(b.bytes) < 2 || uint64(len(b.bytes)) >= b.decoded) {
						continue
					}
					generation++
					p.Send(p.Open(0, generation, h, 1, nil))
					p.Send(b.data(p.ID(0, generation), parts)...)
					synctest.Wait()
					for f, ok := p.Next(); ok; f, ok = p.Next() {
						if f.Type == wire.TypeError {
							break
						}
					}
					err := lab.Wait(t, ended, "the handler learns of it")
					if err == nil || b.isDecoded(parts) && !errors.Is(err, core.ErrMalformedMessage) {
						t.Errorf("%v, to %s, in parts %v: the handler got %v", &b, h, parts, err)
					}
				}
			}
			// The other end.
			for _, parts := range []bool{false, true} {
				if parts && (len(b.bytes) < 2 || uint64(len(b.bytes)) >= b.decoded) {
					continue
				}
				st, err := r.Conn().OpenStream(t.Context(), "sends", nil)
				if err != nil {
					t.Fatal(err)
				}
				f := p.Want(wire.TypeOpen, "a stream of the subject")
				p.Send(b.data(f.ID, parts)...)
				_, err = st.Recv(nil)
				if err == nil || b.isDecoded(parts) && !errors.Is(err, core.ErrMalformedMessage) {
					t.Errorf("%v, in parts %v: the caller got %v", &b, parts, err)
				}
				for f, ok := p.Next(); f.Type != wire.TypeReset; f, ok = p.Next() {
					// The credit for what was taken may have gone ahead.
					if !ok || f.Type != wire.TypeCredit {
						t.Fatalf("W96: got %v, want that the caller ends the stream", f.Type)
					}
				}
			}
		}
		if got := held(r.Subject, r.Name); got != 0 {
			t.Errorf("%d bytes are still reserved", got)
		}
		p.WantLife(1, "W96: the session goes on")
		r.Alive("after all that")
	})
}

// data returns the frames of a message of a stream.
func (b *bad) data(id wire.CallID, parts bool) [][]byte {
	if !parts {
		return [][]byte{lab.Packed(wire.AppendData(nil, id, b.whole()), b.codec, b.dict, b.decoded)}
	}
	return [][]byte{
		lab.Packed(wire.AppendDataStart(nil, id, uint64(len(b.bytes)), b.bytes[:1]), b.codec, b.dict, b.decoded),
		wire.AppendFragment(nil, id, b.bytes[1:]),
	}
}

// TestBombsShareTheirMemory floods a node with small requests that each decode to the
// largest message there may be: as many are decoded at a time as there is memory for
// large requests, and all others are refused (T2, T5, T6, F25).
func TestBombsShareTheirMemory(t *testing.T) {
	bomb := append(bytes.Clone(lab.PackedSize), compress.Zstd().Append(nil, make([]byte, messageLimit))...)
	lab.Bubble(t, "", func(t *testing.T) {
		const room = 8
		g := lab.NewGate(t, 1000)
		r, p := subject(t, func(cfg *core.Config) { cfg.MaxReassembly = room * messageLimit }, func(m *core.Manager) error {
			return m.Handle("gate", func(ctx context.Context, req []byte) ([]byte, error) {
				_, err := g.Handle(ctx, req)
				return nil, err
			})
		})
		before := lab.HeapInUse()
		const calls = 400
		for i := range uint32(calls) {
			p.Send(lab.Packed(p.Request(i, 1, "gate", bomb), zstdNumber, 0, messageLimit))
		}
		for range room {
			lab.Wait(t, g.Began, "as many as there is room for begin")
		}
		for range calls - room {
			p.WantStatus(wire.TypeRefused, wire.CodeOverloaded, "W32: there is no memory for another one")
		}
		if used := int64(lab.HeapInUse()) - int64(before); used > (2*room+4)*messageLimit {
			t.Errorf("%d requests of %d bytes that decode to %d each take %d bytes, %d may be reserved",
				calls, len(bomb), messageLimit, used, room*messageLimit)
		}
		g.Release()
		for range room {
			p.Want(wire.TypeResponse, "those that began are answered")
		}
		time.Sleep(time.Second)
		if got := held(r.Subject, r.Name); got != 0 {
			t.Errorf("%d bytes are still reserved", got)
		}
		r.Alive("after the bombs")
	})
}
