package compression_test

import (
	"bytes"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/gridmux/gridmux/compress"
	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/internal/lab"
	"github.com/gridmux/gridmux/core/internal/wire"
)

// The numbers of a raw peer that knows windows.
const (
	peerZstd   = 1
	peerWindow = 2
)

func knowingWindows(h *wire.Hello) { h.Codecs = []string{"zstd", "zstd+window"} }

// wantData returns the next message of a stream, as it was sent.
func wantData(t *testing.T, p *lab.RawPeer, codec uint8, sentence string) (packed []byte, size int) {
	t.Helper()
	f, ok := p.Next()
	for ; ok && f.Type == wire.TypeCredit; f, ok = p.Next() {
	}
	if f.Type != wire.TypeData {
		t.Fatalf("%s: got %v, want DATA", sentence, f.Type)
	}
	d, err := wire.ParseData(&f)
	if err != nil || f.Codec != codec || codec == peerWindow && (f.Dict != 0 || f.Flags != 0) {
		t.Fatalf("%s: got codec %d, dictionary %d, flags %v, %v, want codec %d", sentence, f.Codec, f.Dict, f.Flags, err, codec)
	}
	return d.Payload, int(d.Decoded)
}

// TestProtocolWindows holds a sender to what shares a window and what does not, and to
// a window for each direction of each stream: W98.
func TestProtocolWindows(t *testing.T) {
	dict := dictionary(t, 1)
	small, large, sparse := text(2, 300), text(3, 40_000), text(4, 20)
	setup := lab.RawSetup{Register: func(m *core.Manager) error {
		return m.HandleStreamFunc("stream", lab.EchoStream, core.WithCompression(compress.Zstd(compress.WithDictionary(dict))), core.WithSharedWindow())
	}}
	lab.RawTest(t, "W98", setup, func(t *testing.T, r *lab.RawCluster) {
		p := r.Connect(knowingWindows, func(h *wire.Hello) { h.Dicts = []wire.Dict{{Codec: peerZstd, ID: dict.ID()}} })
		if got := p.Hello.Codecs; len(got) != 2 || got[0] != "zstd" || got[1] != "zstd+window" {
			t.Errorf("W98: the subject announces %q", got)
		}
		for generation := range uint32(2) {
			w := compress.Zstd().NewWindow()
			want := func(msg []byte, sentence string) {
				t.Helper()
				packed, size := wantData(t, p, peerWindow, sentence)
				if got, err := w.Decode(nil, packed, size); err != nil || !bytes.Equal(got, msg) {
					t.Fatalf("%s: %d bytes, %v, want %d", sentence, len(got), err, len(msg))
				}
			}
			id := p.ID(0, generation+1)
			p.Send(p.Open(0, generation+1, "stream", 100, small))
			want(small, "W98: the first message of a stream begins a window")
			p.Send(wire.AppendData(nil, id, small))
			want(small, "W98: the second one refers to it")
			p.Send(wire.AppendData(nil, id, sparse))
			if packed, _ := wantData(t, p, 0, "W98: a small one is not in the window"); !bytes.Equal(packed, sparse) {
				t.Error("it is another one")
			}
			own := compress.Zstd().NewWindow()
			p.Send(shared1(id, own, small))
			want(small, "W98: it changes nothing about the window")
			first := own.Append(nil, noise(uint64(generation), 100))
			if len(first) <= 100 {
				t.Fatalf("noise of 100 bytes became %d", len(first))
			}
			p.Send(lab.Packed(wire.AppendData(nil, id, append(bytes.Clone(lab.PackedSize), first...)), 2, 0, 100))
			want(noise(uint64(generation), 100), "W98: one that has more bytes than once decoded")
			p.Send(lab.Packed(wire.AppendDataStart(nil, id, uint64(len(large)), large[:30_000]), 0, 0, uint64(len(large))),
				p.Fragment(0, generation+1, large[30_000:]))
			wantData(t, p, peerZstd, "W98: a large one is not in the window")
			p.Drain(wire.TypeFragment)
			p.Send(shared1(id, own, small))
			want(small, "W98: that changes nothing about the window either")
			p.Send(wire.AppendEnd(nil, id))
			p.Want(wire.TypeResponse, "the handler returns")
		}
	})
}

// shared1 returns a DATA with a message that shares a window, by the numbers of a
// subject that knows zstd alone.
func shared1(id wire.CallID, w sharedWindow, msg []byte) []byte {
	whole := append(bytes.Clone(lab.PackedSize), w.Append(nil, msg)...)
	return lab.Packed(wire.AppendData(nil, id, whole), 2, 0, uint64(len(msg)))
}

// TestProtocolWindowWishes holds a caller to wishes of a window in the catalogue, and
// to its own in ACCEPT, and a callee to those in ACCEPT: W99 W95 W54.
func TestProtocolWindowWishes(t *testing.T) {
	for _, test := range []struct {
		name    string
		entries []lab.RawEntry
		knows   func(h *wire.Hello)
		opts    []core.CallOption
		codec   uint8 // of what is sent
		accept  uint8
	}{
		{"a wish", []lab.RawEntry{{ID: "sends", Kind: 2, In: 4, Out: 4, Codec: peerZstd}, {ID: "sends", Kind: 3}}, knowingWindows, nil, peerWindow, 0},
		{"no wish", []lab.RawEntry{{ID: "sends", Kind: 2, In: 4, Out: 4, Codec: peerZstd}}, knowingWindows, nil, peerZstd, 0},
		{"for another handler", []lab.RawEntry{{ID: "sends", Kind: 2, In: 4, Out: 4, Codec: peerZstd}, {ID: "other", Kind: 3}}, knowingWindows, nil, peerZstd, 0},
		{"without a codec", []lab.RawEntry{{ID: "sends", Kind: 2, In: 4, Out: 4}, {ID: "sends", Kind: 3}}, knowingWindows, nil, 0, 0},
		{
			"of who knows none",
			[]lab.RawEntry{{ID: "sends", Kind: 2, In: 4, Out: 4, Codec: peerZstd}, {ID: "sends", Kind: 3}},
			func(h *wire.Hello) { h.Codecs = []string{"zstd"} }, nil, peerZstd, 0,
		},
		{
			"the caller's own",
			[]lab.RawEntry{{ID: "sends", Kind: 2, In: 4, Out: 4}},
			knowingWindows,
			[]core.CallOption{core.WithCompression(compress.Zstd()), core.WithSharedWindow()},
			peerWindow, 2,
		},
		{
			"the caller's own, and the peer knows none",
			[]lab.RawEntry{{ID: "sends", Kind: 2, In: 4, Out: 4}},
			func(h *wire.Hello) { h.Codecs = []string{"zstd"} },
			[]core.CallOption{core.WithCompression(compress.Zstd()), core.WithSharedWindow()},
			peerZstd, 1,
		},
	} {
		setup := lab.RawSetup{Config: func(cfg *core.Config) { cfg.Compressors = []core.Compressor{compress.Zstd()} }}
		lab.RawTest(t, "W99 "+test.name, setup, func(t *testing.T, r *lab.RawCluster) {
			p := r.ConnectServing(lab.RawCatalogue(test.entries...), test.knows)
			st, err := r.Conn().OpenStream(t.Context(), "sends", nil, test.opts...)
			if err != nil {
				t.Fatal(err)
			}
			f := p.Want(wire.TypeOpen, "the stream")
			if o, err := wire.ParseOpen(&f); err != nil || o.Accept.Codec != test.accept {
				t.Errorf("W99: it accepts %+v, %v, want codec %d", o.Accept, err, test.accept)
			}
			if err := st.Send(text(1, 3000)); err != nil {
				t.Fatal(err)
			}
			wantData(t, p, test.codec, "W99: the message")
			st.Close()
		})
	}
	lab.Bubble(t, "W99", func(t *testing.T) {
		r := lab.NewRawCluster(t, lab.RawSetup{Register: func(m *core.Manager) error {
			return errors.Join(
				m.HandleStreamFunc("zipped", lab.EchoStream, core.WithCompression(compress.Zstd())),
				m.HandleStreamFunc("shares", lab.EchoStream, core.WithCompression(compress.Zstd()), core.WithSharedWindow()),
				m.Handle("single", lab.Echo, core.WithCompression(compress.Zstd())))
		}})
		p := r.Connect(knowingWindows)
		generation := uint32(0)
		want := func(h string, a wire.Accept, codec uint8, sentence string) {
			t.Helper()
			generation++
			p.Send(wire.InsertAccept(p.Open(0, generation, h, 4, text(1, 3000)), 0, a))
			wantData(t, p, codec, sentence)
			p.Send(wire.AppendEnd(nil, p.ID(0, generation)))
			p.Want(wire.TypeResponse, "the handler returns")
		}
		want("zipped", wire.Accept{}, peerZstd, "W99: no wish of anybody")
		want("zipped", wire.Accept{Said: true, Codec: peerWindow}, peerWindow, "W99: the caller's wish")
		want("shares", wire.Accept{}, peerWindow, "W99: the handler's own")
		want("shares", wire.Accept{Said: true}, 0, "W95: the caller wants nothing compressed")
		generation++
		p.Send(wire.InsertAccept(p.Request(0, generation, "single", text(1, 3000)), 0, wire.Accept{Said: true, Codec: peerWindow}))
		if f := p.Want(wire.TypeResponse, "W99: a single call"); f.Codec != peerZstd {
			t.Errorf("W99: the answer to a single call has codec %d, want %d", f.Codec, peerZstd)
		}
		p.Send(p.Request(0, generation+1, "gridmux.catalogue", nil))
		f := p.Want(wire.TypeResponse, "W54: the catalogue")
		kinds := map[byte]int{}
		for b := p.Message(&f); len(b) > 0; b = b[18:] {
			kinds[b[8]]++
			if b[8] == 3 && (!bytes.Equal(b[9:18], make([]byte, 9)) || !bytes.Equal(b[:8], wire8(lab.HandlerHash("shares")))) {
				t.Errorf("W99: an entry of a wish is % x", b[:18])
			}
		}
		if kinds[1] == 0 || kinds[2] != 2 || kinds[3] != 1 {
			t.Errorf("W99: the kinds of the entries are %v, want one wish", kinds)
		}
		synctest.Wait()
	})
}

func wire8(n uint64) []byte {
	b := make([]byte, 8)
	for i := range b {
		b[i] = byte(n >> (8 * i))
	}
	return b
}
