package compression_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/gridmux/gridmux/compress"
	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/internal/lab"
	"github.com/gridmux/gridmux/core/internal/wire"
)

// restore returns what a frame of the subject stands for, by the numbers of the peer
// of announcing, and its codec.
func restore(t *testing.T, f *wire.Frame) (msg []byte, codec uint8) {
	t.Helper()
	var payload []byte
	var decoded uint64
	var err error
	if f.Type == wire.TypeRequest {
		var r wire.Request
		r, err = wire.ParseRequest(f)
		payload, decoded = r.Payload, r.Decoded
	} else {
		var r wire.Response
		r, err = wire.ParseResponse(f)
		payload, decoded = r.Payload, r.Decoded
	}
	if err == nil && f.Codec != 0 {
		with := []*compress.Codec{compress.Zstd(), compress.S2()}[f.Codec-1]
		payload, err = with.Decode(nil, payload, int(decoded))
	}
	if err != nil {
		t.Fatalf("%v cannot be restored: %v", f.Type, err)
	}
	return payload, f.Codec
}

// TestProtocolAccept holds a callee to compressing what it sends as its caller wishes,
// and as the handler was registered where there is no wish: W95 W15.
func TestProtocolAccept(t *testing.T) {
	lab.Bubble(t, "W95", func(t *testing.T) {
		_, p := subject(t, nil, func(m *core.Manager) error {
			return m.Handle("zipped", lab.Echo, core.WithResponseCompression(compress.S2()))
		})
		const zstd, s2 = 1, 2 // the numbers of the peer
		generation := uint32(0)
		want := func(h string, a wire.Accept, codec uint8, sentence string) {
			t.Helper()
			generation++
			req := text(uint64(generation), 5000)
			p.Send(wire.InsertAccept(p.Request(0, generation, h, req), 0, a))
			f := p.Want(wire.TypeResponse, sentence)
			if got, with := restore(t, &f); with != codec || !bytes.Equal(got, req) {
				t.Errorf("%s: the answer has codec %d and %d bytes, want %d", sentence, with, len(got), codec)
			}
		}
		want("plain", wire.Accept{}, 0, "W95: no wish of anybody")
		want("plain", wire.Accept{Said: true, Codec: s2}, s2, "W95: the caller's wish")
		want("plain", wire.Accept{Said: true, Codec: zstd}, zstd, "W95: the caller's other wish")
		want("zipped", wire.Accept{}, s2, "W95: the handler's own")
		want("zipped", wire.Accept{Said: true}, 0, "W95: the caller wants none")
		want("zipped", wire.Accept{Said: true, Codec: zstd}, zstd, "W95: the caller's wish goes first")
		want("plain", wire.Accept{Said: true, Codec: 3}, 0, "W95: a number that was not announced is no wish")
		want("zipped", wire.Accept{Said: true, Codec: 255}, s2, "W95: a number that was not announced is no wish, the handler's own counts")
		p.Send(wire.AppendCodecs(nil, []string{"none of the subject's", "s2"}, nil))
		want("plain", wire.Accept{Said: true, Codec: 3}, 0, "W94: a codec that the subject lacks")
		generation++
		p.Send(wire.InsertAccept(p.Request(0, generation, "plain", text(1, 5000)), 0, wire.Accept{Said: true, Codec: 4}))
		if f := p.Want(wire.TypeResponse, "W94: one that was announced later"); f.Codec != s2 {
			t.Errorf("W94: the answer has codec %d, want the first of that name", f.Codec)
		}
	})
}

// TestProtocolWishAhead holds that the wish of a stream counts from when it is known, where
// its OPEN was faster than the CODECS of the codec, as on another lane, and that nothing is
// compressed with one that was not announced: W92 W94 W95.
func TestProtocolWishAhead(t *testing.T) {
	for _, test := range []struct {
		name    string
		hello   []string // codecs of the caller
		handler core.HandlerID
		before  uint8
	}{
		{"the first codec", nil, "talks", 0},
		{"a further codec", []string{"zstd"}, "talks", 0},
		{"a handler with a codec of its own", []string{"zstd"}, "zips", 1},
	} {
		lab.Bubble(t, test.name, func(t *testing.T) {
			next := make(chan struct{})
			talk := func(_ context.Context, _ []byte, s *core.RawStream) error {
				for range next {
					if err := s.Send(text(1, 5000)); err != nil {
						return err
					}
				}
				return nil
			}
			r := lab.NewRawCluster(t, lab.RawSetup{Register: func(m *core.Manager) error {
				return errors.Join(
					m.Handle("s2", lab.Echo, core.WithCompression(compress.S2())), // so that the node has it
					m.HandleStreamFunc("talks", talk),
					m.HandleStreamFunc("zips", talk, core.WithCompression(compress.Zstd())))
			}})
			p := r.ConnectServing(lab.RawCatalogue(), func(h *wire.Hello) { h.Codecs = test.hello })
			want := func(codec uint8, sentence string) {
				t.Helper()
				next <- struct{}{}
				if f := p.Want(wire.TypeData, sentence); f.Codec != codec {
					t.Errorf("%s: the message has codec %d, want %d", sentence, f.Codec, codec)
				}
			}
			s2 := uint8(len(test.hello) + 1)
			p.Send(wire.InsertAccept(p.Open(0, 1, string(test.handler), 4, nil), 0, wire.Accept{Said: true, Codec: s2}))
			want(test.before, "W95: a number that was not announced is no wish")
			p.Send(wire.AppendCodecs(nil, []string{"s2"}, nil))
			synctest.Wait()
			want(s2, "W95: it is one now")
			close(next)
			p.Want(wire.TypeResponse, "the end")
		})
	}
}

// TestProtocolCodecs holds a caller to announcing what it decodes before it asks for
// it, once, and to asking by its own number: W94 W95.
func TestProtocolCodecs(t *testing.T) {
	dict := dictionary(t, 1)
	lab.RawTest(t, "W94", lab.RawSetup{}, func(t *testing.T, r *lab.RawCluster) {
		p := r.Connect(func(h *wire.Hello) { h.Codecs = []string{"zstd", "s2"} })
		if len(p.Hello.Codecs)+len(p.Hello.Dicts) > 0 {
			t.Errorf("a node without codecs announces %q, %v", p.Hello.Codecs, p.Hello.Dicts)
		}
		req := text(1, 5000)
		call := func(sentence string, number uint8, opts ...core.CallOption) {
			t.Helper()
			reply := r.Call(t.Context(), req, opts...)
			f := p.Want(wire.TypeRequest, sentence)
			parsed, err := wire.ParseRequest(&f)
			if err != nil || parsed.Accept != (wire.Accept{Said: true, Codec: number}) {
				t.Errorf("%s: it accepts %+v, %v, want its codec %d", sentence, parsed.Accept, err, number)
			}
			if got, codec := restore(t, &f); codec == 0 || !bytes.Equal(got, req) {
				t.Errorf("%s: the request has codec %d, %d bytes", sentence, codec, len(got))
			}
			with := []*compress.Codec{compress.S2(), compress.Zstd()}[number-1]
			whole := append(bytes.Clone(lab.PackedSize), with.Append(nil, req)...)
			p.Send(lab.Packed(wire.AppendResponse(nil, f.ID, whole), number, 0, uint64(len(req))))
			if got := lab.Wait(t, reply, sentence); got.Err != nil || !bytes.Equal(got.Resp, req) {
				t.Errorf("%s: the call returned %d bytes, %v", sentence, len(got.Resp), got.Err)
			}
		}
		announced := func(sentence string, names []string, dicts []wire.Dict) {
			t.Helper()
			f := p.Want(wire.TypeCodecs, sentence)
			gotNames, gotDicts, err := wire.ParseCodecs(&f)
			if err != nil || !slices.Equal(gotNames, names) || !slices.Equal(gotDicts, dicts) {
				t.Errorf("%s: announced %q, %v, %v, want %q, %v", sentence, gotNames, gotDicts, err, names, dicts)
			}
		}
		// CODECS and REQUEST are written together, CODECS ahead.
		begin := func(sentence string, names []string, dicts []wire.Dict, opts ...core.CallOption) {
			t.Helper()
			reply := r.Call(t.Context(), req, opts...)
			announced(sentence, names, dicts)
			f := p.Want(wire.TypeRequest, "W94: the call comes behind what it asks for")
			p.Send(wire.AppendResponse(nil, f.ID, req))
			lab.Wait(t, reply, "the call returns")
		}
		s2 := core.WithCompression(compress.S2())
		begin("W94: a codec is announced with the first call that has it", []string{"s2"}, nil, s2)
		call("W94: it is announced once", 1, s2)
		begin("W94: another one has the next number", []string{"zstd", "zstd+window"}, []wire.Dict{{Codec: 2, ID: dict.ID()}},
			core.WithCompression(compress.Zstd(compress.WithDictionary(dict))))
		call("W95: the number of the other one", 2, core.WithCompression(compress.Zstd()))
		begin("W94: a dictionary of a codec that is known", nil, []wire.Dict{{Codec: 1, ID: dict.ID()}},
			core.WithCompression(compress.S2(compress.WithDictionary(dict))))
	})
}

// TestProtocolWishes holds a caller to compressing requests as the catalogue of the
// peer wishes, and nothing else by it: W95 W54.
func TestProtocolWishes(t *testing.T) {
	for _, test := range []struct {
		name   string
		wish   byte
		has    []core.Compressor
		codecs []string
		want   uint8
	}{
		{"a wish", 2, []core.Compressor{compress.S2()}, []string{"zstd", "s2"}, 2},
		{"no wish", 0, []core.Compressor{compress.S2()}, []string{"zstd", "s2"}, 0},
		{"for another codec", 1, []core.Compressor{compress.S2()}, []string{"zstd", "s2"}, 0},
		{"without one", 2, nil, []string{"zstd", "s2"}, 0},
		{"for a number that was not announced", 3, []core.Compressor{compress.S2()}, []string{"zstd", "s2"}, 0},
		{"of who decodes nothing", 1, []core.Compressor{compress.S2()}, nil, 0},
	} {
		setup := lab.RawSetup{Config: func(cfg *core.Config) { cfg.Compressors = test.has }}
		lab.RawTest(t, "W95 "+test.name, setup, func(t *testing.T, r *lab.RawCluster) {
			p := r.ConnectServing(lab.RawCatalogue(lab.RawEntry{ID: "storage.stat", Kind: 1, Codec: test.wish}),
				func(h *wire.Hello) { h.Codecs = test.codecs })
			reply := r.Call(t.Context(), text(1, 5000))
			f := p.Want(wire.TypeRequest, "the call")
			if got, codec := restore(t, &f); codec != test.want || !bytes.Equal(got, text(1, 5000)) {
				t.Errorf("W95: the request has codec %d, want %d", codec, test.want)
			}
			if f.Flags&wire.FlagAccept != 0 {
				t.Error("W95: a call without an option has a wish of its own")
			}
			p.Send(wire.AppendResponse(nil, f.ID, nil))
			lab.Wait(t, reply, "the call returns")
		})
	}
}
